"""Algorithms that are Stable-Baselines3 models: how a model is made from a configuration, and its network read.

    >>> from agents.settings import build_config
    >>> from agents.sb3 import make_model, make_vec_env
    >>> config = build_config("ppo", settings=["total_timesteps=100000"])
    >>> model = make_model(config, make_vec_env(config))         # a stable_baselines3.PPO: learn(), predict(), save()
    >>> model.learn(config.total_timesteps)

`agents.trainer.train` trains such a model in a run folder, with checkpoints and evaluations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from agents.algorithm import Algorithm, Learner, Notes
from agents.compiled.algorithm import CompiledAlgorithm
from agents.config import NetworkConfig, TrainConfig
from agents.export import TORCH, TrainedPolicy, Weights, reads_cells, weights_content
from agents.lane_network import LaneFeatures
from agents.perception import encoder_kwargs, fit_normalisation
from agents.registry import ALGORITHMS
from agents.sb3_network import TorchPolicy, arrays
from agents.sb3_state import as_arrays, as_tensors, random_state, restore_random
from agents.team_env import TeamVecEnv
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.policies.base import Policy
from deeptraffic.sim.rules import RoadConfig

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True, kw_only=True)
class SB3Algorithm(Algorithm):
    """An algorithm whose learner is a Stable-Baselines3 model; the arguments are the rest of what is its own.

    make: (hyperparameters, env, common) -> model; `common` are the keyword arguments that SB3's algorithms share
    weights: model -> weights of the acting network over the sensor's cells: `k.weight`, `k.bias` of dense layers
        k = 0, 1, ..., and whatever else `agents.export.to_network` reads
    initialise: (model, policy) -> None: initialises a new model's network from a policy
    is_recurrent: whether the network is recurrent, which no policy file can hold
    plays_team: road -> whether the learner decides for every agent (`agents.team_env.TeamVecEnv`)
    state: model -> what a checkpoint holds beside networks, optimiser, counters and env
    restore: (model, state) -> None: restores it
    """

    make: Callable[[Any, DeepTrafficVecEnv, dict[str, Any]], BaseAlgorithm]
    weights: Callable[[Any], Weights]
    initialise: Callable[[Any, Any], None] | None = None
    is_recurrent: bool = False
    plays_team: Callable[[RoadConfig], bool] = lambda road: False
    state: Callable[[Any], dict[str, Any]] = lambda model: {}
    restore: Callable[[Any, dict[str, Any]], None] = lambda model, state: None

    def learner(self, config: TrainConfig, init_policy: Policy | None, is_new: bool) -> Learner:
        """Return a learner for a run; see `Algorithm.learner`."""
        env = make_vec_env(config)
        return SB3Learner(config, self, env, self.model(config, env, init_policy, is_new))

    def model(
        self, config: TrainConfig, env: DeepTrafficVecEnv, init_policy: Policy | None, is_new: bool
    ) -> BaseAlgorithm:
        """Return the model with its networks; arguments as for `learner`."""
        model = self.make(config.agent, env, _common(config, env.observation_space, is_new))
        if init_policy and self.initialise:
            self.initialise(model, init_policy)
        if is_new and config.encoder.is_used and len(env.observation_space.shape or ()) > 1:
            frames = make_vec_env(config).reset()  # no decision of the budget; a vector's entries may not vary yet
            for part in model.policy.modules():  # encoders of actor, critic and target network
                fit_normalisation(part, frames)
        return model

    def network_weights(self, model: BaseAlgorithm, config: TrainConfig) -> Weights:
        """Return the acting network's weights; a network that no policy file can hold, whole, as `policy.*`."""
        if self.reads_cells(config):
            return self.weights(model)
        return {f"{TORCH}{name}": array for name, array in arrays(model.policy.state_dict()).items()}

    def reads_cells(self, config: TrainConfig) -> bool:
        """Return whether a run's network can be a `deeptraffic.policies.network.Network`."""
        return reads_cells(config.road, config.observation, config.encoder) and not self.is_recurrent

    def policy(self, model: BaseAlgorithm, config: TrainConfig, label: str, notes: Notes) -> Policy:
        """Return a model's current network as a policy."""
        weights, agent = self.network_weights(model, config), config.agent
        if not self.reads_cells(config):
            return self.torch_policy(config, weights, label, notes)
        assert isinstance(agent, NetworkConfig)
        return TrainedPolicy(label, weights, config.road, config.observation, agent.activation, notes)

    def torch_policy(
        self, config: TrainConfig, weights: Mapping[str, NDArray[Any]], label: str, notes: Notes
    ) -> TorchPolicy:
        """Return a policy of `policy.*` weights; the global random streams stay as they are."""
        streams = torch.get_rng_state(), np.random.get_state()  # a new model seeds them
        network: Any = self.model(config, make_vec_env(config), None, is_new=False).policy
        torch.set_rng_state(streams[0])
        np.random.set_state(streams[1])
        network.load_state_dict({name.removeprefix(TORCH): torch.from_numpy(w) for name, w in weights.items()})
        return TorchPolicy(config, network, label, notes)


