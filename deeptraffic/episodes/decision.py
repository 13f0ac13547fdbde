"""Insight into a decision: what a policy chose, by which values of its actions, and whether it was carried out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.rules import Action

if TYPE_CHECKING:
    from deeptraffic.episodes.episode import Episode

ACTION_NAMES = {
    Action.NOTHING: "nothing",
    Action.ACCELERATE: "accelerate",
    Action.DECELERATE: "decelerate",
    Action.LEFT: "left",
    Action.RIGHT: "right",
}
LANE_CHANGES = (Action.LEFT, Action.RIGHT)
TITLES = {
    "probability": "PROBABILITIES",
    "value": "ACTION VALUES",
    "difference": "DIFFERENCES",
    "output": "OUTPUTS",
}  # by kind
REFUSED = "The safety system refused the lane change."
NOT_ASKED = "It has not seen enough yet."


class ActionValues(NamedTuple):
    """Values by which a policy chose between the actions.

    kind: "probability", "value" (expected return), "difference" (of expected returns) or "output" (not known)
    unit: of values and differences, "" for none
    values: (5,) float64, probabilities 0..1 for that kind
    candidates: (5,) bool, the actions that were considered; none if the network was not asked
    """

    kind: str
    unit: str
    values: NDArray[np.float64]
    candidates: NDArray[np.bool_]

    @property
    def title(self) -> str:
        """Heading of their display."""
        return TITLES[self.kind]

    def fraction(self, action: int) -> float:
        """Return the length of an action's bar, 0..1: a probability, or from the lowest candidate to the highest."""
        if not self.candidates[action]:
            return 0.0
        if self.kind == "probability":
            return float(np.clip(self.values[action], 0.0, 1.0))
        low, high = self.values[self.candidates].min(), self.values[self.candidates].max()
        return float((self.values[action] - low) / (high - low)) if high > low else 1.0

    def text(self, action: int, digits: int = 3) -> str:
        """Return an action's value in words, with so many significant digits."""
        value = float(self.values[action])
        if not self.candidates[action]:
            return "ruled out" if self.candidates.any() else ""
        if self.kind == "probability":
            return f"{100 * value:.0f}%"
        return f"{value:{'+' if self.kind == 'difference' else ''}.{digits}g}".replace("-", "\u2212")


class Insight(NamedTuple):
    """A policy's last decision.

    layers: activations, the input first; each (D,), or (H, W) to be shown in that shape
    values: of the actions; None if there are none
    action: the chosen action, 0..4
    sentence: caption of the decision; "" for none
    refused: whether the safety system refused the lane change, so that the car did nothing
    """

    layers: Sequence[NDArray[np.floating]]
    values: ActionValues | None
    action: int
    sentence: str = ""
    refused: bool = False

    @property
    def note(self) -> str:
        """What is to be said about the decision; "" for nothing."""
        if self.refused:
            return REFUSED
        return NOT_ASKED if self.values is not None and not self.values.candidates.any() else ""


def last_decision(episode: "Episode") -> Insight | None:
    """Return what the ego car's driver last decided; None before the first decision."""
    action = episode.ego_action
    return None if action is None else Insight((), None, action, refused=episode.refused)
