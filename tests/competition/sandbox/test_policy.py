"""A submission in its locked child drives exactly as it does in this process."""

import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from deeptraffic.competition.evaluation import evaluate_private
from deeptraffic.competition.sandbox.policy import SandboxedPolicy
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol, evaluate_official, evaluate_open
from deeptraffic.evaluation.replays import ActionLog
from deeptraffic.policies.file import PolicyFile, pack_policy, policy_content, read_policy
from deeptraffic.policies.layers import Dense, Gru, Relu, Tanh
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor

SENSOR = Sensor(1, 6, 2)


def policy_file(
    window: int = 0, recurrent: bool = False, sample_seed: int | None = None, epsilon: float = 0.0
) -> PolicyFile:
    """A policy of random weights that uses what it observes, remembers and samples."""
    inputs = SENSOR.size * (window + 1) + 5 * window
    layers = (Gru(hidden=6), Tanh(), Dense(outputs=5)) if recurrent else (Dense(outputs=6), Relu(), Dense(outputs=5))
    network = Network.__new__(Network)
    object.__setattr__(network, "inputs", inputs)
    object.__setattr__(network, "layers", layers)
    rng = np.random.default_rng(3)
    tensors = {name: rng.normal(size=shape) for name, shape in network.tensor_shapes().items()}
    return pack_policy(
        Network(inputs, layers, tensors), SENSOR, "drives", window, 2018, 2, sample_seed, epsilon=epsilon
    )


POLICIES = {
    "network": policy_file(),
    "window": policy_file(window=2),
    "recurrent": policy_file(recurrent=True),
    "sampled": policy_file(sample_seed=7),
    "random actions": policy_file(window=2, epsilon=0.3),
}


@pytest.fixture(scope="module", params=POLICIES)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[object, SandboxedPolicy]]:
    content = policy_content(POLICIES[request.param])
    with SandboxedPolicy(content) as sandboxed:
        yield read_policy(content).policy(), sandboxed


@pytest.mark.parametrize("other_agents", [0, 3])
def test_official_runs_are_the_same_to_the_last_digit(
    pair: tuple, other_agents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=20, frames=2000, block=5))
    here, there = (evaluate_official(policy, other_agents=other_agents) for policy in pair)
    assert np.array_equal(here.run_scores, there.run_scores)
    assert np.array_equal(here.run_passed, there.run_passed)


@pytest.mark.slow
@pytest.mark.parametrize("other_agents", [0, 10])
def test_the_whole_official_evaluation_is_the_same_to_the_last_digit(pair: tuple, other_agents: int) -> None:
    here, there = (evaluate_official(policy, other_agents=other_agents) for policy in pair)
    assert (here.score, list(here.run_scores)) == (there.score, list(there.run_scores))
    assert np.array_equal(here.run_passed, there.run_passed)


def test_random_actions_of_private_runs_do_not_depend_on_the_batch() -> None:
    packed, seeds = POLICIES["random actions"], [2**41, 2**42, 2**43, 2**44, 2**45]
    scores = [
        evaluate_private(packed.policy(), 2018, 2, seeds, lambda done, total: None, batch).run_scores
        for batch in (2, 3, 100)
    ]
    assert scores[0].tolist() == scores[1].tolist() == scores[2].tolist()
    with SandboxedPolicy(policy_content(packed)) as policy:
        there = evaluate_private(policy, 2018, 2, seeds, lambda done, total: None, 2)
    assert there.run_scores.tolist() == scores[0].tolist()


@pytest.mark.parametrize("other_agents", [0, 3])
def test_open_runs_are_the_same_to_the_last_digit(pair: tuple, other_agents: int) -> None:
    here, there = (evaluate_open(policy, other_agents=other_agents, runs=40) for policy in pair)
    assert np.array_equal(here.run_scores, there.run_scores)


def test_what_the_worker_knows_of_a_policy_is_its_label_its_sensor_and_what_it_was_made_for(pair: tuple) -> None:
    here, there = pair
    for name in ("label", "observation", "rules", "other_agents", "access", "epsilon"):
        assert getattr(here, name) == getattr(there, name)


@pytest.mark.parametrize("compiled", [True, False])
def test_decisions_of_official_runs_are_kept_as_a_log_around_the_policy_would(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=4, frames=2000, block=2))
    content = policy_content(POLICIES["window"])
    log = ActionLog(read_policy(content).policy())
    evaluate_official(log, other_agents=2)
    with SandboxedPolicy(content) as policy:
        evaluate_official(policy if compiled else ActionLog(policy), other_agents=2)
        assert zlib.compress(bytes(policy.decisions), 9) == log.packed()
