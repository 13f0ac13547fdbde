"""Experiments on pretraining: the same initial weights and decisions, an encoder's file each, probes on stacks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from representation.beyond.pretraining import experiment
from representation.beyond.pretraining.experiment import OBSERVED, decisions
from representation.catalog import find_experiment
from representation.experiment import TrainingJob, run_experiment
from representation.registry import load_encoder


@pytest.fixture(autouse=True)
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "RUNS", {"train": 8, "validation": 8})


def test_decisions_are_followed_by_their_successors(tmp_path: Path) -> None:
    data = decisions(TrainingJob(tmp_path), "train")
    obs, following = (data[name].reshape(8, 60, 2, 35, 21) for name in ("obs", "next"))
    assert data["action"].shape == (480,)
    assert np.array_equal(obs[:, 1:], following[:, :-1])
    assert np.array_equal(obs[:, 1:, 0], obs[:, :-1, 1])  # a stack's older image is the newer one of the stack before
    assert not np.array_equal(obs[:, 1:, 1], obs[:, :-1, 1])


def test_pretraining_starts_from_the_weights_of_none_and_keeps_their_normalisation(tmp_path: Path) -> None:
    encoders = {}
    for name in ("none", "masked"):
        made = run_experiment(find_experiment(f"pretext-{name}"), TrainingJob(tmp_path / name, 0.02))
        assert made.metrics[0].name == "probe: ego lane, macro-F1"
        encoders[name] = load_encoder(tmp_path / name / made.weights[0])
        assert encoders[name].observed == OBSERVED
    assert torch.equal(encoders["none"].offset, encoders["masked"].offset)
    assert encoders["none"].digest() != encoders["masked"].digest()
    job = TrainingJob(tmp_path / "new", 0.02)
    again = job.new(lambda: experiment.new_encoder(decisions(job, "train")))
    assert again.digest() == encoders["none"].digest()
