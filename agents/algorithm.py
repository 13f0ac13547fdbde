"""Interface of an algorithm: hyperparameters, defaults, presets, and the learner that a trainer trains.

An algorithm is one module, or one package, of `agents.algorithms`, whose `ALGORITHM` is an `Algorithm`;
`agents.registry` lists it. Most are Stable-Baselines3 models (`agents.sb3.SB3Algorithm`); any other needs only a
`Learner`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from numpy.typing import NDArray

from deeptraffic.policies.base import Policy
from deeptraffic.settings import Checked, Settings, choice, integer, integers, real

if TYPE_CHECKING:
    from agents.config import TrainConfig

Notes = dict[str, str]  # short facts about a network, such as the decisions it was trained for


@dataclass(frozen=True)
class AgentConfig(Checked):
    """Hyperparameters of an algorithm; a subclass declares them, and what they demand of the rest of a run."""

    @property
    def hidden_layers(self) -> int:
        """Hidden layers of the network."""
        raise NotImplementedError

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if these hyperparameters do not fit the other sections of a run."""

    def for_later_stage(self, decisions: int) -> Self:
        """Return the hyperparameters of a curriculum stage of so many decisions that continues an earlier one."""
        return self


@dataclass(frozen=True)
class TorchConfig(AgentConfig):
    """Hyperparameters of every algorithm that trains a torch network: its layers and its optimiser.

    learning_rate, learning_rate_end: at the start and the end of training, linear in between
    max_grad_norm: gradient-norm clipping threshold
    hidden: units of each hidden layer
    activation: after each hidden layer; "tanh" or "relu"
    lane_units: units of a layer shared by all lanes of the sensor (`agents.lane_network`), before the hidden ones; 0:
        none
    """

    learning_rate: float = real(1e-3, 1e-8, 1.0)
    learning_rate_end: float = real(1e-4, 0.0, 1.0)
    max_grad_norm: float = real(0.5, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((64, 64), 1, 4096, 0, 8)
    activation: str = choice("tanh", "tanh", "relu")
    lane_units: int = integer(0, 0, 1024)

    @property
    def hidden_layers(self) -> int:
        """Hidden layers of the network."""
        return len(self.hidden)

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if a network that reads lanes cannot read this observation."""
        if self.lane_units:
            self.check_lanes(run, ", or set lane_units=0")

    def check_lanes(self, run: "TrainConfig", remedy: str = "") -> None:
        """Raise ValueError unless the observation is the cells of the 2018 contest's sensor."""
        seen = run.observation
        is_plain = seen.kind == "vector" and not (seen.temporal_window or seen.is_weak)
        if not is_plain or run.encoder.is_used or run.road.rules != 2018:
            raise ValueError(
                f"lane_units={self.lane_units} reads the cells of the 2018 contest's sensor, not kind={seen.kind!r}, "
                f"temporal_window={seen.temporal_window}, encoder={run.encoder.name!r}, rules={run.road.rules}, "
                f"or a weakened sensor; set kind=vector and leave the others out{remedy}"
            )

    def check_no_lanes(self, run: "TrainConfig") -> None:
        """Raise ValueError if a layer shared by all lanes is asked for."""
        if self.lane_units:
            raise ValueError(f"lane_units={self.lane_units} is not for {run.algo}; set lane_units=0")


@dataclass(frozen=True)
class NetworkConfig(TorchConfig):
    """Hyperparameters of every algorithm that trains a torch network by reward, see `TorchConfig`.

    gamma: discount per decision
    """

    gamma: float = real(0.92, 0.0, 1.0)


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

        logger: a Stable-Baselines3 logger for the losses; None for none

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
        """Return all that the future of the training depends on: tensors, numbers and strings, nested in dicts."""

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

    def learner(self, config: "TrainConfig", init_policy: Policy | None, is_new: bool) -> Learner:
        """Return a learner for a run.

        init_policy: policy that a new network is initialised from; None for random weights
        is_new: whether training begins; otherwise a state will be restored
        """
        raise NotImplementedError

    def torch_policy(
        self, config: "TrainConfig", weights: Mapping[str, NDArray[Any]], label: str, notes: Notes
    ) -> Policy:
        """Return the policy of a whole torch network's weights, `policy.*` (`agents.export.is_torch_network`)."""
        raise NotImplementedError
