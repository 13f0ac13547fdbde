"""What expert iteration is told, see `agents.expert_iteration`."""

from dataclasses import dataclass, field

from agents.agent_config import AgentConfig
from deeptraffic.settings import choice, number, whole


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

    gamma: float = number(0.95, 0.0, 1.0)
    max_grad_norm: float = number(1.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = field(default=(256, 128), metadata={"hidden": True})
    activation: str = choice("relu", "tanh", "relu")
    lane_units: int = whole(64, 1, 1024)
    n_steps: int = whole(67, 1, 4096)
    label_share: float = number(1.0, 1e-6, 1.0)
    rollouts: int = whole(1, 1, 4096)
    depth: int = whole(6, 1, 200)
    rollout_lambda: float = number(0.8, 0.0, 1.0)
    value_lambda: float = number(0.8, 0.0, 1.0)
    exploration_eps: float = number(0.05, 0.0, 1.0)
    rounds_kept: int = whole(8, 1, 1000)
    batch_size: int = whole(512, 1, 1_000_000)
    n_epochs: int = whole(1, 1, 100)
    advantage_coef: float = number(4.0, 0.0, 1000.0)
    value_coef: float = number(0.075, 0.0, 1000.0)
    advantage_scale: float = number(1.0, 1e-6, 1000.0)
    average_rate: float = number(0.002, 1e-6, 1.0)

    def check(self) -> None:
        """Raise ValueError if rollouts would lean on values that nobody learns."""
        if not self.value_coef and self.rollout_lambda < 1.0:
            raise ValueError(
                f"rollout_lambda={self.rollout_lambda} weighs values that are not learned with value_coef=0; "
                "set rollout_lambda=1 or a greater value_coef"
            )
