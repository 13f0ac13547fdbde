"""Experiments beyond the six paradigms: attention, multimodal fusion, external memory, capsules.

Each compares its network with simpler ones on the same examples, one metric each.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.figure import empty_figure
from deeptraffic.sim.rules import VEHICLE_CELLS
from representation.comparison import Answers, Classification, SpeedRegression, Way, scene_examples
from representation.data.labels import FAR, free_ahead
from representation.data.recording import observe
from representation.encoder import to_tensors
from representation.encoders.attention import AttentionEncoder
from representation.encoders.capsules import CapsuleEncoder
from representation.encoders.combined import CombinedEncoder
from representation.encoders.conv import ConvEncoder
from representation.encoders.dense import DenseEncoder
from representation.encoders.memory import MemoryEncoder
from representation.encoders.recurrent import RecurrentEncoder
from representation.experiment import TrainingJob
from representation.fit import Arrays, FitConfig
from representation.paradigms.feedforward.experiment import speed_ahead
from representation.paradigms.recurrent.experiment import LANES, ROW, HiddenSpeeds
from representation.paradigms.recurrent.sequence_model import SpeedModel
from representation.plots import add_road_legend, draw_road, save_plot

NEAREST = 12  # vehicles that are listed
NEAR = 150.0  # [px] ahead
EVERY = 4  # of the decisions of a run one in so many is taken: neighbours are alike
ROWS, EGO_ROW = 40, 30  # of the drawn road [cells]


class AttentionLanes(Classification):
    """Classification of the occupied lanes ahead from an unordered set of vehicles."""

    name, paradigm = "attention-lanes", "beyond"
    summary = (
        "Classifies, from an unordered set of vehicles, which of the left, ego and right lanes are occupied ahead."
    )
    source = "Vaswani et al. 2017, arXiv:1706.03762, equation 1; Zaheer et al. 2017, arXiv:1703.06114"
    runs = (350, 60, 150)
    config = FitConfig(epochs=9, batch_size=32, learning_rate=3e-3, learning_rate_end=2e-4, patience=0)
    observed, is_normalised = {"kind": "kinematics", "nearest": NEAREST}, False
    classes = ("none", "right", "ego", "ego, right", "left", "left, right", "left, ego", "all")
    what = "occupied lanes ahead"
    caption = "Attention of the ego car in six held-out scenes: the fainter a vehicle, the lower its weight."

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return obs, with vehicles (N, 12, 6) nearest first, and label (N,), the lanes taken ahead in three bits."""
        recording = job.record(split, runs)
        states = recording.states[:, ::EVERY].reshape(-1)
        free = np.pad(free_ahead(recording.rules, states), ((0, 0), (1, 1)), constant_values=FAR)
        lanes = states["lane"][:, :1].astype(np.int64) + np.arange(3)  # left, own, right of the padded lanes
        taken = np.take_along_axis(free, lanes, 1) < NEAR  # (N, 3)
        return {"obs": observe(recording.rules, states, self.observed), "label": taken @ np.array([4, 2, 1])}

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return attention on shuffled lists; dense layers also on lists that are nearest first."""
        mixed = [shuffled(part) for part in sets]
        return {
            "attention": self.way(AttentionEncoder, mixed),
            "dense, shuffled": self.way(DenseEncoder, mixed),
            "dense, nearest first": self.way(DenseEncoder, sets),
        }

    def draw(self, path: Path, answers: Answers, model: Any, test: Arrays) -> None:
        """Draw the weights as the opacity of vehicles."""
        obs, figure = test["obs"], empty_figure((7.0, 3.6))
        places = np.linspace(0, len(obs["mask"]) - 1, 8).astype(np.int64)[1:7]
        weights = model.encoder.weights_of(to_tensors(obs, places)).numpy()
        for axes, place, weight in zip(figure.subplots(1, 6), places, weights, strict=True):
            shade = obs["mask"][place] * weight / weight.max()
            draw_road(axes, road_of_vehicles(obs["ego"][place], obs["vehicles"][place], shade))
        add_road_legend(figure)
        save_plot(figure, path)


def shuffled(part: Arrays) -> Arrays:
    """Return the same examples with every set of vehicles in another order."""
    obs = part["obs"]
    order = np.random.default_rng(len(obs["mask"])).permuted(np.tile(np.arange(NEAREST), (len(obs["mask"]), 1)), axis=1)
    vehicles = np.take_along_axis(obs["vehicles"], order[..., None], 1)
    return {**part, "obs": {**obs, "vehicles": vehicles, "mask": np.take_along_axis(obs["mask"], order, 1)}}


def road_of_vehicles(ego: NDArray[Any], vehicles: NDArray[Any], weight: NDArray[Any]) -> NDArray[np.float64]:
    """Return a grid (4, 40, 7) to draw of vehicles (K, 6) about the ego car (5,), their weights (K,) as occupancy."""
    grid = np.zeros((4, ROWS, LANES))
    off = np.abs(round(6 * float(ego[0])) + np.arange(LANES) - LANES // 2 - 3) > 3
    grid[OFF_ROAD, :, off] = 1.0
    grid[OWN, EGO_ROW : EGO_ROW + VEHICLE_CELLS, LANES // 2] = 1.0
    rows = EGO_ROW - np.round(vehicles[:, 0] * 70.0).astype(int)
    lanes = LANES // 2 + np.round(vehicles[:, 1] * 7.0).astype(int)
    for row, lane, speed, occupied in zip(rows, lanes, vehicles[:, 2], weight, strict=True):
        if 0 <= lane < LANES and -VEHICLE_CELLS < row < ROWS:
            grid[[OCCUPIED, SPEED], max(0, row) : row + VEHICLE_CELLS, lane] = [[occupied], [speed]]
    return grid


class CombinedSpeed(SpeedRegression):
    """Speed prediction from a grid without speeds and the ego car's state: together, and each alone."""

    name, paradigm = "combined-speed", "beyond"
    summary = "Predicts the mean speed over the next five decisions from a grid of the road and the ego car's state."
    source = "Ngiam et al. 2011, Multimodal deep learning, ICML, section 3"
    runs = (400, 60, 200)
    config = FitConfig(epochs=6, batch_size=64, learning_rate=2e-3, learning_rate_end=2e-4, patience=0)
    caption = "Predicted and true speeds of held-out runs, from a grid without speeds and the ego car's state."

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return obs, road (N, 3, 32, 7) and instruments (N, 5), and target (N,) [mph]."""
        recording = job.record(split, runs)
        states, target = speed_ahead(recording, EVERY)
        road = observe(recording.rules, states, {"kind": "grid", "patches_ahead": 24, "patches_behind": 8})
        own = observe(recording.rules, states, {"kind": "kinematics", "nearest": 1})["ego"]
        return {"obs": {"road": road[:, [OCCUPIED, OFF_ROAD, OWN]], "instruments": own}, "target": target}

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return both modalities and each alone."""
        parts = {"both": ("instruments", "road"), "road alone": ("road",), "ego state alone": ("instruments",)}
        return {
            name: self.way(CombinedEncoder, [{**s, "obs": {part: s["obs"][part] for part in some}} for s in sets])
            for name, some in parts.items()
        }


