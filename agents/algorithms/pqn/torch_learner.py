"""Parallelised Q-network: Q-learning in parallel envs, with lambda returns, without replay buffer or target network.

Source: Gallici et al. 2024, "Simplifying Deep Temporal Difference Learning", arXiv:2407.04811: algorithm 1 with its
lambda returns. LayerNorm keeps Q-learning stable without a target network (section 4); many parallel envs give the
varied data that a replay buffer would give.

    >>> from agents.settings import build_config
    >>> from agents.sb3 import make_model, make_vec_env
    >>> config = build_config("pqn", settings=["total_timesteps=100000"])
    >>> model = make_model(config, make_vec_env(config))         # learn(), predict(), save() and load(), as SB3's
    >>> model.learn(config.total_timesteps)

One round: every env makes `n_steps` epsilon-greedy decisions; the lambda returns of this rollout are computed once;
the network is regressed on them in `n_epochs` passes of shuffled minibatches.

Letters in shapes: T decisions of each env in a round, B envs, M = T * B, A actions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from agents.algorithms.pqn.config import PQNConfig
from agents.exploration import PerEnvExploration, explore
from agents.export import Weights
from agents.rounds import RoundLearner
from agents.sb3 import SB3Algorithm, infinite_horizon_value
from agents.sb3_network import PARTS, arrays, dense_weights, lane_weights

Info = dict[str, Any]
Obs = Tensor | dict[str, Tensor]

# --- network ------------------------------------------------------------------------------------------------------


class PQNPolicy(BasePolicy):
    """Action values from hidden layers of Linear, LayerNorm, activation; the greedy policy.

    Args:
        observation_space, action_space: of a single env; images and dicts get SB3's own extractors in front
        lr_schedule: learning rate by the fraction of training that remains
        net_arch: units of each hidden layer
        activation_fn: after each hidden layer
        layer_norm: whether hidden layers are normalised
        dueling: whether the head is a state's value plus advantages (Wang et al. 2016, arXiv:1511.06581, eq. 9)
        features_extractor_class, features_extractor_kwargs: an encoder in front; None for SB3's own
        normalize_images: whether images are divided by 255 before it
    """

    # parameters: the keywords of SB3's policies
    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Discrete,
        lr_schedule: Callable[[float], float],
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        layer_norm: bool = True,
        dueling: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.RAdam,
        features_extractor_class: Callable[..., BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor_class or extractor_of(observation_space),
            features_extractor_kwargs,
            normalize_images=normalize_images,
        )
        self.optimizer_class = optimizer_class
        self.net_arch = [64, 64] if net_arch is None else list(net_arch)
        self.activation_fn, self.layer_norm, self.dueling = activation_fn, layer_norm, dueling
        self.features_extractor = self.make_features_extractor()
        sizes = [self.features_extractor.features_dim, *self.net_arch]
        self.trunk = hidden_layers(sizes, activation_fn, layer_norm)
        self.advantage = nn.Linear(sizes[-1], int(action_space.n))  # without dueling: the action values themselves
        self.value = nn.Linear(sizes[-1], 1) if dueling else None
        self.optimizer = optimizer_class(self.parameters(), lr=lr_schedule(1.0))  # type: ignore[call-arg]

    def forward(self, obs: Obs) -> Tensor:
        """Return the action values (B, A) of observations (B, ...)."""
        assert self.features_extractor is not None
        hidden = self.trunk(self.extract_features(obs, self.features_extractor))  # (B, net_arch[-1])
        advantage = self.advantage(hidden)  # (B, A)
        if self.value is None:
            return advantage
        return self.value(hidden) + advantage - advantage.mean(1, keepdim=True)

    @property
    def head_bias(self) -> nn.Parameter:
        """What all action values of every state have in common: (A,), with dueling (1,)."""
        return (self.advantage if self.value is None else self.value).bias

    def _predict(self, observation: Obs, deterministic: bool = True) -> Tensor:
        """Return the best actions (B,); there is no exploration here."""
        return self(observation).argmax(1)


def hidden_layers(sizes: list[int], activation: type[nn.Module], layer_norm: bool = True) -> nn.Sequential:
    """Return Linear, LayerNorm (if wanted), activation for each pair of neighbouring sizes."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), *([nn.LayerNorm(outputs)] if layer_norm else []), activation()]
    return nn.Sequential(*layers)


