"""Attention: which cars a decision depends on, by hiding each and asking the policy again (occlusion sensitivity).

Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks" (section 4.2), for vehicles in place of
patches. A line from the ego car to each other car is as thick as the decision changes without it. It needs no gradient
and no access to a network: the observation is computed from the state without the car, whatever it is.
"""

from typing import TYPE_CHECKING

import numpy as np

from deeptraffic.insight.decision_layer import DecisionLayer
from deeptraffic.insight.recorder import RULED_OUT
from deeptraffic.insight.shadow import Shadow
from deeptraffic.render.compositor import Camera
from deeptraffic.render.layers import LayerContext, draw_frame, draw_line
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import VEHICLE_LENGTH, VEHICLE_WIDTH
from deeptraffic.sim.state import ELSEWHERE, F64, Games

if TYPE_CHECKING:
    import pygame

COLOUR = (255, 190, 40)
LEAST = 0.05  # of the greatest change, which is drawn
MARGIN = 2.5  # [px] between a car and its frame


class AttentionLines(DecisionLayer[F64]):
    """Lines from the ego car to the cars that its decision depends on; content: (N - 1,) weights 0..1."""

    def __init__(self, context: LayerContext) -> None:
        super().__init__(context)
        self._shadow = Shadow(self.policy, self.rules, self.rules.vehicles)

    def explain(self, sim: Simulator) -> F64:
        """Return how much the decision changes without each other vehicle, 1 for the greatest change."""
        games = self._shadow.follow(sim)
        for vehicle in range(1, self.rules.vehicles):
            hide(games, vehicle, vehicle)
        return weigh(self._shadow.outputs())

    def after_decision(self, sim: Simulator, action: int) -> None:
        """Remember the action, for observations with a temporal window."""
        self._shadow.action = action

    def draw(self, canvas: "pygame.Surface", camera: Camera, scene: np.void, content: F64, age: int) -> None:
        """Draw a line to each car, and a frame around it."""
        middle_x, middle_y, scale = VEHICLE_WIDTH / 2, VEHICLE_LENGTH / 2, camera.scale
        start = camera.pixel(scene["x"][0] + middle_x, scene["y"][0])
        size = (VEHICLE_WIDTH + 2 * MARGIN) * scale, (VEHICLE_LENGTH + 2 * MARGIN) * scale
        for vehicle in np.argsort(content) + 1:  # the thickest line on top
            weight, x, y = float(content[vehicle - 1]), scene["x"][vehicle], scene["y"][vehicle]
            if weight < LEAST or not np.isfinite(y):
                continue
            draw_line(
                canvas,
                COLOUR,
                0.15 + 0.75 * weight,
                [start, camera.pixel(x + middle_x, y + middle_y)],
                3 * weight * scale,
            )
            corner = camera.pixel(x - MARGIN, y - MARGIN)
            draw_frame(canvas, COLOUR, 0.3 + 0.7 * weight, (*corner, *size), (0.8 + 1.7 * weight) * scale)


def hide(games: Games, env_index: int, vehicle: int) -> None:
    """Take a vehicle from an env's speed map and from its road, so that no observation shows it."""
    cells = games["cells"][env_index]
    cells[cells == vehicle + 1] = 0
    games["y"][env_index, vehicle], games["place"][env_index, vehicle] = np.inf, ELSEWHERE


def weigh(outputs: F64) -> F64:
    """Return how much the outputs change (C - 1,), relative to the greatest change.

    outputs: (C, A), first those of the true state. Actions that are ruled out count as little worse than the worst
    candidate. Where no car changes much, a tenth of the outputs' spread counts as 1.
    """
    first = outputs[0]
    if np.isnan(first).any():  # a network that was not asked
        return np.zeros(len(outputs) - 1)
    top = first.max()
    spread = top - first[first > top - RULED_OUT].min()
    clipped = np.maximum(np.nan_to_num(outputs, neginf=-np.inf), top - 2 * spread)
    relative = clipped - clipped.mean(1, keepdims=True)
    change = np.abs(relative[1:] - relative[0]).max(1)
    return change / max(change.max(), spread / 10, 1e-9)
