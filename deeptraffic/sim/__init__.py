"""The exact simulator: `rules` and `state` go into `kernel`, which `engine` runs for many games at once."""
