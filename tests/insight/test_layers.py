"""Layers that explain a decision: what they find in known scenes, and where they draw it."""

import copy

import gymnasium
import numpy as np
import pytest

import deeptraffic  # noqa: F401  # registers the environments
from agents.loader import load_policy
from deeptraffic.episodes.trace import Start
from deeptraffic.evaluation.episodes import policy_episode
from deeptraffic.insight.attention import COLOUR, AttentionLines, hide, weigh
from deeptraffic.insight.futures import DECISIONS, Futures, speed_colour
from deeptraffic.insight.lane_values import LaneValues
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.render.layers import LayerContext, make_layer, watch_decisions
from deeptraffic.render.painter import Painter
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Action, RoadConfig, Sensor
from deeptraffic.sim.state import PAD

POLICIES = (
    "gap",
    "random",
    "champion",
    "champion-solo",
    "champion-ppo",
    "champion-rnn",
    "champion-cnn",
    "champion-attention",
    "champion-planner",
)


class OneCarWatcher(Policy):
    """Values of left are the speed of the first car ahead in its own lane, and it ignores all other cars."""

    label, observation = "one car", Sensor(0, 20, 0)

    def act(self, obs, agent_indices):
        nearest = [next((value for value in cells[::-1] if value < 1.0), 1.0) for cells in obs]
        self.values = np.zeros((len(obs), 5))
        self.values[:, Action.LEFT] = nearest
        return self.values.argmax(1)


def waiting(frames: int = 60, seed: int = 3, rules=RULES_2018) -> Simulator:
    """Return a game that waits for the ego car."""
    sim = Simulator(rules, 1, threads=1)
    sim.reset_open([seed])
    while sim.run_to_decision(1)[0] != 0 or sim.state.frame[0] < frames:
        pass
    return sim


def test_attention_is_on_the_one_car_that_counts_and_on_no_other():
    layer, found = AttentionLines(LayerContext(RULES_2018, OneCarWatcher())), 0
    for seed in range(1, 30):
        sim = waiting(seed=seed)
        cells = sim.state.cells[0, sim.state.lane[0, 0]]
        row = PAD + int(sim.state.y[0, 0]) // 10
        ahead = [int(number) - 1 for number in cells[row - 20 : row][::-1] if number > 1]
        weights = layer.explain(sim)
        expected = np.zeros(19)
        if ahead:
            expected[ahead[0] - 1] = 1.0
            found += 1
        assert np.array_equal(weights > 0, expected > 0), seed
    assert found > 5


def test_a_hidden_car_is_in_no_observation():
    sim = waiting()
    before, without = sim.get_state(), sim.get_state()
    vehicle = int(before["cells"].max()) - 1
    hide(without, 0, vehicle)
    assert not (without["cells"] == vehicle + 1).any()
    env = gymnasium.make("DeepTraffic2018-v0", observation={"kind": "kinematics", "nearest": 19}).unwrapped
    env.reset(seed=1)
    counts = []
    for state in (before, without):
        env.sim.set_state(state)
        counts.append(int(env.observer.observe(env.sim)["mask"].sum()))
    assert counts == [19, 18]
    for kind in ("vector", "gaps", "grid", "pixels"):
        env = gymnasium.make("DeepTraffic2018-v0", observation=kind).unwrapped
        env.reset(seed=1)
        env.sim.set_state(without)
        assert np.isfinite(env.observer.observe(env.sim)).all()


def test_where_no_car_matters_attention_is_faint():
    outputs = np.tile([0.0, 1.0, 0.0, 0.5, -1000.0], (4, 1))
    assert (weigh(outputs) == 0.0).all()
    outputs[2, 3] += 0.01  # far less than a tenth of the spread of 1
    assert 0 < weigh(outputs)[1] < 0.2 and weigh(outputs)[0] == 0.0
    assert (weigh(np.full((4, 5), np.nan)) == 0.0).all()


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("layer", ["attention", "futures", "values"])
def test_a_layer_explains_every_policy_and_changes_no_decision(name, layer):
    policy = load_policy(name)
    road = RoadConfig(rules=policy.rules, other_agents=policy.other_agents).build()
    frames = 65 if name == "champion-planner" else 130
    plain = policy_episode(copy.deepcopy(policy), road, Start.open(3), frames).finish()
    made = make_layer(layer, LayerContext(road, policy))
    episode = watch_decisions(policy_episode(policy, road, Start.open(3), frames), [made]).finish()
    assert episode.actions == plain.actions
    assert sorted(made._found) == list(range(0, frames, road.decision_period))
    painter = Painter(road, layers=[made])
    painter.paint(episode.state)


def painted(layer, scene_frames: int, policy: str = "champion-solo"):
    """Return an image with a layer and one without it, of the same moment."""
    driver = load_policy(policy)
    made = make_layer(layer, LayerContext(RULES_2018, driver)) if isinstance(layer, str) else layer
    episode = watch_decisions(policy_episode(driver, RULES_2018, Start.open(3), scene_frames), [made]).finish()
    images = [Painter(RULES_2018, layers=layers).paint(episode.state).astype(int) for layers in ([], [made])]
    return images, episode, made


