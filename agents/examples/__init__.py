"""Examples: training loops of other libraries and styles in these environments, one runnable file each."""
