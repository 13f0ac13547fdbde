"""RLlib: PPO of Ray's library on the Gymnasium environment.

    python -m agents.examples.rllib_ppo --iterations 40

Everything runs in one process; RLlib bootstraps through truncated episodes.
"""

from typing import Any

import gymnasium
import torch
import typer
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.registry import register_env

import deeptraffic


def make(config: dict[str, Any]) -> gymnasium.Env:
    """Return an environment, in whatever process asks for one."""
    return gymnasium.make("deeptraffic:DeepTraffic2018-v0", **config)


def main(iterations: int = 40, batch: int = 4000, seed: int = 0) -> None:
    """Train in this process, and print the official score."""
    register_env("deeptraffic", make)
    config = (
        PPOConfig()
        .environment("deeptraffic", env_config={"observation": "gaps"})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=16)
        .learners(num_learners=0)
        .training(gamma=0.92, lr=1e-3, train_batch_size_per_learner=batch, minibatch_size=min(512, batch), num_epochs=4)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64]))
        .debugging(seed=seed)
    )
    algorithm = config.build_algo()
    for number in range(iterations):
        found = algorithm.train()["env_runners"]
        print(f"{(number + 1) * batch:>9,} decisions, mean return {found.get('episode_return_mean', float('nan')):.1f}")
    module = algorithm.get_module()

    def values(obs: Any) -> torch.Tensor:
        with torch.no_grad():
            return module.forward_inference({"obs": torch.as_tensor(obs)})["action_dist_inputs"]

    print(f"{deeptraffic.evaluate(values, 'gaps').score:.2f} mph official")
    algorithm.stop()


if __name__ == "__main__":
    typer.run(main)
