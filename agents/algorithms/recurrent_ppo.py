"""PPO with an LSTM behind the observation or the encoder, sb3-contrib's RecurrentPPO.

Source of the LSTM: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", doi:10.1162/neco.1997.9.8.1735.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates

from agents.algorithms.ppo.config import ClippedConfig
from agents.registry import PROBABILITIES, Entry
from agents.sb3 import SB3Algorithm
from agents.sb3_network import actor_weights
from deeptraffic.settings import integer

if TYPE_CHECKING:
    from agents.config import TrainConfig

MEMORY = ("hidden", "cell", "value_hidden", "value_cell")  # of the actor's and the critic's LSTM


@dataclass(frozen=True)
class RecurrentPPOConfig(ClippedConfig):
    """Hyperparameters of recurrent PPO, see `ClippedConfig`.

    n_epochs: with this algorithm's own default
    lstm_units: units of the LSTM
    """

    n_epochs: int = integer(2, 1, 100)
    lstm_units: int = integer(64, 1, 4096)

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if a rollout holds less than a batch, or a layer is to be shared by lanes."""
        super().check_run(run)
        self.check_no_lanes(run)


def make(agent: RecurrentPPOConfig, env: Any, common: dict[str, Any]) -> RecurrentPPO:
    """Return a new model."""
    common["policy"] = common["policy"].replace("Policy", "LstmPolicy")
    common["policy_kwargs"] |= {"lstm_hidden_size": agent.lstm_units}
    return RecurrentPPO(env=env, **common, **agent.settings())


def state(model: Any) -> dict[str, Any]:
    """Return the LSTM states (layers, B, units) of the actor and the critic."""
    states = model._last_lstm_states
    return {name: part for name, part in zip(MEMORY, (*states.pi, *states.vf), strict=True)}


def restore(model: Any, saved: dict[str, Any]) -> None:
    """Set the LSTM states."""
    hidden, cell, value_hidden, value_cell = (torch.from_numpy(saved[name]) for name in MEMORY)
    model._last_lstm_states = RNNStates((hidden, cell), (value_hidden, value_cell))


ENTRY = Entry("recurrent_ppo", "policy-based", "PPO with an LSTM", PROBABILITIES)
ALGORITHM = SB3Algorithm(
    config=RecurrentPPOConfig, make=make, weights=actor_weights, is_recurrent=True, state=state, restore=restore
)