def extractor_of(space: spaces.Space) -> type[BaseFeaturesExtractor]:
    """SB3's extractor in front of the hidden layers: for dicts, for images, for vectors."""
    if isinstance(space, spaces.Dict):
        return CombinedExtractor
    return NatureCNN if is_image_space(space) else FlattenExtractor


# --- returns ------------------------------------------------------------------------------------------------------


def lambda_returns(rewards: Tensor, next_values: Tensor, dones: Tensor, gamma: float, lambda_: float) -> Tensor:
    """Return the targets (T, B) of a rollout.

    rewards (T, B); next_values (T, B): the greatest action value of the state each decision led to, 0 where the
    episode terminated; dones (T, B): the episode ended, so what follows in the array belongs to another one

    G[t] = r[t] + gamma * (lambda * G[t + 1] + (1 - lambda) * next_value[t]), where an episode or the rollout ends
    G[t] = r[t] + gamma * next_value[t] (the paper's section 3, after Peng and Williams 1994).
    """
    targets = torch.empty_like(rewards)
    following = next_values[-1]
    for t in range(len(rewards) - 1, -1, -1):
        following = torch.where(dones[t], next_values[t], lambda_ * following + (1.0 - lambda_) * next_values[t])
        targets[t] = following = rewards[t] + gamma * following
    return targets


class Experience(NamedTuple):
    """A rollout with its targets.

    obs: (M, ...), or a dict of such
    actions: (M, 1) int64
    targets: (M,) float32 lambda returns
    """

    obs: Obs
    actions: Tensor
    targets: Tensor


@dataclass
class PQNRollout:
    """A rollout, one entry per step; `terminal_obs` and `truncated` have one per episode that ended in it.

    obs: (B, ...) tensors, or dicts of such; values: (B,) their greatest action values
    actions: (B,) int64; rewards: (B,) float32; dones: (B,) whether the episode ended
    terminal_obs: (...) of an episode that ended; truncated: whether it was truncated, not terminated
    """

    obs: list[Obs] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    actions: list[NDArray[np.int64]] = field(default_factory=list)
    rewards: list[NDArray[np.float32]] = field(default_factory=list)
    dones: list[NDArray[np.bool_]] = field(default_factory=list)
    terminal_obs: list[Any] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)

    def add(
        self, obs: Obs, values: Tensor, actions: NDArray, rewards: NDArray, dones: NDArray, ended: list[Info]
    ) -> None:
        """Add one step of all envs; ended: the infos of those whose episode ended."""
        self.obs.append(obs)
        self.values.append(values)
        self.actions.append(actions)
        self.rewards.append(rewards)
        self.dones.append(dones)
        self.terminal_obs += [info["terminal_observation"] for info in ended]
        self.truncated += [bool(info.get("TimeLimit.truncated", False)) for info in ended]


def join(parts: list[Any], by: Callable[[Any], Any]) -> Any:
    """Join observations by a function of their list, entry by entry where they are dicts."""
    if isinstance(parts[0], dict):
        return {name: by([part[name] for part in parts]) for name in parts[0]}
    return by(parts)


# --- the algorithm ------------------------------------------------------------------------------------------------


