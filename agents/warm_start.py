"""Warm start: the weights of a policy, from which a new network of the same shape is initialised.

    $ deeptraffic train team_ppo --init runs/expert --set init_gain=20 --set critic_warmup=100000

The policy is that of another run or of a policy file: a network of dense layers over the sensor's cells. A run of
distil may have an encoder in front, which the new network takes over.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from agents.algorithms.distil.student import StudentNetworkPolicy, StudentPolicy
from agents.export import Weights
from agents.lane_layers import SPEED_GAIN, lane_layers
from agents.loader import load_policy
from deeptraffic.policies.base import Policy
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import Conv2d, Dense, Relu, Tanh
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.policies.sensor_layers import Gaps
from deeptraffic.sim.rules import Sensor

ACTIVATIONS: dict[type[Layer], str] = {Tanh: "tanh", Relu: "relu"}
LANES = "lanes"  # name of the layer shared by all lanes, beside the indices of the dense layers
PARTS = ("weight", "bias")


InitPolicy = NetworkPolicy | StudentPolicy


def network_policy(policy: Policy, name: str) -> InitPolicy:
    """Return a policy that is a network over the sensor's cells, or of a run of distil; ValueError if it is neither."""
    if not isinstance(policy, InitPolicy):
        raise ValueError(
            f"init={name!r} is no network of dense layers over the sensor's cells, and no run of distil; name one"
        )
    return policy


def load_init(name: str) -> InitPolicy:
    """Return the policy of a name, as `network_policy`."""
    return network_policy(load_policy(name), name)


def init_settings(policy: InitPolicy) -> dict[str, Any]:
    """Return the settings that a network initialised from this policy needs: its shape and its observation."""
    if isinstance(policy, StudentPolicy | StudentNetworkPolicy):
        return _student_settings(policy)
    layers, weights = policy.network.layers, policy_weights(policy)
    kind = "gaps" if isinstance(layers[0], Gaps) else "vector"
    settings: dict[str, Any] = {"observation.kind": kind, "observation.dtype": "float32"}
    settings |= {f"observation.{name}": value for name, value in policy.observation._asdict().items()}
    units = {name: len(weights[f"{name}.bias"]) for name in layer_names(weights)}
    settings["agent.lane_units"] = units.pop(LANES, 0)
    settings["agent.hidden"] = list(units.values())[:-1]
    used = {ACTIVATIONS[type(layer)] for layer in layers[-2::-2] if type(layer) in ACTIVATIONS}  # behind dense layers
    return settings | ({"agent.activation": used.pop()} if len(used) == 1 else {})


def _student_settings(policy: StudentPolicy | StudentNetworkPolicy) -> dict[str, Any]:
    """Return the settings that a network initialised from a run of distil needs."""
    config, student = policy.config, policy.student
    if student.state_size or student.last_action:
        raise ValueError(
            f"init: {policy.label!r} reads a state or its last action, which no other algorithm's network does; "
            "name a run of distil without them"
        )
    encoder = {name: getattr(config.encoder, name) for name in ("name", "features_dim", "architecture")}
    settings = {f"encoder.{name}": value for name, value in encoder.items()} if config.encoder.is_used else {}
    settings |= {f"observation.{name}": value for name, value in asdict(config.observation).items()}
    return settings | {f"agent.{name}": getattr(config.agent, name) for name in ("lane_units", "hidden", "activation")}


def policy_weights(policy: NetworkPolicy) -> Weights:
    """Return the weights of a policy's network, as `named_weights`; ValueError, which names it, if it has others."""
    try:
        return named_weights(policy.network, policy.observation)
    except ValueError as error:
        raise ValueError(f"init: no network can be initialised from {policy.label!r}: {error}; name another") from error


def named_weights(network: Network, sensor: Sensor) -> Weights:
    """Return a network's `k.weight`, `k.bias` of dense layers k = 0, 1, ..., and `lanes.*` of a layer shared by lanes.

    Raises ValueError if it is made of anything else.
    """
    weights, first = _lanes(network, sensor)
    if isinstance(network.layers[0], Gaps):
        first = 1
    dense = 0
    for at, layer in enumerate(network.layers[first:], start=first + 1):  # value 0 is the input
        if isinstance(layer, Dense) and layer.bias:
            weights |= {f"{dense}.{part}": network.tensors[f"{at}.{part}"] for part in PARTS}
            dense += 1
        elif not isinstance(layer, Tanh | Relu):
            raise ValueError(f"layer {at} ({layer.kind}) is neither tanh nor relu nor dense with a bias")
    return weights


def _lanes(network: Network, sensor: Sensor) -> tuple[Weights, int]:
    """Return the weights of the layer shared by lanes, and how many of the network's layers make it up."""
    if not (len(network.layers) > 6 and isinstance(network.layers[3], Conv2d)):
        return {}, 0
    window = network.tensors["4.weight"].astype(np.float64)[:, :, 0]  # (U, H, 2), see `lane_layers`
    speed, free = window[..., 0], window[..., 1] + (SPEED_GAIN - 1.0) * window[..., 0]
    weight, bias = np.concatenate([speed, free], 1).astype(np.float32), network.tensors["4.bias"]
    expected = lane_layers(sensor, weight, bias)
    tensors = {f"{k}.{part}": tensor for k, (_, named) in enumerate(expected, 1) for part, tensor in named.items()}
    same = all(np.allclose(network.tensors[name], tensor, atol=1e-4) for name, tensor in tensors.items())
    if network.layers[:6] != tuple(layer for layer, _ in expected) or not same:
        raise ValueError("its first layers are not the ones that `agents.lane_network` writes")
    return {f"{LANES}.weight": weight, f"{LANES}.bias": bias}, 6


def layer_names(weights: Weights) -> list[str]:
    """Return the names of the layers among weights."""
    return [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
