"""Interface of an observation (`Observation`), and its computation for one agent in many envs (`Observer`).

    >>> observer = Observer(sim.rules, GapsObservation(), num_envs=sim.num_envs)
    >>> obs = observer.observe(sim)                      # (B, 42) float32, a new array on every call
    >>> observer.space                                   # of one env

A new observation is a module of this folder with one subclass of `Observation`; nothing else has to name it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatdim
from numpy.typing import ArrayLike, NDArray

from deeptraffic.envs.observations.degradation import NO_RUN, Scene, WeakCells, Weakness
from deeptraffic.envs.observations.history import Delay, FrameHistory, ObservationHistory
from deeptraffic.policies.base import EnvObservation
from deeptraffic.policies.layer import Layer
from deeptraffic.settings import Checked, choice, integer
from deeptraffic.sim.engine import Simulator, run_in_chunks
from deeptraffic.sim.rules import CONTEST_LANES_SIDE, MAX_LANES_SIDE, MAX_ROWS, Action, Rules, Sensor
from deeptraffic.sim.state import I64

Floats = NDArray[np.floating]
MAX_TEMPORAL_WINDOW = 100
MAX_FRAME_WINDOW = 15  # a stack is at most 16 frames


@dataclass(frozen=True)
class Observation(Checked, ABC):
    """What an agent observes: a kind with its options, the dataclass fields.

    The first line of a subclass's docstring describes it in tables and pages.

    kind: name in settings and on the command line
    contest_kind: whether it is computed from what the contest's sensor shows alone (else it is an open kind)
    ego_only: whether it shows the scene without saying which vehicle an agent drives, so that only the ego car's driver
        can use it
    """

    kind: str = field(default="", init=False)

    strict: ClassVar[bool] = True
    contest_kind: ClassVar[bool] = False
    ego_only: ClassVar[bool] = False

    @abstractmethod
    def space(self, rules: Rules) -> spaces.Space:
        """Return the space of one env's observation; ValueError if it is impossible on this road."""

    @abstractmethod
    def observe(self, sim: Simulator, env_indices: I64, agent: int) -> Any:
        """Return the agent's observations in these envs: a new array (len(env_indices), *shape), or a dict of such."""

    def on_road(self, rules: Rules) -> Self:
        """Return it as the ego car of an environment on this road observes it; see `SensorObservation`."""
        return self

    def by_name(self, rules: Rules) -> EnvObservation:
        """Return it as a policy asks for it by kind and options, which are those that are not at their defaults."""
        given = {each.name: (getattr(self, each.name), each.default) for each in fields(self) if each.init}
        options = {name: value for name, (value, default) in given.items() if value != default}
        return EnvObservation(self.kind, options, flatdim(self.space(rules)))

    def flat(self, obs: Any) -> NDArray[np.float64]:
        """Return observations (B, ...) as a policy file reads them, (B, n): see `deeptraffic.policies.base`."""
        if isinstance(obs, dict):
            return np.concatenate([self.flat(obs[name]) for name in sorted(obs)], 1)
        return np.ascontiguousarray(obs, np.float64).reshape(len(obs), -1)

    def layers(self, rules: Rules) -> tuple[Layer, ...] | None:
        """Return the layers by which a policy file computes it from the sensor's vector; None if it cannot.

        Only a network on an observation that has them can be submitted to a competition.
        """
        return None

    def mirror(self) -> I64 | None:
        """Return the permutation of a flat observation's entries that exchanges left and right; None without one."""
        return None

    def present_space(self, rules: Rules) -> spaces.Space:
        """Return the space of one env's present observation, without a temporal window."""
        return self.space(rules)

    def history(self, rules: Rules, num_envs: int) -> ObservationHistory | FrameHistory | None:
        """Return the history of num_envs envs with which observations are stacked; None without a temporal window."""
        return None

    @property
    def weakness(self) -> Weakness | None:
        """How a weak sensor changes the scene; None if it observes the simulator's own."""
        return None

    @property
    def latency(self) -> int:
        """[decisions] age of what is seen."""
        return 0

    @property
    def is_weak(self) -> bool:
        """Whether its sensor is weakened, see `deeptraffic.envs.observations.degradation`."""
        return self.latency > 0 or self.weakness is not None

    @property
    def sensor(self) -> Sensor:
        """Window of cells that it is computed from; the default one where it is not computed from cells."""
        return Sensor()

    @property
    def temporal_window(self) -> int:
        """Number of previous observations in each observation."""
        return 0

    @property
    def contest(self) -> bool:
        """Whether a contest's entrant has it: a contest kind over at most 3 lanes to each side, not weakened."""
        return self.contest_kind and self.sensor.lanes_side <= CONTEST_LANES_SIDE and not self.is_weak


