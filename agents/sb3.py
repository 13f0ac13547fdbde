"""Algorithms that are Stable-Baselines3 models: how a model is made from a configuration, and its network read.

    >>> from agents.settings import build_config
    >>> from agents.sb3 import make_model, make_vec_env
    >>> config = build_config("ppo", settings=["total_timesteps=100000"])
    >>> model = make_model(config, make_vec_env(config))         # a stable_baselines3.PPO: learn(), predict(), save()
    >>> model.learn(config.total_timesteps)

`agents.trainer.train` trains such a model in a run folder, with checkpoints and evaluations.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from torch import Tensor, nn

from agents.algorithm import Algorithm, Learner, Notes
from agents.compiled.config import CompiledConfig
from agents.config import NetworkConfig, TrainConfig
from agents.export import TORCH, TrainedPolicy, Weights, reads_cells
from agents.lane_network import LaneFeatures
from agents.perception import add_encoder, encoder_kwargs, file_observation
from agents.registry import ALGORITHMS
from agents.sb3_learner import SB3Learner
from agents.team_env import TeamVecEnv
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.evaluation.model import Memory
from deeptraffic.policies.base import EnvObservation, Policy
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy, input_size
from deeptraffic.policies.torch_export import NetworkBuilder, sb3_network
from deeptraffic.sim.rules import RoadConfig, Sensor
from deeptraffic.sim.state import F64, I64
from representation.encoder import Encoder


class TorchPolicy(Policy):
    """Takes the most likely action of a network as torch computes it: of images or vehicle lists, or recurrent.

    config: of the run that trained the network; notes: short facts about the network
    observation: the `Observation` that it reads
    values: logits of an actor, or action values; None for a recurrent network
    """

    def __init__(self, config: TrainConfig, network: BasePolicy, label: str, notes: Notes) -> None:
        self.config, self.network, self.label, self.notes = config, network, label, notes
        self.rules, self.other_agents = config.road.rules, config.road.other_agents
        self.observation = config.observation
        self.memory = Memory()

    def reset(self, agent_indices: I64) -> None:
        """Clear the recurrent states of these agents."""
        self.memory.reset(agent_indices)

    def act(self, obs: NDArray[Any] | dict[str, NDArray[Any]], agent_indices: I64) -> I64:
        """Return the actions (B,) for observations (B, ...) of kind `observation`."""
        self.values = network_values(self.network, obs)
        if self.values is not None:
            return self.values.argmax(1)
        actions, after = self.network.predict(obs, *self.memory.take(agent_indices), deterministic=True)
        self.memory.put(agent_indices, after)
        return np.asarray(actions, np.int64)

    def as_network(self) -> NetworkPolicy | None:
        """Return it as a network that a policy file can hold; None if none can."""
        network, road = to_policy_network(self.network, self.config), self.config.road
        if network is None:
            return None
        seen = file_observation(self.observation, road)
        policy = NetworkPolicy(self.label, network, seen, 0, road.rules, road.other_agents)
        policy.notes, policy.value_kind = self.notes, self.value_kind
        return policy

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the recurrent states."""
        return self.memory.get_state()

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `get_state` returned."""
        self.memory.set_state(state)


def read_model(path: Path) -> BasePolicy:
    """Return the network of a Stable-Baselines3 model's .zip, of any algorithm, which is unpickled: trust its origin.

    Raises ValueError if it holds none.
    """
    try:
        data, parameters, _ = load_from_zip_file(path, device="cpu", custom_objects=NOT_NEEDED)
        assert data is not None
        made = data["policy_class"](
            data["observation_space"], data["action_space"], lambda _: 0.0, **data.get("policy_kwargs", {})
        )
        made.load_state_dict(parameters["policy"])
    except (AssertionError, AttributeError, ImportError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a Stable-Baselines3 model: {error}") from error
    made.set_training_mode(False)
    return made


# What a model's file holds for its training alone, some of it bound to the Python that pickled it.
NOT_NEEDED = dict.fromkeys(("lr_schedule", "clip_range", "clip_range_vf", "exploration_schedule", "learning_rate"), 0.0)
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
PARTS = ("weight", "bias")


@dataclass(frozen=True, kw_only=True)
class SB3Algorithm(Algorithm):
    """An algorithm whose learner is a Stable-Baselines3 model; the arguments are the rest of what is its own.

    make: (hyperparameters, env, common) -> model; `common` are the keyword arguments that SB3's algorithms share
    weights: model -> weights of the acting network over the sensor's cells: `k.weight`, `k.bias` of dense layers
        k = 0, 1, ..., and whatever else `agents.export.to_network` reads
    compiled: run -> a learner without torch, for the runs that it can train (`agents.compiled.config`)
    initialise: (model, policy) -> None: initialises a new model's network from a policy
    is_recurrent: whether the network is recurrent, which no policy file can hold
    plays_team: road -> whether the learner decides for every agent (`agents.team_env.TeamVecEnv`)
    state: model -> what a checkpoint holds beside networks, optimiser, counters and env
    restore: (model, state) -> None: restores it
    """

    make: Callable[[Any, DeepTrafficVecEnv, dict[str, Any]], BaseAlgorithm]
    weights: Callable[[Any], Weights]
    compiled: Callable[[TrainConfig], Learner] | None = None
    initialise: Callable[[Any, Any], None] | None = None
    is_recurrent: bool = False
    plays_team: Callable[[RoadConfig], bool] = lambda road: False
    state: Callable[[Any], dict[str, Any]] = lambda model: {}
    restore: Callable[[Any, dict[str, Any]], None] = lambda model, state: None

    def learner(self, config: TrainConfig, init_policy: Policy | None, is_new: bool) -> Learner:
        """Return a learner for a run; see `Algorithm.learner`."""
        agent = config.agent
        if self.compiled and isinstance(agent, CompiledConfig) and agent.backend == "compiled":
            return self.compiled(config)
        env = make_vec_env(config)
        return SB3Learner(config, self, env, self.model(config, env, init_policy, is_new))

    def model(
        self, config: TrainConfig, env: DeepTrafficVecEnv, init_policy: Policy | None, is_new: bool
    ) -> BaseAlgorithm:
        """Return the model with its networks; arguments as for `learner`."""
        model = self.make(config.agent, env, _common(config, env.observation_space, is_new))
        if init_policy and self.initialise:
            self.initialise(model, init_policy)
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


def sb3_names() -> list[str]:
    """Return the names of the algorithms that are Stable-Baselines3 models."""
    return [name for name, entry in ALGORITHMS.items() if isinstance(entry.load(), SB3Algorithm)]


def sb3_algorithm(name: str) -> SB3Algorithm:
    """Return an algorithm by name; ValueError if it is no Stable-Baselines3 model."""
    algorithm = ALGORITHMS[name].load()
    if not isinstance(algorithm, SB3Algorithm):
        raise ValueError(f"{name} is no Stable-Baselines3 model; train it with agents.trainer.train")
    return algorithm


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


# --- policies of whole networks ---------------------------------------------------------------------------------------


@torch.no_grad()
def network_values(policy: BasePolicy, obs: NDArray[Any] | dict[str, NDArray[Any]]) -> F64 | None:
    """Return an actor's logits or the action values (B, 5) for observations (B, ...); None for a recurrent network."""
    policy.set_training_mode(False)
    tensors, _ = policy.obs_to_tensor(obs)
    network: Any = policy
    if isinstance(policy, ActorCriticPolicy) and not hasattr(policy, "lstm_actor"):
        values = network.get_distribution(tensors).distribution.logits
    elif hasattr(network, "q_net"):
        values = network.q_net(tensors)
    elif hasattr(network, "quantile_net"):
        values = network.quantile_net(tensors).mean(1)
    else:
        return None
    return values.cpu().numpy().astype(np.float64)