class PQN(PerEnvExploration, RoundLearner):
    """Parallelised Q-network, with Stable-Baselines3's interface.

    Args:
        policy, env, common (policy_kwargs, seed, device, verbose, tensorboard_log): as for `RoundLearner`;
            policy_kwargs are those of `PQNPolicy`
        learning_rate: a constant, or a function of the fraction of training that remains
        n_steps: T, decisions of each env between two updates
        batch_size: decisions of one gradient step
        n_epochs: passes over a rollout
        gamma: discount per decision
        q_lambda: weight of longer returns, 0 for one step, 1 for the whole rollout
        max_grad_norm: gradient-norm clipping threshold
        exploration_initial_eps, exploration_final_eps: probability of a random action, at the start and later
        exploration_fraction: fraction of training over which it falls linearly from the one to the other
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": PQNPolicy,
        "CnnPolicy": PQNPolicy,
        "MultiInputPolicy": PQNPolicy,
    }
    policy: PQNPolicy

    # parameters: the keywords of SB3's algorithms
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
        """Epsilon now, the probability of a random action."""
        fallen = min(1.0, (1.0 - self._current_progress_remaining) / self.exploration_fraction)
        return self.exploration_initial_eps + fallen * (self.exploration_final_eps - self.exploration_initial_eps)

    @property
    def num_actions(self) -> int:
        """A, the number of actions to choose from."""
        return int(self.action_space.n)

    # --- one round ------------------------------------------------------------------------------------------------

    def _collect(self, callback: BaseCallback) -> Experience | None:
        """Make n_steps decisions in every env; None if the callback ends the training."""
        assert self.env is not None
        rollout = PQNRollout()
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
            ended = [infos[b] for b in np.flatnonzero(dones)]
            rollout.add(obs, values, actions, rewards, dones, ended)
            self._update_info_buffer(ended)
            callback.update_locals(locals())
            if not callback.on_step():
                return None
        callback.on_rollout_end()
        return self._experience(rollout)

    def _experience(self, rollout: PQNRollout) -> Experience:
        """Compute the targets of a rollout."""
        rewards = torch.from_numpy(np.stack(rollout.rewards)).to(self.device)  # (T, B)
        dones = torch.from_numpy(np.stack(rollout.dones)).to(self.device)  # (T, B)
        actions = torch.from_numpy(np.concatenate(rollout.actions)).to(self.device)  # (M,)
        following = torch.stack([*rollout.values[1:], self._best_values(self._last_obs)])  # (T, B)
        if self._n_updates == 0:
            following += self._centre_values(rewards.mean())
        if rollout.terminal_obs:  # a truncated episode does not terminate: bootstrap from its last state
            truncated = torch.tensor(rollout.truncated, device=self.device)
            ends = self._best_values(join(rollout.terminal_obs, np.stack)) * truncated
            following[dones] = ends  # both in order of step, then of env
        targets = lambda_returns(rewards, following, dones, self.gamma, self.q_lambda)
        return Experience(join(rollout.obs, torch.cat), actions[:, None], targets.flatten())

    @torch.no_grad()
    def _centre_values(self, mean_reward: Tensor) -> Tensor:
        """Add the infinite-horizon value of the mean reward to all values of a new network; return that value.

        Gradient steps would take thousands of decisions to get there, and drown the differences between actions.
        """
        shift: Tensor = infinite_horizon_value(mean_reward, self.gamma)
        self.policy.head_bias.add_(shift)
        return shift

    @torch.no_grad()
    def _best_values(self, obs: Any) -> Tensor:
        """Return the greatest action value (B,) of observations (B, ...)."""
        return self.policy(obs_as_tensor(obs, self.device)).amax(1)

    def _train(self, experience: Experience) -> None:
        """Regress the values of the actions taken on their targets."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        size = len(experience.targets)
        for _ in range(self.n_epochs):
            order = torch.from_numpy(np.random.permutation(size)).to(self.device)
            for batch in order.split(self.batch_size):
                loss = self._gradient_step(experience, batch)
        self._n_updates += self.n_epochs
        self.logger.record("train/loss", loss.item())
        self.logger.record("train/mean_target", experience.targets.mean().item())
        self.logger.record("train/exploration_rate", self.exploration_rate)

    def _gradient_step(self, experience: Experience, batch: Tensor) -> Tensor:
        """Take one gradient step on the decisions of indices `batch`; return half their mean squared error."""
        obs = join([experience.obs], lambda parts: parts[0][batch])
        taken = self.policy(obs).gather(1, experience.actions[batch])[:, 0]  # (batch,)
        loss = 0.5 * nn.functional.mse_loss(taken, experience.targets[batch])
        self.policy.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return loss.detach()


# --- making and reading -------------------------------------------------------------------------------------------


def make(agent: PQNConfig, env: Any, common: dict[str, Any]) -> PQN:
    """Return a new model."""
    common["policy_kwargs"] |= {"layer_norm": agent.layer_norm, "dueling": agent.dueling}
    return PQN(
        env=env,
        n_steps=agent.n_steps,
        batch_size=agent.batch_size,
        n_epochs=agent.n_epochs,
        q_lambda=agent.q_lambda,
        exploration_initial_eps=agent.exploration_initial_eps,
        exploration_final_eps=agent.exploration_final_eps,
        exploration_fraction=agent.exploration_fraction,
        **common,
    )


def weights(model: PQN) -> Weights:
    """Return the layers of the Q-network; a dueling head as the one linear layer that it equals."""
    policy = model.policy
    found = dense_weights(policy.trunk)
    head = sum(isinstance(layer, nn.Linear) for layer in policy.trunk)
    for part in PARTS:
        last = getattr(policy.advantage, part)
        if policy.value is not None:
            last = getattr(policy.value, part) + last - last.mean(0, keepdim=True)
        found |= arrays({f"{head}.{part}": last})
    return found | lane_weights(policy)


ALGORITHM = SB3Algorithm(config=PQNConfig, make=make, weights=weights)
