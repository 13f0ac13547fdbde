"""Analyses of trained agents: comparisons, where speed is lost, planning gaps, what a world model imagines."""
