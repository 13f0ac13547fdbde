"""Many policies in one go score what each scores alone, whatever else goes on beside it."""

import threading
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from deeptraffic.evaluation import batch as batch_evaluation
from deeptraffic.evaluation.batch import EvaluationCancelled, Outcome, Plan, PolicySource, evaluate_many, score_policy
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol, evaluate_official, evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.layers import Dense, Gru, Relu
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy, input_size
from deeptraffic.sim.rules import Sensor

SENSOR = Sensor(1, 10, 0)
RECURRENT = 99  # the number of a policy that remembers by a layer


def network_policy(number: int, window: int = 0, seed: int | None = None, others: int = 0) -> NetworkPolicy:
    """A small network with weights of its own."""
    random = np.random.default_rng(number)
    inputs = input_size(SENSOR, window)
    first = Gru(hidden=6) if number == RECURRENT else Dense(outputs=6)
    shapes = first.tensor_shapes([(inputs,)])
    tensors = {f"1.{name}": random.normal(0.0, 0.4, shape) for name, shape in shapes.items()}
    tensors |= {"3.weight": random.normal(0.0, 1.0, (5, 6)), "3.bias": random.normal(0.0, 0.1, 5)}
    network = Network(inputs, (first, Relu(), Dense(outputs=5)), tensors)
    return NetworkPolicy(f"policy {number}", network, SENSOR, window, other_agents=others, seed=seed)


def assert_equal(one: Score, other: Score) -> None:
    """To the last bit: the speeds before rounding."""
    assert one.run_speeds is not None and other.run_speeds is not None
    assert np.array_equal(one.run_speeds, other.run_speeds)
    assert np.array_equal(one.run_passed, other.run_passed)
    assert one.to_json() | {"seconds": 0} == other.to_json() | {"seconds": 0}


@pytest.fixture
def short_official(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=15, frames=2000, block=5))


MAKERS: list[Callable[[], Policy]] = [
    partial(network_policy, 0),
    partial(network_policy, 1, window=2, others=3),
    partial(network_policy, 2, others=2),
    partial(network_policy, 3, seed=7, others=1),
    partial(network_policy, 4, window=1, seed=8),
    partial(network_policy, 5, window=1),
    partial(make_builtin, "gap"),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("protocol", ["open", "official"])
def test_scores_equal_those_of_one_by_one(protocol: str, threads: int, short_official: None) -> None:
    assert_equal_to_one_by_one(MAKERS, Plan(protocol, runs=60), threads)


@pytest.mark.slow  # recurrent layers take long to compile
@pytest.mark.parametrize("protocol", ["open", "official"])
def test_scores_of_recurrent_networks_equal_those_of_one_by_one(protocol: str, short_official: None) -> None:
    makers = [partial(network_policy, RECURRENT), partial(network_policy, RECURRENT, window=1, others=2, seed=3)]
    assert_equal_to_one_by_one(makers, Plan(protocol, runs=60), 2)


def assert_equal_to_one_by_one(makers: list[Callable[[], Policy]], plan: Plan, threads: int) -> None:
    entries = [PolicySource(str(k), make) for k, make in enumerate(makers)]
    outcomes = {outcome.name: outcome for outcome in evaluate_many(entries, plan, threads)}
    assert len(outcomes) == len(makers)
    for k, make in enumerate(makers):
        policy = make()
        rules, others = plan.game(policy)
        alone = evaluate_official(policy, rules, others) if plan.protocol == "official" else None
        score = outcomes[str(k)].score
        assert score is not None
        assert_equal(score, alone or evaluate_open(policy, rules, others, plan.runs))
    assert len({outcome.score.mean_mph for outcome in outcomes.values() if outcome.score}) == len(makers)


def test_open_runs_do_not_depend_on_how_many_go_before_a_look_around(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, policy = Plan("open", runs=20), network_policy(3, seed=7, others=1)
    whole = score_policy(policy, plan)
    monkeypatch.setattr(batch_evaluation, "RUNS_BEFORE_STOP", 3)
    assert_equal(whole, score_policy(policy, plan))


def test_bad_policies_are_faults_by_name_and_end_nothing() -> None:
    def broken() -> Policy:
        raise ValueError("the header does not start with {")

    def missing() -> Policy:
        raise FileNotFoundError("it is gone")

    entries = [PolicySource("a", broken), PolicySource("b", partial(network_policy, 0)), PolicySource("c", missing)]
    outcomes = {outcome.name: outcome for outcome in evaluate_many(entries, Plan("open", runs=2))}
    assert outcomes["a"] == Outcome("a", error="the header does not start with {")
    assert outcomes["c"].error == "it is gone"
    assert outcomes["b"].score is not None


def test_more_other_agents_than_a_policys_rules_allow_is_that_policys_fault() -> None:
    entries = [
        PolicySource("old", lambda: _with_rules(network_policy(1), 2017)),
        PolicySource("new", partial(network_policy, 0)),
    ]
    outcomes = {outcome.name: outcome for outcome in evaluate_many(entries, Plan("open", other_agents=2, runs=2))}
    assert "2017" in (outcomes["old"].error or "")
    assert outcomes["new"].score is not None and outcomes["new"].score.other_agents == 2


def _with_rules(policy: NetworkPolicy, rules: int) -> NetworkPolicy:
    policy.rules = rules
    return policy


def test_policies_drive_under_their_own_rules_unless_the_plan_says_otherwise() -> None:
    old, busy = _with_rules(network_policy(0), 2017), network_policy(1, others=3)
    assert [Plan().game(policy) for policy in (old, busy, make_builtin("idle"))] == [(2017, 0), (2018, 3), (2018, 0)]
    assert Plan(rules=2017).game(busy) == (2017, 0)
    assert Plan(other_agents=5).game(busy) == (2018, 5)


def test_policies_are_read_as_their_turn_comes_and_the_rest_left_when_nobody_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    stops: list[threading.Event] = []

    def note_stop(policy: Policy, plan: Plan, stop: threading.Event) -> Score:
        stops.append(stop)
        return score_policy(policy, plan, stop)

    def load(k: int) -> Policy:
        read.append(k)
        if k == 1:
            assert stops[0].wait(30)
        return network_policy(k)

    monkeypatch.setattr(batch_evaluation, "score_policy", note_stop)
    outcomes = evaluate_many(
        [PolicySource(str(k), partial(load, k)) for k in range(100)], Plan("open", runs=1), threads=1
    )
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert read in ([0], [0, 1])  # what was being read, and nothing after it


def test_a_score_that_nobody_waits_for_is_left() -> None:
    stop = threading.Event()
    stop.set()
    for protocol in ("official", "open"):
        for policy in (network_policy(0), make_builtin("gap")):
            with pytest.raises(EvaluationCancelled):
                score_policy(policy, Plan(protocol, runs=2), stop)


def test_progress_counts_every_entry_once() -> None:
    seen: list[tuple[int, int]] = []
    entries = [PolicySource(str(k), partial(network_policy, k)) for k in range(5)]
    list(evaluate_many(entries, Plan("open", runs=1), progress=lambda *counts: seen.append(counts)))
    assert seen == [(k, 5) for k in range(1, 6)]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"protocol": "secret"}, "secret"),
        ({"protocol": "open", "runs": 0}, "runs=0"),
        ({"protocol": "open", "seed_set": "mine"}, "tuning, reporting"),
        ({"rules": 2019}, "one of 2017, 2018"),
        ({"other_agents": 11}, "in \\[0, 10\\], got 11"),
    ],
)
def test_impossible_plans_are_refused(settings: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Plan(**settings)
