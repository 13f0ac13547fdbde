"""PQN: Q-learning in many parallel games, with LayerNorm and lambda returns, no replay memory and no target network.

Source: Gallici et al. 2024, "Simplifying Deep Temporal Difference Learning", arXiv:2407.04811: algorithm 1 with its
lambda returns. LayerNorm (`agents.pqn_policy`) does what a target network was there for; many games side by side give
the varied data that a replay memory was there for.

    >>> from agents.config import build_config
    >>> from agents.sb3 import make_games, make_model
    >>> config = build_config("pqn", settings=["total_timesteps=100000"])
    >>> model = make_model(config, make_games(config))           # learn(), predict(), save() and load(), as SB3's
    >>> model.learn(config.total_timesteps)

One round: every game makes `n_steps` decisions, epsilon-greedy with a coin of its own; the returns that this experience
holds are computed once; the network is moved towards them in `n_epochs` passes of shuffled minibatches.

Letters in shapes: T decisions of each game in a round, B games, M = T * B, A actions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from agents.exploration import PerGameExploration, explore
from agents.pqn_policy import Obs, PQNPolicy
from agents.rounds import RoundLearner

Info = dict[str, Any]


# --- returns ------------------------------------------------------------------------------------------------------


def lambda_returns(rewards: Tensor, next_values: Tensor, dones: Tensor, gamma: float, lambda_: float) -> Tensor:
    """Return the targets (T, B) of a round of experience.

    rewards (T, B); next_values (T, B): the greatest action value of the state each decision led to, 0 where the game
    terminated; dones (T, B): that state was the game's last, so what follows in the array belongs to another game

    G[t] = r[t] + gamma * (lambda * G[t + 1] + (1 - lambda) * next_value[t]), where a game or the round ends
    G[t] = r[t] + gamma * next_value[t] (the paper's section 3, after Peng and Williams 1994).
    """
    targets = torch.empty_like(rewards)
    following = next_values[-1]
    for t in range(len(rewards) - 1, -1, -1):
        following = torch.where(dones[t], next_values[t], lambda_ * following + (1.0 - lambda_) * next_values[t])
        targets[t] = following = rewards[t] + gamma * following
    return targets


class Experience(NamedTuple):
    """One round, ready to learn from.

    obs: (M, ...), or a dict of such
    actions: (M, 1) int64
    targets: (M,) float32 lambda returns
    """

    obs: Obs
    actions: Tensor
    targets: Tensor


@dataclass
class Round:
    """What a round's decisions were, one entry per step; `last_obs` and `cut` have one per game that ended in it.

    obs: (B, ...) tensors, or dicts of such, that were decided on; values: (B,) their greatest action values
    actions: (B,) int64; rewards: (B,) float32; dones: (B,) whether the game ended
    last_obs: (...) of a game that ended, before it began anew; cut: whether it was truncated, not terminated
    """

    obs: list[Obs] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    actions: list[NDArray[np.int64]] = field(default_factory=list)
    rewards: list[NDArray[np.float32]] = field(default_factory=list)
    dones: list[NDArray[np.bool_]] = field(default_factory=list)
    last_obs: list[Any] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)

    def add(
        self, obs: Obs, values: Tensor, actions: NDArray, rewards: NDArray, dones: NDArray, ended: list[Info]
    ) -> None:
        """Note one step of all games; ended: the infos of those that ended."""
        self.obs.append(obs)
        self.values.append(values)
        self.actions.append(actions)
        self.rewards.append(rewards)
        self.dones.append(dones)
        self.last_obs += [info["terminal_observation"] for info in ended]
        self.cut += [bool(info.get("TimeLimit.truncated", False)) for info in ended]


def join(parts: list[Any], by: Callable[[Any], Any]) -> Any:
    """Join observations by a function of their list, entry by entry where they are dicts."""
    if isinstance(parts[0], dict):
        return {name: by([part[name] for part in parts]) for name in parts[0]}
    return by(parts)


# --- the algorithm ------------------------------------------------------------------------------------------------


class PQN(PerGameExploration, RoundLearner):
    """Parallelised Q-network, with Stable-Baselines3's interface.

    Args:
        policy, env, common (policy_kwargs, seed, device, verbose, tensorboard_log): as for `RoundLearner`;
            policy_kwargs are those of `PQNPolicy`
        learning_rate: a number, or a function of the share of training that remains
        n_steps: T, decisions of each game between two updates
        batch_size: decisions of one gradient step
        n_epochs: passes over a round's experience
        gamma: discount per decision
        q_lambda: weight of longer returns, 0 for one step, 1 for the whole round
        max_grad_norm: longest gradient
        exploration_initial_eps, exploration_final_eps: chance of a random action, at the start and later
        exploration_fraction: share of training over which it falls in a line from the one to the other
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": PQNPolicy,
        "CnnPolicy": PQNPolicy,
        "MultiInputPolicy": PQNPolicy,
    }
    policy: PQNPolicy

    def __init__(
        self,
        policy: str | type[PQNPolicy],
        env: VecEnv | None,
        learning_rate: float | Callable[[float], float] = 1e-3,
        n_steps: int = 8,
        batch_size: int = 128,
        n_epochs: int = 4,
        gamma: float = 0.92,
        q_lambda: float = 0.65,
        max_grad_norm: float = 10.0,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        exploration_fraction: float = 0.3,
        **common: Any,
    ) -> None:
        super().__init__(policy, env, learning_rate, **common)
        self.n_steps, self.batch_size, self.n_epochs = n_steps, batch_size, n_epochs
        self.gamma, self.q_lambda, self.max_grad_norm = gamma, q_lambda, max_grad_norm
        self.exploration_initial_eps, self.exploration_final_eps = exploration_initial_eps, exploration_final_eps
        self.exploration_fraction = exploration_fraction

    @property
    def exploration_rate(self) -> float:
        """The chance of a random action now."""
        fallen = min(1.0, (1.0 - self._current_progress_remaining) / self.exploration_fraction)
        return self.exploration_initial_eps + fallen * (self.exploration_final_eps - self.exploration_initial_eps)

    @property
    def num_actions(self) -> int:
        """A, the number of actions to choose from."""
        return int(self.action_space.n)

    # --- one round ------------------------------------------------------------------------------------------------

    def _collect(self, callback: BaseCallback) -> Experience | None:
        """Play n_steps decisions in every game; None if the callback ends the training."""
        assert self.env is not None
        played = Round()
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        for _ in range(self.n_steps):
            obs = obs_as_tensor(self._last_obs, self.device)  # type: ignore[arg-type]
            with torch.no_grad():
                values, greedy = self.policy(obs).max(1)  # (B,) twice
            actions = explore(greedy.cpu().numpy(), self.exploration_rate, self.num_actions)
            self._last_obs, rewards, dones, infos = self.env.step(actions)  # type: ignore[assignment]
            self._last_episode_starts = dones
            self.num_timesteps += self.env.num_envs
            ended = [infos[row] for row in np.flatnonzero(dones)]
            played.add(obs, values, actions, rewards, dones, ended)
            self._update_info_buffer(ended)
            callback.update_locals(locals())
            if not callback.on_step():
                return None
        callback.on_rollout_end()
        return self._experience(played)

    def _experience(self, played: Round) -> Experience:
        """Compute the targets of a round."""
        rewards = torch.from_numpy(np.stack(played.rewards)).to(self.device)  # (T, B)
        dones = torch.from_numpy(np.stack(played.dones)).to(self.device)  # (T, B)
        actions = torch.from_numpy(np.concatenate(played.actions)).to(self.device)  # (M,)
        following = torch.stack([*played.values[1:], self._best_values(self._last_obs)])  # (T, B)
        if self._n_updates == 0:
            following += self._centre(rewards.mean())
        if played.last_obs:  # a game that was cut goes on in truth: bootstrap from its last state
            ends = self._best_values(join(played.last_obs, np.stack)) * torch.tensor(played.cut, device=self.device)
            following[dones] = ends  # both in order of step, then of game
        targets = lambda_returns(rewards, following, dones, self.gamma, self.q_lambda)
        return Experience(join(played.obs, torch.cat), actions[:, None], targets.flatten())

    @torch.no_grad()
    def _centre(self, mean_reward: Tensor) -> Tensor:
        """Raise all values of a new network by that of earning the mean reward for ever; return by how much.

        Gradient steps would take thousands of decisions to get there, and drown the differences between actions.
        """
        rise = mean_reward / max(1.0 - self.gamma, 1e-3)
        self.policy.head_bias.add_(rise)
        return rise

    @torch.no_grad()
    def _best_values(self, obs: Any) -> Tensor:
        """Return the greatest action value (B,) of observations (B, ...)."""
        return self.policy(obs_as_tensor(obs, self.device)).amax(1)

    def _train(self, experience: Experience) -> None:
        """Move the values of the actions taken towards their targets."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        size = len(experience.targets)
        for _ in range(self.n_epochs):
            order = torch.from_numpy(np.random.permutation(size)).to(self.device)
            for batch in order.split(self.batch_size):
                loss = self._descend(experience, batch)
        self._n_updates += self.n_epochs
        self.logger.record("train/loss", loss.item())
        self.logger.record("train/mean_target", experience.targets.mean().item())
        self.logger.record("train/exploration_rate", self.exploration_rate)

    def _descend(self, experience: Experience, batch: Tensor) -> Tensor:
        """Take one gradient step on the decisions numbered in `batch`; return half their mean squared error."""
        obs = join([experience.obs], lambda parts: parts[0][batch])
        taken = self.policy(obs).gather(1, experience.actions[batch])[:, 0]  # (batch,)
        loss = 0.5 * nn.functional.mse_loss(taken, experience.targets[batch])
        self.policy.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return loss.detach()
