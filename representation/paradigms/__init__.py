"""The six paradigms as models, in the order of the lecture: each module is one to read from top to bottom."""
