"""Training and evaluation of each model, one module per paradigm."""
