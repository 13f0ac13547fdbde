"""Imagined cars: a layer that shows, as ghosts against what came, the cars that a world model predicted.

At each decision, the model's latent state of `AHEAD` decisions ago is moved on by the actions that were taken since. It
is decoded into an observation, whose occupied cells are the ghosts. Where a ghost lies on a car, the model was right.

    $ deeptraffic watch runs/world --layer imagined
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from agents.analysis.imagination import BESIDE, CELLS, FREE, VEHICLE, cell_shades
from agents.analysis.planning_gap import load_world_model
from agents.export import TrainedPolicy
from deeptraffic.envs.observations import Observer
from deeptraffic.insight.decision_layer import DecisionLayer
from deeptraffic.render.compositor import Camera
from deeptraffic.render.layers import LayerContext, draw_frame, draw_polygon
from deeptraffic.render.timeline import phases
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import CELL_LENGTH, LANE_MARGIN, LANE_WIDTH, VEHICLE_LENGTH, VEHICLE_WIDTH

if TYPE_CHECKING:
    import pygame

AHEAD = 2  # [decisions] between a prediction and what came
COLOUR = (120, 220, 255)
LIKELY = (FREE + VEHICLE) / 2  # cells with a smaller shade are occupied


class ImaginedCar(NamedTuple):
    """A run of occupied cells: lane, and front and rear end [px] on the road."""

    lane: int
    front: float
    rear: float


class ImaginedCars(DecisionLayer[list[ImaginedCar]]):
    """Ghosts of predicted cars; ValueError for a policy that is no run of a world model over cells or lane gaps."""

    def __init__(self, context: LayerContext) -> None:
        super().__init__(context)
        folder = self.policy.folder if isinstance(self.policy, TrainedPolicy) else None
        if folder is None:
            raise ValueError("the layer imagined shows a world model's predictions; name the folder of its run")
        self._agent, config = load_world_model(folder)
        self._observation = config.observation
        if self._observation.kind not in CELLS:
            raise ValueError(f"the layer imagined draws {' and '.join(CELLS)}, not {self._observation.kind}")
        self._model: Any = self._agent.policy
        self._model.set_training_mode(False)
        self._observer = Observer(context.rules, self._observation, 1)
        self._latents: list[torch.Tensor] = []  # of decisions before, the newest last, each moved on to the present one
        self._frame = -1

    @torch.no_grad()
    def explain(self, sim: Simulator) -> list[ImaginedCar]:
        """Return the cars that were predicted for now; none in the first decisions."""
        frame = int(sim.state.frame[0])
        if frame <= self._frame:  # another episode
            self._latents.clear()
        self._frame = frame
        self._sim.set_state(sim.get_state(np.zeros(1, np.int64)))
        obs = self._model.obs_to_tensor(self._observer.observe(self._sim))[0]
        cars = self._cars(self._model.decoder(self._latents[0])) if len(self._latents) == AHEAD else []
        self._latents = [*self._latents, self._model.encode(obs)][-AHEAD:]
        return cars

    @torch.no_grad()
    def after_decision(self, sim: Simulator, action: int) -> None:
        """Move all predictions on by the action that is taken."""
        taken = torch.tensor([action], device=self._agent.device)
        self._latents = [self._model.imagine(latent, taken) for latent in self._latents]

    def _cars(self, decoded: torch.Tensor) -> list[ImaginedCar]:
        """Return the cars of a decoded observation on the road of the present moment."""
        shades = cell_shades(decoded[0].cpu().numpy(), self._observation)
        sensor, scene = self._observation.sensor, self._sim.state[0]
        first_line = int(np.floor(scene["y"][0] / CELL_LENGTH)) - sensor.patches_ahead
        cars = []
        for column in range(shades.shape[1]):
            lane = int(scene["lane"][0]) + column - sensor.lanes_side
            if not 0 <= lane < self.rules.lanes or (shades[:, column] == BESIDE).all():  # taken for no lane
                continue
            for begin, end in phases(shades[:, column] < LIKELY):
                is_ego = column == sensor.lanes_side and begin - 1 <= sensor.patches_ahead < end + 1
                if not is_ego:
                    front, rear = ((first_line + row) * CELL_LENGTH for row in (begin, end))
                    cars.append(ImaginedCar(lane, front, max(rear, front + VEHICLE_LENGTH)))
        return cars

    def draw(
        self, canvas: "pygame.Surface", camera: Camera, scene: np.void, content: list[ImaginedCar], age: int
    ) -> None:
        """Draw the ghosts, fainter until the next decision, as the cars have moved on."""
        alpha = max(0.15, 1.0 - age / self.rules.decision_period)
        for car in content:
            left, top = camera.pixel(LANE_WIDTH * car.lane + LANE_MARGIN - 2, car.front)
            wide, high = (VEHICLE_WIDTH + 4) * camera.scale, (car.rear - car.front) * camera.scale
            corners = [(left, top), (left + wide, top), (left + wide, top + high), (left, top + high)]
            draw_polygon(canvas, COLOUR, 0.18 * alpha, corners)
            draw_frame(canvas, COLOUR, alpha, (left, top, wide, high), max(1.0, 1.4 * camera.scale))
