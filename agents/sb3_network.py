"""Networks of Stable-Baselines3 models: as policies, as networks of policy files, and their weights."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from torch import Tensor, nn

from agents.algorithm import Notes
from agents.config import TrainConfig
from agents.export import Weights
from agents.lane_network import LaneFeatures
from agents.perception import add_encoder, file_observation
from deeptraffic.evaluation.model import Memory
from deeptraffic.policies.base import EnvObservation, Policy
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy, input_size
from deeptraffic.policies.torch_export import NetworkBuilder, sb3_network
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import F64, I64
from representation.encoder import Encoder

# What a model's file holds for its training alone, some of it bound to the Python that pickled it.
NOT_NEEDED = dict.fromkeys(("lr_schedule", "clip_range", "clip_range_vf", "exploration_schedule", "learning_rate"), 0.0)
PARTS = ("weight", "bias")


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


# --- weights ----------------------------------------------------------------------------------------------------------


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
