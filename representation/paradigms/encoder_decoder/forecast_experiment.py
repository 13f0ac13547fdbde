"""Experiments on forecasting: the grid after one decision, and after each of the next eight."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OWN, SPEED
from deeptraffic.figure import BLUE, GREY, ORANGE, new_figure
from representation.data.motion import OBSERVATION, persistence, windows
from representation.data.recording import observe
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.paradigms.encoder_decoder.forecast import (
    Forecaster,
    GridPredictor,
    best_threshold,
    calibrated,
    occupied_bits,
    occupied_iou,
    speed_rmse_mph,
    transitions,
    with_prior,
)
from representation.plots import save_plot, save_roads

HISTORY, STEPS = 3, 8  # grids read, and decisions ahead: 4 seconds at 60 frames a second
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
            self._transitions(job, split, runs) for split, runs in (("train", 200), ("validation", 15), ("test", 40))
        )
        model = job.new(lambda: GridPredictor(width=16))
        config = FitConfig(epochs=10, batch_size=32, learning_rate=4e-3, learning_rate_end=1e-4)
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


class Forecast(Experiment):
    """The road after each of the next eight decisions."""

    name, paradigm = "forecaster", "encoder-decoder"
    summary = "Reads three grids and a plan of eight decisions, predicts the eight grids that follow."
    source = "Sutskever, Vinyals and Le 2014, arXiv:1409.3215; Shi et al. 2015, arXiv:1506.04214, equation 3"

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, and measure every horizon on held-out runs."""
        train, validation, test = (
            with_prior(windows(recorded(job, split, runs), HISTORY, STEPS))
            for split, runs in (("train", 150), ("validation", 15), ("test", 40))
        )
        model = job.new(lambda: Forecaster(width=12))
        config = FitConfig(epochs=16, batch_size=8, learning_rate=1e-2, learning_rate_end=2e-4)
        job.fit("forecaster", model, train, validation, config)
        model.save(job.folder / "forecaster.safetensors")
        watched, expected = model.predict(validation), model.predict(test)
        thresholds = [
            best_threshold(others(watched[:, k, 0], validation["future"][:, k]), _taken(validation["future"][:, k]))
            for k in range(STEPS)
        ]
        curves = horizon_ious(test, expected, thresholds)
        draw_horizons(job.folder / "forecaster-horizons.png", curves)
        steps = [0, 1, 3, 7]
        true = test["future"][0]  # of the first window
        lines = {
            "true": true,
            "predicted": as_roads(expected[0], true),
            "constant\nvelocity": as_roads(test["expected"][0], true),
        }
        save_roads(lines, job.folder / "forecaster.png", [f"+{k + 1}" for k in range(STEPS)])
        plots = [
            Plot("forecaster-horizons.png", "IoU of predicted occupied cells over the horizon."),
            Plot(
                "forecaster.png",
                "One scene 1 to 8 decisions ahead: the truth, the prediction, constant velocity.",
            ),
        ]
        metrics = [*_horizon_metrics(test, expected, curves), *(_horizon_bits(train, test, expected, k) for k in steps)]
        return ExperimentResult(metrics, plots, ["forecaster.safetensors"])


def _horizon_bits(train: Rows, test: Rows, expected: F32, k: int) -> Metric:
    """Return the cross-entropy k + 1 decisions ahead, constant velocity calibrated on training data."""
    true = test["future"][:, k]
    elsewhere, cells = true[:, OWN] == 0, true[:, OCCUPIED]
    moved = calibrated(test["expected"][:, k, 0], train["expected"][:, k, 0], train["future"][:, k, OCCUPIED])
    beside = {MOVING: occupied_bits(moved[elsewhere], cells[elsewhere])}
    value = occupied_bits(expected[:, k, 0][elsewhere], cells[elsewhere])
    name = f"cross-entropy of occupancy, {k + 1} {'decision' if k == 0 else 'decisions'} ahead"
    return Metric(name, value, beside, unit="bits per cell", higher_is_better=False)


def horizon_ious(rows: Rows, expected: F32, thresholds: list[float]) -> dict[str, list[float]]:
    """Return the IoU of occupied cells at each horizon, (K,), of the network and of both baselines."""
    still = persistence(rows["history"][:, -1], STEPS)
    ways: dict[str, tuple[F32, list[float]]] = {
        "network": (expected, thresholds),
        MOVING: (rows["expected"], [0.5] * STEPS),
        STILL: (still, [0.5] * STEPS),
    }
    return {
        name: [
            occupied_iou(others(cells[:, k, 0], rows["future"][:, k]), _taken(rows["future"][:, k]), limits[k])
            for k in range(STEPS)
        ]
        for name, (cells, limits) in ways.items()
    }


def _horizon_metrics(test: Rows, expected: F32, curves: dict[str, list[float]]) -> list[Metric]:
    count, metrics = len(test["plan"]), []
    for k in range(STEPS):
        beside = {name: curve[k] for name, curve in curves.items() if name != "network"}
        ahead = f"{k + 1} {'decision' if k == 0 else 'decisions'} ahead"
        note = f"{count:,} windows of held-out runs, the ego car's cells excluded"
        metrics.append(Metric(f"IoU of occupied cells, {ahead}", curves["network"][k], beside, note=note))
    mean = _mean_speed(test["history"][:, -1])
    for k in (0, STEPS - 1):
        true, moved = test["future"][:, k], test["expected"][:, k]
        still = test["history"][:, -1]
        errors = {
            STILL: speed_rmse_mph(filled(still[:, SPEED], still[:, OCCUPIED], mean), true),
            MOVING: speed_rmse_mph(filled(moved[:, 1], moved[:, 0], mean), true),
        }
        value = speed_rmse_mph(expected[:, k, 1], true)
        name = f"RMSE of speeds, {k + 1} {'decision' if k == 0 else 'decisions'} ahead"
        metrics.append(Metric(name, value, errors, unit="mph", higher_is_better=False))
    return metrics


def _taken(grids: F32) -> F32:
    return others(grids[..., OCCUPIED, :, :], grids)


def _mean_speed(grids: F32) -> float:
    return float(grids[:, SPEED][grids[:, OCCUPIED] > 0].mean())


# --- plots ------------------------------------------------------------------------------------------------------------


def draw_horizons(path: Path, curves: dict[str, list[float]]) -> None:
    """Plot IoU over decisions ahead, one line per method."""
    figure, axes = new_figure("Where cars will be", (6.4, 3.6))
    for (name, curve), colour, mark in zip(curves.items(), (BLUE, ORANGE, GREY), "os^", strict=True):
        axes.plot(range(1, STEPS + 1), curve, color=colour, marker=mark, ms=5, label=name)
    axes.set_xlabel("decisions ahead (half a second each)")
    axes.set_ylabel("IoU of occupied cells, held-out runs")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    save_plot(figure, path)


def as_roads(cells: NDArray[np.floating], grids: F32) -> F32:
    """Return predictions (S, 2, H, W) of occupancy and speed as grids to draw, with the road of true grids."""
    roads = grids.copy()
    roads[:, OCCUPIED], roads[:, SPEED] = cells[:, 0], cells[:, 1]
    return roads
