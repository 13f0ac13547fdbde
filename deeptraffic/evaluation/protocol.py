"""How a policy is scored: the contests' official evaluation, exactly, and open evaluation on independent runs.

    >>> from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
    >>> from deeptraffic.policies.builtin import make_builtin
    >>> evaluate_official(make_builtin("idle")).score
    51.57
    >>> evaluate_open(make_builtin("gap"), runs=1000, seed_set="reporting").median_interval

Official (2018): 500 runs of 2,000 frames, resets 1..500 in one program, so that each run starts where the one before
left the random stream, and a policy keeps its memory from run to run. Hence serial: one game, one decision at a time.
2017: 10 runs of 100,000 frames. Open: N independent runs of 2,000 frames, all at once, every memory empty at its start.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observation import Observer
from deeptraffic.evaluation.score import Score
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.evaluation.statistics import mean_speed, run_score
from deeptraffic.policies.base import Policy
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.observation import sense
from deeptraffic.sim.rules import Action, RoadConfig, Sensor
from deeptraffic.sim.state import F64, I64, NOBODY, Games

Progress = Callable[[int, int], None]  # (frames played, frames in total) of all runs
ALL_ROWS = slice(None)


@dataclass(frozen=True)
class Protocol:
    """A contest's official evaluation: `runs` runs of `frames` frames, reported in steps of `block` runs."""

    runs: int
    frames: int
    block: int


OFFICIAL = {2017: Protocol(runs=10, frames=100_000, block=1), 2018: Protocol(runs=500, frames=2_000, block=5)}
OPEN_FRAMES = 2_000
PRIVATE_SET = "private"  # what a score calls seeds that were given one by one


def evaluate_official(
    policy: Policy, rules: int = 2018, other_agents: int = 0, progress: Progress | None = None
) -> Score:
    """Return the official score of a policy.

    Args:
        policy: drives the ego car and, each with its own memory, the other agents
        rules: 2017 or 2018
        other_agents: 0..10 (2018)
        progress: is called now and then with frames played and frames in total; it may raise, which ends the evaluation
    """
    road = RoadConfig(rules=rules, other_agents=other_agents)
    protocol = OFFICIAL[rules]
    sim = Simulator(road.build(), threads=1)
    sim.start_program(1)
    drivers = Drivers(policy, sim)
    play = policy.official_loop() or drivers.play_runs
    sums, passed = np.zeros(protocol.runs), np.zeros(protocol.runs, np.int64)
    play(sim.table, sim.games, 1, protocol.frames, sums[:0], passed[:0])  # no runs: it compiles, untimed
    started = time.perf_counter()
    for first in range(0, protocol.runs, protocol.block):
        some = slice(first, first + protocol.block)
        play(sim.table, sim.games, first + 1, protocol.frames, sums[some], passed[some])
        if progress:
            progress((first + protocol.block) * protocol.frames, protocol.runs * protocol.frames)
    seconds = time.perf_counter() - started
    return Score(
        policy.label,
        "official",
        rules,
        other_agents,
        policy.access,
        run_score(sums, protocol.frames),
        passed,
        protocol.frames,
        seconds,
        run_speeds=mean_speed(sums, protocol.frames),
    )


def evaluate_open(
    policy: Policy,
    rules: int | RoadConfig = 2018,
    other_agents: int = 0,
    runs: int = 1000,
    seed_set: str = "tuning",
    frames: int = OPEN_FRAMES,
    progress: Progress | None = None,
    seeds: Sequence[int] | None = None,
) -> Score:
    """Return the score of a policy in independent runs, the first `runs` of a seed set (`seeds.py`).

    rules: a contest's, or a research road (which then says other_agents itself). Other arguments as above.
    seeds: of the runs one by one, such as a competition's private ones, in place of runs and seed_set
    """
    if seeds is None:
        seeds = choose_seeds(seed_set, runs)
    else:
        runs, seed_set = len(seeds), PRIVATE_SET
    if frames < 1:
        raise ValueError(f"frames={frames} is not possible; give at least 1")
    road = rules if isinstance(rules, RoadConfig) else RoadConfig(rules=rules, other_agents=other_agents)
    started = time.perf_counter()
    sim = Simulator(road.build(), num_envs=runs)
    sim.reset_open(seeds)
    drivers = Drivers(policy, sim)
    agents = sim.run_to_frame(frames)
    while agents[0] != NOBODY:  # the games keep step: the same agent decides in all of them
        agents = sim.run_to_frame(frames, drivers.decide(int(agents[0])))
        if progress:
            progress(int(sim.state.frame[0]) * runs, frames * runs)
    return Score(
        policy.label,
        "open",
        road.rules,
        road.other_agents,
        policy.access,
        run_score(sim.state.score_sum, frames),
        sim.state.passed.copy(),
        frames,
        time.perf_counter() - started,
        seed_set,
        mean_speed(sim.state.score_sum, frames),
    )


