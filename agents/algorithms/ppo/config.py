"""Hyperparameters of PPO and its relatives."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from agents.compiled.config import CompiledConfig
from agents.config import NetworkConfig
from deeptraffic.settings import integer, real

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
class WarmStartConfig(ClippedConfig):
    """Hyperparameters of PPO that may start from another policy, see `ClippedConfig`.

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
        return replace(super().for_later_stage(decisions), critic_warmup=int(CRITIC_FRACTION * decisions))


@dataclass(frozen=True)
class PPOConfig(WarmStartConfig, CompiledConfig):
    """Hyperparameters of PPO, see `WarmStartConfig` and `CompiledConfig`."""

    def obstacle(self, run: "TrainConfig") -> str:
        """Return what of this run the compiled learner cannot train; "" if it can."""
        return super().obstacle(run) or (f"critic_warmup={self.critic_warmup}" if self.critic_warmup else "")
