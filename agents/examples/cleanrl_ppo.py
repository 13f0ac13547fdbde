"""Proximal policy optimisation in the style of CleanRL, with its hyperparameters, from an environment to a score.

    python -m agents.examples.cleanrl_ppo --total-timesteps 300000 --seed 0

Benchmark an algorithm of your own the same way: train it in any of the environments, then hand what chooses the actions
to `deeptraffic.evaluate`, as `main` does. Source: Huang et al. 2022, "CleanRL: High-quality Single-file Implementations
of Deep Reinforcement Learning Algorithms", JMLR 23(274); written for this package.

As there, a truncated episode counts as terminated, and rewards are not normalised; the learning rate is constant.

Letters in shapes: T decisions of each env in a rollout, B envs, M = T * B, D features, A actions.
"""

import time
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.distributions import Categorical

import deeptraffic


@dataclass(frozen=True)
class CleanRLSettings:
    """CleanRL's defaults for classic control."""

    num_steps: int = 128
    num_minibatches: int = 4
    update_epochs: int = 4
    learning_rate: float = 2.5e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip_coef: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5


def layer(inputs: int, outputs: int, gain: float = np.sqrt(2.0)) -> nn.Linear:
    """Return a dense layer with orthogonal weights and no bias at first."""
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.zeros_(made.bias)
    return made


def network(inputs: int, outputs: int, gain: float) -> nn.Sequential:
    """Return two hidden layers of 64 and a head."""
    return nn.Sequential(layer(inputs, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, outputs, gain))


class CleanRLPPO:
    """A learner on a vector environment with flat observations.

    envs: a Gymnasium `VectorEnv`, or another with its methods, that resets an env in the step that ends its episode
    """

    def __init__(self, envs: Any, seed: int = 0, settings: CleanRLSettings | None = None) -> None:
        torch.manual_seed(seed)
        self.envs, self.settings = envs, settings or CleanRLSettings()
        num_envs, features = envs.num_envs, envs.single_observation_space.shape[0]
        actions = int(envs.single_action_space.n)
        self.actor, self.critic = network(features, actions, 0.01), network(features, 1, 1.0)
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.settings.learning_rate, eps=1e-5)
        steps = self.settings.num_steps
        self.obs = torch.zeros((steps, num_envs, features))
        self.actions = torch.zeros((steps, num_envs), dtype=torch.int64)
        self.log_probs, self.rewards, self.dones, self.values = torch.zeros((4, steps, num_envs))
        self.next_obs = self._tensor(envs.reset(seed=seed)[0])
        self.next_done = torch.zeros(num_envs)

    @staticmethod
    def _tensor(array: Any) -> Tensor:
        return torch.tensor(np.asarray(array, np.float32))

    def iterate(self) -> int:
        """Play a rollout and learn from it; return the number of decisions."""
        self.play()
        returns, advantages = self.targets()
        self.update(returns, advantages)
        return self.actions.numel()

    @torch.no_grad()
    def play(self) -> None:
        """Fill the rollout."""
        for t in range(self.settings.num_steps):
            self.obs[t], self.dones[t] = self.next_obs, self.next_done
            choices = Categorical(logits=self.actor(self.next_obs))
            self.values[t] = self.critic(self.next_obs).squeeze(1)
            self.actions[t] = choices.sample()
            self.log_probs[t] = choices.log_prob(self.actions[t])
            obs, rewards, terminations, truncations, _ = self.envs.step(self.actions[t].numpy())
            self.rewards[t] = self._tensor(rewards)
            self.next_obs, self.next_done = self._tensor(obs), self._tensor(np.logical_or(terminations, truncations))

    @torch.no_grad()
    def targets(self) -> tuple[Tensor, Tensor]:
        """Return the returns and generalised advantages (T, B) of the rollout."""
        s, following = self.settings, self.critic(self.next_obs).squeeze(1)
        goes_on, last = 1.0 - self.next_done, torch.zeros(())
        advantages = torch.zeros_like(self.rewards)
        for t in reversed(range(s.num_steps)):
            error = self.rewards[t] + s.gamma * following * goes_on - self.values[t]
            advantages[t] = last = error + s.gamma * s.gae_lambda * goes_on * last
            following, goes_on = self.values[t], 1.0 - self.dones[t]
        return advantages + self.values, advantages

    def update(self, returns: Tensor, advantages: Tensor) -> None:
        """Take the gradient steps of a rollout."""
        s, count = self.settings, self.actions.numel()
        obs, actions, old = self.obs.flatten(0, 1), self.actions.flatten(), self.log_probs.flatten()
        before, returns, advantages = self.values.flatten(), returns.flatten(), advantages.flatten()
        for _ in range(s.update_epochs):
            for batch in torch.randperm(count).split(count // s.num_minibatches):
                choices = Categorical(logits=self.actor(obs[batch]))
                ratio = (choices.log_prob(actions[batch]) - old[batch]).exp()
                chosen = advantages[batch]
                chosen = (chosen - chosen.mean()) / (chosen.std() + 1e-8)
                clipped = ratio.clamp(1.0 - s.clip_coef, 1.0 + s.clip_coef)
                policy_loss = torch.max(-chosen * ratio, -chosen * clipped).mean()
                values = self.critic(obs[batch]).squeeze(1)
                near = before[batch] + (values - before[batch]).clamp(-s.clip_coef, s.clip_coef)
                errors = torch.max((values - returns[batch]) ** 2, (near - returns[batch]) ** 2)
                loss = policy_loss - s.ent_coef * choices.entropy().mean() + s.vf_coef * 0.5 * errors.mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters, s.max_grad_norm)
                self.optimizer.step()


def main(total_timesteps: int = 300_000, num_envs: int = 256, seed: int = 0) -> None:
    """Train on lane gaps, and print the official score."""
    envs = gymnasium.make_vec("DeepTraffic2018-v0", num_envs, observation="gaps", autoreset_mode="SameStep")
    learner = CleanRLPPO(envs, seed)
    done, started = 0, time.process_time()
    while done < total_timesteps:
        done += learner.iterate()
        print(f"\r{done:>9,} decisions, mean reward {learner.rewards.mean():.2f}", end="", flush=True)
    score = deeptraffic.evaluate(learner.actor, observation="gaps")
    print(f"\n{score.score:.2f} mph official after {time.process_time() - started:.0f} CPU seconds")


if __name__ == "__main__":
    typer.run(main)
