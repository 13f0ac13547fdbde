"""Experiments of recurrent networks and of what compares with them, small: what they measure and leave behind."""

from pathlib import Path

import numpy as np
import pytest

from representation.catalog import find_experiment
from representation.data.recording import RecordingConfig, observe_runs, record
from representation.encoders.recurrent import RecurrentEncoder
from representation.experiment import ExperimentResult, TrainingJob, run_experiment
from representation.paradigms.recurrent.experiment import (
    LANES,
    ROW,
    RecurrentSpeed,
    arrived,
    hidden_speeds,
    lane_lists,
    sequence_rows,
)
from representation.registry import load_encoder


def small_run(name: str, folder: Path, scale: float, **settings: float) -> ExperimentResult:
    return run_experiment(find_experiment(name), TrainingJob(folder, scale, settings=settings))


def pictures_are_small(outcome: ExperimentResult, folder: Path) -> bool:
    return all(0 < (folder / plot.file).stat().st_size < 160_000 for plot in outcome.plots)


def test_lane_lists_tell_what_stands_where() -> None:
    grid = np.zeros((4, 60, 7))
    grid[2, :, 6] = 1.0  # the rightmost column is off the road
    grid[0, 50:54, 3] = 1.0  # the ego car
    for nearest in (45, 30, 10):  # three cars of four cells in the ego lane
        grid[0, nearest - 3 : nearest + 1, 3] = 1.0
    grid[0, 56:60, 3] = 1.0  # two cells behind the ego car
    grid[0, 51:55, 2] = 1.0  # beside it
    lists = lane_lists(grid)
    assert lists.shape == (LANES, 5)
    # free cells ahead: 49 - 45, 49 - 30, 49 - 10; behind, from the ego bonnet: 6; in lengths of four cells
    np.testing.assert_allclose(lists[3], [1.0, 19 / 4, 39 / 4, 6 / 4, 1.0], rtol=1e-6)
    np.testing.assert_allclose(lists[2], [12.5, 12.5, 12.5, 1 / 4, 1.0])
    assert not lists[6].any()


def test_a_row_is_what_the_weak_sensor_shows_and_the_action_before_it() -> None:
    recording = record(RecordingConfig(split="validation", runs=6, decisions=12))
    rows, full = sequence_rows(recording), lane_lists(observe_runs(recording, "grid")[:, :-1]).reshape(6, 12, -1)
    assert rows.shape == (6, 12, *(ROW.shape or ()))
    assert 0.5 < arrived(rows).mean() < 0.9
    np.testing.assert_array_equal(rows[..., :-5], full * arrived(rows)[..., None])
    assert not rows[:, 0, -5:].any()
    np.testing.assert_array_equal(rows[:, 1:, -5:].argmax(-1), recording.actions[:, :-1])


def test_hidden_speeds_are_those_at_which_the_gaps_change() -> None:
    recording = record(RecordingConfig(split="validation", runs=20, decisions=30))
    speeds, known = hidden_speeds(recording)
    gaps = observe_runs(recording, "gaps")[:, :-1].reshape(*known.shape, -1)[..., 0]
    assert not known[:, 0].any() and not speeds[~known].any()
    assert 0 < np.abs(speeds[known]).max() < 100
    closing = -np.diff(gaps, axis=1) * 50 * 10 / 30 * 20  # [mph]: 50 cells of 10 px, 30 frames, 20 mph per px/frame
    same = (recording.actions[:, :-1] < 3)[..., None] & known[:, 1:] & (gaps < 1.0)[:, :-1]  # no change of lanes
    error = np.abs(closing + speeds[:, 1:])[same]
    assert np.median(error) < 4.0  # a cell is 6.7 mph


def test_splits_lose_different_frames_of_different_runs() -> None:
    sets = [RecurrentSpeed().examples(TrainingJob(Path(), 0.1), split, 80) for split in ("train", "validation", "test")]
    assert all(part["target"].shape == (8, 60, LANES) for part in sets)
    assert len({arrived(part["rows"]).tobytes() for part in sets}) == 3
    assert len({part["target"].tobytes() for part in sets}) == 3


def test_hidden_speeds_are_told_and_the_encoder_is_left(tmp_path: Path) -> None:
    outcome = small_run("recurrent-speed", tmp_path, 0.04, epochs=2, batch_size=4)
    metric = outcome.metrics[0]
    assert set(metric.baselines) == {"the mean", "MLP, 1 frame", "MLP, 4 frames", "MLP, 12 frames"}
    assert 0 < metric.value < 1.3 * metric.baselines["the mean"]
    assert pictures_are_small(outcome, tmp_path)
    assert isinstance(load_encoder(tmp_path / outcome.weights[0]), RecurrentEncoder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["scene-model", "traffic-model", "attention-lanes", "combined-speed", "memory-speed", "capsule-scene"]
)
def test_a_small_run_leaves_metrics_beside_baselines_plots_and_weights(name: str, tmp_path: Path) -> None:
    outcome = small_run(name, tmp_path, 0.04)
    assert outcome.metrics[0].baselines
    assert pictures_are_small(outcome, tmp_path)
    assert all((tmp_path / file).is_file() for file in outcome.weights)
