"""Forecasting of grids (paradigm 4, encoder-decoder): the road after one decision, and after each of the next eight.

`GridPredictor` maps (o, a) to o' in one step: Oh et al. 2015, "Action-conditional video prediction using deep networks
in Atari games", arXiv:1507.08750, section 3. `Forecaster` encodes the history and decodes the future:
Sutskever, Vinyals and Le 2014, "Sequence to sequence learning with neural networks", arXiv:1409.3215, with a
convolutional recurrent cell, as in Shi et al. 2015, "Convolutional LSTM network", arXiv:1506.04214, equation 3.

    >>> model = Forecaster()
    >>> fit(model, with_prior(windows(recording, 3, 8)), with_prior(windows(others, 3, 8)), FitConfig())
    >>> model.predict(rows)                                # (B, 8, 2, 60, 7): probability of occupancy, speed

Letters in shapes: B examples, T observed and K future steps, H rows and W columns of cells, C channels, A = 5 actions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deeptraffic.envs.observations.grid import CHANNELS, OCCUPIED, SPEED
from deeptraffic.sim.rules import Action
from representation.data.motion import FORECAST, constant_velocity
from representation.fit import Batch
from representation.paradigms.autoencoder.likelihood import expected_grid, grid_nats
from representation.saved_model import SavedModel

ACTIONS = len(Action)
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
        self.read = zero_initialised(nn.Conv2d(width, CHANNELS, 1))

    def forward(self, grids: Tensor, actions: Tensor, expected: Tensor) -> Tensor:
        """Return (B, 4, H, W), as `likelihood.grid_nats` reads it; H is even.

        grids: (B, 4, H, W); actions: (B,); expected: (B, 2, H, W), see `transitions`
        """
        assert grids.shape[1] == CHANNELS and grids.shape[2] % 2 == 0, f"{tuple(grids.shape)} is not (B, 4, 2n, W)"
        read = torch.cat([grids, expected, action_planes(actions, grids)], 1)  # (B, 4 + 2 + A, H, W)
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
        rows = {"obs": grids, "action": actions, "expected": constant_velocity(grids, actions[:, None])[:, 0]}
        return _in_pieces(self, rows, lambda b: expected_grid(self(b["obs"], b["action"], b["expected"])))


class Forecaster(SavedModel):
    """Encodes T grids and the decisions between them; decodes the next K grids under a plan of K decisions.

    Each step takes the constant-velocity forecast (`data.motion.constant_velocity`) and the previous prediction as
    inputs, and predicts the residual.

    Args:
        width: channels C of the recurrent state
    """

    kind = "deeptraffic-forecaster"

    def __init__(self, width: int = 8) -> None:
        super().__init__(width=width)
        self.width = width
        self.encoder = ConvGRUCell(CHANNELS + ACTIONS, width)
        self.decoder = ConvGRUCell(2 * len(FORECAST) + ACTIONS, width)
        self.read = nn.Conv2d(width, width, 1)
        self.last = zero_initialised(nn.Conv2d(width, CHANNELS, 1))

    def forward(self, batch: Batch) -> Tensor:
        """Return (B, K, 4, H, W), as `likelihood.grid_nats` reads it, for history, before, plan and expected."""
        history, plan, expected = batch["history"], batch["plan"], batch["expected"]
        assert history.dim() == 5 and expected.shape[:2] == plan.shape, (
            f"{tuple(history.shape)}, {tuple(expected.shape)}"
        )
        state = history.new_zeros(len(history), self.width, *history.shape[3:])  # (B, C, H, W)
        for t in range(history.shape[1]):
            planes = action_planes(batch["before"][:, t], history[:, t])
            state = self.encoder(torch.cat([history[:, t], planes], 1), state)
        answer, outputs = history[:, -1, list(FORECAST)], []  # (B, 2, H, W)
        for k in range(plan.shape[1]):
            prior = expected[:, k]  # (B, 2, H, W)
            state = self.decoder(torch.cat([prior, answer, action_planes(plan[:, k], answer)], 1), state)
            output = over_prior(self.last(torch.relu(self.read(state))), prior)  # (B, 4, H, W)
            answer = expected_grid(output)[:, list(FORECAST)]
            outputs.append(output)
        return torch.stack(outputs, 1)  # (B, K, 4, H, W)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (nats of one step's grid, mean over the steps; metrics of the first and the last step)."""
        output, target = self(batch), batch["future"]  # (B, K, 4, H, W)
        nats = grid_nats(output.flatten(0, 1), target.flatten(0, 1)).view(output.shape[:2]).mean(0)  # (K,)
        return nats.mean(), {"first": nats[0], "last": nats[-1]}

    def predict(self, rows: Mapping[str, Any]) -> F32:
        """Return (B, K, 2, H, W), probabilities of occupancy and speeds, for rows of `windows`."""

        def work(batch: Batch) -> Tensor:
            output = self(batch)
            return expected_grid(output.flatten(0, 1))[:, list(FORECAST)].unflatten(0, output.shape[:2])

        names = ("history", "before", "plan", "expected")
        complete = rows if "expected" in rows else with_prior(rows)
        return _in_pieces(self, {name: complete[name] for name in names}, work)