class MemorySpeed(HiddenSpeeds):
    """Hidden speeds, as in `recurrent-speed`, by a neural Turing machine and a GRU on the same small budget."""

    name, paradigm = "memory-speed", "beyond"
    summary = "A neural Turing machine against a GRU: hidden speeds under a sensor that loses 30% of frames."
    source = "Graves, Wayne and Danihelka 2014, arXiv:1410.5401, equations 2-9"
    runs = (160, 30, 150)
    config = FitConfig(epochs=8, batch_size=8, learning_rate=3e-3, learning_rate_end=2e-4, patience=0)
    caption = "Hidden speeds of held-out runs, as a neural Turing machine estimates them."

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return both networks."""
        return {
            "memory": Way(lambda: SpeedModel(MemoryEncoder(ROW, 48), LANES), sets),
            "gru": Way(lambda: SpeedModel(RecurrentEncoder(ROW, 64), LANES), sets),
        }


class CapsuleScene(Classification):
    """Scene classification from a grid: capsules, convolutions and dense layers on the same budget."""

    name, paradigm = "capsule-scene", "beyond"
    summary = (
        "Capsules against a convolutional network: the scene's class (free, following, boxed in, gaps) from a grid."
    )
    source = "Sabour, Frosst and Hinton 2017, arXiv:1710.09829, equations 1-2 and procedure 1"
    runs = (400, 60, 200)
    config = FitConfig(epochs=8, batch_size=64, learning_rate=2e-3, learning_rate_end=2e-4, patience=0)
    observed = {"kind": "grid", "patches_ahead": 20, "patches_behind": 8}
    caption = "Scenes of held-out runs by true class and by that which capsules predict."

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return obs (N, 4, 28, 7) and label (N,)."""
        return scene_examples(job.record(split, runs), self.observed, every=6)

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return the three networks on the same scenes."""
        kinds = {"capsules": CapsuleEncoder, "convolutions": ConvEncoder, "dense layers": DenseEncoder}
        return {name: self.way(kind, sets) for name, kind in kinds.items()}
