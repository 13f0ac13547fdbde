"""Stable-Baselines3's algorithms on the native vector environment: how they are made, saved to the last bit, and read.

    >>> from agents.config import build_config
    >>> from agents.sb3 import make_games, make_model
    >>> config = build_config("ppo", settings=["total_timesteps=100000"])
    >>> model = make_model(config, make_games(config))           # a stable_baselines3.PPO: learn(), predict(), save()
    >>> model.learn(config.total_timesteps)

`agents.training.train` runs such a model in a run folder, with checkpoints and evaluations.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN
from stable_baselines3.common.base_class import BaseAlgorithm

from agents.algorithms import A2CConfig, DQNConfig, PPOConfig, PQNConfig, QRDQNConfig, ReinforceConfig, TeamPPOConfig
from agents.config import TrainConfig
from agents.contrib import make_maskable_ppo, make_qrdqn, make_recurrent_ppo, mean_values
from agents.expert_config import ExpertConfig
from agents.expert_iteration import ExpertIteration
from agents.exploration import PerGameExploration
from agents.export import Weights, reads_cells
from agents.lane_network import LaneFeatures, LanePolicy
from agents.perception import encoder_kwargs
from agents.pqn import PQN
from agents.pqn_policy import driving_weights
from agents.reinforce import Reinforce
from agents.team import TeamPPO
from agents.team_games import TeamVecEnv
from agents.warm_start import WarmPPO, load_lane_driver, warm_start
from agents.world_model import encoder_and_policy
from agents.world_model_agent import WorldModelAgent
from agents.world_model_config import WorldModelConfig
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

ACTIVATIONS: dict[str, type[torch.nn.Module]] = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


class PerGameDQN(PerGameExploration, DQN):
    """DQN that tosses an exploration coin for each game."""


# --- making -------------------------------------------------------------------------------------------------------


def make_games(config: TrainConfig) -> DeepTrafficVecEnv:
    """Return the games of a run, seeded; their ends are spread out, because learners treat ended games one by one."""
    is_team = isinstance(config.agent, TeamPPOConfig) or (
        isinstance(config.agent, ExpertConfig) and config.road.other_agents > 0
    )
    kind = TeamVecEnv if is_team else DeepTrafficVecEnv
    env = kind(
        config.games.num_envs,
        rules=config.road,
        observation=config.observation,
        reward=config.games.reward,
        max_steps=config.games.max_steps,
        stagger=True,
    )
    env.seed(config.seed)
    return env


def make_model(config: TrainConfig, env: DeepTrafficVecEnv, is_new: bool = True) -> BaseAlgorithm:
    """Return the algorithm that a run's configuration names, with its networks.

    is_new: whether training begins, with the pretrained encoder if one is named; otherwise the weights will be set
    """
    model = ALGORITHMS[config.algo](config, _common(config, env, is_new))
    if config.init and is_new and isinstance(model, ExpertIteration):
        model.policy.begin_from(load_lane_driver(config.init))
    elif config.init and is_new:
        assert isinstance(model, WarmPPO), "only such models are configured to begin from a network"
        warm_start(model, config.init, config.init_gain)
    return model


def _make_ppo(config: TrainConfig, settings: dict[str, Any]) -> WarmPPO:
    agent = config.agent
    assert isinstance(agent, PPOConfig)
    model = WarmPPO(**settings, **agent.ppo_settings())
    model.critic_first = config.critic_first
    return model


def _make_team_ppo(config: TrainConfig, settings: dict[str, Any]) -> TeamPPO:
    agent = config.agent
    assert isinstance(agent, TeamPPOConfig)
    model = TeamPPO(**settings, **agent.ppo_settings(), team_share=agent.team_share)
    model.critic_first = config.critic_first
    return model


def _make_a2c(config: TrainConfig, settings: dict[str, Any]) -> A2C:
    agent = config.agent
    assert isinstance(agent, A2CConfig)
    return A2C(
        **settings,
        n_steps=agent.n_steps,
        gae_lambda=agent.gae_lambda,
        ent_coef=agent.ent_coef,
        vf_coef=agent.vf_coef,
    )


def _make_reinforce(config: TrainConfig, settings: dict[str, Any]) -> Reinforce:
    agent = config.agent
    assert isinstance(agent, ReinforceConfig)
    return Reinforce(**settings, n_steps=agent.n_steps, ent_coef=agent.ent_coef)


def _make_dqn(config: TrainConfig, settings: dict[str, Any]) -> DQN:
    agent = config.agent
    assert isinstance(agent, DQNConfig)
    return PerGameDQN(**settings, **agent.off_policy_settings(config.games.num_envs))


def _make_pqn(config: TrainConfig, settings: dict[str, Any]) -> PQN:
    agent = config.agent
    assert isinstance(agent, PQNConfig)
    settings["policy_kwargs"] |= {"layer_norm": agent.layer_norm, "dueling": agent.dueling}
    return PQN(
        **settings,
        n_steps=agent.n_steps,
        batch_size=agent.batch_size,
        n_epochs=agent.n_epochs,
        q_lambda=agent.q_lambda,
        exploration_initial_eps=agent.exploration_initial_eps,
        exploration_final_eps=agent.exploration_final_eps,
        exploration_fraction=agent.exploration_fraction,
    )


def _make_world_model(config: TrainConfig, settings: dict[str, Any]) -> WorldModelAgent:
    agent = config.agent
    assert isinstance(agent, WorldModelConfig)
    named = {name: settings[name] for name in ("policy", "env", "learning_rate", "policy_kwargs", "seed", "device")}
    return WorldModelAgent(**named, config=agent, mirror=config.observation.mirror() if agent.mirror else None)


def _make_expert_iteration(config: TrainConfig, settings: dict[str, Any]) -> ExpertIteration:
    agent, sensor = config.agent, config.observation.sensor
    assert isinstance(agent, ExpertConfig)
    named = {name: settings[name] for name in ("env", "learning_rate", "seed", "device")}
    network = {
        "net_arch": list(agent.hidden),
        "activation_fn": ACTIVATIONS[agent.activation],
        "columns": sensor.columns,
        "lane_units": agent.lane_units,
    }
    return ExpertIteration(LanePolicy, **named, sensor=sensor, config=agent, policy_kwargs=network)


ALGORITHMS: dict[str, Callable[[TrainConfig, dict[str, Any]], BaseAlgorithm]] = {
    "reinforce": _make_reinforce,
    "a2c": _make_a2c,
    "ppo": _make_ppo,
    "team_ppo": _make_team_ppo,
    "maskable_ppo": make_maskable_ppo,
    "recurrent_ppo": make_recurrent_ppo,
    "dqn": _make_dqn,
    "qrdqn": make_qrdqn,
    "pqn": _make_pqn,
    "world_model": _make_world_model,
    "expert_iteration": _make_expert_iteration,
}


def _common(config: TrainConfig, env: DeepTrafficVecEnv, is_new: bool) -> dict[str, Any]:
    """Arguments that all algorithms have."""
    agent = config.agent
    first, last = agent.learning_rate, agent.learning_rate_end
    return {
        "policy": network_kind(env.observation_space),
        "env": env,
        "learning_rate": lambda left: last + (first - last) * left,  # left: share of training that remains
        "gamma": agent.gamma,
        "max_grad_norm": agent.max_grad_norm,
        "policy_kwargs": {
            "net_arch": list(agent.hidden),
            "activation_fn": ACTIVATIONS[agent.activation],
            **(lane_kwargs(config) if agent.lane_units else encoder_kwargs(config.encoder, is_new)),
        },
        "seed": config.seed,
        "device": config.device,
    }


def lane_kwargs(config: TrainConfig) -> dict[str, Any]:
    """Return what a layer that all lanes share adds to SB3's `policy_kwargs`."""
    kwargs = {"columns": config.observation.sensor.columns, "units": config.agent.lane_units}
    return {"features_extractor_class": LaneFeatures, "features_extractor_kwargs": kwargs}


