"""The world-model agent: it learns how the game goes on, and drives by what it imagines.

Few decisions, many gradient steps: everything that was seen stays in a memory (`agents.segment_memory`), also in the
mirror, from which a model of the game (`agents.world_model`) is learned together with values and a policy
(`agents.world_model_losses`).

    >>> from agents.config import build_config
    >>> from agents.sb3 import make_games, make_model
    >>> config = build_config("world_model", settings=["total_timesteps=10000"])
    >>> model = make_model(config, make_games(config))           # learn(), predict(), save() and load(), as SB3's
    >>> model.learn(config.total_timesteps)

One round: every game makes one decision, drawn from the preferences between action values that are partly imagined;
then gradient steps on segments of the memory.

Letters in shapes: B games, A actions.
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

from agents.rounds import RoundLearner
from agents.segment_memory import I64, SegmentMemory
from agents.world_model import WorldModel
from agents.world_model_config import WorldModelConfig
from agents.world_model_losses import foreseen_values, make_targets, model_losses, preferences, total_loss


class WorldModelAgent(RoundLearner):
    """A model of the game and a driver that is learned in it, with Stable-Baselines3's interface.

    Args:
        policy, env, common (policy_kwargs, seed, device, verbose, tensorboard_log): as for `RoundLearner`;
            policy_kwargs are those of `WorldModel`
        config: all other settings, see `WorldModelConfig`; its network and learning rate are the arguments' instead
        learning_rate: a number, or a function of the share of training that remains
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
        self.memory: SegmentMemory | None = None

    @property
    def experience(self) -> SegmentMemory:
        """What the games did so far."""
        if self.memory is None:
            self.memory = SegmentMemory(self.config.buffer_size, self.n_envs, self.observation_space, self.mirror)
        return self.memory

    # --- one round ------------------------------------------------------------------------------------------------

    def _collect(self, callback: BaseCallback) -> SegmentMemory | None:
        """Make one decision in every game; return what is remembered, or None if the callback ends the training."""
        assert self.env is not None
        callback.on_rollout_start()
        obs: Any = self._last_obs
        actions, chances = self._choose(obs)
        self._last_obs, rewards, dones, infos = self.env.step(actions)  # type: ignore[assignment]
        self._last_episode_starts = dones
        self.num_timesteps += self.env.num_envs
        self.experience.add(obs, actions, chances, rewards, dones)
        self._update_info_buffer([infos[row] for row in np.flatnonzero(dones)])
        callback.update_locals(locals())
        if not callback.on_step():
            return None
        callback.on_rollout_end()
        return self.experience

    @torch.no_grad()
    def _choose(self, obs: Any) -> tuple[I64, NDArray[np.float32]]:
        """Draw each game's action; return actions (B,) and the chances (B,) that they had."""
        games, actions, config = self.n_envs, self.policy.num_actions, self.config
        chances = np.full((games, actions), 1.0 / actions)
        if self.num_timesteps >= config.learning_starts:
            self.policy.set_training_mode(False)
            latents = self.policy.encode(obs_as_tensor(obs, self.device))
            wanted = preferences(foreseen_values(self.policy, latents, config), config.temperature)
            chances = (1.0 - config.exploration_eps) * wanted.cpu().numpy() + config.exploration_eps * chances
        below = chances.cumsum(1) < np.random.random((games, 1))
        chosen = np.minimum(below.sum(1), actions - 1)
        return chosen, chances[np.arange(games), chosen].astype(np.float32)

    def _train(self, experience: SegmentMemory) -> None:
        """Take the gradient steps that are due."""
        config, memory = self.config, experience
        if self.num_timesteps <= config.learning_starts or memory.filled <= config.unroll:
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        due = int((self.num_timesteps - config.learning_starts) * config.updates_per_decision) - self._n_updates
        for _ in range(due):
            self._descend()

    def _descend(self) -> None:
        """Take one gradient step, and let the target network follow."""
        config, model = self.config, self.policy
        segments = self.experience.draw(config.batch_size, config.unroll, np.random, self.device)
        losses = model_losses(model, segments, make_targets(model, segments, config))
        model.optimizer.zero_grad()
        total_loss(losses, config).backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        model.optimizer.step()
        model.move_target(config.target_rate)
        self._n_updates += 1
        for name, loss in losses.items():
            self.logger.record(f"train/{name}_loss", loss.item())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "memory"]
