"""External memory."""
