"""Feed-forward networks (paradigm 1)."""
