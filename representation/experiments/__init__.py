"""How each model is trained and measured, one module per paradigm."""