def test_lines_of_attention_lead_from_the_car_to_those_that_count():
    (without, with_layer), episode, layer = painted("attention", 641)
    weights = layer._found[630]
    x, y = episode.state.x[0], episode.state.y[0]
    painter = Painter(RULES_2018)
    camera = painter._road.camera(episode.state[0])
    heaviest, lightest = int(weights.argmax()) + 1, int(weights.argmin()) + 1
    assert weights.min() < 0.05 and weights.max() == 1.0

    def changed(vehicle):
        left, top = camera.pixel(x[vehicle] - 3, y[vehicle] - 3)
        box = np.s_[max(round(top), 0) : round(top) + 40, round(left) : round(left) + 21]
        return np.abs(with_layer[box] - without[box]).max(axis=2) > 40

    assert changed(heaviest).sum() > 60
    amber = [int((np.abs(image - COLOUR).max(axis=2) < 60).sum()) for image in (without, with_layer)]
    assert amber[1] > amber[0] + 400
    if 0 < y[lightest] < 660:
        assert changed(lightest).sum() < 60


def test_layers_stay_on_the_road():
    for name in ("attention", "futures", "values"):
        (without, with_layer), _, _ = painted(name, 95)
        assert np.array_equal(with_layer[:, :200], without[:, :200]) and not np.array_equal(with_layer, without)


def test_futures_start_with_each_action_in_the_same_traffic():
    sim = waiting(200, seed=3)
    before = sim.get_state()
    found = Futures(LayerContext(RULES_2018, load_policy("champion-solo"))).explain(sim)
    assert np.array_equal(sim.get_state(), before), "the futures must leave the present alone"
    assert np.array_equal(np.unique(found.first), np.arange(5)) and len(found.first) == 50
    assert found.x.shape == (50, 1 + DECISIONS * 2) == found.ahead.shape
    assert np.array_equal(found.x[:, 0], np.full(50, sim.state.x[0, 0])) and (found.ahead[:, 0] == 0).all()
    assert ((found.mph > 0) & (found.mph <= 80.0)).all()


def test_futures_go_on_as_the_policy_drives():
    slow, fast = (Futures(LayerContext(RULES_2018, make_builtin(name))) for name in ("decelerate", "accelerate"))
    fastest = (fast.explain(waiting(30, seed)) for seed in range(1, 50))
    seed = next(k for k, found in enumerate(fastest, start=1) if found.mph[10:20].min() > 78.0)  # the road is free
    kept, eased = (layer.explain(waiting(30, seed)) for layer in (fast, slow))
    assert eased.mph[20:30].mean() < eased.mph[10:20].mean() < kept.mph[10:20].mean()
    assert eased.ahead[20:30, -1].mean() < kept.ahead[10:20, -1].mean()


def test_a_planner_shows_the_plans_that_it_tried():
    policy = load_policy("champion-planner")
    layer = make_layer("futures", LayerContext(RULES_2018, policy))
    episode = watch_decisions(policy_episode(policy, RULES_2018, Start.open(3), 2000), [layer])
    while policy.tried_plans() is None or not len(policy.tried_plans()):  # until there is a choice
        assert episode.advance()
    plans = policy.tried_plans()
    shown = layer._found[episode.frame - 1]
    assert np.array_equal(np.unique(shown.first), np.unique(plans[:, 0]))
    assert len(shown.first) == 2 * len(plans) and shown.chosen in (Action.ACCELERATE, Action.LEFT, Action.RIGHT)


def test_colours_of_futures_are_one_scale_that_grows_lighter():
    light = [sum(speed_colour(mph)) for mph in (50, 60, 70, 80)]
    assert light == sorted(light) and speed_colour(0) == speed_colour(50) and speed_colour(90) == speed_colour(80)


def test_bars_stand_in_the_lanes_that_actions_lead_to():
    class Chooser(Policy):
        label, observation = "chooser", Sensor(1, 5, 0)

        def act(self, obs, agent_indices):
            self.values = np.array([[0.0, 1.0, -1.0, 3.04, -np.inf]])
            return np.array([3])

    sim = waiting()
    lane = int(sim.state.lane[0, 0])
    bars = LaneValues(LayerContext(RULES_2018, Chooser())).explain(sim)
    assert [(bar.lane - lane, bar.is_best) for bar in bars] == [(-1, True), (0, False)]
    assert [bar.fraction for bar in bars] == [1.0, pytest.approx(2 / 4.04)] and [bar.text for bar in bars] == ["3", "1"]
    sim.state.lane[0, 0] = 0
    assert [bar.lane for bar in LaneValues(LayerContext(RULES_2018, Chooser())).explain(sim)] == [0]


def test_an_environment_draws_a_layer_of_the_policy_that_acts_in_it():
    policy = load_policy("champion-solo")
    layer = make_layer("attention", LayerContext(RULES_2018, policy))
    images = []
    for layers in ([], [layer]):
        env = gymnasium.make("DeepTraffic2018-v0", render_mode="rgb_array", layers=layers)
        env.reset(seed=3)
        images.append(env.render())
    assert np.abs(images[0].astype(int) - images[1]).sum() > 10_000
    with pytest.raises(ValueError, match="explains a policy"):
        gymnasium.make("DeepTraffic2018-v0", render_mode="rgb_array", layers=["attention"])
