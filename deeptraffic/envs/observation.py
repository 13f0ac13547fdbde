"""What an agent observes: a validated choice (`ObservationConfig`) and what computes it for many games (`Observer`).

    >>> from deeptraffic.envs.observation import ObservationConfig, Observer
    >>> observer = Observer(sim.rules, ObservationConfig("gaps", dtype="float64"), num_envs=sim.num_envs)
    >>> obs = observer.observe(sim)                      # (B, 42) float64, a new array on every call
    >>> observer.space                                   # of one game

Contest kinds are computed from the cells of the contest's sensor alone; open kinds know more than an entrant could.

| kind       | known as | shape                        | dtype   | range                                               |
|------------|----------|------------------------------|---------|-----------------------------------------------------|
| vector     | contest  | (D,), D = (2L+1) * (P+Q)     | float64 | free 1, off the road 0, a car 0..0.04 (2017: 0.58)  |
| gaps       | contest  | ((2L+1) * 6,)                | float32 | 0..1, see `deeptraffic/policies/gaps.py`            |
| grid       | contest  | (4, P+Q, 2L+1)               | float32 | 0..1: occupied, speed, off the road, own car        |
| gaps_ego   | open     | ((2L+1) * 6 + 2,)            | float32 | gaps, then speed factor / 2 and following speed / 2 |
| kinematics | open     | dict: (5,), (K, 6), (K,)     | float32 | -2..2: ego, nearest vehicles, mask (int8, 0 or 1)   |
| pixels     | open     | (height, width, 3 or 1)      | uint8   | 0..255, the whole road                              |
| full       | open     | dict: every field of State   | State's | the simulator's own units, floats unbounded         |

L, P, Q are lanes_side, patches_ahead, patches_behind. In 2017 the own car reads up to 5.8 in its own cells, and one
that brakes past standing reads just below 0: the spaces of vector, gaps and gaps_ego are -1..6. (By the game's rules a
driver who accelerates right after braking to a speed factor of about -1e-17 can reach any speed; it is not hidden.)
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from deeptraffic.envs.flat import GapsEgoKind, GapsKind, VectorKind
from deeptraffic.envs.scene import GridKind, KinematicsKind
from deeptraffic.envs.whole_game import FullKind, PixelsKind
from deeptraffic.render.pixels import MAX_SIDE, MIN_SIDE
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import MAX_VEHICLES, Rules, Sensor

MAX_TEMPORAL_WINDOW = 100

KINDS: dict[str, Any] = {
    "vector": VectorKind,
    "gaps": GapsKind,
    "grid": GridKind,
    "gaps_ego": GapsEgoKind,
    "kinematics": KinematicsKind,
    "pixels": PixelsKind,
    "full": FullKind,
}


@dataclass(frozen=True)
class ObservationConfig:
    """A validated choice of observation.

    kind: vector, gaps, grid, gaps_ego, kinematics, pixels or full
    lanes_side, patches_ahead, patches_behind: the sensor's cells (contests: 0..3, at least 0, within the picture)
    temporal_window: T previous observations, each followed by its action as a one-hot vector times the number of
        observation entries, as the original Brain stacks them: D * (T + 1) + 5 * T entries. Zeros where there is no
        past yet. For vector, gaps and gaps_ego; for others use gymnasium.wrappers.FrameStackObservation
    nearest: K, vehicles that kinematics lists, 1..200
    height, width: [pixels] of pixels, 16..1024
    grey: whether pixels have one channel, of luminance, in place of three
    dtype: "float32" or "float64"; None takes float64 for vector (the game's own numbers) and float32 for others;
        pixels and full have their own

    Raises ValueError with the value, the limit and the remedy.
    """

    kind: str = "vector"
    lanes_side: int = 3
    patches_ahead: int = 50
    patches_behind: int = 10
    temporal_window: int = 0
    nearest: int = 8
    height: int = 84
    width: int = 84
    grey: bool = False
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"observation kind {self.kind!r} does not exist; choose one of {', '.join(KINDS)}")
        options = ("kind", *KINDS[self.kind].options)
        for field in fields(self):
            if field.name not in options and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{field.name}={getattr(self, field.name)!r} has no meaning for observation kind {self.kind!r}; "
                    f"leave it out, or choose a kind that has it (options of {self.kind}: {', '.join(options[1:])})"
                )
        self._check_whole("temporal_window", 0, MAX_TEMPORAL_WINDOW)
        self._check_whole("nearest", 1, MAX_VEHICLES)
        self._check_whole("height", MIN_SIDE, MAX_SIDE)
        self._check_whole("width", MIN_SIDE, MAX_SIDE)
        if not isinstance(self.grey, bool):
            raise ValueError(f"grey={self.grey!r} is not possible; give True or False")
        if self.dtype not in (None, "float32", "float64"):
            raise ValueError(f"dtype={self.dtype!r} is not possible; give 'float32', 'float64' or None")

    @classmethod
    def of(cls, value: "ObservationConfig | Mapping[str, Any] | str") -> "ObservationConfig":
        """Return a configuration from itself, from a dict of its fields, or from a kind's name."""
        if isinstance(value, ObservationConfig):
            return value
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping):
            raise ValueError(
                f"observation={value!r} is no observation; give a kind's name ({', '.join(KINDS)}), "
                "a dict of options or an ObservationConfig"
            )
        known = [field.name for field in fields(cls)]
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"unknown observation option {name!r}{hint} (options: {', '.join(known)})")
        return cls(**value)

    @property
    def sensor(self) -> Sensor:
        """The window of cells that vector, gaps and grid are computed from."""
        return Sensor(self.lanes_side, self.patches_ahead, self.patches_behind)

    @property
    def contest(self) -> bool:
        """Whether an entrant of the contest could know all of it: a contest kind over at most 3 lanes a side."""
        return bool(KINDS[self.kind].contest) and self.sensor.contest

    def _check_whole(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name}={value!r} is not possible; give a whole number from {low} to {high}")


