"""Minari: record a data set, load it as any other, and clone the driver's behaviour from it.

    python -m agents.examples.minari_cloning --episodes 500

`deeptraffic dataset gap -o deeptraffic/gap-v0` records the same from the command line.
"""

import os
import tempfile

import minari
import numpy as np
import torch
import typer
from torch import nn
from torch.nn import functional

import deeptraffic
from agents.datasets.config import DatasetConfig
from agents.datasets.store import record_dataset


def main(episodes: int = 500, steps: int = 3000, seed: int = 0) -> None:
    """Record `gap` with random actions in between, learn from it, and print the official score."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MINARI_DATASETS_PATH", folder)
        summary = record_dataset(DatasetConfig(policies=("gap",), episodes=episodes, epsilon=0.1), "example/gap-v0")
        data = list(minari.load_dataset("example/gap-v0").iterate_episodes())
        minari.delete_dataset("example/gap-v0")
    obs = torch.as_tensor(np.concatenate([episode.observations[:-1] for episode in data]))
    actions = torch.as_tensor(np.concatenate([episode.actions for episode in data]))
    print(f"{len(actions):,} decisions at {summary.mean_mph:.2f} mph")
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(obs.shape[1], 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 5))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        some = torch.randint(len(actions), (256,))
        loss = functional.cross_entropy(network(obs[some]), actions[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{deeptraffic.evaluate(network, 'gaps').score:.2f} mph official")


if __name__ == "__main__":
    typer.run(main)
