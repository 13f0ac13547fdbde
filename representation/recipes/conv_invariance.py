"""Recipe that shows what convolutions are for: moved traffic is the same traffic."""

from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from representation.data.recording import RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.fit import Arrays, FitConfig
from representation.measures.charts import save_invariance
from representation.measures.predictions import rmse
from representation.paradigms.conv import ConvEncoder
from representation.paradigms.dense import DenseEncoder
from representation.paradigms.invariance import count_cells, feature_change, move_traffic
from representation.recipe import Figure, Job, Outcome, Picture, Recipe
from representation.supervised import Regressor

OBSERVED = {"kind": "grid"}
EVERY = 6  # [decisions]
SHIFTS = (1, 2, 3, 5, 8, 12, 20, 30)  # [cells]
SHOWN = 5  # [cells] the shift that figures are given for
CONV, MLP, FLAT = "convolutions, mean of maps", "feed-forward", "convolutions, flat maps"
WEIGHTS = "encoder.safetensors"

F32 = NDArray[np.float32]


def grids(job: Job, split: str, runs: int) -> Arrays:
    """Return obs (N, 4, 60, 7) and target (N,), the number of occupied cells, of so many runs at the job's scale."""
    recording = record(RecordingConfig(split=split, runs=job.scaled(runs, least=10)), job.cache)
    obs = observe(recording.rules, recording.states[:, :-1:EVERY].reshape(-1), OBSERVED)
    return {"obs": obs, "target": count_cells(obs)}


class ConvInvariance(Recipe):
    """The same task, how dense is traffic, for two convolutional networks and an MLP; then all traffic is moved."""

    name, paradigm = "conv-invariance", "convolutional network"
    summary = "Shows how much features change when all traffic is moved along the road, against an MLP."
    source = "LeCun et al. 1998, doi:10.1109/5.726791, section II.A; Goodfellow et al. 2016, Deep Learning, section 9.3"
    config = FitConfig(epochs=12, batch_size=64, learning_rate=2e-3, learning_rate_end=1e-5, patience=0)

    def run(self, job: Job) -> Outcome:
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
        return Outcome(self._figures(changes, errors, still, test["target"]), [self._picture(path)], [WEIGHTS])

    def _train(self, job: Job, train: Arrays, validation: Arrays) -> dict[str, Regressor]:
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

    def _figures(
        self, changes: dict[str, list[float]], errors: dict[str, float], still: str, target: F32
    ) -> list[Figure]:
        at = {name: values[SHIFTS.index(SHOWN)] for name, values in changes.items()}
        unit = f"change of features when traffic moves by {SHOWN} cells"
        note = f"{len(target):,} held-out scenes; 1: as far apart as two scenes drawn at random"
        baselines = {**{name: errors[name] for name in (FLAT, MLP)}, "the mean": float(target.std())}
        return [
            Figure(unit, at.pop(CONV), at, higher_is_better=False, note=note),
            Figure(
                "RMSE of occupied cells counted in moved traffic",
                errors[CONV],
                baselines,
                "cells",
                False,
                note=f"before it is moved: {still}",
            ),
        ]

    def _picture(self, path: Path) -> Picture:
        return Picture(path.name, "A scene, the same traffic moved by five cells, and how far features move with it.")
