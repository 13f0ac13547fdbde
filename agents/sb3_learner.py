"""Learner of a Stable-Baselines3 model: rounds of training, metrics, and its state to the last bit.

The state holds the networks and the optimiser, SB3's counters, the env with its random streams, the global random
streams that SB3 draws from, and what the algorithm adds (a replay buffer, the states of a recurrent network). It is
taken between an update and the next rollout, where SB3 keeps nothing else. Not kept: the running means that SB3 prints,
and what a second GPU or a nondeterministic GPU kernel adds.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from agents.algorithm import Notes
from agents.config import TrainConfig
from agents.export import weights_content
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.policies.base import Policy

if TYPE_CHECKING:
    from agents.sb3 import SB3Algorithm

SILENT: Any = None  # SB3 writes no log: the trainer does


class SB3Learner:
    """A model and its env, as `agents.algorithm.Learner`.

    config: of the run; algorithm: the one that made the model; env: its vectorised environment; model: the SB3 model
    """

    def __init__(
        self, config: TrainConfig, algorithm: "SB3Algorithm", env: DeepTrafficVecEnv, model: BaseAlgorithm
    ) -> None:
        self.config, self.algorithm, self.env, self.model = config, algorithm, env, model
        self.speed_sum, self.speed_count = 0.0, 0  # [mph] of decisions since the last metrics

    @property
    def decisions(self) -> int:
        """Decisions of training made so far, over all envs."""
        return self.model.num_timesteps

    @property
    def parameters(self) -> int:
        """Number of weights and biases of the acting network."""
        return sum(array.size for array in self.algorithm.network_weights(self.model, self.config).values())

    def learn(self, total_timesteps: int, between_rounds: Callable[[], None], logger: Any = None) -> None:
        """Train until `total_timesteps` decisions, see `agents.algorithm.Learner`; a round is a rollout."""
        missing = total_timesteps - self.decisions
        if missing <= 0:
            return
        if logger:
            self.model.set_logger(logger)
        callback: Any = RoundCallback(self, between_rounds)
        self.model.learn(missing, callback, log_interval=SILENT, reset_num_timesteps=self.decisions == 0)

    def metrics(self) -> dict[str, float]:
        """Return the mean speed of the exploring policy since the last call."""
        if not self.speed_count:
            return {}
        mph = self.speed_sum / self.speed_count
        self.speed_sum, self.speed_count = 0.0, 0
        return {"train_mph": mph}

    def count_speeds(self, dones: Any) -> None:
        """Add the speeds of one step, without the envs whose episode ended: their report is of the next one."""
        continuing = ~dones
        self.speed_sum += float(self.env.batch.mean_speed_mph()[continuing].sum())
        self.speed_count += int(continuing.sum())

    def policy(self, label: str, notes: Notes) -> Policy:
        """Return the current network as a policy."""
        return self.algorithm.policy(self.model, self.config, label, notes)

    def content(self, label: str, notes: Notes) -> bytes:
        """Return the network's weights as the content of a file, which holds no label."""
        return weights_content(self.algorithm.network_weights(self.model, self.config), notes)

    # --- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return all that the future of the training depends on."""
        model = self.model
        return {
            "num_timesteps": model.num_timesteps,
            "n_updates": model._n_updates,
            "progress_remaining": float(model._current_progress_remaining),
            "networks": model.get_parameters(),
            "last_obs": as_tensors(model._last_obs),
            "last_episode_starts": torch.from_numpy(np.array(model._last_episode_starts)),
            "random": random_state(model),
            "envs": as_tensors(self.env.get_state()),
            "algorithm": self.algorithm.state(model),
            "speeds": [self.speed_sum, self.speed_count],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state of a new model and its env."""
        model: Any = self.model
        model.set_parameters(state["networks"], device=model.device)
        model.num_timesteps, model._n_updates = state["num_timesteps"], state["n_updates"]
        model._current_progress_remaining = state["progress_remaining"]
        self.algorithm.restore(model, state["algorithm"])
        model._last_obs = as_arrays(state["last_obs"])
        model._last_episode_starts = state["last_episode_starts"].numpy()
        self.env.set_state(as_arrays(state["envs"]))
        self.speed_sum, self.speed_count = state["speeds"]
        restore_random(model, state["random"])


class RoundCallback(BaseCallback):
    """Calls `between_rounds` before every rollout and at the end of training, and counts speeds at every step."""

    def __init__(self, learner: SB3Learner, between_rounds: Callable[[], None]) -> None:
        super().__init__()
        self.learner, self.between_rounds = learner, between_rounds

    def _on_step(self) -> bool:
        self.learner.count_speeds(self.locals["dones"])
        return True

    def _on_rollout_start(self) -> None:
        self.between_rounds()

    def _on_training_end(self) -> None:
        self.between_rounds()


def as_tensors(value: Any) -> Any:
    """Copy an array, or a dict of arrays, into tensors; texts stay texts."""
    if isinstance(value, dict):
        return {name: as_tensors(part) for name, part in value.items()}
    if isinstance(value, str):
        return value
    return torch.from_numpy(np.array(value, order="C"))


def as_arrays(value: Any) -> Any:
    """Copy a tensor, or a dict of tensors, into arrays; texts stay texts."""
    if isinstance(value, dict):
        return {name: as_arrays(part) for name, part in value.items()}
    if isinstance(value, str):
        return value
    return value.numpy().copy()


# --- random streams -----------------------------------------------------------------------------------------------


def random_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the global streams that SB3 draws from."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    streams = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys, np.int64)),
        "numpy_position": json.dumps([int(position), int(has_gauss), float(gauss)]),
        "actions": json.dumps(model.action_space.np_random.bit_generator.state),
    }
    return streams | ({"cuda": torch.cuda.get_rng_state()} if model.device.type == "cuda" else {})


def restore_random(model: BaseAlgorithm, streams: dict[str, Any]) -> None:
    """Set the global streams that SB3 draws from."""
    torch.set_rng_state(streams["torch"])
    if model.device.type == "cuda" and "cuda" in streams:
        torch.cuda.set_rng_state(streams["cuda"])
    np.random.set_state(("MT19937", streams["numpy"].numpy().astype(np.uint32), *json.loads(streams["numpy_position"])))
    model.action_space.np_random.bit_generator.state = json.loads(streams["actions"])
