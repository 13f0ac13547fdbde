"""Benchmark protocol: fixed tasks, budgets, seeds and statistics; see `agents/benchmark/BENCHMARK.md`."""