def to_policy_network(policy: BasePolicy, config: TrainConfig) -> Network | None:
    """Return an actor or a Q-network behind an encoder as the network of a policy file; None if no file can hold it."""
    parts = sb3_network(policy)
    observation, seen = config.observation, file_observation(config.observation, config.road)
    is_open = observation.contest and isinstance(seen, EnvObservation)  # as a file it would be of an open observation
    if not parts or is_open or not isinstance(parts[0], Encoder):
        return None
    network = NetworkBuilder(input_size(seen, 0))
    for layer in (observation.layers(config.road.build()) or ()) if isinstance(seen, Sensor) else ():
        network.add(layer)
    if not add_encoder(network, parts[0], observation):
        return None
    for part in parts[1:]:
        network.module(part)
    return network.network()


# --- reading the network ------------------------------------------------------------------------------------------


def arrays(tensors: dict[str, Tensor]) -> Weights:
    """Return tensors as arrays."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def dense_weights(modules: Iterable[nn.Module]) -> Weights:
    """Return `k.weight`, `k.bias` of the linear layers among modules, and `k.norm_*` of the LayerNorms after them."""
    tensors: dict[str, Tensor] = {}
    k = -1
    for module in modules:
        if isinstance(module, nn.Linear):
            k += 1
            tensors |= {f"{k}.{part}": getattr(module, part) for part in PARTS}
        elif isinstance(module, nn.LayerNorm):
            tensors |= {f"{k}.norm_{part}": getattr(module, part) for part in PARTS}
    return arrays(tensors)


def lane_weights(network: Any) -> Weights:
    """Return `lanes.weight`, `lanes.bias` of the layer shared by all lanes in front of a network, nothing without one.

    network: an SB3 policy, or the part of one that has the features extractor
    """
    extractor = network.features_extractor
    if not isinstance(extractor, LaneFeatures):
        return {}
    return arrays({f"lanes.{part}": getattr(extractor.lane, part) for part in PARTS})


def actor_weights(model: Any) -> Weights:
    """Return the weights of an SB3 actor: the policy's branch of the hidden layers, and the action head."""
    policy = model.policy
    return dense_weights([*policy.mlp_extractor.policy_net, policy.action_net]) | lane_weights(policy)
