"""Proximal policy optimisation, Stable-Baselines3's PPO, optionally initialised from another policy.

Source: Schulman et al. 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347.

    $ deeptraffic train ppo --init runs/expert --set init_gain=20 --set critic_warmup=100000

With `--init` the actor is that policy's network. A network of action values has outputs that may lie so close together
that sampling from their softmax would be nearly uniform: `init_gain` scales them. The critic takes over the hidden
layers, but its head is new, and its wrong advantages would spoil the actor: for `critic_warmup` decisions only the
critic learns.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import nn

from agents.algorithms.distil.student import StudentNetworkPolicy
from agents.algorithms.ppo.config import PPOConfig, WarmStartConfig
from agents.export import Weights
from agents.lane_network import LaneFeatures
from agents.sb3 import SB3Algorithm
from agents.sb3_network import PARTS, actor_weights, arrays, dense_weights
from agents.warm_start import LANES, InitPolicy, layer_names, policy_weights
from deeptraffic.policies.network_policy import NetworkPolicy
from representation.encoder import Encoder


class CriticWarmupPPO(PPO):
    """PPO whose critic may learn for a while before its actor does.

    init_gain, critic_warmup: see `agents.algorithms.ppo.config.WarmStartConfig`
    """

    def __init__(self, *arguments: Any, init_gain: float = 1.0, critic_warmup: int = 0, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.init_gain, self.critic_warmup = init_gain, critic_warmup

    def train(self) -> None:
        """Take the gradient steps of a rollout."""
        if self.critic_warmup:
            policy, learns = self.policy, self.num_timesteps > self.critic_warmup
            for module in (policy.features_extractor, policy.mlp_extractor.policy_net, policy.action_net):
                module.requires_grad_(learns)
        super().train()


def make(agent: WarmStartConfig, env: Any, common: dict[str, Any]) -> CriticWarmupPPO:
    """Return a new model."""
    return CriticWarmupPPO(env=env, **common, **agent.settings())


# --- initialising from a policy -----------------------------------------------------------------------------------


@torch.no_grad()
def initialise(model: CriticWarmupPPO, policy: InitPolicy) -> None:
    """Copy a policy's layers into a new model's actor, the hidden ones into its critic too, and its encoder.

    Raises ValueError if the network is not made of layers of the model's sizes.
    """
    weights, modules = _init_weights(model, policy), _modules(model)
    shapes = {name: tuple(weights[f"{name}.weight"].shape) for name in layer_names(weights)}
    expected = {name: tuple(module.weight.shape) for name, (module, _) in modules.items()}
    if shapes != expected:
        raise ValueError(
            f"init: {policy.label!r} has layers of shapes {shapes}, but the new network has {expected}; "
            "let --init choose the sizes, or name another"
        )
    last = str(len(modules) - 1 - (LANES in modules))
    for name, targets in modules.items():
        for part in PARTS:
            tensor = torch.from_numpy(np.array(weights[f"{name}.{part}"], np.float32))
            for target in targets:
                if target is not None:
                    getattr(target, part).copy_(tensor * model.init_gain if name == last else tensor)


def _init_weights(model: PPO, policy: InitPolicy) -> Weights:
    """Return a policy's weights, as `policy_weights`; the encoder of a run of distil is copied into the model."""
    if isinstance(policy, NetworkPolicy) and not isinstance(policy, StudentNetworkPolicy):
        if isinstance(model.policy.features_extractor, Encoder):
            raise ValueError(f"init: {policy.label!r} has no encoder; leave encoder out, or name a run of distil")
        return policy_weights(policy)
    student = policy.student
    if isinstance(student.features, LaneFeatures):
        return dense_weights(student.head) | arrays({f"lanes.{p}": getattr(student.features.lane, p) for p in PARTS})
    try:
        model.policy.features_extractor.load_state_dict(student.features.state_dict())
    except RuntimeError as error:
        raise ValueError(f"init: the encoder of {policy.label!r} is another than the new network's: {error}") from None
    return dense_weights(student.head)


def _modules(model: PPO) -> dict[str, tuple[nn.Linear, nn.Linear | None]]:
    """The new network's layers by the names of weights: the actor's, and the critic's where it has the same."""
    policy, head = model.policy, model.policy.action_net
    assert isinstance(head, nn.Linear)
    trunks = zip(_dense(policy.mlp_extractor.policy_net), _dense(policy.mlp_extractor.value_net), strict=True)
    modules: dict[str, tuple[nn.Linear, nn.Linear | None]] = {str(k): pair for k, pair in enumerate(trunks)}
    modules[str(len(modules))] = (head, None)
    features = policy.features_extractor
    return {LANES: (features.lane, None), **modules} if isinstance(features, LaneFeatures) else modules


def _dense(layers: nn.Module) -> Iterator[nn.Linear]:
    return (layer for layer in layers.children() if isinstance(layer, nn.Linear))


ALGORITHM = SB3Algorithm(config=PPOConfig, make=make, weights=actor_weights, initialise=initialise)
