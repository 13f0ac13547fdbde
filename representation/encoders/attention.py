"""Self-attention over the set of vehicles, in any order.

Source: Vaswani et al. 2017, "Attention is all you need", arXiv:1706.03762. Each vehicle has a query q, a key k and a
value v, and takes softmax(q k^T / sqrt(d)) v (equation 1), in several heads (section 3.2.2). Without positional
encoding the features are invariant to permutations of the vehicles (Zaheer et al. 2017, "Deep sets", arXiv:1703.06114).
With `point_units` a small network reads each vehicle first, and the maximum and the sum over all vehicles join the
features (Qi et al. 2017, "PointNet", arXiv:1612.00593).

    >>> encoder = AttentionEncoder(env.observation_space, 64)      # observation kind kinematics
    >>> encoder.weights_of(obs)                                    # (B, K): the ego vehicle's attention on each vehicle

Observations that are not a set of vehicles are read as sequences with positional encoding (section 3.5).

Letters in shapes: B observations, K vehicles or steps, n values of one, D features, E heads.
"""

import math
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from deeptraffic.policies import layers as v
from deeptraffic.policies.torch_export import NetworkBuilder
from representation.encoder import SMALLEST_SCALE, Encoder, Observation
from representation.layouts import MASK, VEHICLES, as_sequence, as_vector, sequence_shape, vector_size

HINGED = (0, 4, 0, 1, 0, 4, 2, 0)  # input in which each unit of a vehicle's network bends: mostly distance and lane
SLOPE, REST = 2.0, 0.1  # of the unit in that input; scale of its random weights on all inputs
SUM_SCALE = 0.25  # of the sum over vehicles