class ConvGRUCell(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078, equations 5 to 8) whose weighted sums are convolutions.

    Args:
        inputs: channels of a step's input
        width: channels C of the state
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + width, 2 * width, 3, padding=1)
        self.candidate = nn.Conv2d(inputs + width, width, 3, padding=1)

    def forward(self, read: Tensor, state: Tensor) -> Tensor:
        """Return the next state (B, C, H, W)."""
        reset, update = torch.sigmoid(self.gates(torch.cat([read, state], 1))).chunk(2, 1)  # (B, C, H, W) each
        proposed = torch.tanh(self.candidate(torch.cat([read, reset * state], 1)))
        return update * state + (1.0 - update) * proposed


def with_prior(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return rows of `windows` with `expected`, the constant-velocity forecast, (B, K, 2, H, W)."""
    return {**rows, "expected": constant_velocity(rows["history"][:, -1], rows["plan"])}


def transitions(grids: F32, actions: NDArray[np.int64], next_grids: F32) -> dict[str, Any]:
    """Return training data of `GridPredictor`: obs, action, next_obs and the constant-velocity forecast."""
    expected = constant_velocity(grids, actions[:, None])[:, 0]  # (B, 2, H, W)
    return {"obs": grids, "action": actions, "expected": expected, "next_obs": next_grids}


def zero_initialised(layer: nn.Conv2d) -> nn.Conv2d:
    """Return the layer with weights of 0, so that a network starts with its prior as output."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def over_prior(output: Tensor, expected: Tensor) -> Tensor:
    """Return outputs (B, 4, H, W) as residuals of the constant-velocity forecast (B, 2, H, W)."""
    prior = torch.zeros_like(output)
    prior[:, OCCUPIED] = PRIOR_LOGIT * (2.0 * expected[:, 0] - 1.0)
    prior[:, SPEED] = torch.where(expected[:, 0] > 0, expected[:, 1], TYPICAL_SPEED)
    return output + prior


def action_planes(actions: Tensor, like: Tensor) -> Tensor:
    """Return actions (B,) as one-hot planes (B, A, H, W)."""
    one_hot = functional.one_hot(actions, ACTIONS).to(like.dtype)  # (B, A)
    return one_hot[:, :, None, None].expand(-1, -1, *like.shape[2:])


def _in_pieces(model: nn.Module, arrays: Mapping[str, Any], work: Any) -> F32:
    model.eval()
    count, device = len(next(iter(arrays.values()))), next(model.parameters()).device
    with torch.no_grad():
        pieces = [
            work({name: torch.from_numpy(array[k : k + CHUNK]).to(device) for name, array in arrays.items()})
            for k in range(0, count, CHUNK)
        ]
    return torch.cat(pieces).cpu().numpy()


# --- metrics ----------------------------------------------------------------------------------------------------------


def occupied_iou(probability: F32, true: F32, threshold: float = 0.5) -> float:
    """Return the intersection over union of occupied cells, over all examples; arrays of one shape."""
    named, taken = probability >= threshold, true >= 0.5
    return float((named & taken).sum() / max(1, (named | taken).sum()))


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


def best_threshold(probability: F32, true: F32) -> float:
    """Return the probability threshold of occupancy with the best IoU: of 0.1, 0.15, ... 0.6."""
    options = np.linspace(0.1, 0.6, 11)
    return float(options[np.argmax([occupied_iou(probability, true, option) for option in options])])


def speed_rmse_mph(speeds: F32, true: F32) -> float:
    """Return the RMSE [mph] of speeds (B, H, W) in the occupied cells of true grids (B, 4, H, W)."""
    cars = true[:, OCCUPIED] > 0.5
    return float(80.0 * np.sqrt(np.mean((speeds[cars] - true[:, SPEED][cars]) ** 2)))
