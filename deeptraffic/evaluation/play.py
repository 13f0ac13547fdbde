"""Play runs with a policy: one after another in one env, or all at once, one env for each.

>>> sim = Simulator(RULES_2018, threads=1)
>>> sim.start_program(1)
>>> play_serially(policy, sim, Runs.official(sim, first_run=1, count=500, frames=2_000), block=5)
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations import Observer
from deeptraffic.envs.other_agents import observer_of
from deeptraffic.policies.base import EnvObservation, Policy
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.observation import sense
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.runs import Runs, next_decision
from deeptraffic.sim.state import F64, I64, NOBODY

Progress = Callable[[int, int], None]  # (frames played, frames in total) of all runs


class Played(NamedTuple):
    """Results of K runs.

    frames: [frames] of each run
    speed_sums: (K,) float64 [px/frame] mean speed of the driven vehicles, summed over a run's frames
    passed: (K,) int64 vehicles passed minus vehicles that passed
    seconds: that playing took
    """

    frames: int
    speed_sums: F64
    passed: I64
    seconds: float


def play_serially(policy: Policy, sim: Simulator, runs: Runs, block: int, progress: Progress | None = None) -> Played:
    """Play runs one after another in the simulator's first env, in the policy's compiled loop if it has one.

    block: runs between two calls of `progress`, which may raise to end the evaluation
    """
    runner = PolicyRunner(policy, sim)
    loop = (policy.open_loop() if runs.streams.size else policy.official_loop()) or runner.play
    loop(Runs.official(sim, 1, 0, runs.frames))  # no runs: it compiles, untimed
    started = time.perf_counter()
    for k, some in enumerate(runs.blocks(block)):
        loop(some)
        if progress:
            progress((k * block + some.passed.size) * runs.frames, runs.passed.size * runs.frames)
    return Played(runs.frames, runs.speed_sums, runs.passed, time.perf_counter() - started)


def play_together(policy: Policy, sim: Simulator, frames: int, progress: Progress | None = None) -> Played:
    """Play one run in each of the simulator's envs, which have just been reset, to the end of frame `frames`."""
    started, envs = time.perf_counter(), sim.num_envs
    runner = PolicyRunner(policy, sim)
    agents = sim.run_to_frame(frames)
    while agents[0] != NOBODY:  # the envs keep step: the same agent decides in all of them
        agents = sim.run_to_frame(frames, runner.decide(int(agents[0])))
        if progress:
            progress(int(sim.state.frame[0]) * envs, frames * envs)
    return Played(frames, sim.state.score_sum.copy(), sim.state.passed.copy(), time.perf_counter() - started)


class PolicyRunner:
    """Asks a policy for the decisions of every agent in a simulator's envs, each agent with a memory of its own."""

    def __init__(self, policy: Policy, sim: Simulator) -> None:
        self.policy, self.sim = policy, sim
        agents = sim.rules.other_agents + 1
        self.agent_indices = [np.arange(sim.num_envs) * agents + agent for agent in range(agents)]
        self.sensor = plain_sensor(policy.observation)
        self.observers: list[Observer] = []
        if self.sensor:
            self.sensor.check()
            self.obs = np.empty((sim.num_envs, self.sensor.size))
        else:
            self.observers = [observer_of(policy, sim, agent) for agent in range(agents)]
        self.actions: list[I64 | None] = [None] * agents
        policy.attach(sim)
        policy.reset(np.arange(sim.num_envs * agents))

    def decide(self, agent: int) -> I64:
        """Return the decisions of an agent that waits in every env, (B,)."""
        if self.sensor:
            obs: Any = self.sim.sense(self.sensor, agent, out=self.obs)
        else:
            obs = self.observers[agent].observe(self.sim, actions=self.actions[agent])
        actions = np.asarray(self.policy.act(obs, self.agent_indices[agent]))
        if actions.shape != (self.sim.num_envs,) or not are_actions(actions):
            raise ValueError(
                f"policy {self.policy.label} returned {actions!r:.80} for {self.sim.num_envs} envs; "
                f"act must return one integer in [0, {len(Action) - 1}] for each"
            )
        self.actions[agent] = actions
        return actions

    def play(self, runs: Runs) -> None:
        """Play a chain of runs in the simulator's one env through the policy's `act`."""
        if self.sensor:
            self._play_plain(runs, self.sensor)
            return
        agent = next_decision(runs, int(Action.NOTHING))
        while agent != NOBODY:
            agent = next_decision(runs, int(self.decide(agent)[0]))

    def _play_plain(self, runs: Runs, sensor: Sensor) -> None:
        """`play` with as little as possible between two decisions."""
        act, agent_indices, obs, count, action = self.policy.act, self.agent_indices, self.obs, len(Action), 0
        parts, window = tuple(runs), tuple(sensor)
        while (agent := next_observation(parts, action, window, obs)) != NOBODY:
            action = int(act(obs, agent_indices[agent])[0])
            if not 0 <= action < count:
                raise ValueError(f"policy {self.policy.label} returned {action}; actions are 0 to {count - 1}")


@compiled
def next_observation(parts: tuple[Any, ...], action: int, window: tuple[int, int, int], obs: F64) -> int:
    """As `next_decision`, and write what the agent that is due observes to obs (1, D).

    parts, window: of the runs and the sensor, plain tuples, which Numba takes from Python faster than NamedTuples
    """
    runs = Runs(*parts)
    agent = next_decision(runs, action)
    if agent != NOBODY:
        sense(runs.rules[0], Sensor(*window), runs.games[0], agent, obs[0])
    return agent


def plain_sensor(observation: Any) -> Sensor | None:
    """Return the sensor of a policy that observes the game's own vector in float64, None for any other observation."""
    if isinstance(observation, Sensor | EnvObservation):
        return observation if isinstance(observation, Sensor) else None
    plain = observation.kind == "vector" and observation.temporal_window == 0 and observation.dtype != "float32"
    return observation.sensor if plain and not observation.is_weak else None


def are_actions(actions: NDArray[Any]) -> bool:
    """Whether every entry is one of the five actions."""
    if actions.dtype.kind in "iu":  # asked at every decision: in a fraction of `isin`'s time
        return bool(actions.min() >= 0 and actions.max() < len(Action))
    return bool(np.isin(actions, [int(action) for action in Action]).all())
