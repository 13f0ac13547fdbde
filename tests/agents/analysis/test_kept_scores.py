"""Kept scores: those of the runs, read the second time, and of another network never taken."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.analysis import kept_scores
from agents.analysis.kept_scores import KeptScores, digest
from agents.loader import load_policy
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.file import pack_policy, read_policy, write_policy
from deeptraffic.policies.network_policy import NetworkPolicy


def test_a_score_is_read_as_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, policy = KeptScores(tmp_path / "scores"), load_policy("accelerate")
    first = kept.evaluate(policy, 3, "reporting", 1)
    expected = evaluate_open(policy, other_agents=1, runs=3, seed_set="reporting")
    np.testing.assert_array_equal(first.run_speeds, expected.run_speeds)
    assert kept.evaluate(policy, 4, "reporting", 1).runs == 4 and kept.evaluate(policy, 3, "tuning", 1).runs == 3
    monkeypatch.setattr(kept_scores, "evaluate_open", lambda *_, **__: pytest.fail("measured twice"))
    again = kept.evaluate(policy, 3, "reporting", 1)
    assert again.to_json() == first.to_json() and again.unrounded_mean_mph == first.unrounded_mean_mph


def test_a_network_is_known_in_any_file_and_a_changed_one_is_another(tmp_path: Path) -> None:
    policy = load_policy("champion-ppo")
    assert isinstance(policy, NetworkPolicy)
    write_policy(tmp_path / "same.safetensors", pack_policy(policy.network, policy.sensor, "another label"))
    assert digest(read_policy(tmp_path / "same.safetensors").policy()) == digest(policy)
    name, tensor = next(iter(policy.network.tensors.items()))
    changed = replace(policy.network, tensors={**policy.network.tensors, name: tensor + 1e-6})
    assert digest(pack_policy(changed, policy.sensor, policy.label).policy()) != digest(policy)
    assert digest(load_policy("gap"), "a") != digest(load_policy("gap"), "b") != digest(load_policy("idle"), "b")
