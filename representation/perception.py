"""Perception models: networks from an environment's observation to the sensor's cells, for policies that read cells.

    >>> model = load_perception("runs/pretrain/conv-detection/detector.safetensors")
    >>> model.perceive(images)                         # (N, 70, 28, 6) uint8 -> (N, 420) float64
    >>> evaluate_open(PerceptionPolicy(model, make_builtin("gap")), runs=200)

`agents.join` puts one in front of a network over the sensor's cells, as one policy file.

Letters in shapes: N observations, R rows and L columns of predicted cells, D cells of the sensor.
"""

import importlib
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deeptraffic.envs.observations import Observation, make_observation
from deeptraffic.policies.base import Policy
from deeptraffic.policies.layers import Concat, Reshape, Slice
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import FULL_SPEED, RULES_2018, Sensor
from deeptraffic.sim.state import F64, I64
from representation.data.cells import RoadCells, sensor_cells, whole_vehicles
from representation.fit import Batch
from representation.saved_model import SavedModel
from representation.weights import read_weights

CHUNK = 512  # observations that a network reads at a time
OCCUPIED_WEIGHT, LANE_WEIGHT = 4.0, 0.3  # of the terms of the loss

PERCEPTION_MODELS = {
    "deeptraffic-detector": "representation.paradigms.convolutional.detection:GridDetector",
    "deeptraffic-denoiser": "representation.paradigms.autoencoder.denoiser:GridDenoiser",
}  # format of the weights file -> module:class, imported when it is asked for


class PerceptionModel(SavedModel):
    """A network that predicts for every cell whether a vehicle is there, and its speed.

    observed: options of the observation that it reads, by name
    row: of the predicted grid in which the ego vehicle's front is
    speed_weight: of the error of speeds in the loss
    """

    row: ClassVar[int]
    speed_weight: ClassVar[float] = 30.0
    observed: dict[str, Any]

    @property
    def observation(self) -> Observation:
        """The observation that it reads."""
        return make_observation(self.observed)

    @property
    def sensor(self) -> Sensor:
        """The sensor whose cells it gives."""
        return Sensor()

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (predictions (N, 2, R, L), scores of the ego lane (N, L)) of observations (N, ...).

        The predictions are the logit of a vehicle and its speed / 80 mph; the scores are None where the grid is centred
        on the ego lane.
        """
        raise NotImplementedError

    def add_layers(self, network: NetworkBuilder) -> None:
        """Append the layers of a policy file that compute the sensor's cells from the flat observation."""
        raise NotImplementedError

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (weighted sum of the terms, the terms): cross-entropies of vehicles and lane, error of speeds.

        Batch: obs; occupied (B, R, L) bool, speed (B, R, L) [px/frame], lane (B,) int64.
        """
        obs, occupied, speed, lane = self.augmented(batch["obs"], batch["occupied"], batch["speed"], batch["lane"])
        predicted, scores = self(obs)
        truth = occupied.float()
        terms = {"cells": functional.binary_cross_entropy_with_logits(predicted[:, 0], truth)}
        error = truth * (predicted[:, 1] - speed / FULL_SPEED).pow(2)
        terms["speed"] = error.sum() / truth.sum().clamp(min=1.0)
        loss = OCCUPIED_WEIGHT * terms["cells"] + self.speed_weight * terms["speed"]
        if scores is not None:
            terms["lane"] = functional.cross_entropy(scores, lane)
            loss = loss + LANE_WEIGHT * terms["lane"]
        return loss, terms

    def augmented(self, obs: Tensor, occupied: Tensor, speed: Tensor, lane: Tensor) -> tuple[Tensor, ...]:
        """Return examples as training sees them; in evaluation mode they are unchanged."""
        return obs, occupied, speed, lane

    def cells(self, obs: NDArray[Any]) -> RoadCells:
        """Return the predicted grids of observations (N, ...), one speed for each vehicle."""
        self.eval()
        pieces, lanes = [], []
        with torch.no_grad():
            for start in range(0, len(obs), CHUNK):
                predicted, scores = self(torch.from_numpy(obs[start : start + CHUNK]))
                pieces.append(predicted.numpy())
                middle = np.full(len(predicted), predicted.shape[3] // 2)
                lanes.append(middle if scores is None else scores.argmax(1).numpy())
        out = np.concatenate(pieces)
        return whole_vehicles(RoadCells(out[:, 0] > 0, FULL_SPEED * out[:, 1], np.concatenate(lanes)))

    def perceive(self, obs: NDArray[Any]) -> F64:
        """Return the sensor's cells (N, D) of observations (N, ...), as the layers of a policy file give them."""
        return sensor_cells(self.cells(obs), self.sensor, RULES_2018, self.row)


def rows_of_maps(maps: Tensor) -> Tensor:
    """Return predictions (N, 2, R, L) of maps (N, 2 K, R / K, L): two predictions for each of K rows."""
    return maps.unflatten(1, (-1, 2)).permute(0, 2, 3, 1, 4).flatten(2, 3)


def add_rows(network: NetworkBuilder, lanes: int) -> None:
    """Append the layers of a policy file for `rows_of_maps`: from maps (R / K, L, 2 K) to (R, L, 2)."""
    maps, (rows, _, predictions), parts = len(network.layers), network.shape, []
    for start in range(0, predictions, 2):  # the K rows one below the other
        network.add(Slice(start=start, stop=start + 2, inputs=(maps,)))
        network.add(Reshape(shape=(rows, 2 * lanes)))
        parts.append(len(network.layers))
    network.add(Concat(inputs=tuple(parts)))
    network.add(Reshape(shape=(rows * predictions // 2, lanes, 2)))


def load_perception(path: str | Path) -> PerceptionModel:
    """Return the perception model in a weights file; ValueError for another file."""
    kind = read_weights(path)[1].get("format")
    if kind not in PERCEPTION_MODELS:
        raise ValueError(
            f"{str(path)!r} holds {kind!r}, not a perception model ({', '.join(PERCEPTION_MODELS)}); `deeptraffic "
            "pretrain conv-detection` and `deeptraffic pretrain denoising` write such files"
        )
    module, _, name = PERCEPTION_MODELS[kind].partition(":")
    found = getattr(importlib.import_module(module), name)
    assert issubclass(found, PerceptionModel)
    return found.load(path)


class Perceives(Protocol):
    """What gives the sensor's cells: a perception model, or something simpler."""

    @property
    def observation(self) -> Observation:
        """The observation that it reads."""

    def perceive(self, obs: NDArray[Any]) -> F64:
        """Return the sensor's cells (N, D) of observations (N, ...)."""


class PerceptionPolicy(Policy):
    """A policy over the sensor's cells that drives on perceived ones, in batches by torch.

    Args:
        model: gives the cells
        policy: reads them
        observation: of the model, if it is another than it was trained on, such as images in other styles
    """

    def __init__(self, model: Perceives, policy: Policy, observation: Observation | None = None) -> None:
        self.model, self.policy, self.label = model, policy, f"{policy.label}, perceived cells"
        self.observation = observation or model.observation
        self.rules, self.other_agents = policy.rules, policy.other_agents

    def attach(self, sim: Any) -> None:
        """Take the simulator to the policy."""
        self.policy.attach(sim)

    def reset(self, agent_indices: I64) -> None:
        """Empty the memories of these agents."""
        self.policy.reset(agent_indices)

    def act(self, obs: Any, agent_indices: I64) -> I64:
        """Return the actions (B,) for observations (B, ...)."""
        return self.policy.act(self.model.perceive(obs), agent_indices)
