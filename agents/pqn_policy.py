"""The network of PQN: hidden layers of Linear, LayerNorm and activation, and a plain or a dueling head.

Source: Gallici et al. 2024, arXiv:2407.04811, section 4: LayerNorm keeps Q-learning without a target network stable.
Letters in shapes: B games, A actions.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn

Obs = Tensor | dict[str, Tensor]


class PQNPolicy(BasePolicy):
    """Action values from hidden layers of Linear, LayerNorm, activation; the best action drives.

    Args:
        observation_space, action_space: of a single game; pictures and dicts get SB3's own extractors in front
        lr_schedule: learning rate for the share of training that remains
        net_arch: units of each hidden layer
        activation_fn: after each hidden layer
        layer_norm: whether hidden layers are normalised
        dueling: whether the head is a state's value plus advantages (Wang et al. 2016, arXiv:1511.06581, eq. 9)
        features_extractor_class, features_extractor_kwargs: an encoder in front; None for SB3's own
        normalize_images: whether pictures are divided by 255 before it
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Discrete,
        lr_schedule: Callable[[float], float],
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        layer_norm: bool = True,
        dueling: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.RAdam,
        features_extractor_class: Callable[..., BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class or extractor_of(observation_space),
            features_extractor_kwargs,
            normalize_images=normalize_images,
        )
        self.optimizer_class = optimizer_class
        self.net_arch = [64, 64] if net_arch is None else list(net_arch)
        self.activation_fn, self.layer_norm, self.dueling = activation_fn, layer_norm, dueling
        self.features_extractor = self.make_features_extractor()
        sizes = [self.features_extractor.features_dim, *self.net_arch]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
            layers += (
                [nn.Linear(inputs, outputs), nn.LayerNorm(outputs)] if layer_norm else [nn.Linear(inputs, outputs)]
            )
            layers.append(activation_fn())
        self.trunk = nn.Sequential(*layers)
        self.advantage = nn.Linear(sizes[-1], int(action_space.n))  # without dueling: the action values themselves
        self.value = nn.Linear(sizes[-1], 1) if dueling else None
        self.optimizer = optimizer_class(self.parameters(), lr=lr_schedule(1.0))  # type: ignore[call-arg]

    def forward(self, obs: Obs) -> Tensor:
        """Return the action values (B, A) of observations (B, ...)."""
        assert self.features_extractor is not None
        hidden = self.trunk(self.extract_features(obs, self.features_extractor))  # (B, net_arch[-1])
        advantage = self.advantage(hidden)  # (B, A)
        if self.value is None:
            return advantage
        return self.value(hidden) + advantage - advantage.mean(1, keepdim=True)

    @property
    def head_bias(self) -> nn.Parameter:
        """What all action values of every state have in common: (A,), with dueling (1,)."""
        return (self.advantage if self.value is None else self.value).bias

    def _predict(self, observation: Obs, deterministic: bool = True) -> Tensor:
        """Return the best actions (B,); there is no exploration here."""
        return self(observation).argmax(1)


def extractor_of(space: spaces.Space) -> type[BaseFeaturesExtractor]:
    """SB3's extractor in front of the hidden layers: for dicts, for pictures, for numbers."""
    if isinstance(space, spaces.Dict):
        return CombinedExtractor
    return NatureCNN if is_image_space(space) else FlattenExtractor


def driving_weights(policy: PQNPolicy) -> dict[str, NDArray[np.float32]]:
    """Return `k.weight`, `k.bias` of dense layers and `k.norm_weight`, `k.norm_bias` of the normalisation after them.

    A dueling head is written as the one dense layer that it equals, since it is linear in the last hidden layer.
    """
    dense = [layer for layer in policy.trunk if isinstance(layer, nn.Linear)]
    tensors = {f"{k}.{part}": getattr(layer, part) for k, layer in enumerate(dense) for part in ("weight", "bias")}
    norms = [layer for layer in policy.trunk if isinstance(layer, nn.LayerNorm)]
    tensors |= {
        f"{k}.norm_{part}": getattr(layer, part) for k, layer in enumerate(norms) for part in ("weight", "bias")
    }
    for part in ("weight", "bias"):
        head = getattr(policy.advantage, part)
        if policy.value is not None:
            head = getattr(policy.value, part) + head - head.mean(0, keepdim=True)
        tensors[f"{len(dense)}.{part}"] = head
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
