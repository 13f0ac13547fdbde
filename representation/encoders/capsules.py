"""Capsule networks: small vectors whose length is the probability of an entity and whose direction is its pose.

Source: Sabour, Frosst and Hinton 2017, "Dynamic routing between capsules", arXiv:1710.09829.

1. Convolutions give primary capsules u_i, squashed to a length below 1 (equation 1).
2. Each predicts every output capsule: u_hat_ij = W_ij u_i (equation 2).
3. Routing by agreement (procedure 1): an output capsule is the squashed sum of predictions, weighted by
   c_ij = softmax over j of b_ij; predictions that agree with the sum gain weight: b_ij += u_hat_ij . v_j.

Letters in shapes: B observations, I primary and J output capsules, P and Q values of one, D features.
"""

from collections.abc import Sequence

import torch
from gymnasium import spaces
from torch import Tensor, nn

from representation.encoder import Encoder, Observation
from representation.encoders.conv import conv_layers
from representation.layouts import as_image, image_shape

PRIMARY_SIZE, OUTPUT_SIZE = 8, 8  # P, Q
TINY = 1e-8


class CapsuleEncoder(Encoder):
    """Primary capsules over the observation as an image, routed to output capsules, all of which are the features.

    Args:
        observation_space: any
        features_dim: D; J is the number of capsules of 8 values that D needs; a dense layer maps them to D
        channels: filters of each convolution, the last a multiple of 8
        routings: rounds of routing by agreement
    """

    name = "capsules"

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        channels: Sequence[int] = (16, 32, 32),
        routings: int = 3,
    ) -> None:
        if not channels or channels[-1] % PRIMARY_SIZE or routings < 1:
            raise ValueError(
                f"channels={tuple(channels)}, routings={routings} is not possible; give a last layer of a multiple of "
                f"{PRIMARY_SIZE} filters and at least 1 round"
            )
        super().__init__(observation_space, features_dim, channels=list(channels), routings=routings)
        self.routings = routings
        layers, maps = conv_layers(image_shape(self.observation_space), channels)
        self.layers = nn.Sequential(*list(layers)[:-1])  # capsules are squashed, not clipped at 0
        primary = maps[0] // PRIMARY_SIZE * maps[1] * maps[2]  # I
        outputs = -(-features_dim // OUTPUT_SIZE)  # J
        spread = (2.0 / (PRIMARY_SIZE * primary / outputs)) ** 0.5
        self.predict = nn.Parameter(spread * torch.randn(primary, PRIMARY_SIZE, outputs, OUTPUT_SIZE))
        self.bias = nn.Parameter(0.1 * torch.randn(outputs, OUTPUT_SIZE))
        self.out = nn.Linear(outputs * OUTPUT_SIZE, features_dim)

    def features(self, obs: Observation) -> Tensor:
        """Return (B, D)."""
        maps = self.layers(as_image(obs))  # (B, C, h, w)
        primary = squash(maps.unflatten(1, (-1, PRIMARY_SIZE)).movedim(2, -1).flatten(1, 3))  # (B, I, P)
        predicted = torch.einsum("bip,ipjq->bijq", primary, self.predict)  # (B, I, J, Q)
        return torch.relu(self.out(self.route(predicted).flatten(1)))

    def route(self, predicted: Tensor) -> Tensor:
        """Return the output capsules (B, J, Q) on which predictions (B, I, J, Q) agree."""
        agreement = predicted.new_zeros(predicted.shape[:3])  # b, (B, I, J)
        output = predicted.new_zeros(1)
        for routing in range(self.routings):
            fraction = torch.softmax(agreement, 2)  # c, over the output capsules
            output = squash(torch.einsum("bij,bijq->bjq", fraction, predicted) + self.bias)  # (B, J, Q)
            if routing + 1 < self.routings:
                agreement = agreement + torch.einsum("bijq,bjq->bij", predicted, output)
        return output


def squash(capsules: Tensor) -> Tensor:
    """Return capsules (..., Q) in the same direction, of length |s|^2 / (1 + |s|^2)."""
    square = capsules.square().sum(-1, keepdim=True)
    return capsules * square / (1.0 + square) / (square + TINY).sqrt()
