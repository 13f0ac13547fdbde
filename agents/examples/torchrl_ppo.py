"""TorchRL: PPO from its collector, advantage and loss modules.

    python -m agents.examples.torchrl_ppo --total-timesteps 100000

The actor's network is scored as it is: a torch module whose highest output counts.
"""

import gymnasium
import torch
import typer
from tensordict.nn import TensorDictModule
from torch import nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import deeptraffic


def network(inputs: int, outputs: int) -> nn.Sequential:
    """Return two hidden layers of 64."""
    return nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


def main(total_timesteps: int = 100_000, frames_per_batch: int = 2048, seed: int = 0) -> None:
    """Train on one environment, and print the official score."""
    torch.manual_seed(seed)
    env = GymWrapper(
        gymnasium.make("deeptraffic:DeepTraffic2018-v0", observation="gaps"), categorical_action_encoding=True
    )
    env.set_seed(seed)
    features = env.observation_spec["observation"].shape[-1]
    actor_net = network(features, 5)
    actor = ProbabilisticActor(
        TensorDictModule(actor_net, in_keys=["observation"], out_keys=["logits"]),
        in_keys=["logits"],
        distribution_class=Categorical,
        return_log_prob=True,
    )
    critic = ValueOperator(network(features, 1), in_keys=["observation"])
    advantage = GAE(gamma=0.92, lmbda=0.95, value_network=critic, average_gae=True)
    loss_of = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.01)
    optimizer = torch.optim.Adam(loss_of.parameters(), 1e-3)
    collector = Collector(env, actor, frames_per_batch=frames_per_batch, total_frames=total_timesteps)
    for number, data in enumerate(collector):
        for _ in range(4):
            with torch.no_grad():
                advantage(data)
            for some in torch.randperm(len(data)).split(256):
                losses = loss_of(data[some])
                loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(loss_of.parameters(), 0.5)
                optimizer.step()
        reward = data["next", "reward"].mean().item()
        print(f"{(number + 1) * frames_per_batch:>9,} decisions, mean reward {reward:.2f}")
    collector.shutdown()
    print(f"{deeptraffic.evaluate(actor_net, 'gaps').score:.2f} mph official")


if __name__ == "__main__":
    typer.run(main)
