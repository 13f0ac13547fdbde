"""Multi-task learning."""
