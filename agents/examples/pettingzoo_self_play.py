"""PettingZoo: self-play, one policy for every agent of the AEC environment, trained by REINFORCE on all their episodes.

    python -m agents.examples.pettingzoo_self_play --episodes 400

Rewards are of an agent's own car, so that all of them learn the same task.
"""

from collections import defaultdict

import numpy as np
import torch
import typer
from gymnasium.spaces.utils import flatdim
from torch import nn
from torch.distributions import Categorical

import deeptraffic
from deeptraffic.envs.aec_env import DeepTrafficAECEnv

BATCH = 8  # episodes of an update


def play(env: DeepTrafficAECEnv, network: nn.Module, gamma: float) -> tuple[list[np.ndarray], list[int], list[float]]:
    """Play an episode; return all agents' observations, actions and returns."""
    seen: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    taken: defaultdict[str, list[int]] = defaultdict(list)
    rewards: defaultdict[str, list[float]] = defaultdict(list)
    env.reset()
    for agent in env.agent_iter():
        obs, reward, _, truncation, _ = env.last()
        if taken[agent]:
            rewards[agent].append(reward)  # of the agent's last decision
        if truncation:
            env.step(None)
            continue
        with torch.no_grad():
            action = int(Categorical(logits=network(torch.as_tensor(obs))).sample())
        seen[agent].append(obs)
        taken[agent].append(action)
        env.step(action)
    returns: list[float] = []
    for agent in seen:
        total, backwards = 0.0, []
        for reward in reversed(rewards[agent]):
            total = reward + gamma * total
            backwards.append(total)
        returns += backwards[::-1]
    return sum(seen.values(), []), sum(taken.values(), []), returns


def main(episodes: int = 400, other_agents: int = 4, seed: int = 0) -> None:
    """Train, and print the official score with copies of the policy in the traffic."""
    torch.manual_seed(seed)
    env = DeepTrafficAECEnv(other_agents=other_agents, observation="gaps")
    env.reset(seed=seed)
    size = flatdim(env.observation_space(env.possible_agents[0]))
    network = nn.Sequential(nn.Linear(size, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 5))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for start in range(0, episodes, BATCH):
        played = [play(env, network, gamma=0.9) for _ in range(min(BATCH, episodes - start))]
        obs = torch.as_tensor(np.stack([seen for each in played for seen in each[0]]))
        actions = torch.tensor([action for each in played for action in each[1]])
        targets = torch.tensor([total for each in played for total in each[2]])
        advantages = (targets - targets.mean()) / (targets.std() + 1e-8)
        choices = Categorical(logits=network(obs))
        loss = -(choices.log_prob(actions) * advantages).mean() - 0.01 * choices.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"{start + len(played):>5} episodes, mean return {targets.mean():.2f}")
    score = deeptraffic.evaluate(network, "gaps", other_agents=other_agents)
    print(f"{score.score:.2f} mph official, with {other_agents} other agents")


if __name__ == "__main__":
    typer.run(main)
