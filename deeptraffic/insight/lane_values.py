"""Lane values: a bar ahead of the ego car in each lane that its next action can lead to, as long as the value."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from deeptraffic.episodes.decision import ActionValues
from deeptraffic.insight.decision_layer import DecisionLayer
from deeptraffic.insight.recorder import action_values
from deeptraffic.insight.shadow import Shadow
from deeptraffic.render.compositor import Camera
from deeptraffic.render.drawing import TextRenderer
from deeptraffic.render.layers import LayerContext, draw_polygon
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import LANE_WIDTH, Action

if TYPE_CHECKING:
    import pygame

SIDES = {
    -1: (Action.LEFT,),
    0: (Action.NOTHING, Action.ACCELERATE, Action.DECELERATE),
    1: (Action.RIGHT,),
}  # actions that lead one lane to the left, nowhere, and to the right
GAP, SHORTEST, LONGEST, WIDTH = 8.0, 6.0, 110.0, 9.0  # [px] of a bar
TEXT, DIGITS = 10.0, 2  # [px] height of a bar's number, and its significant digits


class LaneBar(NamedTuple):
    """A bar: lane, fraction 0..1 of its length, the value as a text, and whether it is the best lane's."""

    lane: int
    fraction: float
    text: str
    is_best: bool


class LaneValues(DecisionLayer[list[LaneBar]]):
    """Bars ahead of the ego car. Of its own lane the best action counts, of probabilities the sum."""

    def __init__(self, context: LayerContext) -> None:
        super().__init__(context)
        self._shadow = Shadow(self.policy, self.rules, 1)
        self._text = TextRenderer()

    def before_decision(self, sim: Simulator) -> None:
        """Wait for the policy's own values."""

    def after_decision(self, sim: Simulator, action: int) -> None:
        """Take the values by which the policy has chosen."""
        values = self.policy.values
        found = np.where(np.arange(len(Action)) == action, 0.0, -np.inf) if values is None else values[0]
        bars = self._bars(found, int(sim.state.lane[0, 0]))
        self._found[int(sim.state.frame[0])] = bars if values is not None else [bar._replace(text="") for bar in bars]

    def explain(self, sim: Simulator) -> list[LaneBar]:
        """Return the bars of the decision that is due."""
        self._shadow.follow(sim)
        return self._bars(self._shadow.outputs()[0], int(sim.state.lane[0, 0]))

    def _bars(self, outputs: np.ndarray, lane: int) -> list[LaneBar]:
        values = action_values(outputs, self.policy.value_kind)
        bars = [
            (lane + side, *found)
            for side, actions in SIDES.items()
            if 0 <= lane + side < self.rules.lanes and (found := _best(values, actions)) is not None
        ]
        best = max((fraction for _, fraction, _ in bars), default=0.0)
        return [LaneBar(where, fraction, text, fraction == best) for where, fraction, text in bars]

    def draw(self, canvas: "pygame.Surface", camera: Camera, scene: np.void, content: list[LaneBar], age: int) -> None:
        """Draw the bars from just ahead of the car."""
        foot, scale = float(scene["y"][0]) - GAP, camera.scale
        for bar in content:
            middle = (bar.lane + 0.5) * LANE_WIDTH
            top = foot - SHORTEST - (LONGEST - SHORTEST) * bar.fraction
            left, right = middle - WIDTH / 2, middle + WIDTH / 2
            colour = self.theme.free if bar.is_best else self.theme.rim
            frame = foot - LONGEST
            for end, alpha in ((frame, 0.14), (top, 0.85 if bar.is_best else 0.5)):
                box = [camera.pixel(x, y) for x, y in ((left, foot), (left, end), (right, end), (right, foot))]
                draw_polygon(canvas, colour, alpha, box)
            if TEXT * scale >= 9:
                x, y = camera.pixel(middle, frame - 1.3 * TEXT)
                size = TEXT * 0.85 * scale
                size *= min(1.0, 0.95 * LANE_WIDTH * scale / max(self._text.width(bar.text, size), 1.0))
                self._text.write(canvas, bar.text, (x, y), size, self.theme.rim, "centre")


def _best(values: ActionValues, actions: tuple[Action, ...]) -> tuple[float, str] | None:
    """Return the bar's fraction and text for a lane's actions; None if none of them is a candidate."""
    candidates = [int(action) for action in actions if values.candidates[action]]
    if not candidates:
        return None
    if values.kind == "probability":
        total = float(values.values[candidates].sum())
        return total, f"{100 * total:.0f}%"
    best = max(candidates, key=lambda action: values.values[action])
    return values.fraction(best), values.text(best, DIGITS)
