"""Experiment on forecasting: the grid after one decision."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OWN, SPEED
from representation.data.recording import observe
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.paradigms.autoencoder.grids import best_threshold, occupancy_iou, speed_rmse
from representation.paradigms.encoder_decoder.forecast import GridPredictor, calibrated, occupied_bits, transitions
from representation.plots import save_roads

STILL, MOVING = "persistence", "constant velocity"
WEIGHTS = "grid-predictor.safetensors"

F32 = NDArray[np.float32]


class GridPrediction(Experiment):
    """(o, a) -> o': the grid after one decision."""

    name, paradigm = "grid-predictor", "encoder-decoder"
    summary = "Predicts the next grid from this one and the decision."
    source = "Oh et al. 2015, arXiv:1507.08750, section 3"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, and measure occupancy and speeds of the next grid on held-out runs."""
        train, validation, test = (
            self._transitions(job, split, runs) for split, runs in (("train", 120), ("validation", 10), ("test", 40))
        )
        config = FitConfig(epochs=7, batch_size=32, learning_rate=4e-3, learning_rate_end=1e-4)
        model = job.train(lambda: GridPredictor(width=16), train, validation, config, WEIGHTS)
        chosen = best_threshold(model.predict(validation["obs"], validation["action"]), validation["next_obs"])
        true, mean = test["next_obs"], float(train["obs"][:, SPEED][train["obs"][:, OCCUPIED] > 0].mean())
        guesses = {
            "predicted": model.predict(test["obs"], test["action"]),
            STILL: filled(test["obs"], mean),
            MOVING: filled(as_grids(test["expected"], true), mean),
        }
        iou = {name: occupancy_iou(guess, true, chosen) for name, guess in guesses.items()}
        errors = {name: speed_rmse(guess, true) for name, guess in guesses.items()}
        note = (
            f"{len(true):,} transitions of held-out runs; a cell counts as occupied from a probability of {chosen:.2f}"
        )
        metrics = [
            Metric("IoU of the next grid's occupied cells", iou.pop("predicted"), iou, note=note),
            self._bits(train, test, guesses["predicted"]),
            Metric("RMSE of speeds in the next grid", errors.pop("predicted"), errors, "mph", higher_is_better=False),
        ]
        shown = np.linspace(20, len(true) - 1, 8).astype(np.int64)  # no run's first decision
        lines = {"now": test["obs"], "next": true, "predicted": as_grids(guesses["predicted"], true)}
        lines["constant\nvelocity"] = as_grids(test["expected"], true)
        save_roads({name: grids[shown] for name, grids in lines.items()}, job.folder / f"{self.name}.png")
        caption = "Held-out scenes: now, after the decision, as predicted, and by constant velocity."
        return ExperimentResult(metrics, [Plot(f"{self.name}.png", caption)], [WEIGHTS])

    def _transitions(self, job: TrainingJob, split: str, runs: int) -> dict[str, Any]:
        recording = job.record(split, runs, least=6, decisions=40)
        grids = observe(recording.rules, recording.states, "grid")  # (R, T + 1, 4, H, W)
        flat = (-1, *grids.shape[2:])
        return transitions(grids[:, :-1].reshape(flat), recording.actions.ravel(), grids[:, 1:].reshape(flat))

    def _bits(self, train: dict[str, Any], test: dict[str, Any], predicted: F32) -> Metric:
        """Return the cross-entropies of occupancy without the ego car's cells."""
        known, true = train["next_obs"][:, OCCUPIED], test["next_obs"]
        probabilities = {
            "predicted": predicted[:, OCCUPIED],
            STILL: calibrated(test["obs"][:, OCCUPIED], train["obs"][:, OCCUPIED], known),
            MOVING: calibrated(test["expected"][:, 0], train["expected"][:, 0], known),
        }
        other = true[:, OWN] == 0
        bits = {name: occupied_bits(some[other], true[:, OCCUPIED][other]) for name, some in probabilities.items()}
        note = "baselines calibrated to probabilities on training data"
        return Metric("cross-entropy of occupancy", bits.pop("predicted"), bits, "bits per cell", False, note=note)


def filled(grids: F32, mean: float) -> F32:
    """Return grids with the mean speed of training where a forecast has no car, instead of 0."""
    out = grids.copy()
    out[:, SPEED] = np.where(grids[:, OCCUPIED] > 0, grids[:, SPEED], mean)
    return out


def as_grids(cells: F32, true: F32) -> F32:
    """Return occupancy and speed, the first channels of (B, C, H, W), as grids with a true grid's road."""
    out = true.copy()
    out[:, [OCCUPIED, SPEED]] = cells[:, :2]
    return out
