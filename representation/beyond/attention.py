"""Self-attention over the set of vehicles, in any order.

Source: Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762. Each vehicle has a query q, a key k and a
value v, and takes softmax(q k^T / sqrt(d)) v (equation 1), in several heads (section 3.2.2). Without positional
encoding the features are invariant to permutations of the vehicles (Zaheer et al. 2017, "Deep sets", arXiv:1703.06114).

    >>> encoder = AttentionEncoder(env.observation_space, 64)      # observation kind kinematics
    >>> encoder.weights_of(obs)                                    # (B, K): the ego vehicle's attention on each vehicle

Observations that are not a set of vehicles are read as sequences with positional encoding (section 3.5).

Letters in shapes: B observations, K vehicles or steps, n values of one, D features, E heads.
"""

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from deeptraffic.policies import layers as v
from deeptraffic.policies.torch_export import NetworkBuilder
from representation.encoder import Encoder, Observation
from representation.layouts import MASK, VEHICLES, as_sequence, as_vector, sequence_shape, vector_size


class AttentionEncoder(Encoder):
    """Layers of self-attention over the ego vehicle and the others; the features are the ego vehicle's output.

    Args:
        observation_space: kinematics, a dict of `vehicles` (K, n), `mask` (K,) and the ego vehicle's state; or any
        features_dim: D
        heads: E, must divide D rounded up to a multiple of it
        layers: of self-attention
        columns: of a vector of cells, whose columns, the lanes, are then the sequence; 0 for other observations
    """

    name = "attention"
    reads_dicts = True

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        heads: int = 4,
        layers: int = 2,
        columns: int = 0,
    ) -> None:
        if heads < 1 or layers < 1:
            raise ValueError(f"heads={heads}, layers={layers} is not possible; give at least 1 of each")
        super().__init__(observation_space, features_dim, heads=heads, layers=layers, columns=columns)
        self.is_set = isinstance(self.observation_space, spaces.Dict) and VEHICLES in self.observation_space.spaces
        steps, size = sequence_shape(self.observation_space)
        if columns and (self.is_set or steps != 1 or columns < 0 or size % columns):
            raise ValueError(f"columns={columns} does not divide observations of {steps} x {size}; leave columns out")
        self.columns, size = columns, size // columns if columns else size
        width = heads * math.ceil(features_dim / heads)
        own = self._own_space()
        self.own = nn.Linear(vector_size(own) if own else 1, width)
        self.each = nn.Linear(size, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.out = nn.Linear(width, features_dim)

    def features(self, obs: Observation) -> Tensor:
        """Return (B, D)."""
        tokens, absent = self._tokens(obs)  # (B, 1 + K, W), (B, 1 + K)
        for block in self.blocks:
            tokens, _ = block(tokens, absent)
        return torch.relu(self.out(tokens[:, 0]))  # (B, D), the ego car's

    def weights_of(self, obs: Observation) -> Tensor:
        """Return the ego vehicle's attention weights in the last layer, (B, K), mean of the heads."""
        weights = torch.empty(0)
        with torch.no_grad():
            tokens, absent = self._tokens(self._prepared(obs))
            for block in self.blocks:
                tokens, weights = block(tokens, absent)
        return weights[:, 0, 1:]

    def add_layers(self, network: NetworkBuilder) -> bool:
        """Append the layers of a policy file for a set, or for lanes of a vector of cells; see `Encoder.add_layers`."""
        if not (self.is_set or self.columns):
            return False
        mask = None
        if self.is_set:
            mask = self._add_set(network)
        else:
            self._add_lanes(network)
        for block in self.blocks:
            assert isinstance(block, _Block)
            tokens = len(network.layers)
            network.module(block.before)
            network.attention(block.attention, mask)
            network.add(v.Add(inputs=(tokens, len(network.layers))))
            tokens = len(network.layers)
            network.module(nn.Sequential(block.between, block.dense))
            network.add(v.Add(inputs=(tokens, len(network.layers))))
        count, width = network.shape
        network.add(v.Reshape(shape=(count * width,)))
        network.add(v.Slice(start=0, stop=width))
        network.module(nn.Sequential(self.out, nn.ReLU()))
        return True

    def _add_set(self, network: NetworkBuilder) -> int | None:
        """Append the tokens of a dict's parts, which lie in the order of their names; return the mask's number."""
        assert isinstance(self.observation_space, spaces.Dict)
        entry, at, places, mask = len(network.layers), 0, {}, None
        for name in sorted(self.observation_space.spaces):
            stop = at + vector_size(self.observation_space[name])
            network.add(v.Slice(start=at, stop=stop, inputs=(entry,)))
            places[name], at = len(network.layers), stop
        vehicles, size = sequence_shape(self.observation_space)
        width = self.each.out_features
        if MASK in places:
            network.add(v.Slice(start=0, stop=1, inputs=(places[MASK],)))
            network.add(v.Scale(per="all"), {"factor": np.zeros(1, np.float32), "offset": np.ones(1, np.float32)})
            network.add(v.Concat(inputs=(len(network.layers), places[MASK])))  # the ego vehicle is always present
            mask = len(network.layers)
        network.add(v.Slice(start=0, stop=vehicles * size, inputs=(places[VEHICLES],)))
        network.add(v.Reshape(shape=(vehicles, size)))
        network.module(self.each)
        network.add(v.Reshape(shape=(vehicles * width,)))
        each, own = len(network.layers), tuple(places[name] for name in sorted(_own_parts(places)))
        if own:
            network.add(v.Concat(inputs=own))
            network.module(self.own)
        else:
            self._add_constant_own(network, entry)
        self._join(network, each, vehicles)
        return mask

    def _add_lanes(self, network: NetworkBuilder) -> None:
        """Append the tokens of the lanes of a vector of cells."""
        rows, width = self.each.in_features, self.each.out_features
        entry = len(network.layers)
        network.add(v.Reshape(shape=(rows, 1, self.columns)))
        network.add(v.Flatten(order="chw"))
        network.add(v.Reshape(shape=(self.columns, rows)))
        network.module(self.each)
        network.add(v.Reshape(shape=(self.columns * width,)))
        place = positional_encoding(self.columns, width).numpy().ravel()
        network.add(v.Scale(), {"factor": np.ones_like(place), "offset": place})
        lanes = len(network.layers)
        self._add_constant_own(network, entry)
        self._join(network, lanes, self.columns)

    def _add_constant_own(self, network: NetworkBuilder, entry: int) -> None:
        """Append the ego vehicle's token where it is the same for all observations."""
        width = self.own.out_features
        network.add(v.Slice(start=0, stop=1, inputs=(entry,)))
        own = (self.own.weight[:, 0] + self.own.bias).detach().cpu().numpy()
        network.add(v.Dense(outputs=width), {"weight": np.zeros((width, 1), np.float32), "bias": own})

    def _join(self, network: NetworkBuilder, others: int, count: int) -> None:
        """Append the set of the ego vehicle's token, the last value, and `count` others, value `others`."""
        network.add(v.Concat(inputs=(len(network.layers), others)))
        network.add(v.Reshape(shape=(1 + count, self.own.out_features)))

    def _own_space(self) -> spaces.Space | None:
        """Return the space of the ego vehicle's state beside the set of vehicles; None without one."""
        if not self.is_set or not isinstance(self.observation_space, spaces.Dict):
            return None
        parts = _own_parts(self.observation_space.spaces)
        return spaces.Dict(parts) if parts else None

    def _tokens(self, obs: Observation) -> tuple[Tensor, Tensor]:
        """Return (tokens of the ego vehicle and the others (B, 1 + K, W); which are absent (B, 1 + K))."""
        sequence = as_sequence(obs)  # (B, K, n)
        if self.columns:
            sequence = sequence.unflatten(2, (-1, self.columns))[:, 0].transpose(1, 2)  # (B, columns, rows)
        each = self.each(sequence)  # (B, K, W)
        absent = torch.zeros(len(each), each.shape[1] + 1, dtype=torch.bool, device=each.device)
        own = sequence.new_ones(len(sequence), 1)
        if self.is_set:
            assert isinstance(obs, dict)
            if MASK in obs:
                absent[:, 1:] = obs[MASK] < 0.5
            if self._own_space():
                own = as_vector(_own_parts(obs))
        else:
            each = each + positional_encoding(*each.shape[1:]).to(each)
        return torch.cat([self.own(own)[:, None], each], 1), absent


class _Block(nn.Module):
    """Self-attention, then a dense layer for each vehicle, both residual (section 3.1) with pre-normalisation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dense = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
        """Return (tokens (B, 1 + K, W), weights (B, 1 + K, 1 + K)); the ego vehicle is always present."""
        normed = self.before(tokens)
        seen, weights = self.attention(normed, normed, normed, key_padding_mask=absent)
        tokens = tokens + seen
        return tokens + self.dense(self.between(tokens)), weights


def positional_encoding(steps: int, width: int) -> Tensor:
    """Return the positional encoding (T, W): sines and cosines of section 3.5."""
    place, k = torch.arange(steps)[:, None], torch.arange(width)[None]
    angle = place / 10_000.0 ** (2 * (k // 2) / width)
    return torch.where(k % 2 == 0, angle.sin(), angle.cos())


def _own_parts(parts: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a dict that are neither vehicles nor their mask."""
    return {name: part for name, part in parts.items() if name not in (VEHICLES, MASK)}
