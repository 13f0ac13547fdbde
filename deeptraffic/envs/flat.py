"""Observations that are one row of numbers: the game's own vector, lane gaps, and their temporal windows."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from deeptraffic.envs.row_loop import RowLoop
from deeptraffic.policies.gaps import GAP_FEATURES, gap_features
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.observation import sense
from deeptraffic.sim.rules import Action, Rules, Sensor
from deeptraffic.sim.state import I64, Games

if TYPE_CHECKING:
    from deeptraffic.envs.observation import ObservationConfig

Floats = NDArray[np.floating]
NO_ACTION = -1
BOUNDS = (-1.0, 6.0)  # the 2017 ego car marks itself with up to 10 * 2 * 2.02 / 7; one that brakes past 0 is below 0


@compiled
def write_vector(rules: NDArray, sensor: Sensor, games: Games, rows: I64, agent: int, out: Floats) -> None:
    """Write what the agent's sensor shows in each row to the first D entries of out[k]."""
    for k in range(rows.size):
        sense(rules[0], sensor, games[rows[k]], agent, out[k])


@compiled
def write_gaps(rules: NDArray, sensor: Sensor, games: Games, rows: I64, agent: int, out: Floats) -> None:
    """Write each row's gap features, computed from the sensor's cells, to the first entries of out[k]."""
    side, ahead, behind = sensor.lanes_side, sensor.patches_ahead, sensor.patches_behind
    cells = np.empty((2 * side + 1) * (ahead + behind))
    for k in range(rows.size):
        sense(rules[0], sensor, games[rows[k]], agent, cells)
        gap_features(cells, side, ahead, behind, rules[0].empty, out[k])


@compiled
def write_gaps_ego(rules: NDArray, sensor: Sensor, games: Games, rows: I64, agent: int, out: Floats) -> None:
    """As `write_gaps`, followed by the agent's own speed factor and following speed, both halved, within -1..2."""
    write_gaps(rules, sensor, games, rows, agent, out)
    at = (2 * sensor.lanes_side + 1) * GAP_FEATURES
    for k in range(rows.size):
        out[k, at] = min(max(games[rows[k]].speed_factor[agent] / 2.0, -1.0), 2.0)
        out[k, at + 1] = min(max(games[rows[k]].following_speed[agent] / 2.0, -1.0), 2.0)


@compiled
def stack_window(rows: I64, actions: I64, size: int, last: Floats, history: Floats, out: Floats) -> None:
    """Append each row's past to its observation out[k, :size], and move the past on where an action was carried out.

    last (B, size): observations before these; history (B, T, size + 5): entry t holds the observation t + 1 decisions
    ago, then the action taken on it as a one-hot vector times size
    """
    for k in range(rows.size):
        past = history[rows[k]]
        if actions[k] >= 0:
            for t in range(past.shape[0] - 1, 0, -1):
                past[t] = past[t - 1]
            past[0, :size] = last[rows[k]]
            past[0, size:] = 0.0
            past[0, size + actions[k]] = size
        last[rows[k]] = out[k, :size]
        for t in range(past.shape[0]):
            out[k, size + t * past.shape[1] : size + (t + 1) * past.shape[1]] = past[t]


class FlatKind:
    """An observation of `size` numbers per game, with an optional temporal window."""

    options: ClassVar[tuple[str, ...]] = ("lanes_side", "patches_ahead", "patches_behind", "temporal_window", "dtype")
    contest: ClassVar[bool]
    default_dtype: ClassVar[str] = "float32"
    loop: ClassVar[Callable[..., None]]

    def __init__(self, rules: Rules, config: "ObservationConfig", num_envs: int, agent: int) -> None:
        sensor = config.sensor.check(rules)
        self.dtype = np.dtype(config.dtype or self.default_dtype)
        self.size, window, actions = self.count(sensor), config.temporal_window, len(Action)
        self.length = self.size + window * (self.size + actions)
        self.space = self._space(window)
        self.fill = RowLoop(self.loop, (sensor,), agent)
        self.last = np.zeros((num_envs, self.size if window else 0), self.dtype)
        self.history = np.zeros((num_envs, window, self.size + actions), self.dtype)

    def _space(self, window: int) -> spaces.Box:
        """Bounds: those of the numbers, and 0 to size for the one-hot actions of the window."""
        low, high = (np.full(self.length, bound, self.dtype) for bound in BOUNDS)
        for t in range(window):
            one_hot = slice(self.size + t * (self.size + len(Action)) + self.size, None)
            low[one_hot][: len(Action)] = 0.0
            high[one_hot][: len(Action)] = self.size
        return spaces.Box(low, high, dtype=self.dtype.type)

    @staticmethod
    def count(sensor: Sensor) -> int:
        """Return the entries of one observation without its past."""
        raise NotImplementedError

    def reset(self, rows: I64 | slice) -> None:
        """Forget the past of these rows."""
        self.history[rows] = 0.0

    def history_arrays(self) -> dict[str, NDArray]:
        """Return the arrays of the temporal window."""
        return {"last": self.last, "history": self.history}

    def observe(self, sim: Simulator, rows: I64, actions: ArrayLike | None) -> Floats:
        """Return (len(rows), length) numbers."""
        out = np.empty((rows.size, self.length), self.dtype)
        self.fill(sim, rows, out)
        if self.length > self.size:
            taken = np.full(rows.size, NO_ACTION) if actions is None else np.asarray(actions, np.int64)
            stack_window(rows, np.ascontiguousarray(taken), self.size, self.last, self.history, out)
        return out


class VectorKind(FlatKind):
    """The game's own vector, row by row from the farthest ahead: a free cell 1, off the road 0, a car speed / EMPTY."""

    contest = True
    default_dtype = "float64"
    loop = staticmethod(write_vector)

    @staticmethod
    def count(sensor: Sensor) -> int:
        """(2 L + 1) * (P + Q)."""
        return sensor.size


class GapsKind(FlatKind):
    """Six numbers for each lane that the sensor shows, from its cells alone (`deeptraffic/policies/gaps.py`)."""

    contest = True
    loop = staticmethod(write_gaps)

    @staticmethod
    def count(sensor: Sensor) -> int:
        """(2 L + 1) * 6."""
        return sensor.columns * GAP_FEATURES


class GapsEgoKind(FlatKind):
    """Lane gaps, then speed factor / 2 and following speed / 2 of the own car, which the sensor does not show."""

    contest = False
    loop = staticmethod(write_gaps_ego)

    @staticmethod
    def count(sensor: Sensor) -> int:
        """(2 L + 1) * 6 + 2."""
        return sensor.columns * GAP_FEATURES + 2