@compiled
def drive_and_sense(
    rules: NDArray, games: Games, action: int, end_frame: int, lanes_side: int, ahead: int, behind: int, obs: F64
) -> int:
    """Run game 0 to the next decision, write what its agent sees to obs[0], and return the agent, or NOBODY."""
    game = games[0]
    drive(rules[0], game, action, end_frame)
    if game.waiting != NOBODY:
        sense(rules[0], Sensor(lanes_side, ahead, behind), game, game.waiting, obs[0])
    return game.waiting


class Drivers:
    """A policy at the wheel of all driven vehicles of a simulator's games, each vehicle with its own slot of memory."""

    def __init__(self, policy: Policy, sim: Simulator) -> None:
        self.policy, self.sim = policy, sim
        agents = sim.rules.other_agents + 1
        self.slots = [np.arange(sim.num_envs) * agents + agent for agent in range(agents)]
        self.sensor = plain_sensor(policy.observation)
        self.observers = []
        if self.sensor:
            self.sensor.check(sim.rules)
            self.obs = np.empty((sim.num_envs, self.sensor.size))
        else:
            self.observers = [Observer(sim.rules, policy.observation, sim.num_envs, agent) for agent in range(agents)]
        self.actions: list[I64 | None] = [None] * agents
        policy.attach(sim)
        policy.reset(np.arange(sim.num_envs * agents))

    def decide(self, agent: int) -> I64:
        """Return the decisions of an agent that waits in every game, (B,)."""
        if self.sensor:
            obs: Any = self.sim.sense(self.sensor, agent, out=self.obs)
        else:
            obs = self.observers[agent].observe(self.sim, actions=self.actions[agent])
        actions = np.asarray(self.policy.act(obs, self.slots[agent]))
        if actions.shape != (self.sim.num_envs,) or not is_action(actions).all():
            raise ValueError(
                f"policy {self.policy.label} answered {actions!r:.80} for {self.sim.num_envs} games; "
                f"act must return one whole number from 0 to {len(Action) - 1} for each"
            )
        self.actions[agent] = actions
        return actions

    def play_runs(self, rules: NDArray[Any], games: Games, first_run: int, frames: int, sums: F64, passed: I64) -> None:
        """Play runs of game 0 through the policy's `act`: an `OfficialLoop`."""
        play = self._play_plain if self.sensor else self._play_observed
        for k in range(sums.size):
            self.sim.reset(first_run + k)
            play(frames)
            sums[k], passed[k] = games["score_sum"][0], games["passed"][0]

    def _play_plain(self, frames: int) -> None:
        """Play to a run's end with as little between two decisions as possible."""
        assert self.sensor
        window, act, slots, obs = tuple(self.sensor), self.policy.act, self.slots, self.obs
        table, games, most, action = self.sim.table, self.sim.games, len(Action), 0
        while (agent := drive_and_sense(table, games, action, frames, *window, obs)) != NOBODY:
            action = int(act(obs, slots[agent])[0])
            if not 0 <= action < most:
                raise ValueError(f"policy {self.policy.label} answered {action}; actions are 0 to {most - 1}")

    def _play_observed(self, frames: int) -> None:
        """Play to a run's end with observations that are more than the sensor's cells."""
        agent = int(self.sim.run_to_frame(frames)[0])
        while agent != NOBODY:
            agent = int(self.sim.run_to_frame(frames, self.decide(agent))[0])


def plain_sensor(observation: Any) -> Sensor | None:
    """Return the sensor of a policy that sees the game's own vector in float64, None if it sees something else."""
    if isinstance(observation, Sensor):
        return observation
    plain = observation.kind == "vector" and observation.temporal_window == 0 and observation.dtype != "float32"
    return observation.sensor if plain else None


def is_action(actions: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each entry is one of the five actions."""
    return np.isin(actions, [int(action) for action in Action])
