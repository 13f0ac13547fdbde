"""Supervised learning on any encoder: regression of a value, or classification.

    >>> model = Classifier(encoder, classes=5)
    >>> fit(model, {"obs": obs, "label": labels}, {"obs": more_obs, "label": more_labels}, FitConfig())
    >>> model.predict(held_out_obs)                        # (N, 5) float32: class probabilities

Letters in shapes: N examples, B of a minibatch, D features, K classes.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from representation.encoder import Encoder
from representation.fit import Batch, Trainable

F32 = NDArray[np.float32]


class Regressor(Trainable):
    """Encoder and a linear head for one value, trained on the mean squared error.

    Args:
        encoder: of the observations
        mean, deviation: of the training targets, for standardisation
    """

    def __init__(self, encoder: Encoder, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.mean, self.deviation = encoder, mean, deviation
        self.head = nn.Linear(encoder.features_dim, 1)

    def forward(self, obs: Any) -> Tensor:
        """Return the predictions (B,) in the targets' unit."""
        return self.mean + self.deviation * self.head(self.encoder(obs))[:, 0]

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (error**2 / deviation**2, {}) on obs (B, ...) and target (B,)."""
        error = (self(batch["obs"]) - batch["target"]) / self.deviation  # (B,)
        return error.pow(2).mean(), {}

    def predict(self, obs: NDArray[Any]) -> F32:
        """Return the predictions for (N, ...) observations, (N,)."""
        with torch.no_grad():
            features = torch.from_numpy(self.encoder.encode(obs))
            return (self.mean + self.deviation * self.head(features)[:, 0]).numpy()


class Classifier(Trainable):
    """Encoder and a linear head for class logits, trained on the cross-entropy -log p(label | observation).

    Args:
        encoder: of the observations
        classes: K
    """

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.features_dim, classes)

    def forward(self, obs: Any) -> Tensor:
        """Return the logits (B, K); their softmax is p."""
        return self.head(self.encoder(obs))

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (cross-entropy [nats], accuracy) on obs (B, ...) and label (B,) int64."""
        scores = self(batch["obs"])  # (B, K)
        accuracy = (scores.argmax(1) == batch["label"]).float().mean()
        return functional.cross_entropy(scores, batch["label"]), {"accuracy": accuracy}

    def predict(self, obs: NDArray[Any]) -> F32:
        """Return p for (N, ...) observations, (N, K)."""
        with torch.no_grad():
            features = torch.from_numpy(self.encoder.encode(obs))
            return self.head(features).softmax(1).numpy()
