"""How good models are, and the pictures that show it."""
