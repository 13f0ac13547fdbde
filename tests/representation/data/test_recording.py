"""Recorded driving: the same each time, disjoint by seed, and what is observed is what the environment shows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.sim.engine import Simulator
from representation.data.recording import Recording, RecordingConfig, observe, observe_runs, record

SMALL = RecordingConfig(runs=10, decisions=6)


def same(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether game records agree in every field; what lies between the fields is nobody's."""
    return all(np.array_equal(first[name], second[name]) for name in first.dtype.names or ())


def test_recordings_are_the_same_each_time_and_a_prefix_of_longer_ones() -> None:
    first, again = record(SMALL), record(SMALL)
    assert same(first.states, again.states)
    assert first.states.shape == (10, 7)
    assert first.actions.shape == first.rewards.shape == first.speeds.shape == (10, 6)
    longer = record(replace(SMALL, decisions=8))
    assert same(longer.states[:, :7], first.states)


def test_each_state_follows_from_the_one_before_by_the_recorded_action(driving: Recording) -> None:
    sim = Simulator(driving.rules, len(driving.states))
    sim.set_state(driving.states[:, 3].copy())
    sim.step(driving.actions[:, 3])
    assert same(sim.games, driving.states[:, 4])
    assert np.array_equal(sim.games["reward"], driving.rewards[:, 3])
    assert driving.speeds[:, 3] == pytest.approx(20.0 * (60.0 + 20.0 * driving.rewards[:, 3]) / 30.0)


def test_splits_and_their_parts_share_no_run() -> None:
    configs = [replace(SMALL, split=split) for split in ("train", "validation", "test")] + [replace(SMALL, first=10)]
    seeds = [set(config.seeds) for config in configs]
    assert sum(map(len, seeds)) == len(set.union(*seeds)) == 40


def test_an_observation_is_that_of_the_environment() -> None:
    env = DeepTrafficEnv(observation="grid")
    shown, _ = env.reset(seed=RecordingConfig(runs=1).seeds[0])
    recording = record(replace(SMALL, runs=1))
    assert np.array_equal(observe(recording.rules, recording.states[:, :1], "grid")[0, 0], shown)


@pytest.mark.parametrize(
    "observation",
    [
        {"kind": "grid", "temporal_window": 2},
        {"kind": "gaps", "temporal_window": 1},
        {"kind": "gaps", "latency": 2, "drop_rate": 0.3},
        {"kind": "kinematics", "latency": 1},
    ],
    ids=["stack", "window", "late and lossy", "late parts"],
)
def test_observations_along_a_run_are_those_of_the_environment(observation: dict[str, Any]) -> None:
    recording = record(replace(SMALL, runs=1))
    seen = observe_runs(recording, observation)
    env = DeepTrafficEnv(observation=observation)
    shown, _ = env.reset(seed=SMALL.seeds[0])
    for t in range(SMALL.decisions + 1):
        parts = shown.items() if isinstance(shown, dict) else [("", shown)]
        for name, part in parts:
            assert np.array_equal(part, (seen[name] if name else seen)[0, t]), (name, t)
        if t < SMALL.decisions:
            shown = env.step(int(recording.actions[0, t]))[0]


def test_observations_keep_the_shape_of_the_states_in_front(driving: Recording) -> None:
    assert observe(driving.rules, driving.states[:2, :3], "gaps").shape == (2, 3, 42)
    seen = observe(driving.rules, driving.states[0], {"kind": "kinematics", "nearest": 4})
    assert seen["vehicles"].shape == (21, 4, 6)


def test_behaviour_is_a_mixture(driving: Recording) -> None:
    always = np.mean(driving.actions == 1, axis=1)
    assert always[1::5].mean() > 0.7  # the driver that accelerates
    assert always[2::5].mean() < 0.4  # the one at random
    assert len(np.unique(driving.actions)) == 5


def test_a_cache_gives_the_same_recording_and_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    first = record(SMALL, tmp_path)
    file = next(tmp_path.glob("recording-*.npz"))
    assert same(record(SMALL, tmp_path).states, first.states)
    file.write_bytes(file.read_bytes()[:1000])
    assert same(record(SMALL, tmp_path).states, first.states)
    assert file.stat().st_size > 1000


def test_unknown_drivers_and_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', 'test', got 'all'"):
        RecordingConfig(split="all")
    with pytest.raises(ValueError, match=r"drivers=\('taxi',\) is not possible; choose from idle"):
        RecordingConfig(drivers=("taxi",))
