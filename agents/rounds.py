"""Base class of our own algorithms: rounds of a rollout and an update, with Stable-Baselines3's interface.

A subclass implements the rollout and the update; `learn`, `predict`, `save` and `load` are SB3's.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv


class RoundLearner(BaseAlgorithm):
    """Alternates a rollout in all envs and an update.

    Args:
        policy, env, policy_kwargs, seed, device, verbose, tensorboard_log: as for SB3's algorithms
        learning_rate: a constant, or a function of the fraction of training that remains
    """

    # parameters: the keywords of SB3's algorithms
    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: VecEnv | None,
        learning_rate: float | Callable[[float], float] = 1e-3,
        policy_kwargs: dict[str, Any] | None = None,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        verbose: int = 0,
        tensorboard_log: str | None = None,
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs,
            seed=seed,
            device=device,
            verbose=verbose,
            tensorboard_log=tensorboard_log,
            support_multi_env=True,
            supported_action_spaces=(spaces.Discrete,),
        )
        if _init_setup_model:
            self._setup_model()

    @abstractmethod
    def _collect(self, callback: BaseCallback) -> Any:
        """Play a rollout and return the experience; None if the callback ends the training."""

    @abstractmethod
    def _train(self, experience: Any) -> None:
        """Update the network from a rollout."""

    def learn(  # type: ignore[override]  # SB3's types are wider
        self,
        total_timesteps: int,
        callback: BaseCallback | None = None,
        log_interval: int | None = 1,
        tb_log_name: str = "",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for this many decisions over all envs, rounded up to whole rounds.

        log_interval: rounds between lines of the log; None if the callback writes them
        tb_log_name: of the run in TensorBoard; the algorithm's name if empty
        """
        name = tb_log_name or type(self).__name__
        total, watch = self._setup_learn(total_timesteps, callback, reset_num_timesteps, name, progress_bar)
        watch.on_training_start(locals(), globals())
        rounds = 0
        while self.num_timesteps < total:
            experience = self._collect(watch)
            if experience is None:
                break
            self._update_current_progress_remaining(self.num_timesteps, total)
            self._train(experience)
            rounds += 1
            if log_interval and rounds % log_interval == 0:
                self.dump_logs(rounds)
        watch.on_training_end()
        return self

    def dump_logs(self, iteration: int = 0) -> None:
        """Write a line of the log."""
        self.logger.record("time/iterations", iteration)
        self.logger.record("time/total_timesteps", self.num_timesteps)
        self.logger.dump(self.num_timesteps)

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        policy = self.policy_class(self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs)
        self.policy = policy.to(self.device)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []
