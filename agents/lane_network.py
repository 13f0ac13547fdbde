"""Networks with weight sharing over lanes: one layer is applied to each lane of the sensor, then dense layers.

A car's place in a lane means the same in every lane, so one layer reads each lane's cells, and the layers after it
compare the lanes. A cell's value x is first split into two features, its speed and whether it is free: a car gives 0 to
0.04 and free road 1, and a layer with x as input would hardly distinguish the speeds of two cars. All of it is sums and
relu, so `agents.lane_layers` writes it with the layers of a policy file, and the original game gets it as dense layers.

Letters in shapes: B envs, D cells, H rows of the sensor, W columns, U units, K candidate actions.
"""

from collections.abc import Callable

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.compiled.lane_net import evaluate_cells, new_lane_net, prepare, shared_params
from agents.compiled.network import F32, layer_params
from agents.compiled.optimiser import new_moments
from agents.lane_layers import SPEED_GAIN, Weights
from deeptraffic.sim.rules import Action, Sensor

CANDIDATES = np.array([Action.ACCELERATE, Action.LEFT, Action.RIGHT], np.int64)  # full throttle, or a lane change
MIRRORED = np.array([0, 2, 1])  # the candidates with left and right exchanged
NEVER = -1000.0  # output of the actions that are no candidates
PARTS = ("weight", "bias")
VALUE_SCALE = 4.0  # spread of state values, so that the head's output is of order 1


def split_cells(cells: Tensor, columns: int) -> Tensor:
    """Return each lane's speeds and free cells, (B, W, 2 H), of cells (B, H * W)."""
    lanes = cells.view(len(cells), -1, columns).transpose(1, 2)  # (B, W, H)
    free = torch.relu(SPEED_GAIN * lanes - (SPEED_GAIN - 1.0))  # 1 if free, else 0
    speed = torch.relu(SPEED_GAIN * lanes) - (SPEED_GAIN - 1.0) * free  # of a car, or 1 if free
    return torch.cat([speed, free], 2)


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


class LaneNetwork:
    """Compiled network of the shared layer, hidden layers, and two heads: advantages of candidates, and state values.

    Args:
        sensor: of the cells
        lane_units: units of the shared layer; hidden: of each hidden layer; activation: after these

    net: see `LaneNet`; the last layer's outputs are the advantages and, last, the value divided by `VALUE_SCALE`
    """

    def __init__(self, sensor: Sensor, lane_units: int, hidden: list[int], activation: str) -> None:
        rows, sizes = sensor.patches_ahead + sensor.patches_behind, (*hidden, len(CANDIDATES) + 1)
        self.net = new_lane_net(sensor.columns, rows, lane_units, [sizes], activation)

    @property
    def params(self) -> F32:
        """All parameters (P,), themselves."""
        return self.net.dense.params

    def initialise(self) -> None:
        """Draw weights as torch does, from its global random stream."""
        shared, bias = shared_params(self.net)
        lane = nn.Linear(shared.shape[0], shared.shape[1])
        shared[:], bias[:] = lane.weight.detach().numpy().T, lane.bias.detach().numpy()
        for parts in layer_params(self.net.dense):
            layer = nn.Linear(*parts["weight"].shape[::-1])
            parts["weight"][:], parts["bias"][:] = layer.weight.detach().numpy(), layer.bias.detach().numpy()

    def evaluate(self, cells: F32) -> tuple[F32, F32]:
        """Return (advantages (B, K), values (B,)) of cells (B, D)."""
        prepare(self.net)
        outputs = np.empty((len(cells), len(CANDIDATES) + 1), np.float32)
        evaluate_cells(self.net, cells, outputs)
        return outputs[:, :-1], VALUE_SCALE * outputs[:, -1]

    def shift_values(self, shift: float) -> None:
        """Add a constant to the values of all states."""
        layer_params(self.net.dense)[-1]["bias"][-1] += shift / VALUE_SCALE

    def weights(self) -> Weights:
        """Return the weights of a run: `lanes.*`, dense layers `k.*`, and `value.*` for a planner."""
        shared, bias = shared_params(self.net)
        weights = {"lanes.weight": shared.T.copy(), "lanes.bias": bias.copy()}
        *hidden, heads = layer_params(self.net.dense)
        weights |= {f"{k}.{part}": parts[part].copy() for k, parts in enumerate(hidden) for part in PARTS}
        for part in PARTS:
            array = np.full((len(Action), *heads[part].shape[1:]), 0.0 if part == "weight" else NEVER, np.float32)
            array[CANDIDATES] = heads[part][:-1]
            weights |= {f"{len(hidden)}.{part}": array, f"value.{part}": heads[part][-1:].copy()}
        return weights


class LanePolicy(BasePolicy):
    """Advantages of the candidate actions, and the value of the state, as a policy of SB3 with compiled networks.

    Args:
        observation_space, action_space, lr_schedule: as for SB3's policies
        net_arch: units of each layer behind the shared one
        sensor: of the cells; lane_units: of the shared layer; activation: of the others

    network: that learns
    average: with the moving average of its weights; it chooses the actions
    moments: of the optimiser
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Discrete,
        lr_schedule: Callable[[float], float],
        net_arch: list[int],
        sensor: Sensor,
        lane_units: int,
        activation: str = "relu",
    ) -> None:
        super().__init__(observation_space, action_space)
        seen = Sensor(*sensor)  # which SB3's files hold as a list
        self.network, self.average = (LaneNetwork(seen, lane_units, net_arch, activation) for _ in range(2))
        self.network.initialise()
        self.average.params[:] = self.network.params
        self.moments = new_moments(self.network.net.dense)
        arrays = {"params": self.network.params, "averaged": self.average.params, **self.moments._asdict()}
        for name, array in arrays.items():  # which share their memory, so that SB3 saves and restores them
            self.register_buffer(name, torch.from_numpy(array))

    def initialise_from(self, network: LaneNetwork) -> None:
        """Copy the weights of a network of the same sizes; ValueError if its sizes are others."""
        shapes, given = (
            [parts["weight"].shape for parts in layer_params(n.net.dense)] for n in (self.network, network)
        )
        if shapes != given or self.network.net.units != network.net.units:
            raise ValueError(f"init: the policy's network has layers of other sizes: {given}, not {shapes}")
        self.network.params[:] = self.average.params[:] = network.params

    def _predict(self, observation: Tensor | dict[str, Tensor], deterministic: bool = True) -> Tensor:
        """Return the best actions (B,)."""
        assert isinstance(observation, Tensor), "the sensor's cells"
        return torch.from_numpy(CANDIDATES[self.average.evaluate(observation.numpy())[0].argmax(1)])


def load_lane_network(weights: Weights, sensor: Sensor, activation: str = "relu") -> LaneNetwork:
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
    network = LaneNetwork(sensor, len(lanes), [len(weights[f"{k}.bias"]) for k in range(count - 1)], activation)
    shared, bias = shared_params(network.net)
    shared[:], bias[:] = lanes.T, weights["lanes.bias"]
    *hidden, heads = layer_params(network.net.dense)
    for part in PARTS:
        for k, parts in enumerate(hidden):
            parts[part][:] = weights[f"{k}.{part}"]
        heads[part][:-1] = weights[f"{count - 1}.{part}"][CANDIDATES]
        heads[part][-1:] = weights.get(f"value.{part}", 0.0)
    return network
