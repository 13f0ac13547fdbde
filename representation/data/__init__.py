"""Data sets that the simulator makes in seconds, the same ones for the same seed: `representation.data.recording`."""
