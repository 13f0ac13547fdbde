"""Manual driving with the arrow keys, alone or against a policy, scored as in the contest (`deeptraffic play`).

>>> result = Play(RULES_2018, name="me", seed=4).run()
>>> result.score_mph, result.trace.save("me.trace"), result.demonstration.save("me.npz")
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeptraffic.episodes.episode import DEFAULT_FRAMES, Decide, Episode
from deeptraffic.episodes.high_scores import HandDrivenRun, add_score
from deeptraffic.episodes.keyboard import Demonstration, KeyboardPolicy
from deeptraffic.episodes.trace import Start, Trace
from deeptraffic.render.board import MARGIN, DrawingBoard
from deeptraffic.render.compositor import Rectangle
from deeptraffic.render.controls import Controls
from deeptraffic.render.drawing import ByteArray, TextRenderer
from deeptraffic.render.screen import ViewerOptions
from deeptraffic.render.theme import (
    FEET_PER_PX,
    TOP_SPEED_MPH,
    Colour,
    theme_by_name,
    trail_colour_by_name,
    visible,
)
from deeptraffic.render.viewer import FPS, Viewer
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules, Sensor

COUNTDOWN = 3  # seconds
SHOWN = 5  # lines of the end card's ranking
STANDING_TOP = 500  # of 700 units of the window's height
KEYS = "Enter: again  \u00b7  R: another seed  \u00b7  S: save this picture  \u00b7  Q: close"

Target = tuple[str, float]
"""Whose score it is, and the score [mph]."""


class PlayResult(NamedTuple):
    """Result of a run.

    score_mph: official score of the run, or of its part that was driven
    place, of: in the local high-score table; None if the run was not finished
    trace: for replays
    demonstration: observations, actions and rewards, for imitation learning
    """

    score_mph: float
    place: int | None
    of: int | None
    trace: Trace
    demonstration: Demonstration


class Play:
    """A run that is driven by hand.

    Over the window's image are drawn a countdown, the standing (clock, target, gap to the rival), and an end card.

    Args:
        rules: of the road
        name: of the driver, for the table and the trace
        seed: of the open run
        frames: length of the run; 2,000 for an official one
        sensor: of the demonstration and of the input overlay
        others: returns the policy of the other agents of a simulator; None for no action
        table: path of the high-score table; None for the user's
        size: (width, height) [pixels] of the window; None fits all panels
        targets: scores to beat, by name [mph]
        countdown: seconds before a run starts
        options, controls: of the viewer; a rival is the one to compete against
    """

    # parameters: options of the window, each with a default and given by name
    def __init__(
        self,
        rules: Rules,
        *,
        name: str = "you",
        seed: int = 1,
        frames: int = DEFAULT_FRAMES,
        sensor: Sensor | None = None,
        others: Callable[[Simulator], Decide] | None = None,
        table: Path | None = None,
        size: tuple[int, int] | None = None,
        targets: Sequence[Target] = (),
        countdown: int = COUNTDOWN,
        options: ViewerOptions | None = None,
        controls: Controls | None = None,
    ) -> None:
        self.rules, self.name, self.frames, self.table = rules, name, frames, table
        self.targets = sorted(targets, key=lambda target: target[1])
        self.sensor = (sensor or Sensor()).check()
        self.driver, self.others = KeyboardPolicy(), others
        self.place: tuple[int, int] | None = None
        self._text = TextRenderer()
        options = options or ViewerOptions()
        self.viewer = Viewer(
            self._make,
            seed=seed,
            options=options._replace(sensor=self.sensor, countdown=countdown, on_image=self._draw),
            keyboard=self.driver,
            size=size,
            on_end=self._finish,
            controls=controls,
        )

    def run(self) -> PlayResult:
        """Open the window until the user closes it; return the result of the last run."""
        self.viewer.run()
        return self.result()

    def result(self) -> PlayResult:
        """Return the result of the run so far."""
        episode = self.viewer.episode
        place, of = self.place if self.place is not None else (None, None)
        return PlayResult(episode.score_mph(), place, of, episode.trace(), self.demonstration)

    def _make(self, seed: int) -> Episode:
        self.place = None
        self.demonstration = Demonstration(self.sensor, self.name)
        episode = Episode(
            self.rules, Start.open(seed), self.driver, frames=self.frames, label=self.name, sensor=self.sensor
        )
        episode.listeners.append(self.demonstration)
        self.driver.others = self.others and self.others(episode.sim)
        return episode

    def _finish(self, episode: Episode) -> str:
        """Add a finished run to the table; return a message for the driver."""
        score = episode.score_mph()
        if self.place is None:
            passed, seed = int(episode.state.passed[0]), self.viewer.seed
            run = HandDrivenRun(self.name, score, passed, self.rules.year, self.rules.other_agents, seed)
            self.place = add_score(run, self.table)
        place, of = self.place
        return f"{score:.2f} mph  \u00b7  place {place} of {of}  \u00b7  R, Enter: again"

    @property
    def rival(self) -> Episode | None:
        """The episode of the one to compete against."""
        return next(iter(self.viewer.episodes[1:]), None)

    def standing(self) -> list[tuple[str, str, str]]:
        """Return (title, value, whose it is) of the clock, of the next score to beat and of the gap to the rival."""
        episode, rival = self.viewer.episode, self.rival
        minutes, seconds = divmod((episode.frames - episode.frame) / FPS, 60)
        blocks, score = [("TIME LEFT", f"{minutes:.0f}:{seconds:04.1f}", "")], episode.score_mph()
        targets = self.targets if rival is None else [(rival.label, rival.score_mph())]
        blocks += [("TO BEAT", f"{mph:.2f} mph", label) for label, mph in targets if mph > score][:1]
        if rival is not None:
            feet = self.viewer.log.lead() * FEET_PER_PX
            side = "level with" if abs(feet) < 0.5 else "ahead of" if feet > 0 else "behind"
            blocks.append(("GAP", f"{abs(feet):,.0f} ft", f"{side} {rival.label}"))
        return blocks

    def ranking(self) -> list[Target]:
        """Return up to five of the targets, the rival's score and the run's own, from best to worst, around its own."""
        rival, own = self.rival, (self.name, self.viewer.episode.score_mph())
        scores = [*self.targets, own]
        if rival is not None:
            scores = [each for each in self.targets if each[0] != rival.label] + [(rival.label, rival.score_mph()), own]
        scores.sort(key=lambda each: -each[1])
        first = min(max(0, scores.index(own) - SHOWN // 2), max(0, len(scores) - SHOWN))
        return scores[first : first + SHOWN]

    def title(self) -> str:
        """Return who has won."""
        if self.rival is None:
            return "Your run"
        label, lead = self.rival.label, self.viewer.episode.score_mph() - self.rival.score_mph()
        if lead == 0:
            return f"A draw with {label}"
        return f"You beat {label} by {lead:.2f} mph" if lead > 0 else f"{label} won by {-lead:.2f} mph"

    # --- over the window's image, in units of 1/700 of its height ---

    def _draw(self, image: ByteArray) -> None:
        """Draw countdown, standing or end card over the window's image."""
        viewer, unit = self.viewer, image.shape[0] / 700
        theme, trail = theme_by_name(viewer.controls.theme), trail_colour_by_name(viewer.controls.trail)
        if viewer.episode.frame >= viewer.episode.frames and viewer.message:
            board = DrawingBoard(image, theme, min(unit, image.shape[1] / 480), self._text)
            self._draw_card(board, visible(trail, theme.panel))
            return
        board, road = DrawingBoard(image, theme, unit, self._text), viewer.screen.roads[0]
        place = road._replace(height=round(30 * unit))
        if (beside := viewer.screen.place_beside) is not None:
            place = beside._replace(top=round(STANDING_TOP * unit), height=round(90 * unit))
        self._draw_standing(board, place)
        if viewer.countdown > 0:
            _draw_countdown(board, road, math.ceil(viewer.countdown / FPS))

    def _draw_standing(self, board: DrawingBoard, place: Rectangle) -> None:
        """Draw the standing side by side at the top of a place, in one line where it is low."""
        blocks, theme = self.standing(), board.theme
        left, top, width, height = (side / board.unit for side in place)
        if height < 80:
            line = "   ".join(value for _, value, _ in blocks)
            board.canvas.fill(theme.panel, place)
            board.write_digits(line, (left + 8, top + 7), 17, theme.text)
            return
        room = (width - 2 * MARGIN) / len(blocks)
        for k, (title, value, below) in enumerate(blocks):
            x = left + MARGIN + k * room
            board.write(title, (x, top), 14, theme.muted)
            board.write_digits(value, (x, top + 18), 34, theme.text)
            board.write(below, (x, top + 50), 14, theme.muted, room=room - 8)

    def _draw_card(self, board: DrawingBoard, accent: Colour) -> None:
        """Draw the end card over the middle of the image and dim the rest."""
        episode, ranking, (place, of) = self.viewer.episode, self.ranking(), self.place or (1, 1)
        text, muted, rows = board.theme.text, board.theme.muted, 26 * len(ranking)
        facts = (self.name, f"place {place} of {of} on this machine", f"{int(episode.state.passed[0])} cars passed")
        left, top = board.card(440, 336 + rows)
        left, right, room = left + 28, left + 412, 384
        board.write(self.title(), (left, top + 26), 26, text, room=room)
        score = board.write(f"{episode.score_mph():.2f}", (left, top + 64), 84, accent)
        board.write("mph", (score.right / board.unit + 10, top + 98), 26, muted)
        board.write("  \u00b7  ".join(facts), (left, top + 138), 15, muted, room=room)
        self._draw_speeds(board, accent, left, top + 172)
        for k, row in enumerate(ranking):
            y, (name, score_mph), is_own = top + 268 + 26 * k, row, row == (self.name, episode.score_mph())
            board.write(name, (left, y), 17, text if is_own else muted, room=room - 80)
            board.write(f"{score_mph:.2f}", (right, y), 17, accent if is_own else muted, "right")
        board.write(KEYS, (left, top + 290 + rows), 15, muted, room=room)

    def _draw_speeds(self, board: DrawingBoard, accent: Colour, left: float, top: float) -> None:
        """Draw the speed over the run, 0 to 80 mph."""
        speeds, width, height = self.viewer.log.speeds, 384.0, 74.0
        for mph in (0, 40, 80):
            board.fill(board.theme.track, left, top + height * (1 - mph / TOP_SPEED_MPH), width, 0)
        frames = np.flatnonzero(np.isfinite(speeds))
        if len(frames) > 1:
            x = left + width * frames / (len(speeds) - 1)
            y = top + height * (1 - np.clip(speeds[frames], 0, TOP_SPEED_MPH) / TOP_SPEED_MPH)
            board.curve(accent, np.column_stack([x, y]), 3.0, board.theme.text)


def _draw_countdown(board: DrawingBoard, road: Rectangle, seconds: int) -> None:
    """Draw 3, 2 or 1 over the road."""
    import pygame

    centre, radius = (road.left + road.width // 2, round(280 * board.unit)), round(72 * board.unit)
    shade = pygame.Surface((2 * radius, 2 * radius), pygame.SRCALPHA)
    pygame.draw.circle(shade, (*board.theme.panel, 220), (radius, radius), radius)
    board.canvas.blit(shade, (centre[0] - radius, centre[1] - radius))
    board.write(str(seconds), (centre[0] / board.unit, 237), 130, board.theme.text, "centre")
