"""The planner: its arithmetic by hand, what it may not do, and that thinking pays."""

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.compiled.network import layer_params
from agents.lane_network import CANDIDATES, VALUE_SCALE, LaneNetwork
from agents.planner import NEVER, Planner, PlannerConfig, evidence, log_probabilities, mean_of
from deeptraffic.envs.masks import action_masks
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Action, Sensor
from deeptraffic.sim.state import F64

SENSOR = Sensor(1, 6, 2)
ONWARD, LEFT, RIGHT = range(3)  # candidates


def fixed_network(advantages: tuple[float, float, float], value: float = 0.0) -> LaneNetwork:
    """A network that says the same of every state."""
    network = LaneNetwork(SENSOR, 1, [], "relu")
    layer_params(network.net.dense)[-1]["bias"][:] = *advantages, value / VALUE_SCALE
    return network


def planner_of(advantages: tuple[float, float, float], **settings: float) -> Planner:
    config = PlannerConfig(**{"rollouts": 2, "depth": 2} | settings)  # type: ignore[arg-type]
    return Planner(fixed_network(advantages), SENSOR, config)


def waiting_simulator(count: int) -> Simulator:
    sim = Simulator(RULES_2018, count, threads=1)
    sim.reset_open(range(count))
    for _ in range(6):
        sim.step(np.full(count, int(Action.ACCELERATE)))
    return sim


def give_returns(planner: Planner, monkeypatch: pytest.MonkeyPatch, worth: F64) -> None:
    """Let every rollout of plan k earn worth[k]."""

    def returns(sim: Simulator, rows: NDArray, tried: NDArray, *_: object) -> F64:
        return np.where(tried, worth, np.nan)[:, :, None].repeat(2, 2)

    monkeypatch.setattr(planner._rollouts, "returns", returns)


def test_probabilities_are_a_softmax_of_what_is_tried() -> None:
    found = log_probabilities(np.array([[1.0, 2.0, 3.0]]), np.array([[True, False, True]]))
    # e^1 / (e^1 + e^3) and e^3 / (e^1 + e^3)
    np.testing.assert_allclose(np.exp(found[0, [0, 2]]), [0.11920292, 0.88079708], rtol=1e-6)
    assert found[0, 1] < -1e8


def test_evidence_is_the_lead_in_units_of_its_error() -> None:
    returns = np.array([[[1.0, 2.0], [2.0, 5.0], [np.nan, np.nan]]])
    # leads over the first: 1 and 3, mean 2, spread 1, standard error 1 / sqrt 2
    expected = 2.0 / (0.5 + 1.0 / np.sqrt(2.0))
    np.testing.assert_allclose(evidence(returns, np.array([0]), 0.5), [[0.0, expected, NEVER]])


def test_means_leave_out_what_was_not_tried_again() -> None:
    returns = np.array([[[1.0, 3.0, np.nan], [np.nan, np.nan, np.nan], [4.0, 4.0, 7.0]]])
    np.testing.assert_array_equal(mean_of(returns), [[2.0, np.nan, 5.0]])


def test_a_lane_change_that_would_be_refused_is_never_picked() -> None:
    planner, sim = planner_of((0.0, 5.0, 5.0)), waiting_simulator(60)
    planner.attach(sim)
    cells = sim.sense(SENSOR).astype(np.float64)
    actions = planner.act(cells, np.arange(60))
    allowed = action_masks(sim).astype(bool)
    refused = ~allowed[:, [Action.LEFT, Action.RIGHT]]
    assert refused.any(1).sum() > 20 and refused.all(1).sum() >= 1  # else this would test nothing
    assert allowed[np.arange(60), actions][actions != Action.ACCELERATE].all()
    assert np.all(actions[refused.all(1)] == Action.ACCELERATE)


@pytest.mark.parametrize("plan_length", [1, 2])
@pytest.mark.parametrize(("advantages", "favourite"), [((3.0, 1.0, 0.0), ONWARD), ((0.0, 1.0, 2.0), RIGHT)])
def test_equal_returns_leave_the_choice_to_the_network(
    monkeypatch: pytest.MonkeyPatch, advantages: tuple[float, float, float], favourite: int, plan_length: int
) -> None:
    planner, sim = planner_of(advantages, plan_length=plan_length), waiting_simulator(40)
    planner.attach(sim)
    give_returns(planner, monkeypatch, np.full(len(planner.plans), 1.5))
    prior = np.tile(np.array(advantages, np.float32), (40, 1))
    free = action_masks(sim)[:, CANDIDATES[1:]].all(1)
    assert free.sum() >= 3
    assert np.all(planner.plan(sim.env_indices, prior)[free] == favourite)


@pytest.mark.parametrize("plan_length", [1, 2])
def test_a_clear_lead_outweighs_the_network_and_a_doubtful_one_does_not(
    monkeypatch: pytest.MonkeyPatch, plan_length: int
) -> None:
    temperatures = {"prior_temperature": 0.2, "temperature": 0.1}
    planner, sim = planner_of((1.0, 0.0, 0.0), plan_length=plan_length, **temperatures), waiting_simulator(40)
    planner.attach(sim)
    free = action_masks(sim)[:, CANDIDATES[1:]].all(1)
    prior = np.tile(np.array([1.0, 0.0, 0.0], np.float32), (40, 1))
    begins_left = (planner.plans[:, 0] == LEFT).astype(float)
    # the network prefers going on by 1 / 0.2 = 5 in the logarithm: a lead must exceed 5 * 0.1
    for lead, expected in ((0.6, LEFT), (0.4, ONWARD)):
        give_returns(planner, monkeypatch, lead * begins_left)
        assert np.all(planner.plan(sim.env_indices, prior)[free] == expected)


def test_scores_are_labelled_privileged_and_repeat() -> None:
    planner = planner_of((0.1, 0.0, 0.0))
    first, second = (evaluate_open(planner, runs=3, frames=300) for _ in range(2))
    assert first.to_json()["access"] == "privileged"
    np.testing.assert_array_equal(first.run_speeds, second.run_speeds)


@pytest.mark.slow
def test_planning_beats_its_network() -> None:
    planner = planner_of((0.01, 0.0, 0.0), rollouts=8, depth=4)
    thinking, alone = (evaluate_open(driver, runs=16).mean_mph for driver in (planner, make_builtin("accelerate")))
    assert thinking > alone + 10.0
