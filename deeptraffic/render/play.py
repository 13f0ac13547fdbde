"""Manual driving with the arrow keys, alone or against a policy, scored as in the contest (`deeptraffic play`).

>>> result = Play(RULES_2018, name="me", seed=4).run()
>>> result.score_mph, result.trace.save("me.trace"), result.demonstration.save("me.npz")
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deeptraffic.episodes.episode import DEFAULT_FRAMES, Decide, Episode
from deeptraffic.episodes.trace import Start, Trace
from deeptraffic.render.controls import Controls
from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.hud import EndCard, Hud, Standing, Target
from deeptraffic.render.keyboard import Demonstration, KeyboardPolicy
from deeptraffic.render.theme import FEET_PER_PX, theme_by_name, trail_colour_by_name, visible
from deeptraffic.render.viewer import FPS, MakeEpisode, Viewer, ViewerOptions
from deeptraffic.run_dir import whole_file
from deeptraffic.sim.rules import Rules, Sensor

KEPT = 1000
COUNTDOWN = 3  # seconds
SHOWN = 5  # lines of the end card's ranking
STANDING_TOP = 500  # of 700 units of the window's height
MAX_NAME = 60  # [letters]


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


class HandDrivenRun(NamedTuple):
    """A finished run in the high-score table; score_mph: official score [mph]; passed: vehicles overtaken."""

    name: str
    score_mph: float
    passed: int
    year: int
    other_agents: int
    seed: int


def score_table_path() -> Path:
    """Return the path of the high-score table: DEEPTRAFFIC_TABLE, or a file in the user's data folder."""
    if named := os.environ.get("DEEPTRAFFIC_TABLE"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".local" / "share"
    return Path(data) / "deeptraffic" / "runs.json"


def load_scores(path: Path | None = None) -> list[HandDrivenRun]:
    """Return all runs, best first; an empty list without a file. Raises ValueError for a file of another kind."""
    path = path or score_table_path()
    if not path.exists():
        return []
    try:
        return [_run(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a high-score table ({error}); move it away to start a new one") from error


def add_score(run: HandDrivenRun, path: Path | None = None) -> tuple[int, int]:
    """Add a run to the table; return (its place, number of runs) among runs of the same rules and other agents."""
    path = path or score_table_path()
    runs = [*load_scores(path), run._replace(name=run.name[:MAX_NAME])]
    runs.sort(key=lambda other: -other.score_mph)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        text = json.dumps([other._asdict() for other in runs[:KEPT]], indent=1, ensure_ascii=False)
        unfinished.write_text(text, encoding="utf-8")
    rivals = [other for other in runs if (other.year, other.other_agents) == (run.year, run.other_agents)]
    return 1 + sum(other.score_mph > run.score_mph for other in rivals), len(rivals)


def _run(record: dict[str, Any]) -> HandDrivenRun:
    kinds = HandDrivenRun.__annotations__
    return HandDrivenRun(**{name: kind(record[name]) for name, kind in kinds.items()})
