"""What each algorithm is told: its settings, their limits and defaults, and where the method is from."""

from dataclasses import dataclass
from typing import Any

from agents.agent_config import AgentConfig
from agents.expert_config import ExpertConfig
from agents.world_model_config import WorldModelConfig
from deeptraffic.settings import boolean, choice, integer, integers, real


@dataclass(frozen=True)
class PPOConfig(AgentConfig):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347).

    n_steps: decisions of each game between two updates; n_steps * num_envs decisions make one batch of experience
    batch_size: decisions of one gradient step
    n_epochs: passes over the experience
    gae_lambda: weight of longer returns (Schulman et al. 2015, arXiv:1506.02438)
    clip_range: how far the ratio of new to old probability may move
    ent_coef, vf_coef: weights of the entropy and of the value's error in the loss
    """

    n_steps: int = integer(16, 1, 4096)
    batch_size: int = integer(1024, 2, 1_000_000)
    n_epochs: int = integer(4, 1, 100)
    gae_lambda: float = real(0.9, 0.0, 1.0)
    clip_range: float = real(0.2, 1e-3, 1.0)
    ent_coef: float = real(0.01, 0.0, 1.0)
    vf_coef: float = real(0.5, 0.0, 10.0)

    def ppo_settings(self) -> dict[str, Any]:
        """Return what PPO of any kind is told, by SB3's names."""
        names = ("n_steps", "batch_size", "n_epochs", "gae_lambda", "clip_range", "ent_coef", "vf_coef")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class TeamPPOConfig(PPOConfig):
    """PPO that drives the ego car and its copies in the traffic, and learns from all of them; see `agents.team`.

    n_steps, batch_size, ...: as in `PPOConfig`; every driver of a game decides in each of its n_steps rounds
    team_share: weight of the team's mean speed in a driver's reward; the rest is its own
    """

    team_share: float = real(0.5, 0.0, 1.0)


@dataclass(frozen=True)
class MaskablePPOConfig(PPOConfig):
    """PPO that never tries an action without an effect (Huang and Ontanon 2020, arXiv:2006.14171); see `PPOConfig`."""


@dataclass(frozen=True)
class RecurrentPPOConfig(PPOConfig):
    """PPO with an LSTM (Hochreiter and Schmidhuber 1997) that remembers earlier decisions; see `PPOConfig`.

    n_epochs: with this algorithm's own default
    lstm_units: numbers that it remembers
    """

    n_epochs: int = integer(2, 1, 100)
    lstm_units: int = integer(64, 1, 4096)


@dataclass(frozen=True)
class ReinforceConfig(AgentConfig):
    """REINFORCE (Williams 1992), see `agents.reinforce`; n_steps and ent_coef as in `PPOConfig`."""

    n_steps: int = integer(67, 1, 4096)
    ent_coef: float = real(0.01, 0.0, 1.0)


@dataclass(frozen=True)
class A2CConfig(AgentConfig):
    """Advantage actor-critic (Mnih et al. 2016, arXiv:1602.01783, synchronous); see `PPOConfig` for the names."""

    n_steps: int = integer(5, 1, 4096)
    gae_lambda: float = real(0.9, 0.0, 1.0)
    ent_coef: float = real(0.01, 0.0, 1.0)
    vf_coef: float = real(0.5, 0.0, 10.0)