def network_kind(space: spaces.Space) -> str:
    """The name of SB3's network for an observation: dense for numbers, convolutional for pictures, both for dicts."""
    if isinstance(space, spaces.Dict):
        return "MultiInputPolicy"
    return "CnnPolicy" if space.dtype == np.uint8 and len(space.shape or ()) == 3 else "MlpPolicy"


# --- reading the network ------------------------------------------------------------------------------------------


def network_weights(model: BaseAlgorithm, config: TrainConfig) -> Weights:
    """Return the weights that drive: `k.weight`, `k.bias` of dense layers, `lanes.*` of one before them that all lanes
    share; where there are other layers, the whole network under its names.
    """
    state = {name: tensor.detach().cpu().numpy() for name, tensor in model.policy.state_dict().items()}
    if not reads_cells(config):
        return {f"policy.{name}": tensor for name, tensor in state.items()}
    if isinstance(model, ExpertIteration):
        return model.policy.average.weights()
    if isinstance(model, PQN):
        return driving_weights(model.policy) | lane_weights(model.policy)
    if isinstance(model, WorldModelAgent):
        return encoder_and_policy(model.policy)
    if isinstance(config.agent, QRDQNConfig):
        return mean_values(state, config.agent.n_quantiles) | lane_weights(vars(model)["quantile_net"])
    trunk = "q_net.q_net." if isinstance(model, DQN) else "mlp_extractor.policy_net."
    layers = [name.removesuffix(".weight") for name in state if name.startswith(trunk) and name.endswith(".weight")]
    if not isinstance(model, DQN):
        layers.append("action_net")
    weights = {f"{k}.{part}": state[f"{layer}.{part}"] for k, layer in enumerate(layers) for part in ("weight", "bias")}
    return weights | lane_weights(model.q_net if isinstance(model, DQN) else model.policy)


def lane_weights(policy: torch.nn.Module) -> Weights:
    """Return `lanes.weight` and `lanes.bias` of the layer that all lanes share, nothing if there is none."""
    features = getattr(policy, "features_extractor", None)
    if not isinstance(features, LaneFeatures):
        return {}
    return {f"lanes.{name}": tensor.detach().cpu().numpy() for name, tensor in features.lane.named_parameters()}
