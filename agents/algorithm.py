"""Interface of an algorithm: hyperparameters, defaults, presets, and the learner that a trainer trains.

An algorithm is one module, or one package, of `agents.algorithms`, whose `ALGORITHM` is an `Algorithm`, and whose
`ENTRY` is its entry in `agents.registry`. Most are Stable-Baselines3 models (`agents.sb3.SB3Algorithm`); any other
needs only a `Learner`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from agents.config import AgentConfig, TrainConfig
from deeptraffic.policies.base import Policy
from deeptraffic.settings import Settings

Notes = dict[str, str]  # short facts about a network, such as the decisions it was trained for


class Learner(Protocol):
    """A network, its training state and its env, as `agents.trainer.Trainer` trains them."""

    @property
    def decisions(self) -> int:
        """Decisions of training made so far."""

    @property
    def parameters(self) -> int:
        """Number of weights and biases of the acting network."""

    def learn(self, total_timesteps: int, between_rounds: Callable[[], None], logger: Any = None) -> None:
        """Train until `total_timesteps` decisions; call `between_rounds` before the first round and after every one.

        logger: for the losses, as `agents.event_log.EventLog`; None for none

        An exception of `between_rounds` ends the training; the learner's state is that of the last whole round. Raises
        RuntimeError if the weights diverge.
        """

    def metrics(self) -> dict[str, float]:
        """Return metrics of the decisions since the last call; empty if there were none."""

    def policy(self, label: str, notes: Notes) -> Policy:
        """Return the current network as a policy without exploration."""

    def content(self, label: str, notes: Notes) -> bytes:
        """Return the current network as the content of a file that `agents.loader` reads."""

    def state(self) -> dict[str, Any]:
        """Return all that the future of the training depends on: arrays, numbers and strings, nested."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state of a learner of the same configuration; raises an error of any kind if it is none."""


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """One algorithm.

    config: class of its hyperparameters
    defaults: its own settings of a run, by name, where they differ from those of `agents.config.TrainConfig`
    presets: settings by preset; every preset that the registry lists for it exists, one that is not here changes
        nothing
    keeps_newest: whether a run keeps its newest network, not the one that scored best on tuning seeds
    """

    config: type[AgentConfig]
    defaults: Settings = field(default_factory=dict)
    presets: Mapping[str, Settings] = field(default_factory=dict)
    keeps_newest: bool = False

    def learner(self, config: TrainConfig, init_policy: Policy | None, is_new: bool) -> Learner:
        """Return a learner for a run.

        init_policy: policy that a new network is initialised from; None for random weights
        is_new: whether training begins; otherwise a state will be restored
        """
        raise NotImplementedError

    def torch_policy(
        self, config: TrainConfig, weights: Mapping[str, NDArray[Any]], label: str, notes: Notes
    ) -> Policy:
        """Return the policy of a whole torch network's weights, `policy.*` (`agents.export.is_torch_network`)."""
        raise NotImplementedError
