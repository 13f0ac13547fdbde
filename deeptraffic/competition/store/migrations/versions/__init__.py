"""One script for each step; the newest gives the tables of `schema.py`, which a test compares."""
