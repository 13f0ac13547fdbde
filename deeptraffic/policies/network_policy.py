"""Network policy: a neural network that reads a window of observations and actions, as the original game runs it.

Source: `deeptraffic/sim/RULES.md`, "The original agent". It takes action 0 until it has been called more than T times,
T its temporal window; it takes the first of equal outputs; it is never reset between official runs. Every other agent
is a copy with a window of its own; the copies are renewed from the ego car's once that was called more than T times.
With probability epsilon (the original's `epsilon_test_time`) a decision of the network is replaced by a random action.

Every policy file is run this way: without a window it is a plain network; recurrent layers keep their state per agent.

    >>> policy = NetworkPolicy("mine", network, Sensor(3, 50, 10))
    >>> evaluate_official(policy)               # simulator and network in one compiled loop
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies.base import EnvObservation, Policy, RunLoop
from deeptraffic.policies.exponential import exp
from deeptraffic.policies.network import Net, Network, Program, forward
from deeptraffic.settings import check_integer, check_real
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.observation import observation_size, sense
from deeptraffic.sim.random import GOLDEN, mix, run_keys
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.runs import Runs, is_open, next_decision
from deeptraffic.sim.state import F64, I64, NOBODY

U64 = NDArray[np.uint64]
ACTIONS = len(Action)
ARGMAX = -1  # in place of a seed: take the first of the largest outputs
MAX_SEED = 2**53 - 1  # what every language's JSON reader keeps exactly


def input_size(sensor: Sensor | EnvObservation, temporal_window: int) -> int:
    """Return the size of a network's input: what is observed, D, and per earlier decision D and the action taken."""
    return sensor.size + temporal_window * (sensor.size + ACTIONS)


@compiled
def stream_start(key: np.uint64, stream: int) -> np.uint64:
    """Return the state in which a SplitMix64 stream starts."""
    return mix(mix(key + np.uint64(1)) + np.uint64(stream))


@compiled
def nth_uniform(start: np.uint64, n: int) -> float:
    """Return draw n of the SplitMix64 stream that starts in this state, in [0, 1)."""
    return np.float64(mix(start + np.uint64(n) * GOLDEN) >> np.uint64(11)) * 2.0**-53


@compiled
def uniform(seed: int, stream: int, calls: int) -> float:
    """Return draw `calls` of a SplitMix64 stream, in [0, 1)."""
    return nth_uniform(stream_start(np.uint64(seed), stream), calls)


@compiled
def sample(scores: F64, u: float) -> int:
    """Draw an index with the softmax of scores as probabilities: the first whose running sum exceeds u * total."""
    largest = scores[0]
    for i in range(1, scores.size):
        if scores[i] > largest:
            largest = scores[i]
    total = 0.0
    for i in range(scores.size):
        total += exp(scores[i] - largest)
    running = 0.0
    for i in range(scores.size):
        running += exp(scores[i] - largest)
        if running > u * total:
            return i
    return scores.size - 1


class Exploration(NamedTuple):
    """Random actions in place of the network's, as compiled code takes them.

    epsilon: probability of a random action
    cumulative: (5,) float64 running sums of the actions' probabilities
    streams: (S,) uint64 where the random stream of each agent's run starts
    seed: of all streams, mixed
    """

    epsilon: float
    cumulative: F64
    streams: U64
    seed: np.uint64


EXPLORATION = 0x7F4A7C159E3779B9  # keeps these streams apart from those of drawn actions


@compiled
def explore(exploration: Exploration | None, agent_index: int, calls: int, action: int) -> int:
    """Return the action, or with probability epsilon a random one; calls: of the agent before this one."""
    if exploration is not None:  # only of an argument does the compiler know that it is None
        start = exploration.streams[agent_index]
        if nth_uniform(start, 2 * calls) < exploration.epsilon:
            u = nth_uniform(start, 2 * calls + 1)
            for i in range(ACTIONS):
                if u < exploration.cumulative[i]:
                    return i
            return 0
    return action


@compiled
def start_streams(exploration: Exploration | None, agent_indices: I64, keys: U64, agents: int) -> None:
    """Start the streams of agents (B,) of `agents` per env; keys (B,): each one's `run_keys`."""
    if exploration is not None:
        for k in range(agent_indices.size):
            key = keys[k] ^ exploration.seed ^ np.uint64(EXPLORATION)
            exploration.streams[agent_indices[k]] = stream_start(key, agent_indices[k] % agents)


