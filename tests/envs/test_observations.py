"""Observation kinds: their numbers against plain reference code, their spaces, windows, settings and independence."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from deeptraffic.envs import observations
from deeptraffic.envs.observations import OBSERVATIONS, OPTIONS, Observation, Observer, describe, make_observation
from deeptraffic.envs.observations.observation import SensorObservation
from deeptraffic.policies.layers import Flatten
from deeptraffic.policies.network import Network
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2017, RULES_2018, RoadConfig, Rules, Sensor

GAMES = 12
ROADS = {
    "2018": RULES_2018,
    "2017": RULES_2017,
    "2018 with agents": RoadConfig(other_agents=3).build(),
    "research": RoadConfig(lanes=4, vehicles=10).build(),
}
SMALL = {"lanes_side": 2, "patches_ahead": 20, "patches_behind": 8}
EXPORTED = [kind for kind in OBSERVATIONS if make_observation(kind).layers(RULES_2018) is not None]


def config_for(kind: str, **options: Any) -> Observation:
    sensor = SMALL if issubclass(OBSERVATIONS[kind], SensorObservation) else {}
    return make_observation(kind, **sensor, **options)


def driven(rules: Rules, decisions: int = 25, threads: int = 1, seed: int = 0) -> Simulator:
    sim = Simulator(rules, GAMES, threads)
    sim.reset_open(range(GAMES))
    rng = np.random.default_rng(seed)
    for _ in range(decisions):
        sim.step(rng.integers(0, 5, (GAMES, rules.other_agents + 1)))
    return sim


def parts(obs: Any) -> dict[str, np.ndarray]:
    return obs if isinstance(obs, dict) else {"": obs}


# --- every kind ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OBSERVATIONS)
@pytest.mark.parametrize("road", ROADS)
def test_observations_lie_in_the_space(kind: str, road: str) -> None:
    sim = driven(ROADS[road], decisions=0)
    observer = Observer(sim.rules, config_for(kind), GAMES)
    rng = np.random.default_rng(1)
    for _ in range(60):
        sim.step(rng.choice(5, p=[0.1, 0.1, 0.6, 0.1, 0.1], size=GAMES))
        batch = observer.observe(sim)
        for row in range(GAMES):
            game = {name: part[row] for name, part in parts(batch).items()}
            assert observer.space.contains(game if isinstance(batch, dict) else game[""])


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_rows_are_observed_alike_alone_in_any_order_and_by_several_threads(kind: str) -> None:
    whole = driven(RULES_2018, threads=3)
    batch = parts(Observer(RULES_2018, config_for(kind), GAMES).observe(whole))
    single = driven(RULES_2018)
    alone = Observer(RULES_2018, config_for(kind), GAMES)
    for row in (5, 0, 11):
        for name, part in parts(alone.observe(single, [row])).items():
            np.testing.assert_array_equal(part[0], batch[name][row])
    order = np.array([7, 2, 9, 3])
    for name, part in parts(alone.observe(single, order)).items():
        np.testing.assert_array_equal(part, batch[name][order])


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_observing_returns_new_memory_and_leaves_the_games_alone(kind: str) -> None:
    sim = driven(RULES_2018)
    before = sim.games.tobytes()
    observer = Observer(RULES_2018, config_for(kind), GAMES)
    first = parts(observer.observe(sim))
    kept = {name: part.copy() for name, part in first.items()}
    second = parts(observer.observe(sim))
    assert sim.games.tobytes() == before
    for name in first:
        assert not np.shares_memory(first[name], second[name])
        assert not np.shares_memory(first[name], sim.games)
    sim.step(sim.idle)
    for name in first:
        np.testing.assert_array_equal(first[name], kept[name])


def test_contest_kinds_are_those_that_an_entrant_could_compute() -> None:
    contest = {kind for kind in OBSERVATIONS if make_observation(kind).contest}
    assert contest == {"vector", "gaps", "grid"}
    assert not make_observation("vector", lanes_side=4).contest


@pytest.mark.parametrize("kind", ["vector", "gaps", "grid", "gaps_ego", "kinematics"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_as_chosen(kind: str, dtype: str) -> None:
    sim = driven(RULES_2018, 3)
    exact = parts(Observer(RULES_2018, config_for(kind, dtype="float64"), GAMES).observe(sim))
    observer = Observer(RULES_2018, config_for(kind, dtype=dtype), GAMES)
    for name, part in parts(observer.observe(sim)).items():
        if name != "mask":
            assert part.dtype == dtype
            np.testing.assert_allclose(part, exact[name], rtol=1e-6)


def test_vector_is_float64_and_others_float32_unless_asked() -> None:
    found = {kind: Observer(RULES_2018, make_observation(kind), 1).space.dtype for kind in ("vector", "gaps", "grid")}
    assert found == {"vector": np.float64, "gaps": np.float32, "grid": np.float32}


@pytest.mark.parametrize("kind", ["vector", "gaps", "grid", "gaps_ego", "kinematics"])
def test_other_agents_have_their_own_view(kind: str) -> None:
    rules = ROADS["2018 with agents"]
    sim = driven(rules, 8)
    views = [parts(Observer(rules, config_for(kind), GAMES, agent).observe(sim)) for agent in range(4)]
    for name in views[0]:
        if name != "mask":
            assert len({view[name].tobytes() for view in views}) == 4


# --- the numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS)
def test_vector_is_what_the_simulator_senses(road: str) -> None:
    sim = driven(ROADS[road])
    seen = Observer(sim.rules, config_for("vector"), GAMES).observe(sim)
    np.testing.assert_array_equal(seen, sim.sense(Sensor(**SMALL)))


def reference_gaps(cells: np.ndarray, ahead: int, empty: float) -> np.ndarray:
    """The gap features of a window (P+Q, 2L+1), lane by lane with NumPy's searches."""
    length, columns = cells.shape
    free = cells >= 1
    features = np.zeros((columns, 6))
    for s in range(columns):
        own = s == columns // 2
        before = np.flatnonzero(~free[:ahead, s])
        start = ahead + 4 if own else ahead
        after = np.flatnonzero(~free[start:, s])
        features[s, 0] = (ahead - 1 - before[-1] if before.size else ahead) / ahead
        features[s, 1] = max(0, cells[before[-1], s]) * empty * 20 / 80 if before.size else 1.0
        room = after[0] if after.size else length - start
        features[s, 2] = room / (length - ahead)
        features[s, 3] = max(0, cells[start + after[0], s]) * empty * 20 / 80 if after.size else 0.0
        features[s, 4] = free[ahead - 6 : ahead if own else ahead + 4, s].all()
        features[s, 5] = min(1.0, cells[:, s].sum())
    return features


