"""The algorithms of sb3-contrib on our games: QR-DQN, MaskablePPO, RecurrentPPO."""

from typing import Any

import numpy as np
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO

from agents.algorithms import MaskablePPOConfig, QRDQNConfig, RecurrentPPOConfig
from agents.config import TrainConfig
from agents.exploration import PerGameExploration
from agents.export import Weights
from deeptraffic.sim.rules import Action

TRUNK = "quantile_net.quantile_net."


class PerGameQRDQN(PerGameExploration, QRDQN):
    """QR-DQN that tosses an exploration coin for each game."""


def make_qrdqn(config: TrainConfig, settings: dict[str, Any]) -> QRDQN:
    """Return quantile-regression DQN as a configuration names it; settings: arguments that all algorithms have."""
    agent = config.agent
    assert isinstance(agent, QRDQNConfig)
    settings["policy_kwargs"]["n_quantiles"] = agent.n_quantiles
    return PerGameQRDQN(**settings, **agent.off_policy_settings(config.games.num_envs))


def make_maskable_ppo(config: TrainConfig, settings: dict[str, Any]) -> MaskablePPO:
    """Return PPO that explores only actions which could have an effect."""
    agent = config.agent
    assert isinstance(agent, MaskablePPOConfig)
    return MaskablePPO(**settings, **agent.ppo_settings())


def make_recurrent_ppo(config: TrainConfig, settings: dict[str, Any]) -> RecurrentPPO:
    """Return PPO with an LSTM behind the observation, or behind the encoder."""
    agent = config.agent
    assert isinstance(agent, RecurrentPPOConfig)
    settings["policy"] = settings["policy"].replace("Policy", "LstmPolicy")
    settings["policy_kwargs"] |= {"lstm_hidden_size": agent.lstm_units}
    return RecurrentPPO(**settings, **agent.ppo_settings())


def mean_values(state: dict[str, np.ndarray], n_quantiles: int) -> Weights:
    """Return the dense layers of QR-DQN's network, the last one giving the mean over quantiles: the action values.

    The last layer has n_quantiles x 5 outputs, actions innermost; a mean of linear outputs is linear.
    """
    names = [name.removesuffix(".weight") for name in state if name.startswith(TRUNK) and name.endswith(".weight")]
    weights = {f"{k}.{part}": state[f"{name}.{part}"] for k, name in enumerate(names) for part in ("weight", "bias")}
    for part in ("weight", "bias"):
        last = weights[f"{len(names) - 1}.{part}"]
        weights[f"{len(names) - 1}.{part}"] = last.reshape(n_quantiles, len(Action), *last.shape[1:]).mean(0)
    return weights
