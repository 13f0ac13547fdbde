"""REINFORCE with a mean baseline: the plainest policy gradient, the first algorithm to read on the way to PPO.

Source: Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning",
doi:10.1007/BF00992696, section 5. Every action's probability is raised by how much the return after it exceeds that of
the other envs:

    gradient = mean over envs and steps of  (G[t] - b[t]) * gradient of log p(a[t] | o[t])

where G[t] = r[t] + gamma G[t + 1] is the return, and the baseline b[t] is its mean over all envs at step t: it changes
no expectation and removes most of the variance. There is no value network: actor-critic (A2C, PPO) puts one in place of
b, and can then bootstrap beyond the end of the rollout.

    >>> config = build_config("reinforce", settings=["total_timesteps=300000"])
    >>> make_model(config, make_vec_env(config)).learn(config.total_timesteps)

Letters in shapes: T decisions of each env in a rollout, B envs.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from stable_baselines3 import A2C
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from torch import nn

from agents.config import NetworkConfig
from agents.registry import PROBABILITIES, Entry
from agents.sb3 import SB3Algorithm
from agents.sb3_network import actor_weights
from deeptraffic.settings import integer, real


@dataclass(frozen=True)
class ReinforceConfig(NetworkConfig):
    """Hyperparameters of REINFORCE.

    n_steps: decisions of each env in a rollout
    ent_coef: weight of the entropy in the loss
    """

    n_steps: int = integer(67, 1, 4096)
    ent_coef: float = real(0.01, 0.0, 1.0)


class Reinforce(OnPolicyAlgorithm):
    """REINFORCE with Stable-Baselines3's interface: one gradient step on each rollout.

    Args:
        policy, env: as for SB3's algorithms
        learning_rate, n_steps, gamma, ent_coef, max_grad_norm: as for A2C
        settings: policy_kwargs, seed, device, ... as for A2C
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = A2C.policy_aliases
    policy: ActorCriticPolicy

    # parameters: the keywords of SB3's algorithms
    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: Any = 5e-3,
        n_steps: int = 67,
        gamma: float = 0.92,
        ent_coef: float = 0.01,
        max_grad_norm: float = 0.5,
        **settings: Any,
    ) -> None:
        unused = {"gae_lambda": 1.0, "vf_coef": 0.0, "use_sde": False, "sde_sample_freq": -1}
        own = {"n_steps": n_steps, "gamma": gamma, "ent_coef": ent_coef, "max_grad_norm": max_grad_norm}
        super().__init__(policy, env, learning_rate, **{**unused, **own, **settings})

    def _setup_model(self) -> None:
        super()._setup_model()
        for parameter in self.policy.value_net.parameters():  # SB3's networks have one: this one is 0 and never learns
            nn.init.zeros_(parameter)

    def train(self) -> None:
        """Take one gradient step."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        returns = self.rollout_buffer.advantages  # (T, B): with lambda 1 and values of 0, SB3's advantages are G
        self.rollout_buffer.advantages = returns - returns.mean(axis=1 if self.n_envs > 1 else None, keepdims=True)
        batch = next(self.rollout_buffer.get(batch_size=None))
        _, log_prob, entropy = self.policy.evaluate_actions(batch.observations, batch.actions.long().flatten())
        assert entropy is not None, "five actions have an entropy"
        loss = -(batch.advantages * log_prob).mean() - self.ent_coef * entropy.mean()
        self.policy.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        self._n_updates += 1
        self.logger.record("train/loss", loss.item())


def make(agent: ReinforceConfig, env: Any, common: dict[str, Any]) -> Reinforce:
    """Return a new model."""
    return Reinforce(env=env, n_steps=agent.n_steps, ent_coef=agent.ent_coef, **common)


ENTRY = Entry("reinforce", "policy-based", "REINFORCE with a mean baseline", PROBABILITIES)
ALGORITHM = SB3Algorithm(
    config=ReinforceConfig,
    make=make,
    weights=actor_weights,
    defaults={"learning_rate": 5e-3, "learning_rate_end": 5e-4, "num_envs": 64},
)
