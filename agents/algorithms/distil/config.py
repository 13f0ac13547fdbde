"""Hyperparameters of distillation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.config import TorchConfig
from deeptraffic.settings import boolean, choice, integer, integers, real

if TYPE_CHECKING:
    from agents.config import TrainConfig

NO_MEMORY = "none"


@dataclass(frozen=True)
class DistilConfig(TorchConfig):
    """Hyperparameters of distillation.

    learning_rate_end, max_grad_norm, hidden, activation: as in `TorchConfig`, with this algorithm's own defaults
    teacher: POLICY that is imitated: a champion, a policy file, a run folder, or a built-in name
    temperature: of the softmax that turns the teacher's values into target probabilities, in units of the mean
        difference between its best and its second-best action
    hint_weight: weight in the loss of the features' error against what the teacher's last layers read (a hint); the
        layers behind the encoder are then initialised from these; 0 for neither
    teacher_rounds: rounds, from the first, in which the teacher acts; afterwards the student does
    exploration_eps: probability of a random action while the teacher acts
    buffer_rounds: rounds whose decisions are kept in memory and learned from
    batch_size: decisions of one gradient step
    n_epochs: passes over the buffer after each round
    weight_decay: of AdamW
    last_action: whether the network reads, behind the encoder, which action it took last; as a policy file it then
        begins each run with action 0
    memory: recurrent cell behind the encoder: none, rnn, gru or lstm
    memory_units: size of the recurrent cell
    unroll_steps: decisions of a sequence that a recurrent network learns from
    burn_in: decisions before a sequence from which only the state is computed, without learning from them
    """

    learning_rate_end: float = real(3e-5, 0.0, 1.0)
    max_grad_norm: float = real(1.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((128,), 1, 4096, 0, 8)
    activation: str = choice("relu", "tanh", "relu")
    teacher: str = "champion-solo"
    temperature: float = real(0.4, 1e-6, 1e6)
    hint_weight: float = real(0.0, 0.0, 1e6)
    teacher_rounds: int = integer(1, 0, 1_000_000)
    exploration_eps: float = real(0.1, 0.0, 1.0)
    buffer_rounds: int = integer(8, 1, 1000)
    batch_size: int = integer(512, 1, 1_000_000)
    n_epochs: int = integer(1, 1, 100)
    weight_decay: float = real(1e-4, 0.0, 1.0)
    last_action: bool = boolean(False)
    memory: str = choice(NO_MEMORY, NO_MEMORY, "rnn", "gru", "lstm")
    memory_units: int = integer(64, 1, 4096)
    unroll_steps: int = integer(67, 1, 4096)
    burn_in: int = integer(16, 0, 4096)

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError for other agents, of which nothing is learned, or lanes that the observation has not."""
        super().check_run(run)
        if run.road.other_agents:
            raise ValueError(
                f"other_agents={run.road.other_agents}: distil learns from the ego car alone; leave other_agents out"
            )
