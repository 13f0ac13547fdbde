"""Export of trained weights: a network of dense layers over the sensor's cells, as a policy file holds it.

A network that reads the sensor's cells, or lane gaps computed from them, becomes a
`deeptraffic.policies.network.Network`, which needs no torch, plays official runs in one compiled loop, and can be
written as a policy file or for the original game. Its weights are those of `best.safetensors` in a run folder.

    >>> from agents.loader import load_policy
    >>> policy = load_policy("runs/ppo-20260101-120000")
    >>> policy.act(cells, np.arange(2))                  # cells (2, 420) float64 -> (2,) int64
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.algorithm import Notes
from agents.lane_layers import lane_layers
from agents.perception import EncoderConfig
from deeptraffic.envs.observations import Observation
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import Dense, LayerNorm, Relu, Tanh
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.sim.rules import RoadConfig
from deeptraffic.sim.state import F64, I64
from deeptraffic.weights import pack_tensors, unpack_tensors

Weights = dict[str, NDArray[np.float32]]

VALUE = "value."  # begins the names of the weights of a network's value head
TORCH = "policy."  # begins the names of the weights of a whole torch network
ACTIVATIONS: dict[str, type[Layer]] = {"tanh": Tanh, "relu": Relu}


class TrainedPolicy(NetworkPolicy):
    """Policy of a network that a run trained, from its weights.

    Args:
        label: name in tables
        weights: see `to_network`
        road: that it was trained on; observation: that it reads
        activation: after each hidden layer, "tanh" or "relu"

    notes: short facts about the network
    folder: of the run that it is of; None if it is of none
    value_head: weights `value.*` of the layer that values states, of which no policy file takes notice; may be empty
    """

    def __init__(
        self,
        label: str,
        weights: Weights,
        road: RoadConfig,
        observation: Observation,
        activation: str,
        notes: Notes | None = None,
    ) -> None:
        network = to_network(weights, road, observation, activation)
        super().__init__(label, network, observation.sensor, 0, road.rules, road.other_agents)
        self.notes = notes or {}
        self.folder: Path | None = None
        self.value_head = {name: array for name, array in weights.items() if name.startswith(VALUE)}

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the actions (B,) for cells (B, D); there is no memory, so `reset` need not come first."""
        if int(agent_indices.max()) >= len(self.driver.history):
            self.reset(np.arange(int(agent_indices.max()) + 1))
        return super().act(obs, agent_indices)


def reads_cells(road: RoadConfig, observation: Observation, encoder: EncoderConfig) -> bool:
    """Return whether dense layers behind this observation can be a `Network` over the sensor's cells."""
    is_plain = not (encoder.is_used or observation.temporal_window or observation.is_weak)
    return is_plain and observation.layers(road.build()) is not None


def to_network(weights: Weights, road: RoadConfig, observation: Observation, activation: str) -> Network:
    """Return dense layers k = 0, 1, ..., `k.weight` (outputs, inputs) and `k.bias`, as a network over the cells.

    Before them comes a layer shared by all lanes where there is a `lanes.weight` (`agents.lane_network`). A layer is
    normalised (Ba et al. 2016, arXiv:1607.06450) before its activation where there is a `k.norm_weight`.

    Raises ValueError if the weights are not those of this sensor.
    """
    sensor = observation.sensor
    layers: list[Layer] = [*(observation.layers(road.build()) or ())]
    tensors: Weights = {}
    if "lanes.weight" in weights:
        for layer, named in lane_layers(sensor, weights["lanes.weight"], weights["lanes.bias"]):
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
            layers.append(ACTIVATIONS[activation]())
    return Network(sensor.size, tuple(layers), tensors)


# --- weights on disk ----------------------------------------------------------------------------------------------


def weights_content(weights: Weights, notes: Notes) -> bytes:
    """Return the content of a weights file: the same bytes for the same weights and notes."""
    return pack_tensors(weights, "notes", notes)


def read_weights(source: str | Path | bytes) -> tuple[Weights, Notes]:
    """Return (weights, notes) of a weights file or of its content; ValueError if it is damaged."""
    weights, metadata = read_tensors(source)
    return weights, json.loads(metadata.get("notes", "{}"))


def read_tensors(source: str | Path | bytes) -> tuple[Weights, dict[str, str]]:
    """Return (tensors, metadata) of a weights file, or of a policy file; ValueError if it is damaged."""
    name = "these bytes" if isinstance(source, bytes) else repr(str(source))
    try:
        return unpack_tensors(source)
    except (OSError, ValueError) as error:
        raise ValueError(f"weights file {name} cannot be read ({error}); train again in a new folder") from error


def is_torch_network(weights: Weights) -> bool:
    """Return whether weights are those of a whole torch network, not of layers that a policy file holds."""
    return any(name.startswith(TORCH) for name in weights)
