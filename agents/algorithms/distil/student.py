"""Student of distillation: an encoder, optionally a recurrent cell, hidden layers, and an output for each action.

    >>> student = Student(config, space, is_new=True)
    >>> logits, state = student(obs, last, state)        # obs (N, T, ...) -> (N, T, 5)
    >>> network = to_policy_network(student, config)     # for a policy file, None where no file can hold it

Letters in shapes: N sequences, T decisions, B agents, A actions, S values of one recurrent state.
"""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from agents.algorithm import Notes
from agents.algorithms.distil.config import NO_MEMORY, DistilConfig
from agents.config import TrainConfig
from agents.lane_layers import lane_layers
from agents.lane_network import LaneFeatures
from agents.perception import add_encoder, encoder_kwargs, file_observation
from deeptraffic.envs.observations.observation import FrameObservation
from deeptraffic.policies.base import EnvObservation, Policy
from deeptraffic.policies.layers import Concat, Scale, Slice
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy, input_size
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.state import I64
from representation.encoder import Encoder, as_float, to_tensors
from representation.encoders.dense import ACTIVATIONS
from representation.encoders.recurrent import CELLS, StatefulEncoder
from representation.layouts import as_vector, vector_size

ACTIONS = len(Action)
NO_ACTION = -1
CHUNK = 512  # observations that the network reads at a time while it acts


class PlainFeatures(nn.Module):
    """No encoder: the observation as a vector."""

    def __init__(self, space: spaces.Space) -> None:
        super().__init__()
        self.space, self.features_dim = space, vector_size(space)

    def forward(self, obs: Any) -> Tensor:
        """Return (N, n)."""
        if isinstance(self.space, spaces.Dict):
            return as_vector({name: as_float(obs[name], part) for name, part in self.space.spaces.items()})
        return as_vector(as_float(obs, self.space))


