"""Forecasting of grids (paradigm 4, encoder-decoder): the road after one decision, (o, a) to o'.

Source: Oh et al. 2015, "Action-conditional video prediction using deep networks in Atari games", arXiv:1507.08750,
section 3.

    >>> model = GridPredictor()
    >>> fit(model, transitions(grids, actions, next_grids), transitions(...), FitConfig())
    >>> model.predict(grids, actions)                      # (B, 4, 60, 7): probabilities of marks, speeds

Letters in shapes: B examples, H rows and W columns of cells, C channels, A = 5 actions.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deeptraffic.envs.observations.grid import CHANNELS, OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import CELL_LENGTH, FULL_SPEED, RULES_2018, Action
from representation.fit import Batch
from representation.paradigms.autoencoder.likelihood import expected_grid, grid_nats
from representation.saved_model import SavedModel

ACTIONS = len(Action)
FORECAST = (OCCUPIED, SPEED)  # channels of the constant-velocity forecast
CHUNK = 256  # examples predicted at a time
PRIOR_LOGIT = 2.0  # of a cell in the constant-velocity forecast: probability 0.88, of others 0.12
TYPICAL_SPEED = 0.57  # of full speed, where the constant-velocity forecast is empty

F32 = NDArray[np.float32]


class GridPredictor(SavedModel):
    """(o, a) -> o': a convolutional encoder-decoder with a skip connection, conditioned on the action.

    It takes the constant-velocity forecast of o and a as an input, and predicts the residual.

    Args:
        width: channels C
    """

    kind = "deeptraffic-grid-predictor"

    def __init__(self, width: int = 16) -> None:
        super().__init__(width=width)
        self.first = nn.Conv2d(CHANNELS + len(FORECAST) + ACTIONS, width, (5, 3), padding=(2, 1))
        self.halve = nn.Conv2d(width, 2 * width, (6, 3), (2, 1), padding=(2, 1))
        self.middle = nn.Conv2d(2 * width, 2 * width, (5, 3), padding=(2, 1))
        self.widen = nn.ConvTranspose2d(2 * width, width, (2, 1), (2, 1))
        self.last = nn.Conv2d(2 * width, width, (5, 3), padding=(2, 1))
        self.read = nn.Conv2d(width, CHANNELS, 1)
        for weights in self.read.parameters():
            nn.init.zeros_(weights)  # the first output is the prior

    def forward(self, grids: Tensor, actions: Tensor, expected: Tensor) -> Tensor:
        """Return (B, 4, H, W), as `likelihood.grid_nats` reads it; H is even.

        grids: (B, 4, H, W); actions: (B,); expected: (B, 2, H, W), see `transitions`
        """
        assert grids.shape[1] == CHANNELS and grids.shape[2] % 2 == 0, f"{tuple(grids.shape)} is not (B, 4, 2n, W)"
        planes = functional.one_hot(actions, ACTIONS).to(grids.dtype)[:, :, None, None]  # (B, A, 1, 1)
        read = torch.cat([grids, expected, planes.expand(-1, -1, *grids.shape[2:])], 1)  # (B, 4 + 2 + A, H, W)
        fine = torch.relu(self.first(read))  # (B, C, H, W)
        coarse = torch.relu(self.halve(fine))  # (B, 2C, H/2, W)
        coarse = torch.relu(self.middle(coarse))  # (B, 2C, H/2, W)
        fine = torch.relu(self.last(torch.cat([fine, self.widen(coarse)], 1)))  # (B, C, H, W)
        return over_prior(self.read(fine), expected)  # (B, 4, H, W)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (nats of the next grid, recall of its occupied cells) on rows of `transitions`."""
        output, target = self(batch["obs"], batch["action"], batch["expected"]), batch["next_obs"]
        found = ((output[:, OCCUPIED] > 0) & (target[:, OCCUPIED] > 0)).sum() / target[:, OCCUPIED].sum().clamp(min=1)
        return grid_nats(output, target).mean(), {"found": found}

    def predict(self, grids: F32, actions: NDArray[np.int64]) -> F32:
        """Return the expected next grids (B, 4, H, W): probabilities of marks, and speeds."""
        moved = constant_velocity(grids, actions)
        return self.in_chunks(lambda *parts: expected_grid(self(*parts)), grids, actions, moved, size=CHUNK)