# --- learner ----------------------------------------------------------------------------------------------------------

SILENT: Any = None  # SB3 writes no log: the trainer does


class SB3Learner:
    """A model and its env, as `agents.algorithm.Learner`.

    config: of the run; algorithm: the one that made the model; env: its vectorised environment; model: the SB3 model
    """

    def __init__(
        self, config: TrainConfig, algorithm: SB3Algorithm, env: DeepTrafficVecEnv, model: BaseAlgorithm
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
        state = {
            "num_timesteps": model.num_timesteps,
            "n_updates": model._n_updates,
            "progress_remaining": float(model._current_progress_remaining),
            "networks": model.get_parameters(),
            "last_obs": model._last_obs,
            "last_episode_starts": np.array(model._last_episode_starts),
            "random": random_state(model),
            "envs": self.env.get_state(),
            "algorithm": self.algorithm.state(model),
            "speeds": [self.speed_sum, self.speed_count],
        }
        return as_arrays(state)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state of a new model and its env."""
        model: Any = self.model
        model.set_parameters(as_tensors(state["networks"]), device=model.device)
        model.num_timesteps, model._n_updates = state["num_timesteps"], state["n_updates"]
        model._current_progress_remaining = state["progress_remaining"]
        self.algorithm.restore(model, state["algorithm"])
        model._last_obs = state["last_obs"]
        model._last_episode_starts = state["last_episode_starts"]
        self.env.set_state(state["envs"])
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

    def _on_rollout_end(self) -> None:
        model: Any = self.model
        if self.learner.config.encoder.is_used and model._n_updates == 0 and getattr(model, "vf_coef", 0.0) > 0.0:
            centre_values(model, self.locals["dones"])

    def _on_training_end(self) -> None:
        self.between_rounds()


@torch.no_grad()
def centre_values(model: Any, dones: NDArray[np.bool_]) -> None:
    """Add the infinite-horizon value of the mean reward to a new critic, and to its values in the first rollout.

    model: actor-critic with a shared encoder; a critic that starts at 0 saturates the layers that the actor reads, too
    dones: (B,) of the last step of the rollout; the buffer of a team has the envs once for each agent
    """
    buffer = model.rollout_buffer
    dones = np.resize(dones, buffer.n_envs)
    shift = infinite_horizon_value(float(buffer.rewards.mean()), model.gamma)
    model.policy.value_net.bias.add_(shift)
    ends = np.vstack(
        [buffer.episode_starts[1:], dones[None]]
    )  # (T, B): truncations, whose rewards hold the value of the last state
    buffer.rewards += model.gamma * shift * ends
    buffer.values += shift
    buffer.compute_returns_and_advantage(torch.full(dones.shape, shift), dones)


def infinite_horizon_value(reward: Any, gamma: float) -> Any:
    """Return the discounted sum of a constant reward over an infinite horizon; gamma counts as at most 0.999."""
    return reward / max(1.0 - gamma, 1e-3)


def sb3_names() -> list[str]:
    """Return the names of the algorithms that are Stable-Baselines3 models."""
    return [name for name in ALGORITHMS if isinstance(torch_part(name), SB3Algorithm)]


def sb3_algorithm(name: str) -> SB3Algorithm:
    """Return an algorithm by name; ValueError if it is no Stable-Baselines3 model."""
    algorithm = torch_part(name)
    if not isinstance(algorithm, SB3Algorithm):
        raise ValueError(f"{name} is no Stable-Baselines3 model; train it with agents.trainer.train")
    return algorithm


def torch_part(name: str) -> Algorithm:
    """Return an algorithm, or the part of a compiled one that torch trains."""
    algorithm = ALGORITHMS[name].load()
    return algorithm.load_torch() if isinstance(algorithm, CompiledAlgorithm) else algorithm


# --- making -------------------------------------------------------------------------------------------------------


def make_vec_env(config: TrainConfig) -> DeepTrafficVecEnv:
    """Return a run's seeded VecEnv; episode ends are staggered, since SB3 handles ended episodes one by one."""
    kind = TeamVecEnv if sb3_algorithm(config.algo).plays_team(config.road) else DeepTrafficVecEnv
    env = kind(
        config.envs.num_envs,
        rules=config.road,
        observation=config.observation,
        reward=config.envs.reward,
        max_steps=config.envs.max_steps,
        stagger=True,
    )
    env.seed(config.seed)
    return env


def make_model(
    config: TrainConfig, env: DeepTrafficVecEnv, init_policy: Policy | None = None, is_new: bool = True
) -> BaseAlgorithm:
    """Return the model of a run's configuration.

    init_policy: policy that the network is initialised from; None for random weights
    is_new: whether training begins, with the pretrained encoder if one is named; otherwise weights will be restored
    """
    return sb3_algorithm(config.algo).model(config, env, init_policy, is_new)


def network_weights(model: BaseAlgorithm, config: TrainConfig) -> Weights:
    """Return the weights of a model's acting network, see `SB3Algorithm.network_weights`."""
    return sb3_algorithm(config.algo).network_weights(model, config)


def make_policy(model: BaseAlgorithm, config: TrainConfig, label: str) -> Policy:
    """Return a model's current network as a policy."""
    return sb3_algorithm(config.algo).policy(model, config, label, {})


def _common(config: TrainConfig, space: spaces.Space, is_new: bool) -> dict[str, Any]:
    """Return the keyword arguments that all algorithms share."""
    agent = config.agent
    assert isinstance(agent, NetworkConfig)
    first, last = agent.learning_rate, agent.learning_rate_end
    encoder = _lane_kwargs(config, agent) if agent.lane_units else encoder_kwargs(config.encoder, is_new)
    return {
        "policy": network_kind(space),
        "learning_rate": lambda remaining: last + (first - last) * remaining,  # remaining: fraction of training
        "gamma": agent.gamma,
        "max_grad_norm": agent.max_grad_norm,
        "policy_kwargs": {
            "net_arch": list(agent.hidden),
            "activation_fn": ACTIVATIONS[agent.activation],
            **encoder,
        },
        "seed": config.seed,
        "device": config.device,
    }


def _lane_kwargs(config: TrainConfig, agent: NetworkConfig) -> dict[str, Any]:
    kwargs = {"columns": config.observation.sensor.columns, "units": agent.lane_units}
    return {"features_extractor_class": LaneFeatures, "features_extractor_kwargs": kwargs}


def network_kind(space: spaces.Space) -> str:
    """Return the name of SB3's network for a space: dense for vectors, convolutional for images, both for dicts."""
    if isinstance(space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if space.dtype == np.uint8 and len(space.shape or ()) == 3 else "MlpPolicy"