class Student(nn.Module):
    """A network that chooses actions from observations.

    Args:
        config: of the run
        space: of one observation
        is_new: whether training begins, with the encoder's weights file if one is named; else weights will be restored

    state_size: S, 0 without memory
    """

    def __init__(self, config: TrainConfig, space: spaces.Space, is_new: bool) -> None:
        super().__init__()
        agent = config.agent
        assert isinstance(agent, DistilConfig)
        self.last_action, self.features = agent.last_action, _features(config, agent, space, is_new)
        size = int(self.features.features_dim) + ACTIONS * self.last_action
        self.memory: nn.RNNBase | None = None
        if agent.memory != NO_MEMORY:
            self.memory = CELLS[agent.memory](size, agent.memory_units, batch_first=True)
            size = agent.memory_units
        layers: list[nn.Module] = []
        for units in agent.hidden:
            layers += [nn.Linear(size, units), ACTIVATIONS[agent.activation]()]
            size = units
        self.head = nn.Sequential(*layers, nn.Linear(size, ACTIONS))

    @property
    def stateful(self) -> StatefulEncoder | None:
        """The encoder, if it carries a state from decision to decision."""
        encoder = self.features
        return encoder if isinstance(encoder, StatefulEncoder) and encoder.reads_steps else None

    @property
    def state_size(self) -> int:
        """S, the size of the state."""
        return sum(self._state_sizes())

    def _state_sizes(self) -> tuple[int, int]:
        """Sizes of the encoder's state and of the cell's."""
        encoder = self.stateful
        cells = 0 if self.memory is None else self.memory.hidden_size * (1 + isinstance(self.memory, nn.LSTM))
        return encoder.state_size if encoder else 0, cells

    def initial_state(self, count: int) -> Tensor:
        """Return the states (count, S) before the first decision."""
        encoder, (_, cells) = self.stateful, self._state_sizes()
        empty = torch.zeros(count, cells)
        return torch.cat([encoder.initial_state(count).detach().cpu(), empty], 1) if encoder else empty

    def forward(self, obs: Any, last: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits (N, T, A), the states after the last decision (N, S)); see `run`."""
        return self.run(obs, last, state)[1:]

    def run(self, obs: Any, last: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (the encoder's features (N, T, F), logits (N, T, A), the states after the last decision (N, S)).

        obs: (N, T, ...), or a dict of such; last: (N, T) int64 the action before each, `NO_ACTION` for none; state: (N,
        S) before the first of the decisions
        """
        count, steps = last.shape
        flat = {k: part.flatten(0, 1) for k, part in obs.items()} if isinstance(obs, dict) else obs.flatten(0, 1)
        of_encoder, of_memory = state.split(self._state_sizes(), 1)
        encoder = self.stateful
        if encoder:
            features, of_encoder = encoder.run(encoder.inputs(flat)[:, -1].unflatten(0, (count, steps)), of_encoder)
        else:
            features = self.features(flat).unflatten(0, (count, steps))  # (N, T, F)
        read = features
        if self.last_action:
            read = torch.cat([read, functional.one_hot(last + 1, ACTIONS + 1)[..., 1:].float()], 2)
        if self.memory is not None:
            read, of_memory = run_cell(self.memory, read, of_memory)
        return features, self.head(read), torch.cat([of_encoder, of_memory], 1)

    @torch.no_grad()
    def decide(self, obs: Any, last: I64, state: Tensor) -> tuple[NDArray[np.float32], Tensor]:
        """Return (logits (B, A), states (B, S)) of one decision for NumPy observations (B, ...)."""
        device, pieces = next(self.parameters()).device, []
        for start in range(0, len(last), CHUNK):
            piece = slice(start, start + CHUNK)
            seen = to_tensors(obs, piece, device)
            seen = {k: part[:, None] for k, part in seen.items()} if isinstance(seen, dict) else seen[:, None]
            before = torch.from_numpy(last[piece, None]).to(device)
            logits, after = self(seen, before, state[piece].to(device))
            pieces.append((logits[:, 0].cpu(), after.cpu()))
        return torch.cat([p[0] for p in pieces]).numpy(), torch.cat([p[1] for p in pieces])


def _features(config: TrainConfig, agent: DistilConfig, space: spaces.Space, is_new: bool) -> Any:
    """Return what turns observations (N, ...) into features (N, features_dim)."""
    if agent.lane_units:
        assert isinstance(space, spaces.Box)
        return LaneFeatures(space, config.observation.sensor.columns, agent.lane_units)
    if not config.encoder.is_used:
        return PlainFeatures(space)
    kwargs = encoder_kwargs(config.encoder, is_new)
    return kwargs["features_extractor_class"](space, **kwargs["features_extractor_kwargs"])