@pytest.mark.parametrize("road", ROADS)
def test_gaps_are_distances_and_speeds_of_the_first_occupied_cells(road: str) -> None:
    sim = driven(ROADS[road])
    cells = sim.sense(Sensor(**SMALL)).reshape(GAMES, 28, 5)
    seen = Observer(sim.rules, config_for("gaps", dtype="float64"), GAMES).observe(sim)
    expected = [reference_gaps(window, 20, sim.rules.empty).ravel() for window in cells]
    np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-12)


def test_gaps_ego_adds_what_the_sensor_does_not_show() -> None:
    sim = driven(RULES_2018)
    gaps = Observer(RULES_2018, config_for("gaps"), GAMES).observe(sim)
    seen = Observer(RULES_2018, config_for("gaps_ego"), GAMES).observe(sim)
    np.testing.assert_array_equal(seen[:, :-2], gaps)
    own = np.stack([sim.state.speed_factor[:, 0], sim.state.following_speed[:, 0]], axis=1) / 2
    np.testing.assert_allclose(seen[:, -2:], own, rtol=1e-6)


def reference_grid(cells: np.ndarray, ahead: int, empty: float) -> np.ndarray:
    off = (cells == 0).all(axis=0)[None, :] | (cells == 0).all(axis=1)[:, None]
    occupied = ~off & (cells < 1)
    own = np.zeros_like(cells)
    own[ahead : ahead + 4, cells.shape[1] // 2] = 1
    return np.stack([occupied, np.where(occupied, np.clip(cells * empty / 4, 0, 1), 0), off, own])


@pytest.mark.parametrize("road", ROADS)
def test_grid_separates_the_readings_into_channels(road: str) -> None:
    sim = driven(ROADS[road])
    cells = sim.sense(Sensor(**SMALL)).reshape(GAMES, 28, 5)
    seen = Observer(sim.rules, config_for("grid", dtype="float64"), GAMES).observe(sim)
    expected = [reference_grid(window, 20, sim.rules.empty) for window in cells]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)
    assert seen[:, 0].any() and seen[:, 2].any()


