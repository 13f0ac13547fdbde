"""MIT DeepTraffic in Python: an exact, fast highway environment with agents, perception and a competition."""

__version__ = "0.1.0"
