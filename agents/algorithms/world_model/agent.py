"""World-model agent: a latent model of the environment, and values and a policy improved by imagined decisions.

Few decisions, many gradient steps: from a replay buffer, with mirrored copies, a model of the environment is learned
together with action values and a policy.

    >>> from agents.settings import build_config
    >>> from agents.sb3 import make_model, make_vec_env
    >>> config = build_config("world_model", settings=["total_timesteps=10000"])
    >>> model = make_model(config, make_vec_env(config))         # learn(), predict(), save() and load(), as SB3's
    >>> model.learn(config.total_timesteps)

One round: every env makes one decision, sampled from a softmax of action values that are partly imagined; then
gradient steps on segments of the replay buffer.

Letters in shapes: B envs, A actions.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.algorithms.world_model.config import WorldModelConfig
from agents.algorithms.world_model.losses import (
    imagined_values,
    make_targets,
    model_losses,
    softmax_policy,
    total_loss,
)
from agents.algorithms.world_model.networks import WorldModel
from agents.algorithms.world_model.replay_buffer import I64, SegmentReplayBuffer
from agents.rounds import RoundLearner

FITTED = 4096  # observations that an encoder's normalisation is fitted on


class WorldModelAgent(RoundLearner):
    """The world-model agent, with Stable-Baselines3's interface.

    Args:
        policy, env, common (policy_kwargs, seed, device, verbose, tensorboard_log): as for `RoundLearner`;
            policy_kwargs are those of `WorldModel`
        config: all other hyperparameters, see `WorldModelConfig`; its network and learning rate are the arguments'
            instead
        learning_rate: a constant, or a function of the fraction of training that remains
        mirror: permutation that exchanges left and right in an observation, None for no mirror
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": WorldModel,
        "CnnPolicy": WorldModel,
        "MultiInputPolicy": WorldModel,
    }
    policy: WorldModel

    def __init__(
        self,
        policy: str | type[WorldModel],
        env: VecEnv | None,
        config: WorldModelConfig | None = None,
        learning_rate: float | Callable[[float], float] = 1e-3,
        mirror: I64 | None = None,
        **common: Any,
    ) -> None:
        super().__init__(policy, env, learning_rate, **common)
        self.config, self.mirror = config or WorldModelConfig(), mirror
        self._replay: SegmentReplayBuffer | None = None

    @property
    def replay(self) -> SegmentReplayBuffer:
        """The replay buffer."""
        if self._replay is None:
            self._replay = SegmentReplayBuffer(
                self.config.buffer_size, self.n_envs, self.policy.stored_space, self.mirror
            )
        return self._replay

    # --- one round ------------------------------------------------------------------------------------------------

    def _collect(self, callback: BaseCallback) -> SegmentReplayBuffer | None:
        """Make one decision in every env; return the replay buffer, or None if the callback ends the training."""
        assert self.env is not None
        callback.on_rollout_start()
        stored = self._stored(self._last_obs)
        actions, probs = self._choose(stored)
        self._last_obs, rewards, dones, infos = self.env.step(actions)  # type: ignore[assignment]
        self._last_episode_starts = dones
        self.num_timesteps += self.env.num_envs
        self.replay.add(stored, actions, probs, rewards, dones)
        self._update_info_buffer([infos[b] for b in np.flatnonzero(dones)])
        callback.update_locals(locals())
        if not callback.on_step():
            return None
        callback.on_rollout_end()
        return self.replay

    @torch.no_grad()
    def _stored(self, obs: Any) -> Any:
        """Return observations (B, ...) as the replay buffer holds them."""
        if not self.policy.is_frozen:
            return obs
        self.policy.set_training_mode(False)
        features: Any = self.policy.stored(obs_as_tensor(obs, self.device))
        return features.cpu().numpy()

    @torch.no_grad()
    def _choose(self, stored: Any) -> tuple[I64, NDArray[np.float32]]:
        """Sample each env's action; return actions (B,) and their probabilities (B,)."""
        num_envs, actions, config = self.n_envs, self.policy.num_actions, self.config
        probs = np.full((num_envs, actions), 1.0 / actions)
        if self.num_timesteps >= config.learning_starts:
            self.policy.set_training_mode(False)
            latents = self.policy.encode_stored(obs_as_tensor(stored, self.device))
            wanted = softmax_policy(imagined_values(self.policy, latents, config), config.temperature)
            probs = (1.0 - config.exploration_eps) * wanted.cpu().numpy() + config.exploration_eps * probs
        below = probs.cumsum(1) < np.random.random((num_envs, 1))
        chosen = np.minimum(below.sum(1), actions - 1)
        return chosen, probs[np.arange(num_envs), chosen].astype(np.float32)

    def _train(self, experience: SegmentReplayBuffer) -> None:
        """Take the gradient steps that are due."""
        config = self.config
        if self.num_timesteps <= config.learning_starts or experience.filled <= config.unroll_steps:
            return
        if self._n_updates == 0:
            self.policy.fit_normalisation(experience.observations(FITTED))
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        due = int((self.num_timesteps - config.learning_starts) * config.updates_per_decision) - self._n_updates
        for _ in range(due):
            self._gradient_step()

    def _gradient_step(self) -> None:
        """Take one gradient step, and update the target network."""
        config, model = self.config, self.policy
        segments = self.replay.draw(config.batch_size, config.unroll_steps, np.random, self.device)
        losses = model_losses(model, segments, make_targets(model, segments, config))
        model.optimizer.zero_grad()
        total_loss(losses, config).backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        model.optimizer.step()
        model.update_target(config.tau)
        self._n_updates += 1
        for name, loss in losses.items():
            self.logger.record(f"train/{name}_loss", loss.item())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_replay"]
