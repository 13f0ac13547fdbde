"""From a run's weights to a driver: the networks of policy files where dense layers suffice, torch for any other shape.

The weights are those of `best.safetensors` in a run folder: numbers, nothing that is executed. A network that reads the
sensor's cells, or lane gaps computed from them, becomes a `deeptraffic.policies.network.Network`, which needs no torch,
plays official runs in one compiled loop, and can be written as a policy file or for the original game.

    >>> from agents.run import load_policy
    >>> policy = load_policy("runs/ppo-20260101-120000")
    >>> policy.act(cells, np.arange(2))                  # cells (2, 420) float64 -> (2,) int64
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.algorithms import RecurrentPPOConfig
from agents.config import TrainConfig
from agents.lane_layers import lane_layers
from agents.perception import NONE
from deeptraffic.policies.base import Policy
from deeptraffic.policies.layers import Dense, Layer, LayerNorm, Relu, Tanh
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.sim.state import F64, I64

Weights = dict[str, NDArray[np.float32]]

ACTIVATIONS: dict[str, type[Layer]] = {"tanh": Tanh, "relu": Relu}


class TrainedPolicy(NetworkPolicy):
    """A network that a run trained, as a driver.

    config: of the run; notes: facts about the network, such as the decisions it was trained for
    """

    def __init__(self, config: TrainConfig, weights: Weights, label: str, notes: dict[str, str]) -> None:
        road, seen = config.road, config.observation
        super().__init__(label, to_network(config, weights), seen.sensor, 0, road.rules, road.other_agents)
        self.config, self.notes = config, notes

    def act(self, obs: F64, rows: I64) -> I64:
        """Return the actions (B,) for cells (B, D); there is no memory, so `reset` need not come first."""
        if int(rows.max()) >= len(self.driver.history):
            self.reset(np.arange(int(rows.max()) + 1))
        return super().act(obs, rows)


def reads_cells(config: TrainConfig) -> bool:
    """Whether a run's network can be a `Network` over the sensor's cells: dense layers that see them, or lane gaps."""
    seen = config.observation
    is_plain = config.encoder.name == NONE and not isinstance(config.agent, RecurrentPPOConfig)
    return is_plain and seen.layers(config.road.build()) is not None and seen.temporal_window == 0


def make_policy(config: TrainConfig, weights: Weights, label: str, notes: dict[str, str] | None = None) -> Policy:
    """Return the driver that a network's weights make (`agents.sb3.network_weights` says which)."""
    if reads_cells(config):
        return TrainedPolicy(config, weights, label, notes or {})
    from agents.torch_policy import TorchPolicy

    return TorchPolicy(config, weights, label, notes or {})


def to_network(config: TrainConfig, weights: Weights) -> Network:
    """Return dense layers k = 0, 1, ..., `k.weight` (outputs, inputs) and `k.bias`, as a network over the cells.

    Before them comes a layer that all lanes share where there is a `lanes.weight` (`agents.lane_network`).

    A layer is normalised (Ba et al. 2016, arXiv:1607.06450) before its activation where there is a `k.norm_weight`.

    Raises ValueError if the weights are not those of this configuration's sensor.
    """
    seen = config.observation
    layers: list[Layer] = [*(seen.layers(config.road.build()) or ())]
    tensors: Weights = {}
    if "lanes.weight" in weights:
        for layer, named in lane_layers(seen.sensor, weights["lanes.weight"], weights["lanes.bias"]):
            layers.append(layer)
            tensors |= {f"{len(layers)}.{part}": tensor for part, tensor in named.items()}
    count = sum(name.endswith(".weight") and name.split(".")[0].isdigit() for name in weights)
    for k in range(count):
        layers.append(Dense(outputs=int(weights[f"{k}.weight"].shape[0])))
        for part in ("weight", "bias"):
            tensors[f"{len(layers)}.{part}"] = weights[f"{k}.{part}"]
        if f"{k}.norm_weight" in weights:
            layers.append(LayerNorm())
            for part in ("weight", "bias"):
                tensors[f"{len(layers)}.{part}"] = weights[f"{k}.norm_{part}"]
        if k < count - 1:
            layers.append(ACTIVATIONS[config.agent.activation]())
    return Network(seen.sensor.size, tuple(layers), tensors)


# --- weights on disk ----------------------------------------------------------------------------------------------


def weights_content(weights: Weights, notes: dict[str, str]) -> bytes:
    """Return the content of a weights file; notes are short facts about the network, such as its decisions."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in weights.items()}
    return save(tensors, metadata={"notes": json.dumps(notes)})  # one entry: the file's order of several is random


def read_weights(path: str | Path) -> tuple[Weights, dict[str, str]]:
    """Return (weights, notes) of a weights file; ValueError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "np") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
            return weights, json.loads((file.metadata() or {}).get("notes", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"weights file {str(path)!r} cannot be read ({error}); train again in a new folder") from error
