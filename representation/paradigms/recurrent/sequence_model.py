"""Sequence models: a prediction after every step of a sequence, by a stateful encoder or on stacked steps.

    >>> model = SequenceModel(RecurrentEncoder(space, 64), outputs=7)
    >>> model(rows).shape                                          # rows (B, T, n) -> (B, T, 7)

An encoder without a state gets the last `stack` steps side by side instead, zeros before the start.

Letters in shapes: B runs, T steps, K stacked steps, n values of one step, D features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from representation.encoder import Encoder
from representation.fit import Batch, Trainable
from representation.paradigms.feedforward.model import dense_layers
from representation.paradigms.recurrent.model import StatefulEncoder

RUNS_AT_A_TIME = 128  # in `predict`


class SequenceModel(Trainable):
    """An encoder and dense layers on its features after every step.

    Args:
        encoder: a `StatefulEncoder` of rows (n,), or any encoder of stacks (K, n)
        outputs: values after each step
        hidden: units of the layers between features and outputs
    """

    def __init__(self, encoder: Encoder, outputs: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        last = nn.Linear(encoder.features_dim, outputs)
        self.head = dense_layers(encoder.features_dim, hidden, outputs) if hidden else last

    def forward(self, rows: Tensor) -> Tensor:
        """Return (B, T, outputs) for rows (B, T, n)."""
        if isinstance(self.encoder, StatefulEncoder):
            return self.head(self.encoder.unroll((rows - self.encoder.offset) / self.encoder.scale))
        stacks = stacked(rows, (self.encoder.observation_space.shape or (1,))[0])  # (B, T, K, n)
        return self.head(self.encoder(stacks.flatten(0, 1)).unflatten(0, rows.shape[:2]))

    def predict(self, rows: Tensor) -> Tensor:
        """Return the outputs after every step, (B, T, outputs), without gradients."""
        self.eval()
        with torch.no_grad():
            return torch.cat([self(piece.to(self.encoder.offset.device)).cpu() for piece in rows.split(RUNS_AT_A_TIME)])


class SpeedModel(SequenceModel):
    """Regression after every step: `target` (B, T, outputs), masked by `known` (B, T, outputs)."""

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (mean squared error over the known targets, no further metrics)."""
        known = batch["known"].float()
        error = (self(batch["rows"]) - batch["target"]).square() * known
        return error.sum() / known.sum().clamp(min=1.0), {}


class ActionModel(SequenceModel):
    """Behaviour cloning: after every step a class, `action` (B, T) int64."""

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (cross-entropy, accuracy)."""
        logits, action = self(batch["rows"]).flatten(0, 1), batch["action"].flatten()
        return cross_entropy(logits, action), {"accuracy": (logits.argmax(1) == action).float().mean()}


def stacked(rows: Tensor, steps: int) -> Tensor:
    """Return for every step the last K steps, oldest first, (B, T, K, n), for rows (B, T, n)."""
    return pad(rows, (0, 0, steps - 1, 0)).unfold(1, steps, 1).transpose(2, 3)
