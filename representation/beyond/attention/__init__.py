"""Attention over a set of vehicles."""
