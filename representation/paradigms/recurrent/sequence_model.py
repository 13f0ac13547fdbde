"""Sequence model: a regression after every step of a sequence, by a stateful encoder or on stacked steps.

    >>> model = SpeedModel(RecurrentEncoder(space, 64), outputs=7)
    >>> model(rows).shape                                          # rows (B, T, n) -> (B, T, 7)

An encoder without a state gets the last K steps side by side instead, zeros before the start.

Letters in shapes: B runs, T steps, K stacked steps, n values of one step.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import pad

from representation.encoder import Encoder
from representation.encoders.recurrent import StatefulEncoder
from representation.fit import Batch, Trainable

RUNS_AT_A_TIME = 128  # in `predict`


class SpeedModel(Trainable):
    """An encoder and a linear layer on its features after every step.

    Args:
        encoder: a `StatefulEncoder` of rows (n,), or any encoder of stacks (K, n)
        outputs: values after each step
    """

    def __init__(self, encoder: Encoder, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.features_dim, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Return (B, T, outputs) for rows (B, T, n)."""
        if isinstance(self.encoder, StatefulEncoder):
            return self.head(self.encoder.unroll((rows - self.encoder.offset) / self.encoder.scale))
        stacks = stacked(rows, (self.encoder.observation_space.shape or (1,))[0])  # (B, T, K, n)
        return self.head(self.encoder(stacks.flatten(0, 1)).unflatten(0, rows.shape[:2]))

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean squared error, {}) of `target` (B, T, outputs) where it is `known`, likewise."""
        known = batch["known"].float()
        error = (self(batch["rows"]) - batch["target"]).square() * known
        return error.sum() / known.sum().clamp(min=1.0), {}

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the outputs after every step, (B, T, outputs)."""
        return self.in_chunks(self, rows, size=RUNS_AT_A_TIME)


def stacked(rows: Tensor, steps: int) -> Tensor:
    """Return for every step the last K steps, oldest first, (B, T, K, n), for rows (B, T, n)."""
    return pad(rows, (0, 0, steps - 1, 0)).unfold(1, steps, 1).transpose(2, 3)