@dataclass(frozen=True)
class DQNConfig(AgentConfig):
    """Deep Q-learning (Mnih et al. 2015, doi:10.1038/nature14236), with an exploration coin for each game.

    gamma, max_grad_norm, activation: as in `AgentConfig`, with this algorithm's own defaults
    buffer_size: decisions remembered
    learning_starts: decisions at random before the first update
    batch_size: decisions of one gradient step
    train_freq: decisions of each game between two rounds of updates
    gradient_steps: gradient steps of one round
    target_update_interval: [decisions] between copies of the network to the target network
    exploration_fraction: share of training over which the chance of a random action falls from 1
    exploration_final_eps: chance of a random action after that
    """

    gamma: float = real(0.9, 0.0, 1.0)
    max_grad_norm: float = real(10.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((128, 128), 1, 4096, 0, 8)
    activation: str = choice("relu", "tanh", "relu")
    buffer_size: int = integer(200_000, 100, 100_000_000)
    learning_starts: int = integer(10_000, 0, 100_000_000)
    batch_size: int = integer(512, 2, 1_000_000)
    train_freq: int = integer(1, 1, 10_000)
    gradient_steps: int = integer(2, 1, 10_000)
    target_update_interval: int = integer(8_000, 1, 100_000_000)
    exploration_fraction: float = real(0.3, 0.001, 1.0)
    exploration_final_eps: float = real(0.02, 0.0, 1.0)

    def check(self) -> None:
        """Raise ValueError if the memory is too small to learn from."""
        if self.learning_starts > self.buffer_size or self.batch_size > self.buffer_size:
            raise ValueError(
                f"buffer_size={self.buffer_size} is less than learning_starts={self.learning_starts} or "
                f"batch_size={self.batch_size}; raise buffer_size or lower the other"
            )

    def off_policy_settings(self, num_envs: int) -> dict[str, Any]:
        """Return what DQN of any kind is told, by SB3's names."""
        memory = ("buffer_size", "learning_starts", "batch_size", "train_freq", "gradient_steps")
        names = (*memory, "exploration_fraction", "exploration_final_eps")
        target_update_interval = max(self.target_update_interval, num_envs)
        return {name: getattr(self, name) for name in names} | {"target_update_interval": target_update_interval}


@dataclass(frozen=True)
class QRDQNConfig(DQNConfig):
    """DQN that learns the distribution of returns (Dabney et al. 2018, arXiv:1710.10044); see `DQNConfig`.

    n_quantiles: of the return, for each action
    """

    n_quantiles: int = integer(25, 1, 1000)


@dataclass(frozen=True)
class PQNConfig(AgentConfig):
    """Parallelised Q-network (Gallici et al. 2024, arXiv:2407.04811), see `agents.pqn`.

    learning_rate, learning_rate_end, max_grad_norm, activation: as in `AgentConfig`, with this algorithm's own defaults
    n_steps, batch_size, n_epochs: as in `PPOConfig`
    q_lambda: weight of longer returns, 0 for one step, 1 for all n_steps
    exploration_initial_eps, exploration_final_eps: chance of a random action, tossed for each game, at the start and
        later
    exploration_fraction: share of training over which it falls in a line from the one to the other
    layer_norm: whether hidden layers are normalised; the original game's file format cannot hold that
    dueling: whether the network's head is a value plus advantages
    """

    max_grad_norm: float = real(10.0, 1e-6, 1e6)
    activation: str = choice("relu", "tanh", "relu")
    n_steps: int = integer(8, 1, 4096)
    batch_size: int = integer(128, 2, 1_000_000)
    n_epochs: int = integer(4, 1, 100)
    q_lambda: float = real(0.65, 0.0, 1.0)
    exploration_initial_eps: float = real(1.0, 0.0, 1.0)
    exploration_final_eps: float = real(0.05, 0.0, 1.0)
    exploration_fraction: float = real(0.3, 0.001, 1.0)
    layer_norm: bool = boolean(True)
    dueling: bool = boolean(False)


AGENTS: dict[str, type[AgentConfig]] = {
    "reinforce": ReinforceConfig,
    "a2c": A2CConfig,
    "ppo": PPOConfig,
    "team_ppo": TeamPPOConfig,
    "maskable_ppo": MaskablePPOConfig,
    "recurrent_ppo": RecurrentPPOConfig,
    "dqn": DQNConfig,
    "qrdqn": QRDQNConfig,
    "pqn": PQNConfig,
    "world_model": WorldModelConfig,
    "expert_iteration": ExpertConfig,
}
