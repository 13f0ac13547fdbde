"""Deep Q-learning, Stable-Baselines3's DQN, with epsilon-greedy exploration per env.

Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", doi:10.1038/nature14236.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stable_baselines3 import DQN

from agents.config import NetworkConfig
from agents.exploration import PerEnvExploration
from agents.export import Weights
from agents.registry import RETURNS, Entry
from agents.sb3 import SB3Algorithm
from agents.sb3_network import dense_weights, lane_weights
from deeptraffic.settings import Settings, choice, integer, integers, real

if TYPE_CHECKING:
    from agents.config import TrainConfig

REPLAY_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
DEFAULTS: Settings = {
    "num_envs": 64,
    "learning_rate": 5e-4,
    "learning_rate_end": 5e-5,
    "total_timesteps": 300_000,
    "evaluate_every": 25_000,
    "checkpoint_every": 50_000,
}


@dataclass(frozen=True)
class DQNConfig(NetworkConfig):
    """Hyperparameters of DQN, by SB3's names.

    gamma, max_grad_norm, hidden, activation: as in `NetworkConfig`, with this algorithm's own defaults
    buffer_size: replay capacity [transitions]
    learning_starts: random decisions before the first update
    batch_size: transitions of one gradient step
    train_freq: decisions of each env between two rounds of updates
    gradient_steps: gradient steps of one round
    target_update_interval: [decisions] between copies of the network to the target network
    exploration_fraction: fraction of training over which the probability of a random action falls from 1
    exploration_final_eps: probability of a random action after that
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
        """Raise ValueError if the replay buffer is too small to learn from."""
        if self.learning_starts > self.buffer_size or self.batch_size > self.buffer_size:
            raise ValueError(
                f"buffer_size={self.buffer_size} is less than learning_starts={self.learning_starts} or "
                f"batch_size={self.batch_size}; raise buffer_size or lower the other"
            )

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if the replay buffer is too small for the envs."""
        super().check_run(run)
        if run.envs.num_envs > self.buffer_size:
            raise ValueError(
                f"buffer_size={self.buffer_size} is less than num_envs={run.envs.num_envs}; raise buffer_size"
            )

    def settings(self, num_envs: int) -> dict[str, Any]:
        """Return the arguments of SB3's algorithm."""
        replay = ("buffer_size", "learning_starts", "batch_size", "train_freq", "gradient_steps")
        names = (*replay, "exploration_fraction", "exploration_final_eps")
        interval = max(self.target_update_interval, num_envs)
        return {name: getattr(self, name) for name in names} | {"target_update_interval": interval}


class PerEnvDQN(PerEnvExploration, DQN):
    """DQN that explores in each env independently."""


def make(agent: DQNConfig, env: Any, common: dict[str, Any]) -> PerEnvDQN:
    """Return a new model."""
    return PerEnvDQN(env=env, **common, **agent.settings(env.num_envs))


def weights(model: Any) -> Weights:
    """Return the layers of the Q-network."""
    return dense_weights(model.q_net.q_net) | lane_weights(model.q_net)


def state(model: Any) -> dict[str, Any]:
    """Return the filled part of the replay buffer, and the counters of exploration and target updates."""
    buffer = model.replay_buffer
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {name: _filled(getattr(buffer, name), filled) for name in REPLAY_ARRAYS}
    return {
        "n_calls": model._n_calls,
        "exploration_rate": float(model.exploration_rate),
        "pos": buffer.pos,
        "full": buffer.full,
        "arrays": arrays,
    }


def restore(model: Any, saved: dict[str, Any]) -> None:
    """Fill the replay buffer again, and set the counters."""
    model._n_calls, model.exploration_rate = saved["n_calls"], saved["exploration_rate"]
    buffer = model.replay_buffer
    buffer.pos, buffer.full = saved["pos"], saved["full"]
    for name in REPLAY_ARRAYS:
        target, source = getattr(buffer, name), saved["arrays"][name]
        pairs = [(target[key], source[key]) for key in source] if isinstance(source, dict) else [(target, source)]
        for array, values in pairs:
            array[: len(values)] = values


def _filled(part: Any, filled: int) -> Any:
    return {name: array[:filled] for name, array in part.items()} if isinstance(part, dict) else part[:filled]


ENTRY = Entry("dqn", "value-based", "deep Q-learning with a replay buffer", RETURNS)
ALGORITHM = SB3Algorithm(config=DQNConfig, make=make, weights=weights, defaults=DEFAULTS, state=state, restore=restore)
