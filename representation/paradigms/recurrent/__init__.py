"""Recurrent networks (paradigm 3)."""
