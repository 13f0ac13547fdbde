"""Beginning from a network that drives already: another run's, or a policy file's; and letting the critic learn first.

    $ deeptraffic train team_ppo --init runs/distilled --set road.other_agents=10 --set critic_first=200000

The new agent's actor is that network, and its critic begins with the same hidden layers. Its head knows nothing yet,
and advantages that it misjudges would spoil the actor: for `critic_first` decisions only the critic learns.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import nn

from deeptraffic.policy.brain import NetworkPolicy
from deeptraffic.policy.file import read_policy
from deeptraffic.policy.layers import Layer
from deeptraffic.policy.vocabulary import Dense, Gaps, Relu, Tanh

ACTIVATIONS: dict[type[Layer], str] = {Tanh: "tanh", Relu: "relu"}


class WarmPPO(PPO):
    """PPO whose critic may learn for a while before its actor does.

    critic_first: [decisions] from the start of training in which the actor stays as it is
    """

    critic_first = 0

    def train(self) -> None:
        """Take the gradient steps of a rollout."""
        learns = self.num_timesteps > self.critic_first
        for module in (self.policy.mlp_extractor.policy_net, self.policy.action_net):
            module.requires_grad_(learns)
        super().train()


def load_driver(path: str | Path) -> NetworkPolicy:
    """Return the driver of a run folder or of a policy file; ValueError if it is no network over the sensor's cells."""
    from agents.run import is_run_folder, load_policy

    policy: Any = load_policy(path) if is_run_folder(path) else read_policy(path).policy()
    if not isinstance(policy, NetworkPolicy):
        raise ValueError(f"init={str(path)!r} is no network of dense layers over the sensor's cells; name one that is")
    return policy


def init_settings(path: str | Path) -> dict[str, Any]:
    """Return the settings that `--init RUN|FILE` stands for: the network's shape and what it sees."""
    policy = load_driver(path)
    layers = list(policy.network.layers)
    kind = "gaps" if isinstance(layers[0], Gaps) else "vector"
    hidden = [layer.outputs for layer in layers if isinstance(layer, Dense)][:-1]
    settings = {"init": str(path), "agent.hidden": hidden, "observation.kind": kind}
    settings |= {f"observation.{name}": value for name, value in policy.observation._asdict().items()}
    used = {ACTIVATIONS[type(layer)] for layer in layers if type(layer) in ACTIVATIONS}
    return settings | ({"agent.activation": used.pop()} if len(used) == 1 else {})


@torch.no_grad()
def warm_start(model: PPO, path: str | Path) -> None:
    """Copy a driver's dense layers into a new model's actor, the hidden ones into its critic too.

    Raises ValueError if the network is not dense layers, tanh and relu, of the model's sizes.
    """
    network = load_driver(path).network
    layers = [layer for layer in network.layers if not isinstance(layer, Gaps)]
    trunk = model.policy.mlp_extractor
    head = model.policy.action_net
    assert isinstance(head, nn.Linear)
    actor = [*_dense(trunk.policy_net), head]
    given = [k for k, layer in enumerate(network.layers, start=1) if isinstance(layer, Dense)]
    shapes = [tuple(network.tensors[f"{k}.weight"].shape) for k in given]
    expected = [tuple(module.weight.shape) for module in actor]
    plain = all(isinstance(layer, Tanh | Relu) or (isinstance(layer, Dense) and layer.bias) for layer in layers)
    if shapes != expected or not plain:
        raise ValueError(
            f"init={str(path)!r} has layers {[layer.kind for layer in network.layers]} of shapes {shapes}, but the new "
            f"network has dense layers with a bias, of shapes {expected}; let --init choose the sizes, or name another"
        )
    for module, critic, k in zip(actor, [*_dense(trunk.value_net), None], given, strict=True):
        for part in ("weight", "bias"):
            tensor = torch.from_numpy(np.array(network.tensors[f"{k}.{part}"], np.float32))
            for target in (module, critic):
                if target is not None:
                    getattr(target, part).copy_(tensor)


def _dense(layers: nn.Module) -> Iterator[nn.Linear]:
    return (layer for layer in layers.children() if isinstance(layer, nn.Linear))
