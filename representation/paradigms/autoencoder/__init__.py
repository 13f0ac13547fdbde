"""Autoencoders (paradigm 5)."""
