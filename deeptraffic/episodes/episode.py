"""Episode: one run that is driven or replayed frame by frame, with seeking in both directions, saved as a trace.

    >>> episode = Episode(RULES_2018, Start.open(7), decide=lambda sim, agent: 1, label="accelerate")
    >>> while episode.advance():
    ...     image = painter.paint(episode.state)
    >>> episode.trace().save("accelerate.trace")

Actions are recorded as they are decided. Frames that were driven once are replayed from them, so that rewinding never
queries the policy twice and its recurrent state stays in order.
"""

import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.trace import CHECK_FRAMES, Start, Trace, TraceError, rounded_positions
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, Rules, Sensor
from deeptraffic.sim.state import NOBODY, State

KEY_FRAMES = 100  # [frames] between two saved states to rewind to
DEFAULT_FRAMES = 2000

Decide = Callable[[Simulator, int], int]
"""(simulator of one env, agent whose decision is due) -> action 0..4."""


class KeyFrame(NamedTuple):
    """A saved state: the scene, the number of decisions so far, and the checksum of positions so far."""

    state: State
    decisions: int
    checksum: int


class Episode:
    """An episode under `rules` from `start`, of `frames` frames.

    Args:
        decide: chooses actions after the given ones; None for a replay of `actions` alone
        actions: the first decisions of all agents, in the order in which they are due
        label: name of the policy
        expected: a trace whose checks this episode must match, as for a replay
        sensor: of the policy, for the trace; None if unknown

    listeners: told of each new decision of the ego car, of which a listener may have either method:
        `before_decision(sim)` while env 0 of the simulator waits for it, `after_decision(sim, action)` while it
        still waits
    """

    # parameters: an episode is driven by a policy or replays a trace; each way has keywords of its own
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
            raise ValueError(f"frames must be at least 1, got {frames}")
        self.rules, self.start, self.decide, self.frames, self.label = rules, start, decide, frames, label
        self.actions, self.sensor = [int(action) for action in actions], sensor
        self.sim = Simulator(rules, 1, threads=1)
        self.listeners: list[Any] = []
        self._expected = expected
        self._positions: list[NDArray[np.int16]] = []
        self._decisions, self._checksum, self._furthest = 0, 0, 0
        self._keys: dict[int, KeyFrame] = {}
        start.reset(self.sim)
        self._keep()

    @classmethod
    def replay(cls, trace: Trace, frames: int | None = None) -> "Episode":
        """Return the episode of a trace, or its first `frames` frames."""
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
        """The state of the env, (1,) record."""
        return self.sim.state

    @property
    def frame(self) -> int:
        """Number of completed frames."""
        return int(self.sim.games["frame"][0])

    @property
    def decisions(self) -> int:
        """Number of decisions of all agents up to the current frame."""
        return self._decisions

    @property
    def ego_action(self) -> int | None:
        """The ego car's last decision up to the current frame; None before the first."""
        rules = self.rules
        later = min(rules.other_agents, (rules.decision_period - 1) // rules.agent_stagger)  # agents that decide
        last = (self._decisions - 1) // (later + 1) * (later + 1)
        return self.actions[last] if last >= 0 else None

    @property
    def refused(self) -> bool:
        """Whether the safety system refused the lane change that the ego car last decided on."""
        return bool(self.sim.games["blocked"][0])

    def advance(self) -> bool:
        """Run one frame; False if the episode is over. Raises TraceError where a replay deviates from its trace."""
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
        """Go to a frame, in either direction; clamped to the episode."""
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
        """Return the contest's score so far: the mean speed of the driven vehicles, floored to 0.01 mph."""
        frames = max(1, self.frame)
        return float(np.floor(float(self.sim.games["score_sum"][0]) / frames * 2000) / 100)

    def trace(self) -> Trace:
        """Return the trace from the start to the furthest frame so far; at least one frame."""
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
                raise TraceError(f"the trace lacks decisions from frame {self.frame} of {self.frames}; record it again")
            self._tell(agent, "before_decision")
            self.actions.append(int(Action(int(self.decide(self.sim, agent)))))
            self._tell(agent, "after_decision", self.actions[-1])
        self._decisions += 1
        return self.actions[self._decisions - 1]

    def _tell(self, agent: int, news: str, *facts: int) -> None:
        for listener in self.listeners if agent == 0 else ():
            if hasattr(listener, news):
                getattr(listener, news)(self.sim, *facts)

    def _check(self) -> None:
        """Record every 10th frame's positions at first; compare a replay's with its trace's."""
        at = self.frame // CHECK_FRAMES - 1
        scene = self.state[0]
        self._checksum = zlib.crc32(np.stack([scene["x"], scene["y"]]).tobytes(), self._checksum)
        positions = rounded_positions(scene)
        if at == len(self._positions):
            self._positions.append(positions)
        if self._expected is not None and not self._meets(self._expected, at, positions):
            raise TraceError(
                f"the replay deviates from the trace at frame {self.frame}: "
                "the file was changed, or recorded by another version of the rules; record it again"
            )

    def _meets(self, expected: Trace, at: int, positions: NDArray[np.int16]) -> bool:
        """Whether check `at` matches; the exact checksum is known at the last one."""
        if at >= len(expected.checks):
            return True
        exact = at + 1 < len(expected.checks) or self._checksum == expected.checksum
        return exact and np.array_equal(positions, expected.checks[at])

    def _keep(self) -> None:
        self._keys.setdefault(self.frame, KeyFrame(self.sim.get_state(), self._decisions, self._checksum))