class AttentionEncoder(Encoder):
    """Layers of self-attention over the ego vehicle and the others; the features are the ego vehicle's output.

    Args:
        observation_space: kinematics, a dict of `vehicles` (K, n), `mask` (K,) and the ego vehicle's state; or any
        features_dim: D
        heads: E, must divide D rounded up to a multiple of it
        layers: of self-attention
        columns: of a vector of cells, whose columns, the lanes, are then the sequence; 0 for other observations
        width: of the tokens, rounded up to a multiple of E; 0 for features_dim
        point_units: of a layer that reads each vehicle of a set, with the ego vehicle's state, before the attention;
            the maximum and the sum over the vehicles then join the features; 0 for neither
    """

    name = "attention"
    reads_dicts = True
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        heads: int = 4,
        layers: int = 2,
        columns: int = 0,
        width: int = 0,
        point_units: int = 0,
    ) -> None:
        if width < 0 or point_units < 0:
            raise ValueError(f"width={width}, point_units={point_units} is not possible; give 0 or more of each")
        if heads < 1 or layers < 1:
            raise ValueError(f"heads={heads}, layers={layers} is not possible; give at least 1 of each")
        architecture = {"heads": heads, "layers": layers, "columns": columns, "width": width}
        super().__init__(observation_space, features_dim, **architecture, point_units=point_units)
        self.is_set = isinstance(self.observation_space, spaces.Dict) and VEHICLES in self.observation_space.spaces
        steps, size = sequence_shape(self.observation_space)
        if columns and (self.is_set or steps != 1 or columns < 0 or size % columns):
            raise ValueError(f"columns={columns} does not divide observations of {steps} x {size}; leave columns out")
        if point_units and not self.is_set:
            raise ValueError(f"point_units={point_units} needs a set of vehicles; choose kinematics, or leave it out")
        self.columns, size = columns, size // columns if columns else size
        self.width = heads * math.ceil((width or features_dim) / heads)
        own = self._own_space()
        own_size = vector_size(own) if own else 0
        self.own = nn.Linear(own_size or 1, self.width)
        self.each: nn.Module = nn.Linear(size, self.width)
        self.normalises_dicts = bool(point_units)
        if point_units:
            self.each = nn.Sequential(
                nn.Linear(size + own_size, point_units), nn.ReLU(), nn.Linear(point_units, self.width)
            )
            self.register_buffer("mean", torch.zeros(size + own_size))  # of a vehicle and the ego vehicle's state
            self.register_buffer("deviation", torch.ones(size + own_size))
        self.blocks = nn.ModuleList(_Block(self.width, heads) for _ in range(layers))
        self.out = nn.Linear(3 * self.width if point_units else self.width, features_dim)

    def features(self, obs: Observation) -> Tensor:
        """Return (B, D)."""
        tokens, absent = self._tokens(obs)  # (B, 1 + K, W), (B, 1 + K)
        for block in self.blocks:
            tokens, _ = block(tokens, absent)
        read = tokens[:, 0]  # (B, W), the ego vehicle's
        if self.normalises_dicts:
            vehicles, hidden = tokens[:, 1:], absent[:, 1:, None]
            most = vehicles.masked_fill(hidden, -torch.inf).amax(1).masked_fill(hidden.all(1), 0.0)
            total = torch.relu(vehicles).masked_fill(hidden, 0.0).sum(1) * SUM_SCALE
            read = torch.cat([read, most, total], 1)
        return torch.relu(self.out(read))  # (B, D)

    @torch.no_grad()
    def fit_normalisation(self, observations: Any) -> Self:
        """Set the normalisation of a set from (N, ...) observations, and place the bends of `point_units`.

        Each unit of a vehicle's first layer begins as a hinge in one input, mostly the distance ahead or the lane. The
        hinges bend at evenly spaced quantiles of that input, so that the network tells cells and lanes apart from the
        start.

        Raises ValueError for a set without `point_units`, as for any dict.
        """
        if not isinstance(self.each, nn.Sequential):
            return super().fit_normalisation(observations)
        obs = {name: torch.from_numpy(np.asarray(part)).float() for name, part in observations.items()}
        points = self._points(obs)[obs[MASK] > 0.5] if MASK in obs else self._points(obs).flatten(0, 1)
        self.mean.copy_(points.mean(0))
        self.deviation.copy_(points.std(0).clamp_min(SMALLEST_SCALE))
        points, first = (points - self.mean) / self.deviation, self.each[0]
        assert isinstance(first, nn.Linear)
        first.weight.mul_(REST)
        bent = [HINGED[i % len(HINGED)] % sequence_shape(self.observation_space)[1] for i in range(len(first.bias))]
        for feature in sorted(set(bent)):
            units = [i for i, other in enumerate(bent) if other == feature]
            kinks = points[:, feature].quantile((torch.arange(len(units)) + 0.5) / len(units))
            slopes = SLOPE * (1.0 - 2.0 * (torch.arange(len(units)) % 2))
            first.weight[units, feature] += slopes
            first.bias[units] = REST - slopes * kinks
        return self

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
        mask = present = None
        if self.is_set:
            mask, present = self._add_set(network)
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
        tokens = len(network.layers)
        network.add(v.Slice(start=0, stop=width))
        if self.normalises_dicts:
            self._add_pools(network, tokens, present)
        network.module(nn.Sequential(self.out, nn.ReLU()))
        return True

    def _add_pools(self, network: NetworkBuilder, tokens: int, present: int | None) -> None:
        """Append the maximum and the sum over vehicles to the ego vehicle's token, the last value.

        tokens: number of the value with all tokens as a vector; present: of the vehicles' mask
        """
        read, size = [len(network.layers)], network.shapes[tokens][0]
        network.add(v.Slice(start=self.width, stop=size, inputs=(tokens,)))
        network.add(v.Reshape(shape=(size // self.width - 1, self.width)))
        vehicles = len(network.layers)
        mask = () if present is None else (present,)
        network.add(v.SetPool(mode="max", inputs=(vehicles, *mask)))
        read.append(len(network.layers))
        network.add(v.Relu(inputs=(vehicles,)))
        network.add(v.SetPool(mode="sum", inputs=(len(network.layers), *mask)))
        network.add(
            v.Scale(per="all"), {"factor": np.full(1, SUM_SCALE, np.float32), "offset": np.zeros(1, np.float32)}
        )
        network.add(v.Concat(inputs=(*read, len(network.layers))))

    def _add_set(self, network: NetworkBuilder) -> tuple[int | None, int | None]:
        """Append the tokens of a dict's parts, which lie in the order of their names.

        Returns the numbers of the mask of all tokens and of the vehicles' mask.
        """
        assert isinstance(self.observation_space, spaces.Dict)
        entry, at, places, mask = len(network.layers), 0, {}, None
        for name in sorted(self.observation_space.spaces):
            stop = at + vector_size(self.observation_space[name])
            network.add(v.Slice(start=at, stop=stop, inputs=(entry,)))
            places[name], at = len(network.layers), stop
        vehicles, size = sequence_shape(self.observation_space)
        if MASK in places:
            network.add(v.Slice(start=0, stop=1, inputs=(places[MASK],)))
            network.add(v.Scale(per="all"), {"factor": np.zeros(1, np.float32), "offset": np.ones(1, np.float32)})
            network.add(v.Concat(inputs=(len(network.layers), places[MASK])))  # the ego vehicle is always present
            mask = len(network.layers)
        network.add(v.Slice(start=0, stop=vehicles * size, inputs=(places[VEHICLES],)))
        network.add(v.Reshape(shape=(vehicles, size)))
        each, own = len(network.layers), tuple(places[name] for name in sorted(_own_parts(places)))
        if own:
            network.add(v.Concat(inputs=own))
            self._add_normalisation(network, slice(size, None))
            own = (len(network.layers),)
        network.add(v.Slice(start=0, stop=size, inputs=(each,)))
        self._add_normalisation(network, slice(size))
        if own and self.normalises_dicts:
            each = len(network.layers)
            network.add(v.Concat(inputs=own * vehicles))
            network.add(v.Reshape(shape=(vehicles, self.own.in_features)))
            network.add(v.Concat(inputs=(each, len(network.layers))))
        network.module(self.each)
        network.add(v.Reshape(shape=(vehicles * self.width,)))
        each = len(network.layers)
        if own:
            network.add(v.Slice(start=0, stop=self.own.in_features, inputs=own))
            network.module(self.own)
        else:
            self._add_constant_own(network, entry)
        self._join(network, each, vehicles)
        return mask, places.get(MASK)

    def _add_normalisation(self, network: NetworkBuilder, part: slice) -> None:
        """Append the normalisation of these entries of a vehicle with the ego vehicle's state."""
        if self.normalises_dicts:
            factor = 1.0 / self.deviation[part].cpu().numpy()
            network.add(v.Scale(), {"factor": factor, "offset": -self.mean[part].cpu().numpy() * factor})

    def _add_lanes(self, network: NetworkBuilder) -> None:
        """Append the tokens of the lanes of a vector of cells."""
        assert isinstance(self.each, nn.Linear)
        rows, width = self.each.in_features, self.width
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
        if self.normalises_dicts:
            sequence = (self._points(obs) - self.mean) / self.deviation  # (B, K, n)
        each = self.each(sequence)  # (B, K, W)
        absent = torch.zeros(len(each), each.shape[1] + 1, dtype=torch.bool, device=each.device)
        own = sequence.new_ones(len(sequence), 1)
        if self.is_set:
            assert isinstance(obs, dict)
            if MASK in obs:
                absent[:, 1:] = obs[MASK] < 0.5
            if self._own_space():
                own = as_vector(_own_parts(obs))
                if self.normalises_dicts:
                    size = own.shape[1]
                    own = (own - self.mean[-size:]) / self.deviation[-size:]
        else:
            each = each + positional_encoding(*each.shape[1:]).to(each)
        return torch.cat([self.own(own)[:, None], each], 1), absent

    def _points(self, obs: Any) -> Tensor:
        """Return each vehicle with the ego vehicle's state behind it, (B, K, n)."""
        vehicles = as_sequence(obs)
        if not self._own_space():
            return vehicles
        own = as_vector(_own_parts(obs))[:, None].expand(-1, vehicles.shape[1], -1)
        return torch.cat([vehicles, own], 2)


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
