"""Proximal policy optimisation, Stable-Baselines3's PPO, optionally initialised from another policy.

Source: Schulman et al. 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347.

    $ deeptraffic train ppo --init runs/expert --set init_gain=20 --set critic_warmup=100000

With `--init` the actor is that policy's network. A network of action values has outputs that may lie so close together
that sampling from their softmax would be nearly uniform: `init_gain` scales them. The critic takes over the hidden
layers, but its head is new, and its wrong advantages would spoil the actor: for `critic_warmup` decisions only the
critic learns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from stable_baselines3 import PPO
from torch import nn

from agents.algorithm import NetworkConfig
from agents.algorithms.distil.student import StudentNetworkPolicy
from agents.export import Weights
from agents.lane_network import LaneFeatures
from agents.sb3 import PARTS, SB3Algorithm, actor_weights, arrays, dense_weights
from agents.warm_start import LANES, InitPolicy, layer_names, policy_weights
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.settings import integer, real
from representation.encoder import Encoder

if TYPE_CHECKING:
    from agents.config import TrainConfig

CRITIC_FRACTION = 0.05  # of a later stage of a curriculum in which only the critic learns


@dataclass(frozen=True)
class ClippedConfig(NetworkConfig):
    """Hyperparameters of every algorithm with PPO's clipped objective, by SB3's names.

    n_steps: decisions of each env between two updates; n_steps * num_envs decisions make one rollout
    batch_size: decisions of one gradient step
    n_epochs: passes over the rollout
    gae_lambda: weight of longer returns (Schulman et al. 2015, arXiv:1506.02438)
    clip_range: by how much the probability ratio of new to old policy may differ from 1
    ent_coef, vf_coef: weights of the entropy and of the value loss
    """

    n_steps: int = integer(16, 1, 4096)
    batch_size: int = integer(1024, 2, 1_000_000)
    n_epochs: int = integer(4, 1, 100)
    gae_lambda: float = real(0.9, 0.0, 1.0)
    clip_range: float = real(0.2, 1e-3, 1.0)
    ent_coef: float = real(0.01, 0.0, 1.0)
    vf_coef: float = real(0.5, 0.0, 10.0)

    def settings(self) -> dict[str, Any]:
        """Return the arguments of SB3's algorithm."""
        names = ("n_steps", "batch_size", "n_epochs", "gae_lambda", "clip_range", "ent_coef", "vf_coef")
        return {name: getattr(self, name) for name in names}

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if a rollout holds less than a batch."""
        super().check_run(run)
        check_batch(run, self.n_steps, self.batch_size, self.learning_agents(run))

    def learning_agents(self, run: "TrainConfig") -> int:
        """Return how many agents of an env are learned from."""
        return 1


def check_batch(run: "TrainConfig", n_steps: int, batch_size: int, agents: int = 1) -> None:
    """Raise ValueError if n_steps of all envs, each with so many agents that learn, hold less than a batch."""
    rollout = n_steps * run.envs.num_envs * agents
    if batch_size > rollout or rollout < 2:
        raise ValueError(
            f"batch_size={batch_size} is more than n_steps={n_steps} x num_envs={run.envs.num_envs}"
            f"{f' x {agents} agents' if agents > 1 else ''} = {rollout} decisions hold; "
            "lower batch_size or raise n_steps"
        )


@dataclass(frozen=True)
class PPOConfig(ClippedConfig):
    """Hyperparameters of PPO, see `ClippedConfig`.

    init_gain: factor on the outputs of the network that the actor is initialised from
    critic_warmup: [decisions] from the start of training in which only the critic learns
    """

    init_gain: float = real(1.0, 1e-3, 1e4)
    critic_warmup: int = integer(0, 0, 10**12)

    def settings(self) -> dict[str, Any]:
        """Return the arguments of `CriticWarmupPPO`."""
        return super().settings() | {"init_gain": self.init_gain, "critic_warmup": self.critic_warmup}

    def for_later_stage(self, decisions: int) -> Self:
        """Let only the critic learn at first."""
        return replace(self, critic_warmup=int(CRITIC_FRACTION * decisions))


class CriticWarmupPPO(PPO):
    """PPO whose critic may learn for a while before its actor does.

    init_gain, critic_warmup: see `PPOConfig`
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


def make(agent: PPOConfig, env: Any, common: dict[str, Any]) -> CriticWarmupPPO:
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


ALGORITHM = SB3Algorithm(
    config=PPOConfig,
    make=make,
    weights=actor_weights,
    initialise=initialise,
    presets={"fast": {"total_timesteps": 400_000, "evaluate_every": 100_000, "checkpoint_every": 400_000}},
)