def test_grid_calls_cells_beyond_the_ends_of_the_road_off_the_road() -> None:
    sim = driven(RULES_2018, 5)
    config = make_observation("grid", patches_ahead=60, patches_behind=30)
    seen = Observer(RULES_2018, config, GAMES).observe(sim)
    off = seen[:, 2].all(axis=2)
    row = np.floor(sim.state.y[:, 0]).astype(int) // 10
    np.testing.assert_array_equal(off.sum(axis=1), 90 - 70)
    np.testing.assert_array_equal(off[:, :60].sum(axis=1), 60 - row)
    assert not (seen[:, 0] * seen[:, 2]).any()


def reference_kinematics(sim: Simulator, row: int, agent: int, nearest: int) -> tuple[np.ndarray, np.ndarray]:
    state, rules = sim.state, sim.rules
    speed = state.following_speed[row] * state.speed_factor[row]
    order = np.argsort(np.hypot(state.x[row] - state.x[row, agent], state.y[row] - state.y[row, agent]), kind="stable")
    features = np.zeros((nearest, 6))
    others = [j for j in order if j != agent][:nearest]
    for place, j in enumerate(others):
        features[place] = (
            (state.y[row, agent] - state.y[row, j]) / rules.road_length,
            (state.x[row, j] - state.x[row, agent]) / rules.road_width,
            speed[j] * 20 / 80,
            (speed[j] - speed[agent]) * 20 / 80,
            (int(state.lane[row, j]) - int(state.lane[row, agent])) / rules.lanes,
            j <= rules.other_agents,
        )
    return features, np.arange(nearest) < len(others)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("nearest", [3, 25])
def test_kinematics_lists_the_nearest_vehicles_first_and_masks_the_rest(road: str, nearest: int) -> None:
    sim = driven(ROADS[road])
    for agent in range(min(sim.rules.other_agents, 1) + 1):
        config = make_observation("kinematics", nearest=nearest, dtype="float64")
        seen = Observer(sim.rules, config, GAMES, agent).observe(sim)
        for row in range(GAMES):
            vehicles, mask = reference_kinematics(sim, row, agent, nearest)
            np.testing.assert_allclose(seen["vehicles"][row], np.clip(vehicles, -2, 2), rtol=1e-12, atol=1e-15)
            np.testing.assert_array_equal(seen["mask"][row], mask)
        np.testing.assert_allclose(seen["ego"][:, 3], sim.state.speed_factor[:, agent] / 2)
        np.testing.assert_allclose(seen["ego"][:, 0], sim.state.lane[:, agent] / (sim.rules.lanes - 1))


def test_pixels_show_the_ego_car_where_it_is_and_have_the_chosen_size() -> None:
    sim = driven(RULES_2018, 5)
    observer = Observer(RULES_2018, make_observation("pixels", height=70, width=56), GAMES)
    seen = observer.observe(sim).astype(int)
    assert observer.space == spaces.Box(0, 255, (70, 56, 3), np.uint8)
    for row in range(GAMES):
        y, x = (sim.state.y[row, 0] + 17) / 10, (sim.state.x[row, 0] + 7.5) / 140 * 56
        red, green, blue = seen[row, int(y), int(x)]
        assert red > green + 50 and red > blue + 50
    grey = Observer(RULES_2018, make_observation("pixels", grey=True), GAMES).observe(sim)
    assert grey.shape == (GAMES, 84, 84, 1)


