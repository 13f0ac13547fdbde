"""External memory: a neural Turing machine, a controller that reads and writes rows of a memory matrix.

Source: Graves, Wayne and Danihelka 2014, "Neural Turing Machines", arXiv:1410.5401; the controller is a GRU. In each
step, for each head (one reads, one writes):

1. content addressing, equation 5-6: w = softmax(beta * cosine(key, row)) over the M rows;
2. interpolation with the previous weights, equation 7: w = g w + (1 - g) w_before;
3. shift by -1, 0 or 1 rows, equation 8, a circular convolution; 4. sharpening, equation 9: w = w^gamma / sum;
5. the write head erases, then adds, equations 3-4: row = row * (1 - w e) + w a; the read head reads, equation 2:
   r = sum of w * row.

Letters in shapes: B observations, T steps, D features, M rows of W values, S values of one state.
"""

from typing import NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, softplus

from representation.encoders.recurrent import StatefulEncoder

LARGEST_SHARPENING = 20.0  # beyond it w^gamma underflows and gradients with it
TINY = 1e-6


class MemoryEncoder(StatefulEncoder):
    """A neural Turing machine with one read and one write head; the features are a dense layer on state and reading.

    Args:
        observation_space, features_dim, temporal_window: see `StatefulEncoder`
        lines, width: M and W of the memory
    """

    name = "memory"

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        lines: int = 16,
        width: int = 12,
        temporal_window: int = 0,
    ) -> None:
        if lines < 3 or width < 1:
            raise ValueError(f"lines={lines}, width={width} is not possible; give at least 3 lines of width 1")
        super().__init__(observation_space, features_dim, temporal_window, lines=lines, width=width)
        self.controller = nn.GRUCell(features_dim + width, features_dim)
        self.reader, self.writer = _Head(features_dim, lines, width), _Head(features_dim, lines, width)
        self.change = nn.Linear(features_dim, 2 * width)  # what is erased, what is added
        self.out = nn.Linear(features_dim + width, features_dim)
        self.start = nn.Parameter(0.1 * torch.randn(lines, width))
        self.sizes = (features_dim, width, lines, lines, lines * width)
        self.state_size = sum(self.sizes)

    def initial_state(self, count: int) -> Tensor:
        """Return the state at the beginning, (count, S): heads on the first line of the learnt first memory."""
        hidden, read, *_ = super().initial_state(count).split(self.sizes, 1)
        first = hidden.new_zeros(count, self.sizes[2])
        first[:, 0] = 1.0
        return torch.cat([hidden, read, first, first, self.start.flatten().expand(count, -1)], 1)

    def run(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return (features after each step (B, T, D), the last state (B, S))."""
        hidden, read, reading, writing, flat = state.split(self.sizes, 1)
        memory, features = flat.unflatten(1, tuple(self.start.shape)), []  # (B, M, W)
        for x in inputs.unbind(1):
            hidden = self.controller(torch.cat([x, read], 1), hidden)  # (B, D)
            writing = self.writer(hidden, memory, writing)  # (B, M)
            erase, add = self.change(hidden).chunk(2, 1)  # (B, W) each
            memory = memory * (1.0 - writing[:, :, None] * torch.sigmoid(erase)[:, None])
            memory = memory + writing[:, :, None] * torch.tanh(add)[:, None]  # (B, M, W)
            reading = self.reader(hidden, memory, reading)  # (B, M)
            read = (reading[:, :, None] * memory).sum(1)  # (B, W)
            features.append(torch.tanh(self.out(torch.cat([hidden, read], 1))))
        return torch.stack(features, 1), torch.cat([hidden, read, reading, writing, memory.flatten(1)], 1)


class _Address(NamedTuple):
    """Parameters of a head: key (B, W); beta, g, gamma (B, 1); shift (B, 3)."""

    key: Tensor
    beta: Tensor
    g: Tensor
    gamma: Tensor
    shift: Tensor


class _Head(nn.Module):
    """Addresses the rows of the memory."""

    def __init__(self, features_dim: int, lines: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.says = nn.Linear(features_dim, width + 6)

    def forward(self, hidden: Tensor, memory: Tensor, before: Tensor) -> Tensor:
        """Return the weights of the lines (B, M), from the controller (B, D), the memory (B, M, W) and those before."""
        address = self._address(hidden)
        near = cosine_similarity(memory, address.key[:, None], dim=2, eps=TINY)  # (B, M)
        weights = torch.softmax(address.beta * near, 1)
        weights = address.g * weights + (1.0 - address.g) * before
        moved = torch.stack([weights.roll(1, 1), weights, weights.roll(-1, 1)], 2)  # (B, M, 3)
        weights = (moved * address.shift[:, None]).sum(2).clamp(min=TINY) ** address.gamma
        return weights / weights.sum(1, keepdim=True)

    def _address(self, hidden: Tensor) -> _Address:
        key, beta, g, gamma, shift = self.says(hidden).split((self.width, 1, 1, 1, 3), 1)
        sharpening = (1.0 + softplus(gamma)).clamp(max=LARGEST_SHARPENING)
        return _Address(torch.tanh(key), softplus(beta), torch.sigmoid(g), sharpening, torch.softmax(shift, 1))