@dataclass(frozen=True)
class SensorObservation(WeakCells, Observation):
    """Observation computed from the sensor's cells.

    An environment narrows the sensor to its road, see `Sensor.narrowed`: lanes_side to at most lanes - 1, patches_ahead
    and patches_behind to at most rows. Policies have the sensor that they were made with, on every road.

    lanes_side, patches_ahead, patches_behind: size of the sensor [cells] (contests: lanes_side 0..3)
    dtype: "float32" or "float64"
    """

    lanes_side: int = integer(3, 0, MAX_LANES_SIDE)
    patches_ahead: int = integer(50, 0, MAX_ROWS)
    patches_behind: int = integer(10, 0, MAX_ROWS)
    dtype: str = choice("float32", "float32", "float64")

    @cached_property
    def sensor(self) -> Sensor:
        """Window of cells that it is computed from."""
        return Sensor(self.lanes_side, self.patches_ahead, self.patches_behind)

    def on_road(self, rules: Rules) -> Self:
        """Return it with the sensor narrowed to the road."""
        sensor = self.sensor.narrowed(rules)
        return self if sensor == self.sensor else replace(self, **sensor._asdict())


@dataclass(frozen=True)
class FlatObservation(SensorObservation):
    """Observation that is a vector of `size` features, with an optional temporal window.

    temporal_window: T previous observations, each followed by its action as a one-hot vector times `size`, as the
        original Brain stacks them: size * (T + 1) + 5 * T entries; zeros before the episode's start
    loop: compiled loop(rules, sensor, games, env_indices, agent, out) that writes the features to out (B, size)
    """

    temporal_window: int = integer(0, 0, MAX_TEMPORAL_WINDOW)

    low: ClassVar[float] = -1.0  # a vehicle that brakes below speed 0 reads just below 0
    high: ClassVar[float] = 6.0  # the 2017 ego car marks itself with up to 10 * 2 * 2.02 / 7
    loop: ClassVar[Callable[..., None]]

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of features, without the temporal window."""

    def space(self, rules: Rules) -> spaces.Box:
        """Return the space: the features' bounds, and 0 to `size` for the one-hot actions of the temporal window."""
        self.sensor.check()
        step, length = self.size + len(Action), self.size + self.temporal_window * (self.size + len(Action))
        low, high = np.full(length, self.low, self.dtype), np.full(length, self.high, self.dtype)
        for t in range(self.temporal_window):
            one_hot = slice(self.size + t * step + self.size, self.size + (t + 1) * step)
            low[one_hot], high[one_hot] = 0.0, self.size
        return spaces.Box(low, high, dtype=np.dtype(self.dtype).type)

    def present_space(self, rules: Rules) -> spaces.Box:
        """Return the space of the features alone."""
        return spaces.Box(self.low, self.high, (self.size,), np.dtype(self.dtype).type)

    def observe(self, sim: Simulator, env_indices: I64, agent: int) -> Floats:
        """Return the features (len(env_indices), size), without the temporal window."""
        size, dtype = self._features
        out = np.empty((env_indices.size, size), dtype)
        run_loop(self.loop, sim, env_indices, agent, (self.sensor,), (out,))
        return out

    @cached_property
    def _features(self) -> tuple[int, np.dtype]:
        """Number and type of the features, worked out once: a single env asks for them in every step."""
        return self.size, np.dtype(self.dtype)

    def history(self, rules: Rules, num_envs: int) -> ObservationHistory | None:
        """Return the history of features and actions; None without a temporal window."""
        size, window = self.size, self.temporal_window
        return ObservationHistory(num_envs, size, window, self.dtype) if window else None


@dataclass(frozen=True, kw_only=True)
class FrameObservation(Observation):
    """Observation that is an image or a grid, a frame, with an optional temporal window.

    temporal_window: T previous frames in front of the present one, along the axis of channels, oldest first; the
        episode's first frame stands for those before it
    """

    temporal_window: int = integer(0, 0, MAX_FRAME_WINDOW)

    axis: ClassVar[int]  # of the channels: 0 or -1

    @abstractmethod
    def present_space(self, rules: Rules) -> spaces.Box:
        """Return the space of one frame; ValueError if it is impossible on this road."""

    def space(self, rules: Rules) -> spaces.Box:
        """Return the space of a stack of temporal_window + 1 frames."""
        frame, count = self.present_space(rules), self.temporal_window + 1
        low, high = (np.concatenate([bound] * count, self.axis) for bound in (frame.low, frame.high))
        return spaces.Box(low, high, dtype=frame.dtype.type)

    def flat(self, obs: Any) -> NDArray[np.float64]:
        """Return stacks (B, ...) as a policy file reads them, (B, n): rows, then columns, then channels."""
        return super().flat(np.moveaxis(obs, 1, -1) if self.axis == 0 else obs)

    def history(self, rules: Rules, num_envs: int) -> FrameHistory | None:
        """Return the history of frames; None without a temporal window."""
        frame, shown = self.present_space(rules), self.temporal_window + 1
        return FrameHistory(num_envs, frame.shape, frame.dtype, self.axis, shown) if shown > 1 else None


