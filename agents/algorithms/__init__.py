"""Algorithms, one module or package each, listed in `agents.registry`."""
