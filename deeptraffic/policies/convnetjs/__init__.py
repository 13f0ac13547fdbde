"""The original game's files: parsed as text, read as policies, written for the original page."""
