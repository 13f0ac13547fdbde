"""One game that can be watched: driven or replayed frame by frame, wound back and forth, and kept as a trace.

    >>> episode = Episode(RULES_2018, Start.open(7), decide=lambda sim, agent: 1, label="accelerate")
    >>> while episode.advance():
    ...     picture = painter.paint(episode.state)
    >>> episode.trace().save("accelerate.trace")

Actions are kept as they are decided. What was driven once is replayed from them, so winding back asks no policy twice
and a policy's memory stays in order.
"""

import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.render.trace import CHECK_FRAMES, Start, Trace, TraceError, rounded_positions
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, Rules, Sensor
from deeptraffic.sim.state import NOBODY, State

KEY_FRAMES = 100  # [frames] between two saved states to wind back to
DEFAULT_FRAMES = 2000

Decide = Callable[[Simulator, int], int]
"""(simulator with one game, agent whose decision is due) -> action 0..4."""


class KeyFrame(NamedTuple):
    """A game to continue from: its state, how many decisions led to it, and the checksum of positions so far."""

    state: State
    decisions: int
    checksum: int


class Episode:
    """A game under `rules` from `start` on, over after `frames` frames.

    Args:
        decide: chooses actions past the given ones; None if `actions` are all there is (a replay)
        actions: the first decisions, of all agents in the order in which they are due
        label: the driver's name
        expected: a trace whose checks this episode must meet, as a replay does
        sensor: what the driver sees, for the trace; None if that is not known
    """

    def __init__(
        self,
        rules: Rules,
        start: Start,
        decide: Decide | None = None,
        *,
        actions: Iterable[int] = (),
        frames: int = DEFAULT_FRAMES,
        label: str = "",
        expected: Trace | None = None,
        sensor: Sensor | None = None,
    ) -> None:
        if frames < 1:
            raise ValueError(f"frames={frames} is no episode; give at least 1")
        self.rules, self.start, self.decide, self.frames, self.label = rules, start, decide, frames, label
        self.actions, self.sensor = [int(action) for action in actions], sensor
        self.sim = Simulator(rules, 1, threads=1)
        self._expected = expected
        self._positions: list[NDArray[np.int16]] = []
        self._decisions, self._checksum, self._furthest = 0, 0, 0
        self._keys: dict[int, KeyFrame] = {}
        start.reset(self.sim)
        self._keep()

    @classmethod
    def replay(cls, trace: Trace, frames: int | None = None) -> "Episode":
        """Return the episode that a trace holds, or so many of its first frames."""
        return cls(
            trace.rules,
            trace.start,
            actions=trace.actions.tolist(),
            frames=trace.frames if frames is None else min(frames, trace.frames),
            label=trace.label,
            expected=trace,
            sensor=trace.sensor,
        )

    @property
    def state(self) -> State:
        """The game, (1,) record."""
        return self.sim.state

    @property
    def frame(self) -> int:
        """Frames that have ended."""
        return int(self.sim.state.frame[0])

    @property
    def decisions(self) -> int:
        """Decisions of all agents that led to the present frame."""
        return self._decisions

    def advance(self) -> bool:
        """Run one frame; False if the episode is over. Raises TraceError where a replay departs from its trace."""
        if self.frame >= self.frames:
            return False
        end, action = self.frame + 1, int(Action.NOTHING)
        while self.frame < end:
            agent = int(self.sim.run_to_frame(end, action)[0])
            if agent != NOBODY:
                action = self._decide(agent)
        self._furthest = max(self._furthest, self.frame)
        if self.frame % CHECK_FRAMES == 0:
            self._check()
        if self.frame % KEY_FRAMES == 0:
            self._keep()
        return True

    def seek(self, frame: int) -> None:
        """Go to a frame, back or forward; past the end it stops at the end."""
        frame = min(max(frame, 0), self.frames)
        if frame < self.frame:
            at = max(key for key in self._keys if key <= frame)
            key = self._keys[at]
            self.sim.set_state(key.state)
            self._decisions, self._checksum = key.decisions, key.checksum
        while self.frame < frame and self.advance():
            pass

    def finish(self) -> "Episode":
        """Run to the end; return self."""
        self.seek(self.frames)
        return self

    def score_mph(self) -> float:
        """Return the mean speed of the driven vehicles so far as the contest takes it, floored to 0.01 mph."""
        frames = max(1, self.frame)
        return float(np.floor(float(self.state.score_sum[0]) / frames * 2000) / 100)

    def trace(self) -> Trace:
        """Return what has been driven so far, from the start to the furthest frame; at least one frame."""
        here = self.frame
        self.seek(max(1, self._furthest))
        checks = np.array(self._positions, np.int16).reshape(-1, self.rules.vehicles, 2)
        actions = np.array(self.actions[: self._decisions], np.uint8)
        driver = (self.label, self.sensor)
        trace = Trace(self.rules, self.start, self.frame, actions, checks, self._checksum, *driver)
        self.seek(here)
        return trace

    def _decide(self, agent: int) -> int:
        if self._decisions == len(self.actions):
            if self.decide is None:
                raise TraceError(f"the trace lacks decisions from frame {self.frame} of {self.frames}; record it anew")
            self.actions.append(int(Action(int(self.decide(self.sim, agent)))))
        self._decisions += 1
        return self.actions[self._decisions - 1]

    def _check(self) -> None:
        """Keep every 10th frame's positions when first seen; compare a replay's with its trace's."""
        at = self.frame // CHECK_FRAMES - 1
        game = self.state[0]
        self._checksum = zlib.crc32(np.stack([game["x"], game["y"]]).tobytes(), self._checksum)
        positions = rounded_positions(game)
        if at == len(self._positions):
            self._positions.append(positions)
        if self._expected is not None and not self._meets(self._expected, at, positions):
            raise TraceError(
                f"the replay departs from the trace by frame {self.frame}: "
                "the file was changed, or recorded by another version of the rules; record it anew"
            )

    def _meets(self, expected: Trace, at: int, positions: NDArray[np.int16]) -> bool:
        """Whether check number `at` agrees; the exact checksum is known at the last one."""
        if at >= len(expected.checks):
            return True
        exact = at + 1 < len(expected.checks) or self._checksum == expected.checksum
        return exact and np.array_equal(positions, expected.checks[at])

    def _keep(self) -> None:
        self._keys.setdefault(self.frame, KeyFrame(self.sim.get_state(), self._decisions, self._checksum))
