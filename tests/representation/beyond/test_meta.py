"""Reptile: its step is that of the paper, and its first weights learn a new task faster than others."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from representation.beyond.meta import INNER_STEPS, JOINT, SCRATCH, MetaLearning, adapted, reptile, take_steps
from representation.encoders.dense import DenseEncoder
from representation.experiment import TrainingJob, run_experiment
from representation.supervised import Classifier


def new_model(inputs: int = 42) -> Classifier:
    torch.manual_seed(0)
    return Classifier(DenseEncoder(spaces.Box(-np.inf, np.inf, (inputs,), np.float32), 32, hidden=(32,)), 5)


def turned(angle: float, count: int, seed: int) -> dict[str, Any]:
    """A task: points in a plane, in five sectors that begin at an angle."""
    points = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    sector = np.floor((np.arctan2(points[:, 1], points[:, 0]) - angle) / (2 * np.pi / 5)).astype(np.int64) % 5
    return {"obs": points, "label": sector}


def right(model: Classifier, task: dict[str, Any]) -> float:
    return float((model.predict(task["obs"]).argmax(1) == task["label"]).mean())


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_one_round_moves_a_part_of_the_way_to_the_task() -> None:
    model, task = new_model(2), turned(0.3, 100, 0)
    before = flat(model)
    there = copy.deepcopy(model)
    random = np.random.default_rng(0)
    random.integers(1)  # the choice of the task
    take_steps(there, task, INNER_STEPS, random, 1e-2)
    reptile(model, [task], rounds=1, learning_rate=1e-2)
    assert torch.allclose(flat(model), before + 0.5 * (flat(there) - before), atol=1e-6)


def test_its_first_weights_learn_a_new_task_faster_than_fresh_ones() -> None:
    model = new_model(2)
    tasks = [turned(angle, 300, k) for k, angle in enumerate(np.linspace(0.0, 1.2, 8))]
    fresh = copy.deepcopy(model)
    reptile(model, tasks, rounds=100, learning_rate=5e-3)
    few, many = turned(0.5, 30, 100), turned(0.5, 500, 101)
    scores = [right(adapted(start, few, 10, 5e-3), many) for start in (model, fresh)]
    assert scores[0] > scores[1] + 0.2


def test_shuffled_tasks_are_no_start() -> None:
    model = new_model(2)
    random = np.random.default_rng(0)
    tasks = [turned(angle, 300, k) for k, angle in enumerate(np.linspace(0.0, 1.2, 8))]
    tasks = [{**task, "label": random.permutation(task["label"])} for task in tasks]
    fresh = copy.deepcopy(model)
    reptile(model, tasks, rounds=100, learning_rate=5e-3)
    few, many = turned(0.5, 30, 100), turned(0.5, 500, 101)
    scores = [right(adapted(start, few, 10, 5e-3), many) for start in (model, fresh)]
    assert scores[0] < scores[1] + 0.1


def test_adapting_leaves_the_start_as_it_was_and_repeats_itself() -> None:
    model, task = new_model(2), turned(0.3, 100, 0)
    before = flat(model)
    first, second = (flat(adapted(model, task, 20)) for _ in range(2))
    assert torch.equal(flat(model), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, before)
    assert torch.equal(flat(adapted(model, task, 0)), before)


@pytest.mark.slow  # other roads than the contest's are compiled anew
def test_adaptation_is_measured_beside_other_starts(tmp_path: Path) -> None:
    (metric,) = run_experiment(MetaLearning(), TrainingJob(tmp_path, 0.008)).metrics
    assert set(metric.baselines) == {JOINT, SCRATCH}