class Observer:
    """Computes one agent's observations in the games of a simulator, and remembers its past where the kind needs one.

    Args:
        rules: of the simulator it will observe
        config: what to observe
        num_envs: B, games of the simulator
        agent: 0 the ego car, 1..other_agents another agent

    space: observation space of one game; contest: see `ObservationConfig.contest`
    """

    def __init__(self, rules: Rules, config: ObservationConfig, num_envs: int, agent: int = 0) -> None:
        if not 0 <= agent <= rules.other_agents:
            raise ValueError(f"agent={agent} does not drive here; agents are 0..{rules.other_agents}")
        self.config, self.contest = config, config.contest
        self._kind = KINDS[config.kind](rules, config, num_envs, agent)
        self.space: spaces.Space = self._kind.space

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Forget the past of rows (all by default): call it when they start a new game."""
        self._kind.reset(slice(None) if rows is None else np.asarray(rows, np.int64))

    def get_state(self) -> dict[str, NDArray]:
        """Return copies of the arrays that later observations depend on; empty for a kind without history."""
        return {name: array.copy() for name, array in self._kind.history_arrays().items()}

    def set_state(self, state: dict[str, NDArray]) -> None:
        """Continue from what `get_state` returned."""
        for name, array in self._kind.history_arrays().items():
            array[:] = state[name]

    def observe(self, sim: Simulator, rows: ArrayLike | None = None, actions: ArrayLike | None = None) -> Any:
        """Return observations of rows (all by default), a new (len(rows), *shape) array or a dict of such arrays.

        actions: (len(rows),) the decisions just carried out, which move a temporal window on by one; None leaves it
        """
        rows = sim.rows if rows is None else np.atleast_1d(np.asarray(rows, np.int64))
        return self._kind.observe(sim, rows, actions)
