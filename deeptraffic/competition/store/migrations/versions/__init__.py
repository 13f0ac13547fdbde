"""One script for each step; the newest gives the tables of `models.py`, which a test compares."""
