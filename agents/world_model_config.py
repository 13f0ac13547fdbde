"""What the world-model agent is told, see `agents.world_model_agent`."""

from dataclasses import dataclass

from agents.agent_config import AgentConfig
from deeptraffic.settings import boolean, choice, integer, integers, real


@dataclass(frozen=True)
class WorldModelConfig(AgentConfig):
    """A learned model of the game, and a driver that improves by imagining in it.

    max_grad_norm, hidden, activation: as in `AgentConfig`, with this algorithm's own defaults; the last of the hidden
        layers is the latent state
    buffer_size: decisions remembered
    learning_starts: decisions at random before the first gradient step
    batch_size: remembered segments of one gradient step
    unroll: decisions of a segment, which the model imagines one after the other
    updates_per_decision: gradient steps for each decision
    gae_lambda: weight of longer returns, which are cut where the driver would now decide otherwise
    temperature: [reward; 1 is 13.3 mph for one decision] by how much better an action must be to be clearly preferred
    imagination: share of an action's value that the model imagines one decision ahead; the rest is the critics'
    exploration_eps: chance of a random action, tossed for each game
    target_rate: share by which the target network follows at every gradient step
    consistency_coef, reward_coef, value_coef, policy_coef, decoder_coef: weights of the losses
    mirror: whether segments are also learned from in the mirror, left and right exchanged
    """

    max_grad_norm: float = real(10.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((64, 64), 1, 4096, 0, 8)
    activation: str = choice("relu", "tanh", "relu")
    buffer_size: int = integer(200_000, 100, 100_000_000)
    learning_starts: int = integer(500, 0, 100_000_000)
    batch_size: int = integer(128, 1, 1_000_000)
    unroll: int = integer(3, 1, 100)
    updates_per_decision: float = real(0.2, 0.0001, 100.0)
    gae_lambda: float = real(0.8, 0.0, 1.0)
    temperature: float = real(0.1, 1e-4, 100.0)
    imagination: float = real(0.5, 0.0, 1.0)
    exploration_eps: float = real(0.02, 0.0, 1.0)
    target_rate: float = real(0.03, 1e-5, 1.0)
    consistency_coef: float = real(2.0, 0.0, 1000.0)
    reward_coef: float = real(1.0, 0.0, 1000.0)
    value_coef: float = real(0.1, 0.0, 1000.0)
    policy_coef: float = real(0.5, 0.0, 1000.0)
    decoder_coef: float = real(5.0, 0.0, 1000.0)
    mirror: bool = boolean(True)

    def check(self) -> None:
        """Raise ValueError if there is no latent state, or the memory is too small to learn from."""
        if not self.hidden:
            raise ValueError("hidden=[] leaves no latent state to imagine in; give at least one layer, such as [128]")
        if self.learning_starts > self.buffer_size:
            raise ValueError(
                f"buffer_size={self.buffer_size} is less than learning_starts={self.learning_starts}; "
                "raise buffer_size or lower the other"
            )