class Driver(NamedTuple):
    """A network that drives S agents, as compiled code takes it.

    net: the assembled network
    sensor: what it observes; a window of as many cells where that is no sensor
    history: (S, 1 + T * (D + 1)) float64 per agent the number of its calls, then its T last decisions, newest first,
        each the observation and the action taken
    memory: (S, M) float64 the state of recurrent layers per agent
    agents: A + 1, agents of each env
    seed: of drawn actions; ARGMAX takes the first of the largest outputs
    exploration: None if it never acts at random; code compiled for None spends no time on it
    """

    net: Net
    sensor: Sensor
    history: F64
    memory: F64
    agents: int
    seed: int
    exploration: Exploration | None


@compiled
def decide(driver: Driver, agent_index: int, stream: int) -> int:
    """Return the agent's action for the observation at the start of the network's scratch, and remember both.

    stream: index of the random stream that an action is drawn from

    The one place where the other agents' copies are renewed: once the ego car was called more than T times.
    """
    history, memory, agents = driver.history, driver.memory, driver.agents
    action = choose(driver, agent_index, stream, driver.exploration)
    window = (history.shape[1] - 1) // (observation_size(driver.sensor) + 1)
    if agents > 1 and agent_index % agents == 0 and history[agent_index, 0] == window + 1:
        for copy in range(agent_index + 1, agent_index + agents):
            move(history[agent_index], 0, history[copy], 0, history.shape[1])
            move(memory[agent_index], 0, memory[copy], 0, memory.shape[1])
    return action


@compiled
def move(source: F64, first: int, target: F64, to: int, count: int) -> None:
    """Copy `count` values (by a loop: for a slice, Numba compiles the message of an error that cannot happen)."""
    for i in range(count):
        target[to + i] = source[first + i]


@compiled
def choose(driver: Driver, agent_index: int, stream: int, exploration: Exploration | None) -> int:
    """`decide` without the copies; exploration: the driver's."""
    history, memory = driver.history[agent_index], driver.memory[agent_index]
    net, size = driver.net, observation_size(driver.sensor)
    scratch, window = net.scratch, (history.size - 1) // (size + 1)
    action = 0
    if history[0] >= window:  # this is call history[0] + 1
        for t in range(window):
            then, x = 1 + t * (size + 1), size + t * (size + ACTIONS)
            move(history, then, scratch, x, size)
            scratch[x + size : x + size + ACTIONS] = 0.0
            scratch[x + size + int(history[then + size])] = size
        forward(net, memory)
        outputs = scratch[net.out : net.out + net.outputs]
        if driver.seed >= 0:
            action = sample(outputs, uniform(driver.seed, stream, int(history[0])))
        else:
            for i in range(1, outputs.size):
                if outputs[i] > outputs[action]:
                    action = i
        action = explore(exploration, agent_index, int(history[0]), action)
    history[0] += 1.0
    for at in range(history.size - 1, size + 1, -1):
        history[at] = history[at - size - 1]
    if window > 0:
        move(scratch, 0, history, 1, size)
        history[1 + size] = action
    return action


@compiled
def play(runs: Runs, driver: Driver, keys: U64) -> None:
    """Play runs with the agents of one env; open runs start with empty memories.

    keys: (K,) uint64 `run_keys` of open runs, for a policy that acts at random; else (0,)
    """
    sensor, cells = driver.sensor, driver.net.scratch[: observation_size(driver.sensor)]
    action, run, first_stream = 0, NOBODY, 0
    while True:
        agent = next_decision(runs, action)
        if agent == NOBODY:
            return
        if is_open(runs) and run != runs.position[0]:
            run = runs.position[0]
            first_stream = (runs.first_run + run) * driver.agents
            driver.history[:] = 0.0
            driver.memory[:] = 0.0
            if keys.size > 0:
                every = np.arange(driver.agents)
                start_streams(driver.exploration, every, np.full(driver.agents, keys[run]), driver.agents)
        sense(runs.rules[0], sensor, runs.games[0], agent, cells)
        action = decide(driver, agent, first_stream + agent)


@compiled
def decide_all(parts: tuple[Any, ...], agent_indices: I64, obs: F64, actions: I64, values: F64) -> bool:
    """Write the action of each agent for its observation in obs (B, D), and the network's outputs to values (B, 5).

    Outputs are NaN where the network was not asked. False if an agent has no memory.

    parts: of the driver, in plain tuples, which Numba takes from Python in a third of a NamedTuple's time
    """
    net, sensor, history, memory, agents, seed, exploration = parts
    driver = Driver(Net(*net), Sensor(*sensor), history, memory, agents, seed, exploration)
    for agent_index in agent_indices:
        if not 0 <= agent_index < history.shape[0]:
            return False
    window = (history.shape[1] - 1) // (obs.shape[1] + 1)
    for b in range(obs.shape[0]):
        move(obs[b], 0, driver.net.scratch, 0, obs.shape[1])
        is_asked = history[agent_indices[b], 0] >= window
        actions[b] = decide(driver, agent_indices[b], agent_indices[b])
        for a in range(values.shape[1]):
            values[b, a] = driver.net.scratch[driver.net.out + a] if is_asked else np.nan
    return True


