"""The kernel against the naive second implementation of the rules: complete states, decision after decision.

Each batch drives all policies at once: what a sensible driver never does (always braking makes speed factors
negative, and then speeds huge) finds other mistakes than what it does. Zeros count as
equal whatever their sign, of which the rules say nothing.
"""

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import seed_stream
from deeptraffic.sim.rules import RoadConfig, Sensor

ROWS = 48  # [games] of a batch, which share out the policies
RUNS = 3  # resets of a game, each after a third of its frames
CAR_FIELDS = {"x": "x", "y": "y", "following_speed": "c", "speed_factor": "a", "lane": "lane"}
GAME_FIELDS = {
    **{"scroll": "E", "speed_sum": "N", "reward": "reward", "score_sum": "score", "rng": "g"},
    **{"frame": "frame", "passed": "passed", "action": "d", "waiting": "waiting"},
}
NUM_POLICIES = 8

CONTESTS = [RoadConfig(rules=2017), *(RoadConfig(other_agents=agents) for agents in range(11))]
RULE_CHANGES = [  # on the contests' sizes, which compile once
    RoadConfig(decision_period=10, other_agents=10),
    RoadConfig(decision_period=300, other_agents=3),
    RoadConfig(rules=2017, decision_period=50),
    RoadConfig(lane_change_rate=0.0, other_agents=2),
    RoadConfig(lane_change_rate=0.5),
    RoadConfig(lane_change_rate=1.0, other_agents=5),
    RoadConfig(rules=2017, lane_change_rate=1.0),
    RoadConfig(traffic_factor_min=0.01, traffic_factor_range=2.0, lane_change_rate=0.2),
    RoadConfig(rules=2017, traffic_factor_min=2.0, traffic_factor_range=2.0, lane_change_rate=0.2),
]
SIZES = [
    RoadConfig(lanes=1, vehicles=2, rows=20, other_agents=1),
    RoadConfig(rules=2017, lanes=3, vehicles=6, rows=35, lane_change_rate=0.1),
    RoadConfig(lanes=16, vehicles=200, rows=210, other_agents=10, lane_change_rate=0.1),
]
MORE_SIZES = [
    RoadConfig(lanes=1, vehicles=1, rows=20),
    RoadConfig(rules=2017, lanes=1, vehicles=200, rows=20, lane_change_rate=1.0),
    RoadConfig(rules=2017, lanes=16, vehicles=200, rows=21, lane_change_rate=1.0),
    RoadConfig(lanes=2, vehicles=3, rows=20, other_agents=2, decision_period=10, lane_change_rate=0.5),
    RoadConfig(lanes=4, vehicles=18, rows=71, other_agents=7, traffic_factor_min=0.3, traffic_factor_range=1.7),
    RoadConfig(lanes=7, vehicles=11, rows=35, other_agents=10, lane_change_rate=0.3),
    RoadConfig(lanes=5, vehicles=40, rows=1000, other_agents=4, decision_period=60),
    RoadConfig(lanes=16, vehicles=20, rows=20, other_agents=10, lane_change_rate=0.05),
]


def describe(road: RoadConfig) -> str:
    default = RoadConfig()
    changes = [f"{k}={v}" for k, v in vars(road).items() if v != getattr(default, k)]
    return ",".join(changes) or "2018"


