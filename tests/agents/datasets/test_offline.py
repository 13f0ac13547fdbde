"""Offline learning: losses by hand, the same weights whether interrupted or not, and cloning finds a rule."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents.algorithms import bc, cql
from agents.datasets.config import BLOCK, DatasetConfig
from agents.datasets.offline import ROUND, Minibatch, OfflineLearner
from agents.datasets.recording import play_block
from agents.datasets.store import Transitions
from agents.registry import ALGORITHMS
from agents.settings import build_config
from agents.trainer import make_learner

LOSSES: dict[str, Callable[..., Any]] = {"bc": bc.loss, "cql": cql.loss}


@pytest.fixture(scope="module")
def data() -> Transitions:
    block = play_block(DatasetConfig(policies=("gap",), episodes=BLOCK, max_steps=67), 0)
    parts = (block.obs[:, :-1].reshape(-1, 42), block.actions.ravel())
    return Transitions(*parts, block.rewards.ravel().astype(np.float32), block.obs[:, 1:].reshape(-1, 42), "digest")


def learner(algo: str, data: Transitions, **settings: Any) -> OfflineLearner:
    config = build_config(algo, settings={"batch_size": 32, "hidden": [16], "seed": 3} | settings)
    return OfflineLearner(config, LOSSES[algo], data)


def table(values: list[list[float]]) -> nn.Sequential:
    """A network whose values for one-hot observations are these rows."""
    made = nn.Sequential(nn.Linear(len(values), 5, bias=False))
    made[0].weight.data = torch.tensor(values, dtype=torch.float32).T.clone()
    return made


BATCH = Minibatch(torch.eye(2)[:1], torch.tensor([1]), torch.tensor([2.0]), torch.eye(2)[1:])


def test_cloning_minimises_the_cross_entropy_of_the_actions(data: Transitions) -> None:
    made = learner("bc", data)
    made.acting = table([[0.0, np.log(3.0), 0.0, 0.0, 0.0], [0.0] * 5])
    assert float(bc.loss(made, BATCH)) == pytest.approx(-np.log(3.0 / 7.0))


def test_the_conservative_loss_is_its_formula(data: Transitions) -> None:
    made = learner("cql", data, gamma=0.5, alpha=0.1, tau=0.5)
    made.acting = table([[0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 6.0, 0.0, 0.0]])
    made.target = table([[0.0] * 5, [9.0, 0.0, 2.0, 0.0, 0.0]])
    # The target moves half way to the network: 4 for action 2, which the network prefers. 2 + 0.5 * 4 - 1 = 3.
    expected = 0.5 * 3.0**2 + 0.1 * (np.log(np.e + 4.0) - 1.0)
    assert float(cql.loss(made, BATCH)) == pytest.approx(expected)


@pytest.mark.parametrize("algo", LOSSES)
def test_a_restored_learner_goes_on_as_if_never_stopped(algo: str, data: Transitions) -> None:
    whole, begun, later = (learner(algo, data) for _ in range(3))
    size = ROUND * 32
    whole.learn(2 * size, lambda: None)
    begun.config = whole.config

    def stop() -> None:
        if begun.decisions >= size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begun.learn(2 * size, stop)
    later.restore(begun.state())
    later.learn(2 * size, lambda: None)
    assert later.decisions == whole.decisions == 2 * size
    for name, weights in whole.weights().items():
        assert np.array_equal(weights, later.weights()[name]), name


def test_other_data_are_refused(data: Transitions) -> None:
    state = learner("bc", data).state()
    with pytest.raises(ValueError, match="not the one that this run began with"):
        learner("bc", data._replace(digest="other")).restore(state)
    with pytest.raises(ValueError, match="bc needs a data set: --dataset NAME"):
        make_learner(build_config("bc"))
    with pytest.raises(ValueError, match="bc learns from gaps or vector"):
        build_config("bc", settings={"kind": "slow"})


def test_cloning_finds_a_rule_in_the_data(data: Transitions) -> None:
    made = learner("bc", data, hidden=[64], learning_rate=3e-3)
    made.learn(800 * 32, lambda: None)
    with torch.no_grad():
        found = made.acting(torch.from_numpy(data.obs)).argmax(1).numpy()
    assert np.mean(found == data.actions) > 0.85
    assert np.mean(data.actions == np.bincount(data.actions).argmax()) < 0.8  # one action for all is not the rule
    assert made.policy("cloned", {}).act(np.zeros((1, 420)), np.arange(1)).shape == (1,)


def test_the_registry_lists_them_as_offline() -> None:
    assert [name for name, entry in ALGORITHMS.items() if entry.kind == "offline"] == list(LOSSES)
