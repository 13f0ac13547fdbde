"""The one loader of policies: names, files and folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from agents.champions.registry import CHAMPIONS
from agents.config import TrainConfig
from agents.loader import POLICY_NAMES, load_network, load_policy
from agents.settings import build_config
from agents.trainer import make_learner, train
from deeptraffic.policies.builtin import BUILTINS


def test_names_are_the_built_in_ones_and_the_champions() -> None:
    assert set(POLICY_NAMES) == {*BUILTINS, *CHAMPIONS}
    assert [load_policy(name).label for name in ("gap", "champion-ppo")] == ["gap", "champion-ppo"]


def test_what_is_nothing_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no policy 'gaps'.*idle.*champion"):
        load_policy("gaps")
    with pytest.raises(ValueError, match="holds no training run"):
        load_policy(tmp_path)


@pytest.mark.parametrize("algo", ["pqn", "recurrent_ppo", "deepqlearn"])
def test_a_learners_content_is_its_policy(small_config: Callable[..., TrainConfig], algo: str) -> None:
    settings = {"total_timesteps": 128, "temporal_window": 1}
    config = build_config(algo, settings=settings) if algo == "deepqlearn" else small_config(algo)
    learner = make_learner(config)
    learner.learn(128, lambda: None)
    policy, again = learner.policy("mine", {}), load_network(learner.content("mine", {}), config.to_json(), "mine")
    assert (again.label, again.rules, again.other_agents) == (policy.label, policy.rules, policy.other_agents)
    size = policy.sensor.size if algo != "recurrent_ppo" else 42
    obs, rows = np.random.default_rng(0).random((9, size)).astype(np.float32), np.arange(9)
    for each in (policy, again):
        each.reset(rows)
    np.testing.assert_array_equal(policy.act(obs, rows), again.act(obs, rows))


def test_a_run_is_loaded_with_its_name_and_notes(
    tmp_path: Path, small_config: Callable[..., TrainConfig], quiet: Console
) -> None:
    result = train(small_config("ppo"), tmp_path / "mine", quiet)
    policy = load_policy(tmp_path / "mine")
    assert policy.label == "ppo mine" and policy.notes["decisions"] == str(result.best_at)
