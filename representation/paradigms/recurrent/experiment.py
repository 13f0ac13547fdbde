"""Experiment with recurrent networks: the speeds that a sensor hides, which shows where cars are and loses frames.

A single frame of it does not reveal speeds; several do, so that memory pays. Driving under such sensors, with and
without memory, is `deeptraffic train distil`.

    >>> recording = record(RecordingConfig(runs=100))
    >>> rows = sequence_rows(recording)                 # (100, 60, 40) float32
    >>> speeds, known = hidden_speeds(recording)        # (100, 60, 7) [mph] of the car ahead in each lane

Letters in shapes: R runs, T decisions, L lanes, n values of one step.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD
from deeptraffic.sim.rules import LANE_WIDTH, MPH_PER_PX, VEHICLE_CELLS, VEHICLE_LENGTH, Action, Sensor
from representation.comparison import SpeedRegression, Way
from representation.data.recording import Recording, observe_runs
from representation.encoders.dense import DenseEncoder
from representation.encoders.recurrent import RecurrentEncoder
from representation.experiment import TrainingJob
from representation.fit import Arrays, FitConfig
from representation.paradigms.recurrent.sequence_model import SpeedModel

SENSOR = {"kind": "grid", "shows_speeds": False, "drop_rate": 0.3}
LANES, ROWS_AHEAD = Sensor().columns, Sensor().patches_ahead
CARS = 3  # cars ahead that are listed in each lane
LANE_SIZE = CARS + 2
ROW = spaces.Box(-np.inf, np.inf, (LANES * LANE_SIZE + len(Action),), np.float32)  # space of a step
VIEW = 500.0  # [px] how far the sensor sees
LARGEST_CHANGE = 100.0  # [mph] beyond it, a car has left the road and re-entered elsewhere
SPEED_UNIT = np.float32(15.0)  # [mph] unit of the network's outputs, about the spread of relative speeds

F32 = NDArray[np.float32]
Flags = NDArray[np.bool_]


def lane_lists(grids: NDArray[np.floating]) -> F32:
    """Return what each lane of grids (S..., 4, H, L) shows, (S..., L, 5); all 0 off the road and in a lost frame.

    Free road up to the first, second and third car ahead and to the first behind [lengths of a car], and 1. A car
    alongside counts as behind, at 0.
    """
    occupied = grids[..., OCCUPIED, :, :] > 0.5
    ahead = occupied[..., ROWS_AHEAD - 1 :: -1, :]  # (S..., P, L), nearest first
    begins = ahead.copy()
    begins[..., 1:, :] &= ~ahead[..., :-1, :]
    count = begins.cumsum(-2)  # cars met up to each cell
    behind = occupied[..., ROWS_AHEAD:, :].copy()
    behind[..., :VEHICLE_CELLS, LANES // 2] = False  # the ego car
    exists = np.asarray(np.any(grids[..., OFF_ROAD, :, :] < 0.5, -2))
    seen = [*(count >= car for car in range(1, CARS + 1)), behind]
    free = [np.where(found.any(-2), found.argmax(-2), found.shape[-2]) / VEHICLE_CELLS for found in seen]
    return (np.stack([*free, np.ones_like(exists)], -1) * exists[..., None]).astype(np.float32)


def sequence_rows(recording: Recording) -> F32:
    """Return each decision's lists of the lanes and the action before it, one-hot, (R, T, n)."""
    before = np.full(recording.actions.shape, -1)
    before[:, 1:] = recording.actions[:, :-1]
    lists = lane_lists(observe_runs(recording, SENSOR)[:, :-1]).reshape(*before.shape, -1)
    return np.concatenate([lists, before[..., None] == np.arange(len(Action))], -1, dtype=np.float32)


def arrived(rows: F32) -> Flags:
    """Return which frames were not lost, (R, T): those that show a lane of the road."""
    return np.any(rows[..., LANE_SIZE - 1 : LANES * LANE_SIZE : LANE_SIZE] > 0, -1)


def hidden_speeds(recording: Recording) -> tuple[F32, Flags]:
    """Return (speed of the first car ahead in each lane minus the own [mph], whether it is known), (R, T, L) each.

    It is the mean over the decision period that has just ended, which the first decision does not have.
    """
    states = recording.states[:, :-1]
    ahead = states["y"][..., :1] - states["y"]  # (R, T, N) [px] from the ego front to the others'
    speed = np.diff(ahead, axis=1) / recording.rules.decision_period * MPH_PER_PX  # (R, T - 1, N) [mph] relative
    in_view = (ahead > VEHICLE_LENGTH) & (ahead < VIEW + VEHICLE_LENGTH)
    values, known = np.zeros((*ahead.shape[:2], LANES), np.float32), np.zeros((*ahead.shape[:2], LANES), np.bool_)
    for k in range(LANES):
        lane = states["lane"][..., :1] + k - LANES // 2
        here = np.zeros_like(in_view)
        for mark in (0.0, 10.0):  # a vehicle stands in up to two lanes, see `representation/data/labels.py`
            here |= in_view & (np.floor((states["x"] + mark) / LANE_WIDTH) == lane)
        nearest = np.where(here, ahead, np.inf).argmin(-1)[:, 1:, None]
        values[:, 1:, k] = np.take_along_axis(speed, nearest, -1)[..., 0]
        known[:, 1:, k] = here[:, 1:].any(-1)
    known &= np.abs(values) < LARGEST_CHANGE
    return np.where(known, values, 0.0), known


class HiddenSpeeds(SpeedRegression):
    """Estimation of hidden speeds from frames without speeds, three in ten of which are lost."""

    what = "hidden speeds"

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return rows (R, T, n), target (R, T, 7) [15 mph], and where the target is known."""
        recording = job.record(split, runs)
        speeds, known = hidden_speeds(recording)
        return {"rows": sequence_rows(recording), "target": speeds / SPEED_UNIT, "known": known}

    def truth(self, data: Arrays) -> F32:
        """Return the known speeds [mph], (N,)."""
        return SPEED_UNIT * data["target"][data["known"]]

    def answer(self, model: SpeedModel, test: Arrays) -> F32:
        """Return the estimates of the known speeds [mph], (N,)."""
        return estimated_speeds(model, test)[test["known"]]


class RecurrentSpeed(HiddenSpeeds):
    """A GRU against feed-forward networks on stacks of frames."""

    name, paradigm = "recurrent-speed", "recurrent network"
    summary = "Estimates the speed of the car ahead in each lane from occupancy alone, with 30% of frames lost."
    source = "Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014, arXiv:1406.1078"
    runs = (400, 60, 200)
    config = FitConfig(epochs=12, batch_size=8, learning_rate=3e-3, learning_rate_end=2e-4)
    caption = "Hidden speeds of held-out runs, as a GRU estimates them."

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return a GRU, and feed-forward networks on stacks of frames."""
        gru = Way(lambda: SpeedModel(RecurrentEncoder(ROW, 64), LANES), sets)
        stacks = {f"MLP, {k} frame{'s' * (k > 1)}": Way(partial(stack_model, k), sets) for k in (1, 4, 12)}
        return {"gru": gru, **stacks}


def stack_model(steps: int) -> SpeedModel:
    """Return a feed-forward network on the last `steps` steps."""
    space = spaces.Box(-np.inf, np.inf, (steps, *ROW.shape), np.float32)
    return SpeedModel(DenseEncoder(space, 64, hidden=(256,)), LANES)


def estimated_speeds(model: SpeedModel, data: Arrays) -> F32:
    """Return the network's estimates of all speeds, (R, T, 7) [mph]."""
    return SPEED_UNIT * model.predict(data["rows"])
