"""Insights of real policies: kinds, masks and probabilities."""

import numpy as np
import pytest

from agents.champions.registry import CHAMPIONS
from agents.loader import load_policy
from deeptraffic.episodes.decision import NOT_ASKED, Insight
from deeptraffic.episodes.trace import Start
from deeptraffic.evaluation.episodes import policy_episode
from deeptraffic.insight.recorder import InsightRecorder, action_values
from deeptraffic.policies.base import UNKNOWN, ValueKind
from deeptraffic.policies.file import pack_network_policy
from deeptraffic.render.layers import watch_decisions
from deeptraffic.sim.rules import Action, RoadConfig

KINDS = {
    "champion": "difference",
    "champion-solo": "difference",
    "champion-ppo": "probability",
    "champion-pqn": "value",
    "champion-world-model": "probability",
    "champion-planner": "probability",
    "champion-cnn": "probability",
    "champion-rnn": "probability",
    "champion-detector": "difference",
    "champion-autoencoder": "difference",
    "champion-attention": "probability",
}


def watched(name: str, frames: int = 95) -> Insight:
    policy = load_policy(name)
    road = RoadConfig(rules=policy.rules, other_agents=policy.other_agents).build()
    recorder = InsightRecorder(policy)
    watch_decisions(policy_episode(policy, road, Start.open(1), frames), [recorder]).finish()
    insight = recorder()
    assert insight is not None
    return insight


def test_every_champion_is_listed():
    assert set(KINDS) == set(CHAMPIONS)


@pytest.mark.parametrize("name", KINDS)
def test_champions_say_what_their_values_are(name):
    values = watched(name).values
    assert values is not None and values.kind == KINDS[name]
    assert values.unit == ("" if values.kind == "probability" else "reward")
    assert np.abs(values.values).max() < 500, "an action that is no candidate keeps its -1000"
    if values.kind == "probability":
        assert values.values.sum() == pytest.approx(1.0)
    if values.kind == "difference":
        assert values.candidates.tolist() == [False, True, False, True, True]
        assert values.text(Action.NOTHING) == "ruled out" and values.fraction(Action.NOTHING) == 0.0


def test_the_greatest_value_is_the_chosen_action_s():
    for name in ("champion-solo", "champion-ppo", "champion-pqn"):
        insight = watched(name)
        assert np.where(insight.values.candidates, insight.values.values, -np.inf).argmax() == insight.action


def test_outputs_that_are_ruled_out_leave_the_last_layer_s_colours_alone():
    assert np.abs(watched("champion-solo").layers[-1]).max() < 500


def test_a_network_that_was_not_asked_has_no_candidates():
    values = action_values(np.full(5, np.nan), UNKNOWN)
    assert not values.candidates.any() and Insight([], values, 0).note == NOT_ASKED and values.text(1) == ""


def test_a_softmax_layer_s_probabilities_are_shown_as_they_are():
    given = np.array([0.1, 0.2, 0.3, 0.4, 0.0])
    assert np.array_equal(action_values(given, ValueKind("probability")).values, given)


def test_a_policy_file_keeps_the_kind():
    for name in ("champion-ppo", "champion-pqn", "champion-solo"):
        policy = load_policy(name)
        assert pack_network_policy(policy).policy().value_kind == policy.value_kind != UNKNOWN