def transitions(grids: F32, actions: NDArray[np.int64], next_grids: F32) -> dict[str, Any]:
    """Return training data of `GridPredictor`: obs, action, next_obs and the constant-velocity forecast."""
    expected = constant_velocity(grids, actions)  # (B, 2, H, W)
    return {"obs": grids, "action": actions, "expected": expected, "next_obs": next_grids}


def over_prior(output: Tensor, expected: Tensor) -> Tensor:
    """Return outputs (B, 4, H, W) as residuals of the constant-velocity forecast (B, 2, H, W)."""
    prior = torch.zeros_like(output)
    prior[:, OCCUPIED] = PRIOR_LOGIT * (2.0 * expected[:, 0] - 1.0)
    prior[:, SPEED] = torch.where(expected[:, 0] > 0, expected[:, 1], TYPICAL_SPEED)
    return output + prior


# --- constant velocity ------------------------------------------------------------------------------------------------


def constant_velocity(grids: F32, actions: NDArray[np.int64]) -> F32:
    """Return the grids after a decision (B,) if each car keeps its speed and lane, (B, 2, H, W): occupied, and speed.

    A grid (B, 4, H, W) is centred on the ego car: what is slower comes nearer, and when the ego car changes lanes (on
    the road it is assumed to succeed), everything moves the other way.
    """
    out = np.zeros((len(grids), len(FORECAST), *grids.shape[2:]), np.float32)
    _shift(np.ascontiguousarray(grids), actions, RULES_2018.decision_period * FULL_SPEED / CELL_LENGTH, out)
    return out


@compiled
def _shift(grids: F32, actions: NDArray[np.int64], reach: float, out: F32) -> None:
    """Move cells; reach: cells at full speed."""
    height, width = grids.shape[2:]
    middle = width // 2
    for b in range(len(grids)):
        own = 0.0
        for row in range(height):
            if grids[b, OWN, row, middle] > 0:
                own = max(own, grids[b, SPEED, row, middle])
        side = (actions[b] == Action.RIGHT) - (actions[b] == Action.LEFT)
        if not 0 <= middle + side < width or grids[b, OFF_ROAD, 0, middle + side] != 0:
            side = 0
        for row in range(height):
            for column in range(width):
                if grids[b, OCCUPIED, row, column] == 0:
                    continue
                speed, is_own = grids[b, SPEED, row, column], grids[b, OWN, row, column] > 0
                to_row = row + int(np.floor((own - speed) * reach + 0.5))
                to_column = column - side
                if is_own:
                    to_row, to_column = row, column
                if 0 <= to_row < height and 0 <= to_column < width:
                    out[b, 0, to_row, to_column] = 1.0
                    out[b, 1, to_row, to_column] = speed


# --- metrics ----------------------------------------------------------------------------------------------------------


def occupied_bits(probability: F32, true: F32) -> float:
    """Return the cross-entropy of occupancy [bits per cell]."""
    sure = np.clip(probability, 1e-4, 1 - 1e-4)
    return float(-np.mean(np.where(true >= 0.5, np.log2(sure), np.log2(1.0 - sure))))


def calibrated(expected: F32, known: F32, true: F32) -> F32:
    """Return a binary forecast of occupancy as probabilities: the frequencies with which it was true in training.

    expected: forecast to calibrate; known, true: forecasts and true grids of training data, of one shape
    """
    free, taken = (float(true[(known > 0.5) == is_taken].mean()) for is_taken in (False, True))
    return np.where(expected > 0.5, np.float32(taken), np.float32(free))
