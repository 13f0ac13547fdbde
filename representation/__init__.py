"""Perception: encoders that learn compact features from DeepTraffic observations, and the data they are trained on."""