def test_a_view_is_the_part_of_the_image_around_the_ego_car() -> None:
    sim = driven(RULES_2018, 5)
    whole = Observer(RULES_2018, make_observation("pixels", height=70, width=28), GAMES).observe(sim)
    view = {"view_side": 1, "view_ahead": 20, "view_behind": 6}
    observer = Observer(RULES_2018, make_observation("pixels", height=70, width=28, **view), GAMES)
    seen = observer.observe(sim)
    assert observer.space.shape == seen.shape[1:] == (26, 12, 3)  # 10 px to a row, 5 px to a column
    padded = np.zeros((GAMES, 170, 128, 3), np.uint8)
    padded[:, 50:120, 50:78] = whole
    for game in range(GAMES):
        x, y = sim.state.x[game, 0], sim.state.y[game, 0]
        top, left = 50 + int(np.rint(y / 10)) - 20, 50 + int(np.rint((x + 7.5) / 5)) - 6
        np.testing.assert_array_equal(seen[game], padded[game, top : top + 26, left : left + 12])
    far = Observer(RULES_2018, make_observation("pixels", height=70, width=28, view_ahead=20), GAMES).observe(sim)
    assert far.shape == (GAMES, 20, 28, 3)  # one axis alone


def test_a_view_of_the_whole_road_is_the_image_and_one_without_a_pixel_is_refused() -> None:
    sim = driven(RULES_2018, 5)
    plain, wide = (
        Observer(RULES_2018, make_observation("pixels", **options), GAMES).observe(sim)
        for options in ({}, {"view_side": 3, "view_ahead": 50, "view_behind": 20})
    )
    np.testing.assert_array_equal(plain, wide)
    with pytest.raises(ValueError, match="a view of 1 cells by 1 lanes has no pixel in an image of 16 x 84"):
        make_observation("pixels", height=16, view_ahead=1).space(RULES_2018)


def test_full_is_the_whole_state() -> None:
    sim = driven(RULES_2018, 5)
    seen = Observer(RULES_2018, make_observation("full"), GAMES).observe(sim)
    assert set(seen) == set(sim.games.dtype.names)
    for name, part in seen.items():
        np.testing.assert_array_equal(part.reshape(sim.games[name].shape), sim.games[name])


# --- temporal windows ---------------------------------------------------------------------------------------------


def reference_brain_input(seen: list[np.ndarray], actions: list[int], window: int) -> np.ndarray:
    """As the original Brain: the current observation, then observations and scaled actions backwards in time."""
    size = seen[-1].size
    entries = [seen[-1]]
    for k in range(1, window + 1):
        past, one_hot = np.zeros(size), np.zeros(5)
        if k < len(seen):
            past = seen[-1 - k]
            one_hot[actions[-k]] = size
        entries += [past, one_hot]
    return np.concatenate(entries)


@pytest.mark.parametrize("kind", ["vector", "gaps", "gaps_ego"])
def test_window_stacks_past_observations_and_actions_as_the_brain_does(kind: str) -> None:
    sim, window = driven(RULES_2018, 0), 3
    sim.step(sim.idle)
    config = config_for(kind, dtype="float64")
    plain = Observer(RULES_2018, config, GAMES)
    stacked = Observer(RULES_2018, replace(config, temporal_window=window), GAMES)
    seen, taken, actions = [plain.observe(sim)], [], None
    rng = np.random.default_rng(3)
    for _ in range(6):
        found = stacked.observe(sim, actions=actions)
        for row in range(GAMES):
            past = [obs[row] for obs in seen], [int(step[row]) for step in taken]
            np.testing.assert_array_equal(found[row], reference_brain_input(*past, window))
        actions = rng.integers(0, 5, GAMES)
        sim.step(actions)
        taken.append(actions)
        seen.append(plain.observe(sim))
    assert stacked.space.shape == found[0].shape


