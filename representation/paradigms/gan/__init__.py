"""Generative adversarial networks (paradigm 6)."""