def run_cell(cell: nn.RNNBase, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return (outputs (N, T, units), the last states (N, S)) of a cell for inputs (N, T, n) and states (N, S)."""
    parts = tuple(part[None].contiguous() for part in state.split(cell.hidden_size, 1))
    outputs, after = cell(inputs, parts if len(parts) == 2 else parts[0])
    return outputs, torch.cat([part[0] for part in after], 1) if isinstance(after, tuple) else after[0]


# --- policies ---------------------------------------------------------------------------------------------------------


class StudentPolicy(Policy):
    """Takes the most likely action of a student that no policy file holds.

    Args:
        config: of the run; student: its network; label: name in tables; notes: short facts about the network
    """

    def __init__(self, config: TrainConfig, student: Student, label: str, notes: Notes) -> None:
        self.config, self.student, self.label, self.notes = config, student.eval(), label, notes
        self.rules, self.other_agents = config.road.rules, config.road.other_agents
        self.observation = config.observation
        self.last: I64 = np.zeros(0, np.int64)  # (agents,)
        self.state = student.initial_state(0)  # (agents, S)

    def reset(self, agent_indices: I64) -> None:
        """Empty the memories of these agents."""
        missing = int(agent_indices.max(initial=-1)) + 1 - self.last.size
        if missing > 0:
            self.last = np.concatenate([self.last, np.full(missing, NO_ACTION)])
            self.state = torch.cat([self.state, self.student.initial_state(missing)])
        self.last[agent_indices] = NO_ACTION
        self.state[agent_indices] = self.student.initial_state(len(agent_indices))

    def act(self, obs: Any, agent_indices: I64) -> I64:
        """Return the actions (B,) for observations (B, ...) of kind `observation`."""
        if int(agent_indices.max(initial=-1)) >= self.last.size:
            self.reset(np.arange(self.last.size, int(agent_indices.max()) + 1))
        last, state = self.last[agent_indices], self.state[agent_indices]
        logits, self.state[agent_indices] = self.student.decide(obs, last, state)
        self.values = logits.astype(np.float64)
        self.last[agent_indices] = logits.argmax(1)
        return self.last[agent_indices]

    def note(self, actions: I64, agent_indices: I64) -> None:
        """Remember actions (B,) that were carried out in place of its last ones."""
        self.last[agent_indices] = actions


class StudentNetworkPolicy(NetworkPolicy):
    """A student as a network that a policy file holds.

    Args:
        config: of the run; student: its network; network: `to_policy_network` of both; label: name in tables; notes:
            short facts
    """

    def __init__(self, config: TrainConfig, student: Student, network: Network, label: str, notes: Notes) -> None:
        window, road = int(student.last_action), config.road
        seen = file_observation(config.observation, road)
        super().__init__(label, network, seen, window, road.rules, road.other_agents)
        self.config, self.student, self.notes = config, student, notes


def student_policy(
    config: TrainConfig, student: Student, label: str, notes: Notes
) -> StudentPolicy | StudentNetworkPolicy:
    """Return a student as a policy: one that a policy file holds where it can be one."""
    network = to_policy_network(student, config)
    if network is None:
        return StudentPolicy(config, student, label, notes)
    return StudentNetworkPolicy(config, student, network, label, notes)


def to_policy_network(student: Student, config: TrainConfig) -> Network | None:
    """Return a student as the network of a policy file; None if its observation or its encoder cannot be in one.

    The last action comes from a temporal window of 1, with which a policy file takes action 0 at its first decision.
    """
    observation, seen = config.observation, file_observation(config.observation, config.road)
    if observation.contest and isinstance(seen, EnvObservation):
        return None  # as a file it would be one of an open observation
    window = int(student.last_action)
    network = NetworkBuilder(input_size(seen, window))
    if window:
        network.add(Slice(start=0, stop=seen.size))
    for layer in (observation.layers(config.road.build()) or ()) if isinstance(seen, Sensor) else ():
        network.add(layer)
    if not _add_features(network, student, config):
        return None
    if window:
        features = len(network.layers)
        network.add(Slice(start=2 * seen.size, stop=2 * seen.size + ACTIONS, inputs=(0,)))
        factor = np.array([1.0 / seen.size], np.float32)  # a temporal window holds actions times size
        network.add(Scale(per="all"), {"factor": factor, "offset": np.zeros(1, np.float32)})
        network.add(Concat(inputs=(features, len(network.layers))))
    for part in (student.memory, student.head):
        if part is not None:
            network.module(part)
    return network.network()


def _add_features(network: NetworkBuilder, student: Student, config: TrainConfig) -> bool:
    """Append what computes the features from the observation; False if no policy file can hold it."""
    features: Any = student.features
    if isinstance(features, LaneFeatures):
        weight, bias = (p.detach().cpu().numpy() for p in (features.lane.weight, features.lane.bias))
        for layer, tensors in lane_layers(config.observation.sensor, weight, bias):
            network.add(layer, tensors)
    if not isinstance(features, Encoder):
        return not isinstance(config.observation, FrameObservation)
    return add_encoder(network, features, config.observation)
