"""Networks with weight sharing over lanes: one layer is applied to each lane of the sensor, then dense layers.

A car's place in a lane means the same in every lane, so one layer reads each lane's cells, and the layers after it
compare the lanes. A cell's value x is first split into two features, its speed and whether it is free: a car gives 0 to
0.04 and free road 1, and a layer with x as input would hardly distinguish the speeds of two cars. All of it is sums and
relu, so `agents.lane_layers` writes it with the layers of a policy file, and the original game gets it as dense layers.

Letters in shapes: B envs, D cells, H rows of the sensor, W columns, U units, K candidate actions.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.lane_layers import SPEED_GAIN, Weights
from deeptraffic.sim.rules import Action, Sensor

CANDIDATES = np.array([Action.ACCELERATE, Action.LEFT, Action.RIGHT], np.int64)  # full throttle, or a lane change
MIRRORED = [0, 2, 1]  # the candidates with left and right exchanged
NEVER = -1000.0  # output of the actions that are no candidates
PARTS = ("weight", "bias")
VALUE_SCALE = 4.0  # spread of state values, so that the head's output is of order 1


def split_cells(cells: Tensor, columns: int) -> Tensor:
    """Return each lane's speeds and free cells, (B, W, 2 H), of cells (B, H * W)."""
    lanes = cells.view(len(cells), -1, columns).transpose(1, 2)  # (B, W, H)
    free = torch.relu(SPEED_GAIN * lanes - (SPEED_GAIN - 1.0))  # 1 if free, else 0
    speed = torch.relu(SPEED_GAIN * lanes) - (SPEED_GAIN - 1.0) * free  # of a car, or 1 if free
    return torch.cat([speed, free], 2)


def mirror_cells(cells: Tensor, columns: int) -> Tensor:
    """Return cells (B, D) with left and right exchanged."""
    return cells.view(len(cells), -1, columns).flip(2).reshape(cells.shape)


