"""Recurrent networks (paradigm 3): one observation after another, with a state that summarises the history.

At step t the observation o_t becomes an input x_t = relu(W o_t + b), and a cell updates its state h:

- rnn: h_t = tanh(W x_t + U h_{t-1} + b). Source: Elman 1990, "Finding structure in time",
  doi:10.1207/s15516709cog1402_1. Its gradients vanish over long times.
- gru: h_t = (1 - z) n + z h_{t-1}, with learned gates z and r. Source: Cho et al. 2014, arXiv:1406.1078,
  equations 5-8.
- lstm: c_t = f c_{t-1} + i g, h_t = o tanh(c_t). Source: Hochreiter and Schmidhuber 1997,
  doi:10.1162/neco.1997.9.8.1735; forget gate f: Gers et al. 2000, doi:10.1162/089976600300015015.

The same weights work in two modes. Windowed, for any SB3 algorithm: an observation holds the last T steps, and the
features are the last state. Stateful: one observation at a time, with the history in the state alone.

    >>> encoder = RecurrentEncoder(space, 64, cell="gru")          # space of a vector (n,) or of a window (T, n)
    >>> features, state = encoder.step(obs, encoder.initial_state(len(obs)))

Letters in shapes: B observations, T steps, n values of one step, D features, S values of one state.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from gymnasium import spaces
from torch import Tensor, nn

from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import Action
from representation.encoder import Encoder
from representation.layouts import as_sequence, sequence_shape

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class StatefulEncoder(Encoder):
    """An encoder that reads a sequence step by step; a subclass defines `run` and the size of its state.

    Args:
        observation_space: any; see `representation/layouts.py` for its layout as a sequence
        features_dim: D, also the size of each step's input
        temporal_window: T for vectors with a temporal window of T, which are read as T + 1 steps, each with the action
            before it; 0 reads a vector as one step
        architecture: see `Encoder`

    state_size: S, set by the subclass
    """

    state_size: int

    def __init__(
        self, observation_space: spaces.Space, features_dim: int, temporal_window: int = 0, **architecture: Any
    ) -> None:
        super().__init__(observation_space, features_dim, temporal_window=temporal_window, **architecture)
        self.temporal_window = temporal_window
        steps, size = sequence_shape(self.observation_space)
        if temporal_window:
            size = _step_size(steps, size, temporal_window)
        self.embed = nn.Linear(size, features_dim)

    def run(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return (features after each step (B, T, D), the last state (B, S)) for inputs (B, T, D) and a state."""
        raise NotImplementedError

    def initial_state(self, count: int) -> Tensor:
        """Return the states before the first observation, (count, S)."""
        return self.embed.weight.new_zeros(count, self.state_size)

    def features(self, obs: Tensor | dict[str, Tensor]) -> Tensor:
        """Return (B, D), the features after the last step of each observation."""
        sequence = self._sequence(obs)  # (B, T, n)
        return self.unroll(sequence)[:, -1]  # (B, D)

    def unroll(self, sequence: Tensor) -> Tensor:
        """Return the features after each step, (B, T, D), of normalised sequences (B, T, n) from their start."""
        features, _ = self.run(torch.relu(self.embed(sequence)), self.initial_state(len(sequence)))
        return features

    def step(self, obs: Tensor | dict[str, Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
        """Advance states (B, S) by one observation each: return (features (B, D), states (B, S))."""
        features, state = self.run(self.inputs(obs), state)  # T = 1 for a row
        return features[:, -1], state

    def inputs(self, obs: Tensor | dict[str, Tensor]) -> Tensor:
        """Return the inputs (B, T, D) of `run` for observations."""
        return torch.relu(self.embed(self._sequence(self._prepared(obs))))

    @property
    def reads_steps(self) -> bool:
        """Whether one observation is one step, so that all history is in the state."""
        return not self.temporal_window and sequence_shape(self.observation_space)[0] == 1

    def _sequence(self, obs: Any) -> Tensor:
        return unstack_window(obs, self.temporal_window) if self.temporal_window else as_sequence(obs)


class RecurrentEncoder(StatefulEncoder):
    """A cell of D units over the sequence; the features are its last state h.

    Args:
        observation_space, features_dim, temporal_window: see `StatefulEncoder`
        cell: rnn, gru or lstm
    """

    name = "recurrent"

    def __init__(
        self, observation_space: spaces.Space, features_dim: int = 64, cell: str = "gru", temporal_window: int = 0
    ) -> None:
        if cell not in CELLS:
            raise ValueError(f"cell={cell!r} does not exist; choose one of {', '.join(CELLS)}")
        super().__init__(observation_space, features_dim, temporal_window, cell=cell)
        self.cell = CELLS[cell](features_dim, features_dim, batch_first=True)
        self.state_size = 2 * features_dim if cell == "lstm" else features_dim

    def run(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return (h after each step (B, T, D), the last state (B, S): h, for an LSTM followed by c)."""
        parts = tuple(part[None].contiguous() for part in state.split(self.features_dim, 1))  # each (1, B, D)
        features, after = self.cell(inputs, parts if len(parts) == 2 else parts[0])
        last = torch.cat([part[0] for part in after], 1) if isinstance(after, tuple) else after[0]
        return features, cast(Tensor, last)

    def add_layers(self, network: NetworkBuilder) -> bool:
        """Append the layers of a policy file, whose state is the agent's; see `Encoder.add_layers`."""
        if not self.reads_steps:
            return False
        network.module(nn.Sequential(self.embed, nn.ReLU(), self.cell))
        return True


def unstack_window(rows: Tensor, temporal_window: int) -> Tensor:
    """Return vectors with a temporal window of T, (B, n (T + 1) + 5 T), as steps oldest first, (B, T + 1, n + 5).

    Each step is an observation and the action that led to it, one-hot; a vector holds the newest observation first, and
    its actions times n.
    """
    actions = len(Action)
    size = (rows.shape[1] - actions * temporal_window) // (temporal_window + 1)
    history = rows[:, size:].unflatten(
        1, (temporal_window, size + actions)
    )  # (B, T, n + 5): observation, action after it
    observations = torch.cat([rows[:, None, :size], history[..., :size]], 1)  # (B, T + 1, n), newest first
    before = torch.cat([history[..., size:] / size, history.new_zeros(len(rows), 1, actions)], 1)  # (B, T + 1, 5)
    return torch.cat([observations, before], 2).flip(1)


def _step_size(steps: int, numbers: int, temporal_window: int) -> int:
    """Values of one step of a vector with a temporal window."""
    actions = len(Action)
    size, rest = divmod(numbers - actions * temporal_window, temporal_window + 1)
    if steps != 1 or rest or size < 1:
        raise ValueError(
            f"temporal_window={temporal_window} does not fit observations of {steps} x {numbers} values; give the "
            "temporal_window of the observation, or 0"
        )
    return size + actions
