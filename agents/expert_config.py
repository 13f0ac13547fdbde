"""What expert iteration is told, see `agents.expert_iteration`."""

from dataclasses import dataclass

from agents.agent_config import AgentConfig
from deeptraffic.settings import choice, integer, integers, real


@dataclass(frozen=True)
class ExpertConfig(AgentConfig):
    """A network that learns from rollouts in the true simulator.

    gamma, max_grad_norm, hidden, activation, lane_units: as in `AgentConfig`, with this algorithm's own defaults
    n_steps: decisions of each game in a round
    label_share: share of the states with a choice in which the candidate actions are tried out
    rollouts: of each candidate in such a state
    depth: decisions of a rollout
    rollout_lambda: weight of longer returns in a rollout, see `agents.paired_rollouts`
    value_lambda: weight of longer returns in what states are worth
    exploration_eps: chance of a random candidate, tossed for each game
    rounds_kept: rounds whose rollouts are learned from
    batch_size: rollouts, and as many states, of one gradient step
    n_epochs: passes over the rollouts kept, after each round
    advantage_coef, value_coef: weights of the losses; value_coef=0: rollouts count their own rewards alone
    advantage_scale: [reward] error of an advantage up to which it is squared in the loss, beyond it counts as it is
    average_rate: share by which the network that drives follows the one that learns, at every gradient step
    """

    gamma: float = real(0.95, 0.0, 1.0)
    max_grad_norm: float = real(1.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((256, 128), 1, 4096, 0, 8)
    activation: str = choice("relu", "tanh", "relu")
    lane_units: int = integer(64, 1, 1024)
    n_steps: int = integer(67, 1, 4096)
    label_share: float = real(1.0, 1e-6, 1.0)
    rollouts: int = integer(1, 1, 4096)
    depth: int = integer(6, 1, 200)
    rollout_lambda: float = real(0.8, 0.0, 1.0)
    value_lambda: float = real(0.8, 0.0, 1.0)
    exploration_eps: float = real(0.05, 0.0, 1.0)
    rounds_kept: int = integer(8, 1, 1000)
    batch_size: int = integer(512, 1, 1_000_000)
    n_epochs: int = integer(1, 1, 100)
    advantage_coef: float = real(4.0, 0.0, 1000.0)
    value_coef: float = real(0.075, 0.0, 1000.0)
    advantage_scale: float = real(1.0, 1e-6, 1000.0)
    average_rate: float = real(0.002, 1e-6, 1.0)

    def check(self) -> None:
        """Raise ValueError if rollouts would lean on values that nobody learns."""
        if not self.value_coef and self.rollout_lambda < 1.0:
            raise ValueError(
                f"rollout_lambda={self.rollout_lambda} weighs values that are not learned with value_coef=0; "
                "set rollout_lambda=1 or a greater value_coef"
            )
