"""Tianshou: double DQN from its collector, buffer and trainer.

    python -m agents.examples.tianshou_dqn --total-timesteps 100000

The probability of a random action falls over the first half of the training.
"""

import gymnasium
import torch
import typer
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from torch import nn

import deeptraffic


class QNetwork(nn.Module):
    """Two hidden layers of 128, with the interface that Tianshou's policies ask for."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 5)
        )

    def forward(self, obs: object, state: object = None, info: object = None) -> tuple[torch.Tensor, object]:
        """Return (action values (B, 5), the state)."""
        return self.layers(torch.as_tensor(obs)), state


def main(total_timesteps: int = 100_000, num_envs: int = 16, seed: int = 0) -> None:
    """Train with falling exploration, and print the official score."""
    torch.manual_seed(seed)
    envs = DummyVectorEnv(
        [lambda: gymnasium.make("deeptraffic:DeepTraffic2018-v0", observation="gaps") for _ in range(num_envs)]
    )
    envs.seed(seed)
    space = envs.action_space[0]
    network = QNetwork(envs.observation_space[0].shape[0])
    policy = DiscreteQLearningPolicy(model=network, action_space=space, eps_training=1.0)
    optimizer = AdamOptimizerFactory(lr=1e-3)
    algorithm = DQN(policy=policy, optim=optimizer, gamma=0.9, n_step_return_horizon=3, target_update_freq=200)
    collector = Collector(algorithm, envs, VectorReplayBuffer(100_000, num_envs), exploration_noise=True)
    collector.reset()
    collector.collect(n_step=min(2_000, total_timesteps // 4))

    def explore(epoch: int, decisions: int) -> None:
        policy.set_eps_training(max(0.05, 1.0 - 2.0 * decisions / total_timesteps))

    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            max_epochs=1,
            epoch_num_steps=total_timesteps,
            collection_step_num_env_steps=10 * num_envs,
            update_step_num_gradient_steps_per_sample=0.1,
            batch_size=128,
            training_fn=explore,
            show_progress=False,
            verbose=False,
        )
    )
    print(result)
    print(f"{deeptraffic.evaluate(network.layers, 'gaps').score:.2f} mph official")


if __name__ == "__main__":
    typer.run(main)
