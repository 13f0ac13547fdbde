"""Studies of hyper-parameters: sweeps on processes or a Ray cluster, their figures and findings."""
