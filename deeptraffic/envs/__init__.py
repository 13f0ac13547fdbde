"""DeepTraffic as environments of Gymnasium (single and vector), Stable-Baselines3 and PettingZoo."""
