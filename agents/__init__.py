"""Driving agents for DeepTraffic: value-based, policy-based and model-based learners, planners, and their export."""
