"""Convolutional networks (paradigm 2)."""