def test_window_of_a_reset_row_is_empty_and_others_keep_theirs() -> None:
    sim = driven(RULES_2018, 1)
    observer = Observer(RULES_2018, config_for("gaps", temporal_window=1), GAMES)
    observer.observe(sim)
    sim.step(sim.idle)
    before = observer.observe(sim, actions=np.full(GAMES, 4))
    observer.reset([2, 5])
    after = observer.observe(sim)
    assert (before[:, 30:] != 0).any(axis=1).all()
    assert not after[[2, 5], 30:].any()
    kept = [row for row in range(GAMES) if row not in (2, 5)]
    np.testing.assert_array_equal(after[kept], before[kept])


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "radar"}, "must be one of gaps, grid, vector, .*, got 'radar'"),
        ({"temporal_window": -1}, r"temporal_window must be an integer in \[0, 100\], got -1"),
        ({"temporal_window": 1.0}, r"in \[0, 100\], got 1.0"),
        ({"kind": "grid", "temporal_window": 16}, r"temporal_window must be an integer in \[0, 15\], got 16"),
        ({"kind": "full", "temporal_window": 1}, "no meaning for observation kind 'full'"),
        ({"kind": "kinematics", "nearest": 0}, r"nearest must be an integer in \[1, 200\], got 0"),
        ({"kind": "kinematics", "lanes_side": 2}, r"no meaning .* \(options of kinematics: .*nearest, dtype\)"),
        ({"kind": "full", "nearest": 2}, r"no meaning .* \(options of full: none\)"),
        ({"kind": "pixels", "height": 5}, r"in \[16, 1024\], got 5"),
        ({"kind": "pixels", "grey": 1}, "grey must be true or false, got 1"),
        ({"kind": "pixels", "dtype": "int8"}, "no meaning"),
        ({"dtype": "int8"}, "dtype must be one of 'float32', 'float64', got 'int8'"),
        ({"lane_side": 2}, "did you mean 'lanes_side'"),
        ({"colour": 2}, "options: kind"),
    ],
)
def test_impossible_choice_is_refused_with_a_remedy(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_observation(options)


@pytest.mark.parametrize("value", [None, 3, ["vector"]])
def test_what_is_no_observation_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="must be a kind"):
        make_observation(value)


@pytest.mark.parametrize(
    ("rules", "config", "agent", "message"),
    [
        (RULES_2018, make_observation("grid", patches_ahead=0, patches_behind=0), 0, "see nothing"),
        (RULES_2018, make_observation("vector"), 1, "agents are 0..0"),
        (ROADS["2018 with agents"], make_observation("full"), 2, "agent 2"),
        (ROADS["2018 with agents"], make_observation("pixels"), 1, "agent 1"),
    ],
)
def test_observer_that_cannot_be_is_refused(rules: Rules, config: Observation, agent: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Observer(rules, config, 1, agent)


def test_options_of_other_kinds_are_accepted_at_their_defaults() -> None:
    everything = {option: getattr(kind, option, None) for kind in OBSERVATIONS.values() for option in OPTIONS}
    options = {name: value for name, value in everything.items() if not isinstance(value, property)}
    for kind in OBSERVATIONS:
        settings = {**options, "kind": kind, "temporal_window": 0, "dtype": None}
        assert make_observation(settings) == make_observation(kind)


def test_an_observation_is_made_anew_from_its_own_fields() -> None:
    for kind in OBSERVATIONS:
        observation = config_for(kind)
        assert make_observation(asdict(observation)) == observation
        assert make_observation(observation) is observation


# --- the registry -------------------------------------------------------------------------------------------------


def test_every_module_of_the_folder_defines_the_kind_of_its_name() -> None:
    modules = {path.stem for path in Path(observations.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "observation", "history", "degradation", "presets"} == set(OBSERVATIONS)


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_a_kind_describes_itself_in_one_line(kind: str) -> None:
    assert 20 < len(describe(kind)) < 120


def test_only_contest_kinds_can_be_written_to_a_policy_file() -> None:
    assert {"gaps", "vector"} <= set(EXPORTED)
    assert all(make_observation(kind).contest for kind in EXPORTED)


@pytest.mark.parametrize("kind", EXPORTED)
def test_the_layers_of_a_kind_compute_it_from_the_vector(kind: str) -> None:
    sim = driven(RULES_2018)
    cells = Observer(RULES_2018, config_for("vector"), GAMES).observe(sim)
    observation = config_for(kind, dtype="float64")
    network = Network(cells.shape[1], observation.layers(RULES_2018) or (Flatten(),), {})
    seen = Observer(RULES_2018, observation, GAMES).observe(sim)
    np.testing.assert_array_equal([network.assemble().run(row) for row in cells], seen)
