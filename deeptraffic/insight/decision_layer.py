"""Base of layers that explain a decision: found when the ego car decides, drawn until it decides again.

A subclass finds its content in `explain` and draws it in `draw`. Contents are kept by the frame of their decision, so
that an episode can be rewound. In an environment, which does not say when its agent decides, the content is found when
an image of a waiting state is painted.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from deeptraffic.policies.base import Policy
from deeptraffic.render.compositor import Camera
from deeptraffic.render.layers import LayerContext
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.state import State

if TYPE_CHECKING:
    import pygame

Content = TypeVar("Content")


class DecisionLayer(Generic[Content]):
    """A layer whose content belongs to a decision of the ego car; ValueError for a context without a policy."""

    def __init__(self, context: LayerContext) -> None:
        if not isinstance(context.policy, Policy):
            raise ValueError(
                "this layer explains a policy, and here is none; name a policy, or make the layer with "
                "deeptraffic.render.layers.make_layer(NAME, LayerContext(rules, policy))"
            )
        self.rules, self.policy, self.theme = context.rules, context.policy, context.theme
        self._sim = Simulator(context.rules, 1, threads=1)
        self._found: dict[int, Content] = {}

    @abstractmethod
    def explain(self, sim: Simulator) -> Content:
        """Return the content for a simulator whose env 0 waits for the ego car's decision."""

    @abstractmethod
    def draw(self, canvas: "pygame.Surface", camera: Camera, scene: np.void, content: Content, age: int) -> None:
        """Draw the content of the last decision; age: frames since then."""

    def before_decision(self, sim: Simulator) -> None:
        """Find the content of the decision that is due."""
        self._found[int(sim.state.frame[0])] = self.explain(sim)

    def __call__(self, canvas: "pygame.Surface", camera: Camera, state: State) -> None:
        """Draw the content of the last decision, if it was found."""
        scene = state[0]
        frame, is_due = int(scene["frame"]), int(scene["waiting"]) == 0
        decided = frame if is_due else (frame - 1) // self.rules.decision_period * self.rules.decision_period
        if is_due:
            self._sim.set_state(state)
            self._found[decided] = self.explain(self._sim)
        if decided in self._found:
            self.draw(canvas, camera, scene, self._found[decided], frame - decided)
