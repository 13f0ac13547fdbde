"""Network policy: a neural network that reads a window of observations and actions, as the original game runs it.

Source: `deeptraffic/sim/RULES.md`, "The original agent". It takes action 0 until it has been called more than T times,
T its temporal window; it takes the first of equal outputs; it is never reset between official runs. Every other agent
is a copy with a window of its own; the copies are renewed from the ego car's once that was called more than T times.

Every policy file is run this way: without a window it is a plain network; recurrent layers keep their state per agent.

    >>> policy = NetworkPolicy("mine", network, Sensor(3, 50, 10))
    >>> evaluate_official(policy)               # simulator and network in one compiled loop
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from deeptraffic.policies.base import Policy, RunLoop
from deeptraffic.policies.builtin import mix
from deeptraffic.policies.exponential import exp
from deeptraffic.policies.network import Net, Network, Program, forward
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.observation import observation_size, sense
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.runs import Runs, is_open, next_decision
from deeptraffic.sim.state import F64, I64, NOBODY

ACTIONS = len(Action)
ARGMAX = -1  # in place of a seed: take the first of the largest outputs
MAX_SEED = 2**53 - 1  # what every language's JSON reader keeps exactly


def input_size(sensor: Sensor, temporal_window: int) -> int:
    """Return the size of a network's input: the sensor's D, and per earlier decision D again and the action taken."""
    return sensor.size + temporal_window * (sensor.size + ACTIONS)


@compiled
def uniform(seed: int, stream: int, calls: int) -> float:
    """Return draw `calls` of a SplitMix64 stream, in [0, 1)."""
    start = mix(mix(np.uint64(seed) + np.uint64(1)) + np.uint64(stream))
    return np.float64(mix(start + np.uint64(calls) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)) * 2.0**-53


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


class Driver(NamedTuple):
    """A network that drives S agents, as compiled code takes it.

    net: the assembled network
    sensor: what it observes
    history: (S, 1 + T * (D + 1)) float64 per agent the number of its calls, then its T last decisions, newest first,
        each the observation and the action taken
    memory: (S, M) float64 the state of recurrent layers per agent
    agents: A + 1, agents of each env
    seed: of drawn actions; ARGMAX takes the first of the largest outputs
    """

    net: Net
    sensor: Sensor
    history: F64
    memory: F64
    agents: int
    seed: int


@compiled
def decide(driver: Driver, agent_index: int, stream: int) -> int:
    """Return the agent's action for the observation at the start of the network's scratch, and remember both.

    stream: index of the random stream that an action is drawn from

    The one place where the other agents' copies are renewed: once the ego car was called more than T times.
    """
    history, memory, agents = driver.history, driver.memory, driver.agents
    action = choose(driver, history[agent_index], memory[agent_index], stream)
    window = (history.shape[1] - 1) // (observation_size(driver.sensor) + 1)
    if agents > 1 and agent_index % agents == 0 and history[agent_index, 0] == window + 1:
        copies = slice(agent_index + 1, agent_index + agents)
        history[copies] = history[agent_index]
        memory[copies] = memory[agent_index]
    return action


@compiled
def choose(driver: Driver, history: F64, memory: F64, stream: int) -> int:
    """`decide` for an agent with this history and memory, without its copies."""
    net, size = driver.net, observation_size(driver.sensor)
    scratch, window = net.scratch, (history.size - 1) // (size + 1)
    action = 0
    if history[0] >= window:  # this is call history[0] + 1
        for t in range(window):
            then, x = 1 + t * (size + 1), size + t * (size + ACTIONS)
            scratch[x : x + size] = history[then : then + size]
            scratch[x + size : x + size + ACTIONS] = 0.0
            scratch[x + size + int(history[then + size])] = size
        forward(net, memory, net.extra)
        outputs = scratch[net.out : net.out + net.outputs]
        if driver.seed >= 0:
            action = sample(outputs, uniform(driver.seed, stream, int(history[0])))
        else:
            for i in range(1, outputs.size):
                if outputs[i] > outputs[action]:
                    action = i
    history[0] += 1.0
    for at in range(history.size - 1, size + 1, -1):
        history[at] = history[at - size - 1]
    if window > 0:
        history[1 : 1 + size] = scratch[:size]
        history[1 + size] = action
    return action


@compiled
def play(runs: Runs, driver: Driver) -> None:
    """Play runs with the agents of one env; open runs start with empty memories."""
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
        sense(runs.rules[0], sensor, runs.games[0], agent, cells)
        action = decide(driver, agent, first_stream + agent)


@compiled
def decide_all(parts: tuple[Any, ...], agent_indices: I64, obs: F64, actions: I64, values: F64) -> bool:
    """Write the action of each agent for its observation in obs (B, D), and the network's outputs to values (B, 5).

    Outputs are NaN where the network was not asked. False if an agent has no memory.

    parts: of the driver, in plain tuples, which Numba takes from Python in a third of a NamedTuple's time
    """
    net, sensor, history, memory, agents, seed = parts
    driver = Driver(Net(*net), Sensor(*sensor), history, memory, agents, seed)
    for agent_index in agent_indices:
        if not 0 <= agent_index < history.shape[0]:
            return False
    window = (history.shape[1] - 1) // (obs.shape[1] + 1)
    for b in range(obs.shape[0]):
        driver.net.scratch[: obs.shape[1]] = obs[b]
        is_asked = history[agent_indices[b], 0] >= window
        actions[b] = decide(driver, agent_indices[b], agent_indices[b])
        for a in range(values.shape[1]):
            values[b, a] = driver.net.scratch[driver.net.out + a] if is_asked else np.nan
    return True


class NetworkPolicy(Policy):
    """A policy that feeds a sensor's cells to a network.

    Args:
        label: name in tables and scores
        network: has `input_size(sensor, temporal_window)` inputs and 5 outputs
        sensor: what it observes
        temporal_window: T, earlier decisions in its input
        rules, other_agents: the contest and the number of other agents that it was made for
        seed: of actions drawn with the softmax of the outputs as probabilities; None takes the first of the largest
            outputs
    """

    def __init__(
        self,
        label: str,
        network: Network,
        sensor: Sensor,
        temporal_window: int = 0,
        rules: int = 2018,
        other_agents: int = 0,
        seed: int | None = None,
    ) -> None:
        expected = input_size(sensor, temporal_window)
        if network.inputs != expected:
            raise ValueError(
                f"the network has {network.inputs} inputs, but {sensor.size} cells and a temporal window of "
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
        self.program: Program = network.assemble()
        history = np.zeros((0, 1 + temporal_window * (sensor.size + 1)))
        memory = np.zeros((0, self.program.memory))
        self.driver = Driver(self.program.net, sensor, history, memory, 1, ARGMAX if seed is None else seed)
        self.reset(np.arange(1))

    def attach(self, sim: Any) -> None:
        """Take the number of agents that drive in each env."""
        self.set_agents(sim.rules.other_agents + 1)

    def set_agents(self, agents: int) -> None:
        """Drive so many agents in each env, of which the first is the ego car."""
        self.driver = self.driver._replace(agents=agents)

    def reset(self, agent_indices: I64) -> None:
        """Empty the memories of these agents, making room for them."""
        needed, (room, length) = int(np.max(agent_indices)) + 1, self.driver.history.shape
        if needed != room and len(agent_indices) == needed:
            memory = np.zeros((needed, self.program.memory))
            self.driver = self.driver._replace(history=np.zeros((needed, length)), memory=memory)
        self.driver.history[agent_indices], self.driver.memory[agent_indices] = 0.0, 0.0

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the actions (B,) for obs (B, D) float64 of the agents with these indices (B,)."""
        cells, count = np.ascontiguousarray(obs, np.float64), len(agent_indices)
        if cells.shape != (count, self.observation.size):
            raise ValueError(f"obs of shape {cells.shape}; {count} agents observe {self.observation.size} cells each")
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

    def official_loop(self) -> RunLoop:
        """Return the loop that plays a chain of runs, with the memories as they are."""
        return partial(play, driver=self.driver)

    def open_loop(self) -> RunLoop:
        """Return the loop that plays independent runs, with the memories of one env's agents."""
        self.reset(np.arange(self.driver.agents))
        return partial(play, driver=self.driver)
