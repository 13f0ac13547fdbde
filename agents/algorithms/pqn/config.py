"""Hyperparameters of PQN."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.algorithms.ppo.config import check_batch
from agents.compiled.config import CompiledConfig
from deeptraffic.settings import boolean, choice, integer, real

if TYPE_CHECKING:
    from agents.config import TrainConfig


@dataclass(frozen=True)
class PQNConfig(CompiledConfig):
    """Hyperparameters of PQN.

    max_grad_norm, activation: as in `CompiledConfig`, with this algorithm's own defaults
    n_steps: decisions of each env between two updates
    batch_size: decisions of one gradient step
    n_epochs: passes over a rollout
    q_lambda: weight of longer returns, 0 for one step, 1 for all n_steps
    exploration_initial_eps, exploration_final_eps: probability of a random action, at the start and later
    exploration_fraction: fraction of training over which it falls linearly from the one to the other
    layer_norm: whether hidden layers are normalised; the original game's file format cannot hold that
    dueling: whether the network's head is a value plus advantages
    """

    max_grad_norm: float = real(10.0, 1e-6, 1e6)
    activation: str = choice("relu", "tanh", "relu")
    n_steps: int = integer(8, 1, 4096)
    batch_size: int = integer(128, 2, 1_000_000)
    n_epochs: int = integer(4, 1, 100)
    q_lambda: float = real(0.65, 0.0, 1.0)
    exploration_initial_eps: float = real(1.0, 0.0, 1.0)
    exploration_final_eps: float = real(0.05, 0.0, 1.0)
    exploration_fraction: float = real(0.3, 0.001, 1.0)
    layer_norm: bool = boolean(True)
    dueling: bool = boolean(False)

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if a rollout holds less than a batch."""
        super().check_run(run)
        check_batch(run, self.n_steps, self.batch_size)

    def obstacle(self, run: "TrainConfig") -> str:
        """Return what of this run the compiled learner cannot train; "" if it can."""
        return super().obstacle(run) or ("dueling=true" if self.dueling else "")
