"""Beginning from a network that drives already: another run's, or a policy file's; and letting the critic learn first.

    $ deeptraffic train team_ppo --init runs/expert --set init_gain=20 --set critic_first=100000

The new agent's actor is that network. Where it is the best action that counts, as in a network of action values, the
outputs may lie so close together that an actor which draws from them would drive at random: `init_gain` times them.
The critic begins with the same hidden layers. Its head knows nothing yet, and advantages that it misjudges would spoil
the actor: for `critic_first` decisions only the critic learns.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import nn

from agents.lane_layers import SPEED_GAIN, lane_layers
from agents.lane_network import LaneDriver, LaneFeatures, driver_of
from deeptraffic.policies.file import read_policy
from deeptraffic.policies.layers import Conv2d, Dense, Gaps, Layer, Relu, Tanh
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.sim.rules import Sensor

ACTIVATIONS: dict[type[Layer], str] = {Tanh: "tanh", Relu: "relu"}
LANES = "lanes"  # names the layer that all lanes share, beside the dense layers' numbers
PARTS = ("weight", "bias")

Weights = dict[str, np.ndarray]


class WarmPPO(PPO):
    """PPO whose critic may learn for a while before its actor does.

    critic_first: [decisions] from the start of training in which the actor stays as it is
    """

    critic_first = 0

    def train(self) -> None:
        """Take the gradient steps of a rollout."""
        if self.critic_first:
            policy, learns = self.policy, self.num_timesteps > self.critic_first
            for module in (policy.features_extractor, policy.mlp_extractor.policy_net, policy.action_net):
                module.requires_grad_(learns)
        super().train()


# --- what a driver's network is -----------------------------------------------------------------------------------


def load_driver(path: str | Path) -> NetworkPolicy:
    """Return the driver of a run folder or of a policy file; ValueError if it is no network over the sensor's cells."""
    from agents.run import is_run_folder, load_policy

    policy: Any = load_policy(path) if is_run_folder(path) else read_policy(path).policy()
    if not isinstance(policy, NetworkPolicy):
        raise ValueError(f"init={str(path)!r} is no network of dense layers over the sensor's cells; name one that is")
    return policy


def named_weights(network: Network, sensor: Sensor) -> Weights:
    """Return a network's `k.weight`, `k.bias` of dense layers k = 0, 1, ..., and `lanes.*` of one that lanes share.

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
    """Return the weights of the layer that lanes share and how many of the network's layers stand for it."""
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


# --- beginning from it --------------------------------------------------------------------------------------------


def init_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings that `--init RUN|FILE` stands for: the network's shape and what it sees."""
    policy = load_driver(path)
    layers = policy.network.layers
    settings: dict[str, Any] = {"init": str(path), "observation.kind": "vector", "observation.dtype": "float32"}
    if isinstance(layers[0], Gaps):
        settings["observation.kind"] = "gaps"
    settings |= {f"observation.{name}": value for name, value in policy.observation._asdict().items()}
    weights = _weights_of(path, policy)
    units = {name: len(weights[f"{name}.bias"]) for name in _names(weights)}
    settings["agent.lane_units"] = units.pop(LANES, 0)
    settings["agent.hidden"] = list(units.values())[:-1]
    used = {ACTIVATIONS[type(layer)] for layer in layers[-2::-2] if type(layer) in ACTIVATIONS}  # behind dense layers
    return settings | ({"agent.activation": used.pop()} if len(used) == 1 else {})


def load_lane_driver(path: str | Path) -> LaneDriver:
    """Return a driver with a layer that lanes share, for expert iteration to go on from; ValueError if it has none."""
    policy = load_driver(path)
    return driver_of(_weights_of(path, policy), policy.observation)


@torch.no_grad()
def warm_start(model: PPO, path: str | Path, gain: float = 1.0) -> None:
    """Copy a driver's layers into a new model's actor, the hidden ones into its critic too.

    gain: of the actor's outputs; the best action stays the best

    Raises ValueError if the network is not made of layers of the model's sizes.
    """
    policy = load_driver(path)
    weights = _weights_of(path, policy)
    modules = _modules(model)
    shapes = {name: tuple(weights[f"{name}.weight"].shape) for name in _names(weights)}
    expected = {name: tuple(module.weight.shape) for name, (module, _) in modules.items()}
    if shapes != expected:
        raise ValueError(
            f"init={str(path)!r} has layers of shapes {shapes}, but the new network has {expected}; "
            "let --init choose the sizes, or name another"
        )
    last = str(len(modules) - 1 - (LANES in modules))
    for name, targets in modules.items():
        for part in PARTS:
            tensor = torch.from_numpy(np.array(weights[f"{name}.{part}"], np.float32))
            for target in targets:
                if target is not None:
                    getattr(target, part).copy_(tensor * gain if name == last else tensor)


def _modules(model: PPO) -> dict[str, tuple[nn.Linear, nn.Linear | None]]:
    """The new network's layers by the names of weights: the actor's, and the critic's where it has the same."""
    policy, head = model.policy, model.policy.action_net
    assert isinstance(head, nn.Linear)
    trunks = zip(_dense(policy.mlp_extractor.policy_net), _dense(policy.mlp_extractor.value_net), strict=True)
    modules: dict[str, tuple[nn.Linear, nn.Linear | None]] = {str(k): pair for k, pair in enumerate(trunks)}
    modules[str(len(modules))] = (head, None)
    features = policy.features_extractor
    return {LANES: (features.lane, None), **modules} if isinstance(features, LaneFeatures) else modules


def _weights_of(path: str | Path, policy: NetworkPolicy) -> Weights:
    try:
        return named_weights(policy.network, policy.observation)
    except ValueError as error:
        raise ValueError(f"init={str(path)!r} cannot be begun from: {error}; name another network") from error


def _names(weights: Weights) -> list[str]:
    return [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]


def _dense(layers: nn.Module) -> Iterator[nn.Linear]:
    return (layer for layer in layers.children() if isinstance(layer, nn.Linear))
