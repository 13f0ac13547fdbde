"""What every algorithm is told: its network and its optimiser."""

from dataclasses import dataclass, field

from deeptraffic.settings import Checked, choice, number, whole


@dataclass(frozen=True)
class AgentConfig(Checked):
    """What every algorithm has: its network and its optimiser.

    learning_rate, learning_rate_end: at the start and the end of training, linear in between
    gamma: discount per decision
    max_grad_norm: longest gradient
    hidden: units of each hidden layer
    activation: after each hidden layer; "tanh" or "relu"
    lane_units: units of a layer that all lanes of the sensor share (`agents.lane_network`), before the hidden ones; 0:
        none
    """

    learning_rate: float = number(1e-3, 1e-8, 1.0)
    learning_rate_end: float = number(1e-4, 0.0, 1.0)
    gamma: float = number(0.92, 0.0, 1.0)
    max_grad_norm: float = number(0.5, 1e-6, 1e6)
    hidden: tuple[int, ...] = field(default=(64, 64), metadata={"hidden": True})
    activation: str = choice("tanh", "tanh", "relu")
    lane_units: int = whole(0, 0, 1024)
