"""What every algorithm is told: its network and its optimiser."""

from dataclasses import dataclass

from deeptraffic.settings import Checked, choice, integer, integers, real


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

    learning_rate: float = real(1e-3, 1e-8, 1.0)
    learning_rate_end: float = real(1e-4, 0.0, 1.0)
    gamma: float = real(0.92, 0.0, 1.0)
    max_grad_norm: float = real(0.5, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((64, 64), 1, 4096, 0, 8)
    activation: str = choice("tanh", "tanh", "relu")
    lane_units: int = integer(0, 0, 1024)
