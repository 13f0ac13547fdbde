"""DeepTraffic as environments: Gymnasium (one game, many games), Stable-Baselines3 and PettingZoo."""
