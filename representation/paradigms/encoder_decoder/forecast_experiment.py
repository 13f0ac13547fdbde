"""Experiment on forecasting: the grid after one decision."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OWN, SPEED
from representation.data.motion import OBSERVATION
from representation.data.recording import observe
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.paradigms.encoder_decoder.forecast import (
    GridPredictor,
    best_threshold,
    calibrated,
    occupied_bits,
    occupied_iou,
    speed_rmse_mph,
    transitions,
)
from representation.plots import save_roads

DECISIONS = 40
STILL, MOVING = "persistence", "constant velocity"

F32 = NDArray[np.float32]
Rows = dict[str, Any]


def recorded(job: TrainingJob, split: str, runs: int) -> Any:
    """Return `runs` runs of 40 decisions at the job's scale."""
    return job.record(split, runs, least=6, decisions=DECISIONS)


def others(cells: F32, grids: F32) -> F32:
    """Return cells (..., H, W) without those of the ego car, which every grid (..., 4, H, W) has in the same place."""
    return cells * (grids[..., OWN, :, :] == 0)


def filled(speeds: F32, taken: F32, mean: float) -> F32:
    """Return forecast speeds, with the mean of training where a forecast has no car, instead of 0."""
    return np.where(taken > 0, speeds, np.float32(mean))


class GridPrediction(Experiment):
    """(o, a) -> o': the grid after one decision."""

    name, paradigm = "grid-predictor", "encoder-decoder"
    summary = "Predicts the next grid from this one and the decision."
    source = "Oh et al. 2015, arXiv:1507.08750, section 3"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, and measure occupancy and speeds of the next grid on held-out runs."""
        train, validation, test = (
            self._transitions(job, split, runs) for split, runs in (("train", 130), ("validation", 15), ("test", 40))
        )
        model = job.new(lambda: GridPredictor(width=16))
        config = FitConfig(epochs=8, batch_size=32, learning_rate=4e-3, learning_rate_end=1e-4)
        job.fit("grid-predictor", model, train, validation, config)
        model.save(job.folder / "grid-predictor.safetensors")
        watched = model.predict(validation["obs"], validation["action"])[:, OCCUPIED]
        chosen = best_threshold(others(watched, validation["next_obs"]), _taken(validation["next_obs"]))
        expected = model.predict(test["obs"], test["action"])
        metrics = self._metrics(test, expected, chosen, _mean_speed(train["obs"]))
        metrics.insert(1, _bits(train, test, expected))
        shown = slice(None, None, max(1, len(test["obs"]) // 8))
        now, true = test["obs"][shown], test["next_obs"][shown]
        lines = {
            "now": now,
            "next": true,
            "predicted": as_roads(expected[shown], true),
            "constant\nvelocity": as_roads(test["expected"][shown], true),
        }
        save_roads({name: grids[:8] for name, grids in lines.items()}, job.folder / "grid-predictor.png")
        return ExperimentResult(
            metrics,
            [
                Plot(
                    "grid-predictor.png",
                    "Held-out scenes: now, after the decision, as predicted, and by constant velocity.",
                )
            ],
            ["grid-predictor.safetensors"],
        )

    def _transitions(self, job: TrainingJob, split: str, runs: int) -> Rows:
        recording = recorded(job, split, runs)
        grids = observe(recording.rules, recording.states, OBSERVATION)  # (R, T + 1, 4, H, W)
        flat = (-1, *grids.shape[2:])
        return transitions(grids[:, :-1].reshape(flat), recording.actions.ravel(), grids[:, 1:].reshape(flat))

    def _metrics(self, test: Rows, expected: F32, chosen: float, mean: float) -> list[Metric]:
        true, now, moved = test["next_obs"], test["obs"], test["expected"]
        taken = _taken(true)
        ways = {STILL: now[:, OCCUPIED], MOVING: moved[:, 0]}
        iou = {name: occupied_iou(others(cells, true), taken) for name, cells in ways.items()}
        value = occupied_iou(others(expected[:, OCCUPIED], true), taken, chosen)
        errors = {
            STILL: speed_rmse_mph(filled(now[:, SPEED], now[:, OCCUPIED], mean), true),
            MOVING: speed_rmse_mph(filled(moved[:, 1], moved[:, 0], mean), true),
        }
        note = (
            f"{len(true):,} transitions of held-out runs, the ego car's cells excluded; a cell counts as occupied from "
        )
        rmse = speed_rmse_mph(expected[:, SPEED], true)
        return [
            Metric("IoU of the next grid's occupied cells", value, iou, note=f"{note}a probability of {chosen:.2f}"),
            Metric("RMSE of speeds in the next grid", rmse, errors, unit="mph", higher_is_better=False),
        ]


def _bits(train: Rows, test: Rows, expected: F32) -> Metric:
    """Return the cross-entropies of occupancy without the ego car's cells, baselines calibrated on training data."""
    probabilities = {
        STILL: calibrated(test["obs"][:, OCCUPIED], train["obs"][:, OCCUPIED], train["next_obs"][:, OCCUPIED]),
        MOVING: calibrated(test["expected"][:, 0], train["expected"][:, 0], train["next_obs"][:, OCCUPIED]),
    }
    true = test["next_obs"]
    elsewhere = true[:, OWN] == 0
    bits = {
        name: occupied_bits(cells[elsewhere], true[:, OCCUPIED][elsewhere]) for name, cells in probabilities.items()
    }
    value = occupied_bits(expected[:, OCCUPIED][elsewhere], true[:, OCCUPIED][elsewhere])
    note = "baselines calibrated to probabilities on training data"
    return Metric("cross-entropy of occupancy", value, bits, unit="bits per cell", higher_is_better=False, note=note)


def _taken(grids: F32) -> F32:
    return others(grids[..., OCCUPIED, :, :], grids)


def _mean_speed(grids: F32) -> float:
    return float(grids[:, SPEED][grids[:, OCCUPIED] > 0].mean())


def as_roads(cells: NDArray[np.floating], grids: F32) -> F32:
    """Return predictions (S, 2, H, W) of occupancy and speed as grids to draw, with the road of true grids."""
    roads = grids.copy()
    roads[:, OCCUPIED], roads[:, SPEED] = cells[:, 0], cells[:, 1]
    return roads
