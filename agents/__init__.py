"""Driving agents: value-based, policy-based and model-based learners, planners, and the export of what they learn."""
