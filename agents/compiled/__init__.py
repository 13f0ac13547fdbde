"""Learners compiled beside the simulator: networks, optimisers and envs in one loop, without torch."""
