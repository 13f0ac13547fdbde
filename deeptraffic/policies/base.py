"""Interface of a policy: chooses the actions of one or many agents from their observations.

    >>> class Cautious(Policy):
    ...     label, observation = "cautious", Sensor(lanes_side=1, patches_ahead=10, patches_behind=0)
    ...     def act(self, obs, agent_indices):           # obs (B, 30) float64 -> (B,) int64
    ...         return np.where(obs[:, 4::3].min(1) < 1.0, Action.DECELERATE, Action.ACCELERATE)
    >>> evaluate_open(Cautious(), runs=100)

Only `label`, `observation` and `act` have to be given. A policy drives the ego car and, as copies with a memory of
their own, the other agents. *Agent index* b * (A + 1) + i is agent i of env b, where A is the number of other agents;
agent 0 is the ego car.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from numpy.typing import NDArray

from deeptraffic.settings import check_real
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import F64, I64

if TYPE_CHECKING:
    from deeptraffic.sim.engine import Simulator
    from deeptraffic.sim.runs import Runs

Access = Literal["contest", "open", "privileged"]
DEFAULT_RULES = 2018

RunLoop = Callable[["Runs"], None]  # plays the runs and writes their results


class ValueKind(NamedTuple):
    """Meaning of the values by which a policy chooses.

    kind: "probability" (they are logits, whose softmax is probabilities), "value" (expected returns), "difference" (of
        expected returns between actions), or "output" where nothing more is known
    unit: of values and differences; "" for none
    """

    kind: str = "output"
    unit: str = ""

    @property
    def fact(self) -> str:
        """It as a policy file's training fact "outputs", such as "value [reward]"."""
        return f"{self.kind} [{self.unit}]" if self.unit else self.kind

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Self:
        """Return the kind that the training facts of a policy file state; unknown facts give "output"."""
        kind, _, unit = str(facts.get("outputs", "")).removesuffix("]").partition(" [")
        if kind not in ("probability", "value", "difference"):
            return cls("value", "reward") if facts.get("algorithm") == "deepqlearn" else cls()
        return cls(kind, unit)


PROBABILITY = ValueKind("probability")
UNKNOWN = ValueKind()


@dataclass(frozen=True)
class EnvObservation:
    """An observation that a policy asks the environments for, by its kind and options, and gets flat.

    kind, options: of `deeptraffic.envs.observations`
    size: n of the flat observation, (B, n) float64: of an image its rows, then columns, then channels; of a dict its
        parts in the order of their names
    """

    kind: str
    options: Mapping[str, Any] = field(hash=False)
    size: int

    contest = False

    @property
    def sensor(self) -> Sensor:
        """Window of cells that it is computed from; the default one where it is not computed from cells."""
        return Sensor(**{name: self.options[name] for name in Sensor._fields if name in self.options})


class Policy(ABC):
    """Chooses actions from observations.

    label: name in tables and scores
    observation: what it observes: a `Sensor` (its cells as a vector, float64), an
        `deeptraffic.envs.observations.Observation`, or an `EnvObservation`, which is one by name, flat
    rules, other_agents: the contest and the number of other agents that it was made for
    epsilon: probability with which it acts at random instead; see `set_epsilon`
    notes: facts about it that are kept with it, such as the decisions that it was trained for
    values: after `act`, what its choice was made by: (B, 5) float64 action values or logits, -inf for actions that it
        does not consider, NaN for agents that it did not ask its network for; None for a policy that has none
    value_kind: what these values are
    activity: set it to a list to have a network replace it, at each decision of an ego car, by the values of its input
        and of every layer; a policy without a network leaves it alone
    """

    label: str
    observation: Any
    rules: int = DEFAULT_RULES
    other_agents: int = 0
    epsilon: float = 0.0
    notes: Mapping[str, str] = MappingProxyType({})
    values: F64 | None = None
    value_kind: ValueKind = UNKNOWN
    activity: list[F64] | None = None

    @abstractmethod
    def act(self, obs: Any, agent_indices: I64) -> I64:
        """Return the actions (B,) int64 for observations (B, ...) of the agents with these indices (B,).

        `obs` is overwritten after the call: copy what shall be kept.
        """

    def attach(self, sim: "Simulator") -> None:  # noqa: B027  # optional
        """Take the simulator of the envs that it will drive in; called before `reset`.

        A policy takes from it the number of agents or, if it is privileged, everything.
        """

    def reset(self, agent_indices: I64) -> None:  # noqa: B027  # optional
        """Empty the memories of the agents with these indices (B,)."""

    def set_epsilon(self, epsilon: float | None = None, seed: int | None = None) -> None:
        """Act at random with probability epsilon in [0, 1], drawn from streams of this seed; None leaves either.

        Raises ValueError for a policy that has no such probability, if it is above 0.
        """
        if epsilon is not None and check_real("epsilon", epsilon, 0.0, 1.0) > 0.0:
            raise ValueError(
                f"epsilon={epsilon:g}: only a network over the sensor's cells can act at random, and {self.label} is "
                "none; leave it out"
            )

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Return copies of its agents' memories, from which `set_state` continues; {} if it keeps none."""
        return {}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:  # noqa: B027  # optional
        """Continue from what `get_state` returned."""

    def note(self, actions: I64, agent_indices: I64) -> None:  # noqa: B027  # optional
        """Remember actions (B,) that were carried out in place of its last ones, if it remembers actions."""

    def as_network(self) -> "Policy | None":
        """Return it as a `NetworkPolicy`, which a policy file can hold; None if none can."""
        return None

    def tried_plans(self) -> I64 | None:
        """Return the plans (K, L) of actions that it tried for agent 0's last decision; None if it does not plan."""
        return None

    def rollout_policy(self) -> "Policy":
        """Return what chooses the actions after a plan: itself, unless it plans."""
        return self

    @property
    def sensor(self) -> Sensor:
        """Window of cells that its observation is computed from."""
        return self.observation if isinstance(self.observation, Sensor) else self.observation.sensor

    @property
    def access(self) -> Access:
        """What it knows: what a contest's entrant could ("contest"), more of the scene ("open"), or the simulator."""
        return "contest" if self.observation.contest else "open"

    def official_loop(self) -> RunLoop | None:
        """Return its compiled loop over a chain of runs; None if it has none and is asked through `act`."""
        return None

    def open_loop(self) -> RunLoop | None:
        """Return its compiled loop over independent runs; None if it has none and is asked through `act`."""
        return None