def choose_actions(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The n-th decision of every game, (ROWS,): game b drives policy b % NUM_POLICIES."""
    chance = rng.random(ROWS)
    uniform = rng.integers(0, 5, ROWS)
    policies = [
        uniform,
        np.full(ROWS, 2),  # brakes for ever
        np.full(ROWS, 1),
        np.full(ROWS, 1 + n % 2),  # in turn, so that the speed factor hovers
        np.where(chance < 0.8, 2, uniform),  # mostly brakes
        np.full(ROWS, 3 + n % 2),  # weaves
        np.full(ROWS, 2 - n // 150 % 2),  # brakes to below zero, recovers, and again
        np.where(chance < 0.6, 0, 3 + (chance > 0.8)),
    ]
    return np.choose(np.arange(ROWS) % NUM_POLICIES, policies).astype(np.int64)


class Lockstep:
    """Both implementations on one road, compared wherever they stop."""

    def __init__(self, config: RoadConfig, reference: ModuleType) -> None:
        self.reference = reference
        self.sim = Simulator(config.build(), ROWS)
        self.road = reference.Road(
            is_2018=config.rules == 2018,
            other_agents=config.other_agents,
            lanes=config.lanes,
            vehicles=config.vehicles,
            rows=config.rows,
            period=config.decision_period,
            factor_min=config.traffic_factor_min,
            factor_range=config.traffic_factor_range,
            turn_rate=config.lane_change_rate,
        )
        self.world = reference.make_world(self.road, ROWS)
        self.sensor = Sensor(min(3, config.lanes - 1), config.rows, min(config.rows, 25))

    def start(self, seed: int) -> None:
        self.sim.start_program(seed)
        self.reference.start_all(self.road, self.world, np.full(ROWS, seed_stream(seed)))

    def reset(self, runs: NDArray[np.int64]) -> None:
        self.sim.reset(runs)
        self.reference.reset_all(self.road, self.world, runs)
        self.compare("after reset", with_map=False)

    def decide(self, actions: NDArray[np.int64]) -> None:
        self.sim.run_to_decision(actions)
        self.reference.run_all(self.road, self.world, actions)

    def compare(self, where: str, with_map: bool = True) -> None:
        state, world = self.sim.state, self.world
        for name, short in CAR_FIELDS.items():
            check(f"{where}: {name}", getattr(state, name), world.cars[short])
        for name, short in GAME_FIELDS.items():
            check(f"{where}: {name}", getattr(state, name), world.games[short])
        if with_map:
            check(f"{where}: speed map", self.speed_map(), world.speed_map)

    def speed_map(self) -> NDArray[np.float64]:
        state, rows = self.sim.state, self.sim.rules.rows
        margin = (state.cells.shape[2] - rows) // 2
        numbers = state.cells[:, :, margin : margin + rows]
        return state.map_speed[np.arange(ROWS)[:, None, None], numbers]

    def compare_senses(self, where: str) -> None:
        agent = int(self.sim.state.waiting[0])
        seen = np.empty((ROWS, self.sensor.size))
        self.reference.sense_all(self.road, self.world, agent, *self.sensor, seen)
        check(f"{where}: what agent {agent} sees", self.sim.sense(self.sensor, agent), seen)


def check(what: str, kernel: Any, reference: Any) -> None:
    differs = (kernel != reference) & ~((kernel != kernel) & (reference != reference))
    if differs.any():
        at = tuple(int(k) for k in np.argwhere(differs)[0])
        raise AssertionError(f"{what} at {at}: kernel {kernel[at]!r}, reference {reference[at]!r}")


def drive_both(config: RoadConfig, reference: ModuleType, frames: int, seed: int) -> None:
    """Drive `frames` frames, over all games together, and compare both at each decision."""
    both, rng = Lockstep(config, reference), np.random.default_rng(seed)
    both.start(seed)
    frames_per_run = frames // (ROWS * RUNS)
    n = 0
    for run in range(RUNS):
        both.reset(rng.integers(0, 2**31 - 2, ROWS) if run else np.arange(ROWS))
        while both.sim.state.frame[0] < frames_per_run:
            both.decide(choose_actions(n, rng))
            where = f"game, vehicle or cell in run {run}, frame {both.sim.state.frame[0]}, decision {n}"
            both.compare(where)
            if n % 5 == 0:
                both.compare_senses(where)
            n += 1


@pytest.mark.parametrize("road", CONTESTS, ids=describe)
def test_contests_equal_the_reference(road: RoadConfig, reference: ModuleType) -> None:
    drive_both(road, reference, frames=50_000, seed=1 + road.other_agents)


@pytest.mark.parametrize("road", RULE_CHANGES, ids=describe)
def test_changed_rules_equal_the_reference(road: RoadConfig, reference: ModuleType) -> None:
    drive_both(road, reference, frames=30_000, seed=2)


@pytest.mark.parametrize("road", SIZES, ids=describe)
def test_other_sizes_equal_the_reference(road: RoadConfig, reference: ModuleType) -> None:
    drive_both(road, reference, frames=30_000, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("road", CONTESTS, ids=describe)
def test_contests_equal_the_reference_for_long(road: RoadConfig, reference: ModuleType) -> None:
    drive_both(road, reference, frames=3_000_000, seed=11 + road.other_agents)


@pytest.mark.slow
@pytest.mark.parametrize("road", [*RULE_CHANGES, *SIZES, *MORE_SIZES], ids=describe)
def test_research_roads_equal_the_reference_for_long(road: RoadConfig, reference: ModuleType) -> None:
    drive_both(road, reference, frames=700_000, seed=12)


def test_braking_for_ever_reaches_negative_factors_and_huge_speeds(reference: ModuleType) -> None:
    both = Lockstep(RoadConfig(other_agents=10), reference)
    both.start(1)
    both.reset(np.arange(ROWS))
    lowest, fastest = 0.0, 0.0
    for _ in range(1500):
        both.decide(np.full(ROWS, 2))
        lowest = min(lowest, both.world.cars["a"].min())
        fastest = max(fastest, np.abs(both.world.cars["c"]).max())
    assert lowest < 0.0 and fastest > 1e6
    both.compare("at the end")


def on_edges(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Places [px] at most three representable numbers away from where a cell or half of one begins."""
    y = 5.0 * rng.integers(-13, 153, shape)
    for _ in range(3):
        y = np.nextafter(y, y + rng.integers(-1, 2, shape))
    return y


@pytest.mark.parametrize("road", [RoadConfig(), RoadConfig(rules=2017), RoadConfig(other_agents=10)], ids=describe)
def test_vehicles_on_the_edge_of_a_cell_equal_the_reference(road: RoadConfig, reference: ModuleType) -> None:
    both, rng = Lockstep(road, reference), np.random.default_rng(4)
    both.start(1)
    for run in range(60):
        both.reset(np.arange(ROWS) + run * ROWS)
        y = on_edges(rng, both.sim.state.y.shape)
        both.sim.state.y = both.world.cars["y"] = y
        both.sim.state.following_speed = both.world.cars["c"] = 0.0  # so that they mark where they were put
        both.sim.state.scroll = both.world.games["E"] = 0.0
        for n in range(3):
            both.decide(rng.integers(0, 5, ROWS))
            both.compare(f"edges {run}, decision {n}")


@pytest.mark.parametrize("road", [RoadConfig(), RoadConfig(rules=2017), RoadConfig(other_agents=10)], ids=describe)
def test_states_beyond_driving_equal_the_reference(road: RoadConfig, reference: ModuleType) -> None:
    # Negative and vanishing factors give negative, infinite and NaN following speeds; negative ones turn more often.
    both, rng = Lockstep(road, reference), np.random.default_rng(5)
    both.start(1)
    shape = both.sim.state.y.shape
    any_nan = any_infinite = any_negative = False
    for run in range(60):
        both.reset(np.arange(ROWS) + run * ROWS)
        both.sim.state.speed_factor = both.world.cars["a"] = rng.choice([-0.02, 0.0, 1e-17, 0.02, 1.3], shape)
        both.sim.state.following_speed = both.world.cars["c"] = rng.choice([-30.0, -0.5, 0.0, 0.5, 1.0], shape)
        both.sim.state.y = both.world.cars["y"] = rng.uniform(-60.0, 760.0, shape)
        for n in range(3):
            both.decide(rng.integers(0, 5, ROWS))
            both.compare(f"states {run}, decision {n}")
            c = both.world.cars["c"]
            any_nan |= bool(np.isnan(c).any())
            any_infinite |= bool(np.isinf(c).any())
            any_negative |= bool((c[:, road.other_agents + 1 :] < 0.0).any())
    assert any_nan and any_infinite and any_negative


def test_comparison_finds_one_wrong_bit(reference: ModuleType) -> None:
    both = Lockstep(RoadConfig(), reference)
    both.start(1)
    both.reset(np.arange(ROWS))
    both.decide(np.zeros(ROWS, np.int64))
    both.compare("untouched")
    y = both.sim.state.y
    y[3, 5] = np.nextafter(y[3, 5], np.inf)
    with pytest.raises(AssertionError, match=r"spoilt: y at \(3, 5\)"):
        both.compare("spoilt")


def test_comparison_finds_one_wrong_cell(reference: ModuleType) -> None:
    both = Lockstep(RoadConfig(), reference)
    both.start(1)
    both.reset(np.arange(ROWS))
    both.decide(np.zeros(ROWS, np.int64))
    both.world.speed_map[2, 6, 69] = -1.0
    with pytest.raises(AssertionError, match=r"speed map at \(2, 6, 69\)"):
        both.compare("spoilt")
