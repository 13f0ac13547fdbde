"""Data sets of driving for offline reinforcement learning, as Minari keeps them; see `agents/datasets/DATASETS.md`."""