class LaneFeatures(BaseFeaturesExtractor):
    """The shared layer as an SB3 features extractor: (B, D) cells -> (B, W * U).

    Args:
        observation_space: the sensor's cells, (D,)
        columns: W of the sensor, 2 * lanes_side + 1
        units: U
    """

    def __init__(self, observation_space: spaces.Box, columns: int, units: int) -> None:
        super().__init__(observation_space, columns * units)
        self.columns = columns
        self.lane = nn.Linear(2 * (observation_space.shape[0] // columns), units)

    def forward(self, observations: Tensor) -> Tensor:
        """Return the lanes' features, lane by lane."""
        return torch.relu(self.lane(split_cells(observations.float(), self.columns))).flatten(1)


class LanePolicy(BasePolicy):
    """Advantages of the candidate actions, and the value of the state.

    Args:
        observation_space, action_space, lr_schedule: as for SB3's policies
        net_arch: units of each layer behind the shared one
        columns, lane_units: of the shared layer

    average: a copy with the moving average of this network's weights; it chooses the actions
    """

    average: "LaneNetwork"

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Discrete,
        lr_schedule: Callable[[float], float],
        net_arch: list[int],
        columns: int,
        lane_units: int,
        activation_fn: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__(observation_space, action_space)
        self.network = LaneNetwork(LaneFeatures(observation_space, columns, lane_units), net_arch, activation_fn)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=lr_schedule(1.0))

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return (advantages (B, K), values (B,)) of the network that learns."""
        return self.network(cells)

    @torch.no_grad()
    def update_average(self, rate: float) -> None:
        """Update the moving average of the weights (Polyak averaging)."""
        torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), rate)

    def initialise_from(self, network: "LaneNetwork") -> None:
        """Copy the weights of a network of the same sizes; ValueError if its sizes are others."""
        try:
            self.network.load_state_dict(network.state_dict())
        except RuntimeError as error:
            raise ValueError(f"init: the policy's network has layers of other sizes: {error}") from None
        self.average.load_state_dict(network.state_dict())

    def _predict(self, observation: Tensor | dict[str, Tensor], deterministic: bool = True) -> Tensor:
        """Return the best actions (B,)."""
        assert isinstance(observation, Tensor), "the sensor's cells"
        best = self.average(observation)[0].argmax(1)
        return torch.as_tensor(CANDIDATES, device=best.device)[best]


class LaneNetwork(nn.Module):
    """The shared layer, hidden layers, and the two heads."""

    def __init__(self, features: LaneFeatures, hidden: list[int], activation: type[nn.Module]) -> None:
        super().__init__()
        self.features = features
        sizes = [features.features_dim, *hidden]
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        layers = [layer for pair in pairs for layer in (nn.Linear(*pair), activation())]
        self.trunk = nn.Sequential(*layers)
        self.advantage = nn.Linear(sizes[-1], len(CANDIDATES))
        self.value = nn.Linear(sizes[-1], 1)

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Return (advantages (B, K), values (B,)) of cells (B, D)."""
        hidden = self.trunk(self.features(cells))  # (B, hidden[-1])
        return self.advantage(hidden), VALUE_SCALE * self.value(hidden)[:, 0]

    @torch.no_grad()
    def evaluate(self, cells: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (advantages (B, K), values (B,)) of cells (B, D), as arrays."""
        advantages, values = self(torch.from_numpy(cells).to(self.value.bias.device))
        return advantages.cpu().numpy(), values.cpu().numpy()

    @torch.no_grad()
    def shift_values(self, shift: Tensor) -> None:
        """Add a constant to the values of all states."""
        self.value.bias.add_(shift / VALUE_SCALE)

    def weights(self) -> Weights:
        """Return the weights of a run: `lanes.*`, dense layers `k.*`, and `value.*` for a planner."""
        dense = [layer for layer in self.trunk if isinstance(layer, nn.Linear)]
        named: dict[str, nn.Module] = {"lanes": self.features.lane, "value": self.value}
        named |= {str(k): layer for k, layer in enumerate(dense)}
        tensors = {f"{name}.{part}": getattr(module, part) for name, module in named.items() for part in PARTS}
        weights = {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}
        head = {part: getattr(self.advantage, part).detach().cpu().numpy() for part in PARTS}
        weights[f"{len(dense)}.weight"] = np.zeros((len(Action), head["weight"].shape[1]), np.float32)
        weights[f"{len(dense)}.bias"] = np.full(len(Action), NEVER, np.float32)
        for part in PARTS:
            weights[f"{len(dense)}.{part}"][CANDIDATES] = head[part]
        return weights


def load_lane_network(weights: Weights, sensor: Sensor, activation: type[nn.Module] = nn.ReLU) -> LaneNetwork:
    """Return the network of weights that `LaneNetwork.weights` returned; without `value.*` state values are 0.

    Raises ValueError if the weights are not those of such a network for this sensor.
    """
    rows = sensor.patches_ahead + sensor.patches_behind
    lanes = weights.get("lanes.weight")
    if lanes is None or lanes.shape[1] != 2 * rows:
        raise ValueError(
            f"these weights ({', '.join(weights)}) hold no network with a layer shared by all lanes of {sensor}; "
            "take those of a run of expert_iteration"
        )
    count = sum(name.split(".")[0].isdigit() and name.endswith(".weight") for name in weights)
    space = spaces.Box(0.0, 1.0, (sensor.size,), np.float32)
    hidden = [len(weights[f"{k}.bias"]) for k in range(count - 1)]
    network = LaneNetwork(LaneFeatures(space, sensor.columns, len(lanes)), hidden, activation)
    dense = [layer for layer in network.trunk if isinstance(layer, nn.Linear)]
    named: dict[str, nn.Module] = {"lanes": network.features.lane, "value": network.value}
    named |= {str(k): layer for k, layer in enumerate(dense)}
    nothing = {"value.weight": np.zeros((1, hidden[-1]), np.float32), "value.bias": np.zeros(1, np.float32)}
    with torch.no_grad():
        for name, module in named.items():
            for part in PARTS:
                getattr(module, part).copy_(torch.tensor({**nothing, **weights}[f"{name}.{part}"]))
        for part in PARTS:
            getattr(network.advantage, part).copy_(torch.tensor(weights[f"{count - 1}.{part}"][CANDIDATES]))
    return network
