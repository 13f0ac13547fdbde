"""Timeline of an episode: its decisions as ticks, phases in which the car was stuck, and the present frame.

A click or a drag on it goes to a frame (`Timeline.frame_at`). What being stuck means is decided by who shows it: this
module draws the levels that it is given.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.decision import LANE_CHANGES
from deeptraffic.render.board import MARGIN, canvas_of
from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.theme import Colour, Theme, mix
from deeptraffic.sim.rules import Action

HEIGHT = 30.0  # in units of 1/700 of the window's height
TRACK = (12.0, 18.0)  # top and bottom of the track
SLOW, STUCK = 1, 2  # levels of being stuck


class Mark(NamedTuple):
    """A decision of the ego car: its frame, its action, and whether the safety system refused it.

    other: the rival's action at the same frame; None without one
    """

    frame: int
    action: int
    refused: bool
    other: int | None = None

    @property
    def differs(self) -> bool:
        """Whether the rival decided otherwise."""
        return self.other is not None and self.other != self.action


class Timeline:
    """Draws into an image of its own.

    Args:
        width: [pixels]
        unit: [pixels] per 1/700 of the window's height
        frames: of the episode
    """

    def __init__(self, width: int, unit: float, frames: int, theme: Theme, accent: Colour) -> None:
        self.size, self.unit, self.frames = (width, round(HEIGHT * unit)), unit, frames
        self.theme, self.accent = theme, accent
        self._key: tuple[int, Mark | None, bytes] | None = None
        self._still = np.zeros((self.size[1], width, 3), np.uint8)
        self._drawn = np.zeros_like(self._still)

    def paint(self, frame: int, marks: dict[int, Mark], stuck: NDArray[np.uint8]) -> ByteArray:
        """Return the timeline, (H, W, 3) uint8; the next call overwrites it.

        marks: decisions that are known, by frame
        stuck: (F + 1,) level of each frame: 0, SLOW or STUCK
        """
        key = len(marks), next(reversed(marks.values()), None), stuck.tobytes()
        if key != self._key:
            self._key = key
            self._draw_still(marks, stuck)
        image, canvas = self._drawn, canvas_of(self._drawn)
        image[:] = self._still
        top, bottom = (round(y * self.unit) for y in TRACK)
        first, x = self._x(0), self._x(frame)
        played = (first, top, max(x - first, 0), max(1, round(self.unit)))
        canvas.fill(self.accent, played)
        half = max(1, round(1.5 * self.unit))
        canvas.fill(self.theme.text, (x - half, round(4 * self.unit), 2 * half, bottom + round(8 * self.unit) - top))
        return image

    def frame_at(self, x: float) -> int:
        """Return the frame at a place [pixels] from the left; the nearest one beside the track."""
        left, right = self._x(0), self._x(self.frames)
        return round(min(max((x - left) / max(right - left, 1), 0.0), 1.0) * self.frames)

    def _x(self, frame: float) -> int:
        left, right = MARGIN * self.unit, self.size[0] - MARGIN * self.unit
        return round(left + (right - left) * frame / self.frames)

    def _draw_still(self, marks: dict[int, Mark], stuck: NDArray[np.uint8]) -> None:
        """Draw all but the present frame."""
        canvas, theme = canvas_of(self._still), self.theme
        canvas.fill(theme.panel)
        top, bottom = (round(y * self.unit) for y in TRACK)
        canvas.fill(theme.track, (self._x(0), top, self._x(self.frames) - self._x(0), bottom - top))
        for level, colour in ((SLOW, mix(theme.track, theme.occupied_fast, 0.55)), (STUCK, theme.occupied_fast)):
            for begin, end in phases(stuck >= level):
                left = self._x(begin)
                canvas.fill(colour, (left, top, max(1, self._x(end) - left), bottom - top))
        wide, small, long = max(1, round(self.unit)), round(3 * self.unit), round(7 * self.unit)
        for mark in marks.values():
            x, colour = self._x(mark.frame), theme.blocked if mark.refused else theme.text
            if mark.differs:
                canvas.fill(theme.positive, (x - small // 2, top, max(2, small), bottom - top))
            if mark.action not in LANE_CHANGES:
                canvas.fill(theme.muted, (x, bottom, wide, small))
            elif mark.action == Action.LEFT:
                canvas.fill(colour, (x, top - long, wide, long))
            else:
                canvas.fill(colour, (x, bottom, wide, long))


def phases(holds: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (begin, end) of each run of true entries, the end excluded."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], holds.astype(np.int8), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
