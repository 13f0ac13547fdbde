"""Driving as sequences under a degraded sensor: occupancy without speeds, and lost frames.

A single frame of such a sensor does not reveal speeds; several do. So it is a task for memory.

    >>> recording = record(RecordingConfig(runs=100))
    >>> inputs = sequence_inputs(recording, DEGRADED, seed=0)     # (100, 60, 41) float32
    >>> speeds, known = hidden_speeds(recording)                  # (100, 60, 7) [mph] of the car ahead in each lane

The input of a step is, for each lane, the distances of the next three cars ahead and of the next one behind, computed
from the cells of the contest's sensor (observation kind grid); all 0 if the frame was lost. Then the previous action,
one-hot; and whether the frame arrived.

Letters in shapes: R runs, T decisions, (S...) any batch shape, L lanes and H rows of the sensor, n values of one step,
N vehicles.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.settings import Checked, real
from deeptraffic.sim.rules import LANE_WIDTH, MPH_PER_PX, VEHICLE_CELLS, VEHICLE_LENGTH, Action, Rules, Sensor
from representation.data.recording import Recording, observe

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]

LANES, AHEAD = Sensor().columns, Sensor().patches_ahead  # L; rows ahead of the ego bonnet
CARS = 3  # cars ahead that are listed in each lane
CELLS_PER_LENGTH = 4.0  # distances are counted in lengths of a car
NO_ACTION = -1  # before the first decision
VIEW = 500.0  # [px] how far the contest's sensor sees
LARGEST_CHANGE = 100.0  # [mph] beyond it, a car has left the road and re-entered elsewhere
RUNS_AT_A_TIME = 50
LABEL_CHUNK = 4096  # states


@dataclass(frozen=True)
class SensorConfig(Checked):
    """Quality of the sensor.

    drop_rate: probability that a frame is lost
    """

    drop_rate: float = real(0.3, 0.0, 0.95)

    @property
    def size(self) -> int:
        """Size of one step, n."""
        return LANES * (CARS + 2) + len(Action) + 1

    @property
    def space(self) -> spaces.Box:
        """Space of one step."""
        return spaces.Box(0.0, AHEAD / CELLS_PER_LENGTH, (self.size,), np.float32)


DEGRADED = SensorConfig()


# --- inputs ------------------------------------------------------------------------------------------------


def lane_features(grid: NDArray[np.floating]) -> F32:
    """Return the features of each lane, (S..., L, 5), from grids (S..., 4, H, L).

    Free road up to the first, second and third car ahead and to the first behind [car lengths], and whether the lane
    exists. A car alongside counts as behind, at 0.
    """
    occupied = grid[..., OCCUPIED, :, :] > 0.5
    ahead = occupied[..., AHEAD - 1 :: -1, :]  # (S..., P, L), nearest first
    begins = ahead.copy()
    begins[..., 1:, :] &= ~ahead[..., :-1, :]
    count = begins.cumsum(-2)  # cars met up to each cell
    behind = occupied[..., AHEAD:, :].copy()
    behind[..., :VEHICLE_CELLS, LANES // 2] = False  # the ego car
    exists = ~(grid[..., OFF_ROAD, :, :] > 0.5).all(-2)
    distances = [_cells_before(count >= car) for car in range(1, CARS + 1)]
    return np.stack([*distances, _cells_before(behind), exists], -1).astype(np.float32)


def _cells_before(found: Flags) -> NDArray[np.float64]:
    """Return the cells before the first one found [lengths of a car], from (S..., rows, L)."""
    return np.where(found.any(-2), found.argmax(-2), found.shape[-2]) / CELLS_PER_LENGTH


def sequence_inputs(recording: Recording, config: SensorConfig, seed: int) -> F32:
    """Return the inputs at each decision, (R, T, n); seed: of the lost frames."""
    states, shape = recording.states[:, :-1], recording.actions.shape
    pieces = [states[start : start + RUNS_AT_A_TIME] for start in range(0, len(states), RUNS_AT_A_TIME)]
    lists = np.concatenate([lane_features(observe(recording.rules, piece, "grid")) for piece in pieces])
    before = np.full((*shape, 1), NO_ACTION)
    before[:, 1:, 0] = recording.actions[:, :-1]
    arrived = np.random.default_rng(seed).random(shape)[..., None] >= config.drop_rate
    seen, one_hot = lists.reshape(*shape, -1) * arrived, before == np.arange(len(Action))
    return np.concatenate([seen, one_hot, arrived], -1, dtype=np.float32)


# --- targets -----------------------------------------------------------------------------------------------


def hidden_speeds(recording: Recording) -> tuple[F32, Flags]:
    """Return (relative speed of the first car ahead in each lane [mph], whether it is known), (R, T, L) each.

    It is the mean over the decision period that has just ended, which the first decision does not have.
    """
    states, shape = recording.states[:, :-1], (*recording.actions.shape, LANES)
    ahead = states["y"][..., :1] - states["y"]  # (R, T, N) [px] from ego front to theirs
    period = recording.rules.decision_period
    speed = np.diff(ahead, axis=1) / period * MPH_PER_PX  # (R, T - 1, N) [mph] relative
    nearest = np.stack([_nearest(states, ahead, lane - LANES // 2) for lane in range(LANES)], -1)  # (R, T, L)
    values, known = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    values[:, 1:] = np.take_along_axis(speed, np.maximum(nearest[:, 1:], 0), -1)
    known[:, 1:] = (nearest[:, 1:] >= 0) & (np.abs(values[:, 1:]) < LARGEST_CHANGE)
    return np.where(known, values, 0.0), known


def _nearest(states: NDArray[Any], ahead: NDArray[np.float64], side: int) -> I64:
    """Return the first vehicle ahead, `side` lanes to the right of the ego lane, (R, T); -1 for none in view."""
    lane = states["lane"][..., :1] + side
    here = np.zeros(ahead.shape, np.bool_)
    for mark in (0.0, 10.0):  # a vehicle stands in up to two columns, see `representation/data/labels.py`
        here |= np.floor((states["x"] + mark) / LANE_WIDTH) == lane
    here &= (ahead > VEHICLE_LENGTH) & (ahead < VIEW + VEHICLE_LENGTH)
    here[..., 0] = False
    distance = np.where(here, ahead, np.inf)
    return np.where(here.any(-1), distance.argmin(-1), -1)


def expert_actions(rules: Rules, states: NDArray[Any], expert: str = "gap") -> I64:
    """Return the actions of a built-in policy with the contest's full sensor in states (S...)."""
    policy, flat = make_builtin(expert, rules.year), states.reshape(-1)
    actions = np.empty(flat.size, np.int64)
    for start in range(0, flat.size, LABEL_CHUNK):
        piece = slice(start, min(start + LABEL_CHUNK, flat.size))
        obs = observe(rules, flat[piece], "vector")
        actions[piece] = policy.act(obs, np.arange(len(obs)))
    return actions.reshape(states.shape)
