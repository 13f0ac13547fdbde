"""Manual driving with the arrow keys, alone or against a policy, scored as in the contest (`deeptraffic play`).

>>> result = Play(RULES_2018, name="me", seed=4).run()
>>> result.score_mph, result.trace.save("me.trace"), result.demonstration.save("me.npz")
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.episode import DEFAULT_FRAMES, Decide, Episode
from deeptraffic.episodes.high_scores import HandDrivenRun, add_score
from deeptraffic.episodes.keyboard import Demonstration, KeyboardPolicy
from deeptraffic.episodes.trace import Start, Trace
from deeptraffic.render.board import MARGIN, DrawingBoard
from deeptraffic.render.controls import Controls
from deeptraffic.render.drawing import ByteArray, TextRenderer
from deeptraffic.render.road import Rectangle
from deeptraffic.render.theme import (
    FEET_PER_PX,
    TOP_SPEED_MPH,
    Colour,
    Theme,
    theme_by_name,
    trail_colour_by_name,
    visible,
)
from deeptraffic.render.viewer import FPS, MakeEpisode, Viewer, ViewerOptions
from deeptraffic.sim.rules import Rules, Sensor

COUNTDOWN = 3  # seconds
SHOWN = 5  # lines of the end card's ranking
STANDING_TOP = 500  # of 700 units of the window's height


Target = tuple[str, float]
"""Whose score it is, and the score [mph]."""


class Standing(NamedTuple):
    """What a driver sees during the run.

    seconds_left: of the run, at normal pace
    target: the next score to beat; None if none is left
    gap: (the rival's label, how far the driver is ahead of it [feet]); None without a rival
    """

    seconds_left: float
    target: Target | None = None
    gap: tuple[str, float] | None = None


class EndCard(NamedTuple):
    """What a driver sees after the run.

    score_mph: official score of the run
    title: result of the race, or of the run
    facts: line below it
    ranking: (name, score [mph], whether it is the driver's) from best to worst, around the driver's
    speeds: (F,) speed at each frame [mph], NaN where it is not known
    keys: what can be done next
    """

    score_mph: float
    title: str
    facts: str
    ranking: Sequence[tuple[str, float, bool]]
    speeds: NDArray[np.float64]
    keys: str


class Hud:
    """Head-up display over the window's image: countdown, clock, target, gap to the rival, and the end card.

    Sizes are in units of 1/700 of the image's height.

    Args:
        theme: colours
        accent: colour of the driver's own figures
    """

    def __init__(self, theme: Theme, accent: Colour) -> None:
        self.theme, self.accent = theme, accent
        self._text = TextRenderer()

    def _board(self, image: ByteArray, unit: float = 0.0) -> DrawingBoard:
        return DrawingBoard(image, self.theme, unit or image.shape[0] / 700, self._text)

    def draw_countdown(self, image: ByteArray, road: Rectangle, seconds: int) -> None:
        """Draw 3, 2 or 1 over the road."""
        import pygame

        board = self._board(image)
        centre, radius = (road.left + road.width // 2, round(280 * board.unit)), round(72 * board.unit)
        shade = pygame.Surface((2 * radius, 2 * radius), pygame.SRCALPHA)
        pygame.draw.circle(shade, (*self.theme.panel, 220), (radius, radius), radius)
        board.canvas.blit(shade, (centre[0] - radius, centre[1] - radius))
        board.write(str(seconds), (centre[0] / board.unit, 237), 130, self.theme.text, "centre")

    def draw_standing(self, image: ByteArray, place: Rectangle, standing: Standing) -> None:
        """Draw clock, target and gap side by side at the top of a place, in one line where it is low."""
        board, blocks = self._board(image), _blocks(standing)
        left, top, width, height = (side / board.unit for side in place)
        if height < 80:
            line = "   ".join(value for _, value, _ in blocks)
            board.canvas.fill(self.theme.panel, place)
            board.write_digits(line, (left + 8, top + 7), 17, self.theme.text)
            return
        room = (width - 2 * MARGIN) / len(blocks)
        for k, (title, value, below) in enumerate(blocks):
            x = left + MARGIN + k * room
            board.write(title, (x, top), 14, self.theme.muted)
            board.write_digits(value, (x, top + 18), 34, self.theme.text)
            board.write(below, (x, top + 50), 14, self.theme.muted, room=room - 8)

    def draw_card(self, image: ByteArray, card: EndCard) -> None:
        """Draw the end card over the middle of the image and dim the rest."""
        board = self._board(image, min(image.shape[0] / 700, image.shape[1] / 480))
        text, muted, rows = self.theme.text, self.theme.muted, 26 * len(card.ranking)
        left, top = board.card(440, 336 + rows)
        left, right, room = left + 28, left + 412, 384
        board.write(card.title, (left, top + 26), 26, text, room=room)
        score = board.write(f"{card.score_mph:.2f}", (left, top + 64), 84, self.accent)
        board.write("mph", (score.right / board.unit + 10, top + 98), 26, muted)
        board.write(card.facts, (left, top + 138), 15, muted, room=room)
        self._draw_speeds(board, card.speeds, left, top + 172)
        for k, (name, score_mph, is_own) in enumerate(card.ranking):
            y = top + 268 + 26 * k
            board.write(name, (left, y), 17, text if is_own else muted, room=room - 80)
            board.write(f"{score_mph:.2f}", (right, y), 17, self.accent if is_own else muted, "right")
        board.write(card.keys, (left, top + 290 + rows), 15, muted, room=room)

    def _draw_speeds(self, board: DrawingBoard, speeds: NDArray[np.float64], left: float, top: float) -> None:
        """Draw the speed over the run, 0 to 80 mph."""
        width, height = 384.0, 74.0
        for mph in (0, 40, 80):
            board.fill(self.theme.track, left, top + height * (1 - mph / TOP_SPEED_MPH), width, 0)
        frames = np.flatnonzero(np.isfinite(speeds))
        if len(frames) > 1:
            x = left + width * frames / (len(speeds) - 1)
            y = top + height * (1 - np.clip(speeds[frames], 0, TOP_SPEED_MPH) / TOP_SPEED_MPH)
            board.curve(self.accent, np.column_stack([x, y]), 3.0, self.theme.text)


def _blocks(standing: Standing) -> list[tuple[str, str, str]]:
    """Return (title, value, what it is of) for everything that there is to say."""
    minutes, seconds = divmod(standing.seconds_left, 60)
    blocks = [("TIME LEFT", f"{minutes:.0f}:{seconds:04.1f}", "")]
    if standing.target is not None:
        blocks.append(("TO BEAT", f"{standing.target[1]:.2f} mph", standing.target[0]))
    if standing.gap is not None:
        label, feet = standing.gap
        side = "level with" if abs(feet) < 0.5 else "ahead of" if feet > 0 else "behind"
        blocks.append(("GAP", f"{abs(feet):,.0f} ft", f"{side} {label}"))
    return blocks


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

    Args:
        rules: of the road
        name: of the driver, for the table and the trace
        seed: of the open run
        frames: length of the run; 2,000 for an official one
        sensor: of the demonstration and of the input overlay
        others: policy of the other agents
        rival: makes the episode to compete against, shown beside, or as a ghost
        ghost: show the rival as a ghost
        table: path of the high-score table; None for the user's
        size: (width, height) [pixels] of the window; None fits all panels
        targets: scores to beat, by name [mph]
        countdown: seconds before a run starts
        options, controls: of the viewer
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
        others: Decide | None = None,
        rival: MakeEpisode | None = None,
        ghost: bool = False,
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
        self.driver = KeyboardPolicy(others)
        options = (options or ViewerOptions())._replace(
            sensor=self.sensor, rival=rival, ghost=ghost, countdown=countdown, on_image=self._draw
        )
        self.place: tuple[int, int] | None = None
        self._hud: tuple[tuple[str, str], Hud] | None = None
        self.viewer = Viewer(
            self._make,
            seed=seed,
            options=options,
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
        self.demonstration = Demonstration(self.driver, self.sensor, self.name)
        start, driver = Start.open(seed), self.demonstration
        return Episode(self.rules, start, driver, frames=self.frames, label=self.name, sensor=self.sensor)

    def _finish(self, episode: Episode) -> str:
        """Add a finished run to the table; return a message for the driver."""
        score = episode.score_mph()
        if self.place is None:
            passed, seed = int(episode.state.passed[0]), self.viewer.seed
            run = HandDrivenRun(self.name, score, passed, self.rules.year, self.rules.other_agents, seed)
            self.place = add_score(run, self.table)
        place, of = self.place
        return f"{score:.2f} mph  \u00b7  place {place} of {of}  \u00b7  R, Enter: again"

    def _draw(self, image: ByteArray) -> None:
        """Draw countdown, standing or end card over the window's image."""
        viewer, theme = self.viewer, theme_by_name(self.viewer.controls.theme)
        key = (viewer.controls.theme, viewer.controls.trail)
        if self._hud is None or self._hud[0] != key:
            self._hud = (key, Hud(theme, visible(trail_colour_by_name(viewer.controls.trail), theme.panel)))
        hud, episode, road = self._hud[1], viewer.episode, viewer.roads[0]
        if episode.frame >= episode.frames and viewer.message:
            hud.draw_card(image, self._card())
            return
        unit = image.shape[0] / 700
        place = road._replace(height=round(30 * unit))
        if (beside := viewer.beside) is not None:
            place = beside._replace(top=round(STANDING_TOP * unit), height=round(90 * unit))
        hud.draw_standing(image, place, self._standing())
        if viewer.countdown > 0:
            hud.draw_countdown(image, road, math.ceil(viewer.countdown))

    def _standing(self) -> Standing:
        episode, rival = self.viewer.episode, self.viewer.rival
        score = episode.score_mph() if episode.frame else 0.0
        target = next((target for target in self._targets() if target[1] > score), None)
        gap = None if rival is None else (rival.label, self.viewer.lead() * FEET_PER_PX)
        return Standing((episode.frames - episode.frame) / FPS, target, gap)

    def _targets(self) -> list[Target]:
        """Return the scores to beat, from the lowest to the highest; against a rival its score so far alone."""
        rival = self.viewer.rival
        return self.targets if rival is None else [(rival.label, rival.score_mph() if rival.frame else 0.0)]

    def _card(self) -> EndCard:
        episode, rival = self.viewer.episode, self.viewer.rival
        score, passed = episode.score_mph(), int(episode.state.passed[0])
        place, of = self.place or (1, 1)
        facts = f"{self.name}  \u00b7  place {place} of {of} on this machine  \u00b7  {passed} cars passed"
        ranking = [(name, mph, False) for name, mph in self.targets]
        title = "Your run"
        if rival is not None:
            title = _result_of(score, rival.score_mph(), rival.label)
            ranking = [each for each in ranking if each[0] != rival.label] + [(rival.label, rival.score_mph(), False)]
        ranking = sorted([*ranking, (self.name, score, True)], key=lambda row: -row[1])
        at = next(k for k, row in enumerate(ranking) if row[2])
        first = min(max(0, at - SHOWN // 2), max(0, len(ranking) - SHOWN))
        keys = "Enter: again  \u00b7  R: another seed  \u00b7  S: save this picture  \u00b7  Q: close"
        return EndCard(score, title, facts, ranking[first : first + SHOWN], self.viewer.speeds, keys)


def _result_of(score: float, other: float, label: str) -> str:
    if score == other:
        return f"A draw with {label}"
    return (
        f"You beat {label} by {score - other:.2f} mph" if score > other else f"{label} won by {other - score:.2f} mph"
    )
