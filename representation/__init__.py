"""Representation learning: encoders of DeepTraffic observations, and their training data."""
