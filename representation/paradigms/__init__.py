"""Models of the lecture's six paradigms."""
