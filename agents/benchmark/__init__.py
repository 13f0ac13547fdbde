"""Benchmark protocol: fixed tasks, budgets, seeds and statistics."""