def run_loop(
    loop: Any, sim: Simulator, env_indices: I64, agent: int, fixed: tuple[Any, ...], arrays: tuple[NDArray[Any], ...]
) -> None:
    """Call the compiled loop(rules, *fixed, games, env_indices, agent, *arrays), over threads for many envs.

    arrays: (len(env_indices), ...) each
    """
    if env_indices.size == 1 and loop.overloads:
        loop(sim.table, *fixed, sim.games, env_indices, agent, *arrays)
    else:
        run_in_chunks(sim, loop, env_indices, arrays, fixed, (agent,))


# --- observing ------------------------------------------------------------------------------------------------------


class Observer:
    """Computes one agent's observations in the envs of a simulator; keeps what a temporal window or latency needs.

    Args:
        rules: of the simulator
        observation: what to observe
        num_envs: B, envs of the simulator
        agent: 0 the ego car, 1..other_agents another agent

    space: of one env's observation
    """

    def __init__(self, rules: Rules, observation: Observation, num_envs: int, agent: int = 0) -> None:
        if not 0 <= agent <= rules.other_agents:
            raise ValueError(f"agent={agent} does not drive here; agents are 0..{rules.other_agents}")
        if agent and observation.ego_only:
            raise ValueError(
                f"observation kind {observation.kind!r} does not say which vehicle agent {agent} drives; "
                "choose one that other agents have, too, such as vector, gaps, grid or kinematics"
            )
        self.observation, self.agent = observation, agent
        self.space: spaces.Space = observation.space(rules)
        self._history = observation.history(rules, num_envs)
        latency = observation.latency
        self._delay = Delay(num_envs, observation.present_space(rules), latency) if latency else None
        self._weakness = observation.weakness
        self._run_keys = np.full(num_envs, NO_RUN)
        self._scene: Scene | None = None

    def reset(self, env_indices: ArrayLike | None = None) -> None:
        """Empty the history of these envs (all by default): call it when they start a new episode."""
        some = slice(None) if env_indices is None else np.asarray(env_indices, np.int64)
        self._run_keys[some] = NO_RUN
        for history in (self._delay, self._history):
            if history is not None:
                history.reset(some)

    def observe(self, sim: Simulator, env_indices: ArrayLike | None = None, actions: ArrayLike | None = None) -> Any:
        """Return observations of these envs (all by default), a new (B, *shape) array or a dict of such arrays.

        actions: (B,) just carried out, which move a temporal window on by one step; None or -1 leaves it
        """
        chosen = sim.env_indices if env_indices is None else np.atleast_1d(np.asarray(env_indices, np.int64))
        seen = sim if self._weakness is None else self._perceived(sim, chosen, self._weakness)
        obs = self.observation.observe(seen, chosen, self.agent)
        for history in (self._delay, self._history):
            if history is not None:
                obs = history.stack(sim, chosen, obs, actions)
        return obs

    def get_state(self) -> dict[str, NDArray]:
        """Return copies of the arrays that later observations depend on; empty for what depends on the state alone."""
        return {name: part.copy() for name, part in self._arrays().items()}

    def set_state(self, state: dict[str, NDArray]) -> None:
        """Continue from what `get_state` returned."""
        for name, part in self._arrays().items():
            part[:] = state[name]

    def _arrays(self) -> dict[str, NDArray]:
        arrays = {} if self._history is None else self._history.arrays()
        arrays |= {} if self._delay is None else self._delay.arrays()
        return arrays if self._weakness is None else arrays | {"run_keys": self._run_keys}

    def _perceived(self, sim: Simulator, env_indices: I64, weakness: Weakness) -> Scene:
        """Return the scene as the weak sensor perceives it in these envs."""
        if self._scene is None:
            self._scene = Scene(sim, weakness, self._run_keys)
        self._scene.perceive(sim, env_indices, self.agent)
        return self._scene

    def __getstate__(self) -> dict[str, Any]:
        """Leave the scene behind: a copy makes its own."""
        return {**self.__dict__, "_scene": None}


def select_env(obs: Any, k: int) -> Any:
    """Return entry k of a batch of observations, an array or a dict of arrays."""
    return {name: part[k] for name, part in obs.items()} if isinstance(obs, dict) else obs[k]
