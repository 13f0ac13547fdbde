"""Hyperparameters of the world-model agent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.config import NetworkConfig
from deeptraffic.settings import boolean, choice, integer, integers, real

if TYPE_CHECKING:
    from agents.config import TrainConfig


@dataclass(frozen=True)
class WorldModelConfig(NetworkConfig):
    """Hyperparameters of the world-model agent.

    max_grad_norm, hidden, activation: as in `NetworkConfig`, with this algorithm's own defaults; the last of the hidden
        layers is the latent state
    buffer_size: replay capacity [transitions]
    learning_starts: random decisions before the first gradient step
    batch_size: segments of one gradient step
    unroll_steps: decisions of a segment, over which the model is unrolled
    updates_per_decision: gradient steps for each decision
    gae_lambda: weight of longer returns, traces of which are cut where the policy would now decide otherwise
    temperature: [reward; 1 is 13.3 mph for one decision] of the softmax of action values
    imagination: weight of the action values that the model imagines one decision ahead; the rest is the critics'
    exploration_eps: probability of a random action, for each env
    tau: rate of the moving average of the target network, per gradient step
    consistency_coef, reward_coef, value_coef, policy_coef, decoder_coef: weights of the losses
    mirror: whether half of the segments are mirrored, left and right exchanged, where the observation has a mirror
        image and no frozen encoder reads it
    """

    max_grad_norm: float = real(10.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((64, 64), 1, 4096, 0, 8)
    activation: str = choice("relu", "tanh", "relu")
    buffer_size: int = integer(200_000, 100, 100_000_000)
    learning_starts: int = integer(500, 0, 100_000_000)
    batch_size: int = integer(128, 1, 1_000_000)
    unroll_steps: int = integer(3, 1, 100)
    updates_per_decision: float = real(0.2, 0.0001, 100.0)
    gae_lambda: float = real(0.8, 0.0, 1.0)
    temperature: float = real(0.1, 1e-4, 100.0)
    imagination: float = real(0.5, 0.0, 1.0)
    exploration_eps: float = real(0.02, 0.0, 1.0)
    tau: float = real(0.03, 1e-5, 1.0)
    consistency_coef: float = real(2.0, 0.0, 1000.0)
    reward_coef: float = real(1.0, 0.0, 1000.0)
    value_coef: float = real(0.1, 0.0, 1000.0)
    policy_coef: float = real(0.5, 0.0, 1000.0)
    decoder_coef: float = real(5.0, 0.0, 1000.0)
    mirror: bool = boolean(True)

    def check(self) -> None:
        """Raise ValueError if there is no latent state, or the replay buffer is too small."""
        if not self.hidden:
            raise ValueError("hidden=[] leaves no latent state to imagine in; give at least one layer, such as [128]")
        if self.learning_starts > self.buffer_size:
            raise ValueError(
                f"buffer_size={self.buffer_size} is less than learning_starts={self.learning_starts}; "
                "raise buffer_size or lower the other"
            )

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if a layer is to be shared by lanes."""
        super().check_run(run)
        self.check_no_lanes(run)