class NetworkPolicy(Policy):
    """A policy that feeds a sensor's cells, or another observation, to a network.

    Args:
        label: name in tables and scores
        network: has `input_size(sensor, temporal_window)` inputs and 5 outputs
        sensor: what it observes
        temporal_window: T, earlier decisions in its input
        rules, other_agents: the contest and the number of other agents that it was made for
        seed: of actions drawn with the softmax of the outputs as probabilities; None takes the first of the largest
            outputs
        epsilon: probability with which a random action replaces the network's
        random_actions: probabilities of the five random actions; () for equal ones

    A run's random actions are drawn from streams that are derived from its start, one for each agent; those of an
    official evaluation from fixed ones.
    """

    # parameters: what a policy file says about its policy
    def __init__(
        self,
        label: str,
        network: Network,
        sensor: Sensor | EnvObservation,
        temporal_window: int = 0,
        rules: int = 2018,
        other_agents: int = 0,
        seed: int | None = None,
        epsilon: float = 0.0,
        random_actions: Sequence[float] = (),
    ) -> None:
        expected = input_size(sensor, temporal_window)
        what = "cells" if isinstance(sensor, Sensor) else "values"
        if network.inputs != expected:
            raise ValueError(
                f"the network has {network.inputs} inputs, but {sensor.size} {what} and a temporal window of "
                f"{temporal_window} give {expected}; make them agree"
            )
        if network.outputs != ACTIONS:
            raise ValueError(
                f"the network must have one output for each of the {ACTIONS} actions, got {network.outputs}"
            )
        if seed is not None and not 0 <= seed <= MAX_SEED:
            raise ValueError(f"seed must be an integer in [0, {MAX_SEED}], got {seed}")
        self.label, self.observation, self.network, self.temporal_window = label, sensor, network, temporal_window
        self.rules, self.other_agents, self.seed = rules, other_agents, seed
        self.random_actions, self.random_seed = tuple(random_actions), 0
        self.starts: I64 | None = None
        self.program: Program = network.assemble()
        history = np.zeros((0, 1 + temporal_window * (sensor.size + 1)))
        memory = np.zeros((0, self.program.memory))
        cells = sensor if isinstance(sensor, Sensor) else Sensor(0, sensor.size, 0)
        self.driver = Driver(self.program.net, cells, history, memory, 1, ARGMAX if seed is None else seed, None)
        self.set_epsilon(epsilon)
        self.reset(np.arange(1))

    def set_epsilon(self, epsilon: float | None = None, seed: int | None = None) -> None:
        """Act at random with probability epsilon in [0, 1], drawn from streams of this seed; None leaves either.

        seed: in [0, 2**53 - 1]; 0 where none was ever given
        """
        self.epsilon = check_real("epsilon", self.epsilon if epsilon is None else epsilon, 0.0, 1.0)
        self.random_seed = check_integer("seed", self.random_seed if seed is None else seed, 0, MAX_SEED)
        mixed = mix(np.uint64(self.random_seed))
        probabilities = self.random_actions or (1 / ACTIONS,) * ACTIONS
        every = np.arange(len(self.driver.history))
        exploration = Exploration(self.epsilon, np.cumsum(probabilities), every.astype(np.uint64), np.uint64(mixed))
        self.driver = self.driver._replace(exploration=exploration if self.epsilon > 0.0 else None)
        self.start_streams(every, agent_keys(self.starts, every, self.driver.agents))

    def attach(self, sim: Any) -> None:
        """Take the number of agents that drive in each env, and where the envs' runs start."""
        self.set_agents(sim.rules.other_agents + 1)
        self.starts = sim.starts

    def set_agents(self, agents: int) -> None:
        """Drive so many agents in each env, of which the first is the ego car."""
        self.driver = self.driver._replace(agents=agents)

    def reset(self, agent_indices: I64) -> None:
        """Empty the memories of these agents, making room for them; of all agents, for no others."""
        needed, room = int(np.max(agent_indices)) + 1, len(self.driver.history)
        if needed > room or (needed < room and len(agent_indices) == needed):
            self._make_room(needed)
        self.driver.history[agent_indices], self.driver.memory[agent_indices] = 0.0, 0.0
        if self.driver.exploration is not None:
            self.start_streams(agent_indices, agent_keys(self.starts, agent_indices, self.driver.agents))

    def _make_room(self, agents: int) -> None:
        """Have room for so many agents; those that there were keep their memories."""
        driver, exploration = self.driver, self.driver.exploration
        if exploration is not None:
            exploration = exploration._replace(streams=resized(exploration.streams, agents))
        history, memory = resized(driver.history, agents), resized(driver.memory, agents)
        self.driver = driver._replace(history=history, memory=memory, exploration=exploration)

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the agents' histories and recurrent states, and the starts of their random streams."""
        driver, exploration = self.driver, self.driver.exploration
        streams = {} if exploration is None else {"streams": exploration.streams.view(np.int64).copy()}
        return {"history": driver.history.copy(), "memory": driver.memory.copy()} | streams

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `get_state` returned."""
        exploration = self.driver.exploration
        if exploration is not None:
            exploration = exploration._replace(streams=state["streams"].view(np.uint64).copy())
        history, memory = state["history"].copy(), state["memory"].copy()
        self.driver = self.driver._replace(history=history, memory=memory, exploration=exploration)

    def start_streams(self, agent_indices: I64, keys: U64) -> None:
        """Start the streams of random actions of these agents (B,) in runs with these keys (B,) (`run_keys`)."""
        if self.driver.exploration is not None:
            start_streams(self.driver.exploration, agent_indices, keys, self.driver.agents)

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the actions (B,) for obs (B, D) float64 of the agents with these indices (B,)."""
        cells, count = np.ascontiguousarray(obs, np.float64), len(agent_indices)
        if cells.shape != (count, self.observation.size):
            raise ValueError(f"obs of shape {cells.shape}; {count} agents observe {self.observation.size} numbers each")
        actions, values, driver = np.empty(count, np.int64), np.empty((count, ACTIONS)), self.driver
        parts = (tuple(driver.net), tuple(driver.sensor), *driver[2:])
        if not decide_all(parts, agent_indices, cells, actions, values):
            raise ValueError(
                f"agent indices must be integers in [0, {len(driver.history) - 1}], got {agent_indices.min()} to "
                f"{agent_indices.max()}; reset(agent_indices) makes room for more agents"
            )
        self.values = values
        if self.activity is not None and agent_indices[0] % self.driver.agents == 0:
            self.activity = self.program.values()
        return actions

    def as_network(self) -> "NetworkPolicy":
        """Return itself."""
        return self

    def note(self, actions: I64, agent_indices: I64) -> None:
        """Put actions (B,) that were carried out in place of its last ones into the temporal window."""
        if self.temporal_window:
            self.driver.history[agent_indices, 1 + self.observation.size] = actions

    def official_loop(self) -> RunLoop | None:
        """Return the loop that plays a chain of runs, with the memories as they are; None unless it reads cells."""
        if not isinstance(self.observation, Sensor):
            return None
        return partial(play, driver=self.driver, keys=np.zeros(0, np.uint64))

    def open_loop(self) -> RunLoop | None:
        """Return the loop that plays independent runs, with the memories of one env's agents."""
        if not isinstance(self.observation, Sensor):
            return None
        self.reset(np.arange(self.driver.agents))
        return self._play_open if self.driver.exploration is not None else self.official_loop()

    def _play_open(self, runs: Runs) -> None:
        play(runs, self.driver, run_keys(runs.streams))


def agent_keys(starts: I64 | None, agent_indices: I64, agents: int) -> U64:
    """Return the key (B,) of the run that each of these agents (B,), of `agents` per env, drives in.

    starts: where the runs of all envs start (`deeptraffic.sim.engine.Simulator`), None if that is not known. The key of
    a run that no reset started, as in an official evaluation, is the index of its env.
    """
    envs = agent_indices // agents
    keys = envs.astype(np.uint64)
    if starts is not None:
        started = envs < len(starts)
        started[started] = starts[envs[started]].any(1)
        keys[started] = run_keys(starts[envs[started]])
    return keys


def resized(rows: NDArray[Any], count: int) -> NDArray[Any]:
    """Return a copy (count, ...) of these rows (S, ...): the first ones, or all and zeros behind them."""
    copy = np.zeros((count, *rows.shape[1:]), rows.dtype)
    copy[: len(rows)] = rows[:count]
    return copy
