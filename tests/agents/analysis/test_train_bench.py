"""The training bench: whole iterations, from the first update on, ours beside SB3's defaults."""

import itertools
import time
from functools import partial

import pytest
from stable_baselines3 import PPO

from agents.analysis import train_bench
from agents.analysis.train_bench import Stopwatch, TrainingSpeed, measure_training
from agents.settings import build_config


def test_an_agent_is_measured_beside_the_defaults_of_stable_baselines3(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"num_envs": 8, "n_steps": 8, "batch_size": 32, "n_epochs": 1}
    monkeypatch.setattr(
        train_bench, "build_config", lambda name, settings=(): build_config(name, settings=small | dict(settings))
    )
    shorter = partial(PPO, n_steps=128, n_epochs=1)  # the defaults' 2,048 take seconds
    monkeypatch.setitem(train_bench.SB3_DEFAULTS, "ppo", shorter)
    ours, compiled, theirs = measure_training(0.05, ["ppo"])
    assert [(s.name, s.defaults, s.num_envs) for s in (ours, compiled, theirs)] == [
        ("ppo", "deeptraffic", 8),
        ("ppo", "deeptraffic, compiled", 8),
        ("ppo", "stable-baselines3", 1),
    ]
    assert ours.decisions % 64 == 0 and compiled.decisions % 64 == 0 and theirs.decisions % 128 == 0  # iterations
    for found in (ours, compiled):
        assert found.decisions >= 64 and found.seconds >= 0.05
        assert found.decisions_per_cpu_second > theirs.decisions_per_cpu_second


def test_what_comes_before_the_first_update_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        num_timesteps, _n_updates = 0, 0

    clock = itertools.count(0.0, 1.0)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(time, "process_time", lambda: 0.5 * Model.num_timesteps)
    watch = Stopwatch(2.0)
    watch.model = Model()  # type: ignore[assignment]
    going_on = []
    for Model.num_timesteps, Model._n_updates in ((0, 0), (10, 0), (20, 1), (30, 2), (40, 3)):
        watch._on_rollout_start()
        going_on.append(watch._on_step())
    assert going_on == [True, True, True, True, False]
    assert watch.measured() == (20, 2.0, 10.0)
    assert TrainingSpeed("ppo", "deeptraffic", 1, 0, 20, 2.0, 10.0).to_json()["decisions_per_cpu_second"] == 2.0
