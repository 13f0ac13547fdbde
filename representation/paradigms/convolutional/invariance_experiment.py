"""Experiment on translation invariance: moved traffic should have the same features.

The convolution of a translated image is the translated convolution (equivariance), and the maximum or mean over all
positions does not change (invariance): Goodfellow, Bengio and Courville 2016, "Deep Learning", sections 9.2 and 9.3.
A feed-forward network has separate weights for every position and has neither property.

    >>> moved = move_traffic(grids, 5)                     # five cells ahead, wrapped at the window's end
    >>> feature_change(encoder, grids, moved)              # 0: the same features; 1: as far as another scene's

Letters in shapes: N scenes, H rows and W columns of cells, D features.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, SPEED
from representation.data.recording import RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.metrics import rmse
from representation.paradigms.convolutional.model import ConvEncoder
from representation.paradigms.feedforward.model import DenseEncoder
from representation.plots import save_invariance
from representation.supervised import Regressor

OBSERVED = {"kind": "grid"}
EVERY = 6  # [decisions]
SHIFTS = (1, 2, 3, 5, 8, 12, 20, 30)  # [cells]
SHOWN = 5  # [cells] the shift that metrics are given for
CONV, MLP, FLAT = "convolutions, mean of maps", "feed-forward", "convolutions, flat maps"
WEIGHTS = "encoder.safetensors"

F32 = NDArray[np.float32]


def grids(job: TrainingJob, split: str, runs: int) -> Arrays:
    """Return obs (N, 4, 60, 7) and target (N,), the number of occupied cells, of `runs` runs at the job's scale."""
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=10)), job.cache)
    obs = observe(recording.rules, recording.states[:, :-1:EVERY].reshape(-1), OBSERVED)
    return {"obs": obs, "target": count_cells(obs)}


class ConvInvariance(Experiment):
    """Traffic density estimated by two convolutional networks and an MLP, then measured on translated traffic."""

    name, paradigm = "conv-invariance", "convolutional network"
    summary = "Measures the change of features when all traffic is moved along the road, against an MLP."
    source = "LeCun et al. 1998, doi:10.1109/5.726791, section II.A; Goodfellow et al. 2016, Deep Learning, section 9.3"
    config = FitConfig(epochs=12, batch_size=64, learning_rate=2e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train all three to count occupied cells, then move the traffic of held-out scenes."""
        train, validation, test = (
            grids(job, split, runs) for split, runs in (("train", 300), ("validation", 40), ("test", 100))
        )
        models = self._train(job, train, validation)
        models[CONV].encoder.save(job.folder / WEIGHTS)
        obs, moved = test["obs"], move_traffic(test["obs"], SHOWN)
        changes = {
            name: [feature_change(model.encoder, obs, move_traffic(obs, cells)) for cells in SHIFTS]
            for name, model in models.items()
        }
        errors = {name: rmse(model.predict(moved), test["target"]) for name, model in models.items()}
        path = job.folder / "conv-invariance.png"
        save_invariance(obs[0], moved[0], SHIFTS, changes, path)
        still = ", ".join(f"{name} {rmse(model.predict(obs), test['target']):.2f}" for name, model in models.items())
        return ExperimentResult(self._metrics(changes, errors, still, test["target"]), [self._plot(path)], [WEIGHTS])

    def _train(self, job: TrainingJob, train: Arrays, validation: Arrays) -> dict[str, Regressor]:
        space = spaces.Box(0.0, 1.0, train["obs"].shape[1:], np.float32)
        torch.manual_seed(0)
        encoders: dict[str, Encoder] = {
            CONV: ConvEncoder(space, 32, channels=(16, 32), reading="mean"),
            FLAT: ConvEncoder(space, 32, channels=(16, 32)),
            MLP: DenseEncoder(space, 32, hidden=(128,)),
        }
        models = {}
        for k, (name, encoder) in enumerate(encoders.items()):
            encoder.observed = dict(OBSERVED)
            models[name] = Regressor(encoder, float(train["target"].mean()), float(train["target"].std()))
            job.fit(("conv-mean", "conv-flat", "dense")[k], models[name], train, validation, self.config)
        return models

    def _metrics(
        self, changes: dict[str, list[float]], errors: dict[str, float], still: str, target: F32
    ) -> list[Metric]:
        at = {name: values[SHIFTS.index(SHOWN)] for name, values in changes.items()}
        unit = f"change of features when traffic moves by {SHOWN} cells"
        note = f"{len(target):,} held-out scenes; 1: as far apart as two scenes drawn at random"
        baselines = {**{name: errors[name] for name in (FLAT, MLP)}, "the mean": float(target.std())}
        return [
            Metric(unit, at.pop(CONV), at, higher_is_better=False, note=note),
            Metric(
                "RMSE of occupied cells counted in moved traffic",
                errors[CONV],
                baselines,
                "cells",
                False,
                note=f"before it is moved: {still}",
            ),
        ]

    def _plot(self, path: Path) -> Plot:
        return Plot(path.name, "A scene, the same traffic moved by five cells, and the change of features.")


def move_traffic(grids: F32, cells: int) -> F32:
    """Return grids (N, 4, H, W) with all cars moved ahead, around the window's end; the road and its edges stay.

    The ego car is the mark of channel `OWN`; as a car among others it moves with them.
    """
    moved = grids.copy()
    moved[:, [OCCUPIED, SPEED]] = np.roll(grids[:, [OCCUPIED, SPEED]], -cells, axis=2)
    return moved


def count_cells(grids: F32) -> F32:
    """Return how many cells of each grid (N, 4, H, W) are occupied, (N,): what moving traffic does not change."""
    return grids[:, OCCUPIED].sum((1, 2))


def feature_change(encoder: Encoder, scenes: NDArray[Any], changed: NDArray[Any]) -> float:
    """Return the mean distance of features of scenes (N, ...) before and after, in units of that of different scenes.

    0: the same features; 1: as far apart as the features of two scenes drawn at random.
    """
    before, after = encoder.encode(scenes), encoder.encode(changed)
    others = np.roll(before, len(before) // 2, axis=0)
    distance = np.linalg.norm(after - before, axis=1).mean()
    usual = np.linalg.norm(others - before, axis=1).mean()
    return float(distance / max(usual, 1e-12))
