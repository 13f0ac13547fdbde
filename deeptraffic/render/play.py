"""`deeptraffic play`: drive by the arrow keys, alone or against a policy, for a score as the contest counts it.

>>> result = Play(RULES_2018, name="me", seed=4).run()
>>> result.score_mph, result.trace.save("me.trace"), result.demonstration.save("me.npz")
"""

from pathlib import Path
from typing import NamedTuple

from deeptraffic.render.controls import Controls
from deeptraffic.render.episode import DEFAULT_FRAMES, Decide, Episode
from deeptraffic.render.local_table import Run, add_run
from deeptraffic.render.manual import Demonstration, ManualDriver
from deeptraffic.render.trace import Start, Trace
from deeptraffic.render.viewer import Look, MakeEpisode, Viewer
from deeptraffic.sim.rules import Rules, Sensor


class Result(NamedTuple):
    """What came of a drive.

    score_mph: as the contest counts one run, or as far as was driven
    place, of: in the local table; None if the run was not finished
    trace: the drive, to be watched again
    demonstration: what was seen, done and earned, to learn from
    """

    score_mph: float
    place: int | None
    of: int | None
    trace: Trace
    demonstration: Demonstration


class Play:
    """A drive by hand.

    Args:
        rules: the game
        name: the driver's, in the table and the trace
        seed: of the open run
        frames: how long it lasts; 2,000 count as an official run
        sensor: what the demonstration keeps, and what the input overlay shows
        others: drives the other agents
        rival: makes the episode to drive against, shown beside, or as a ghost
        ghost: show the rival as a ghost
        table: the local table's path; None takes the user's
        size: (width, height) [pixels] of the window; None takes one that has room for all
    """

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
        look: Look | None = None,
        controls: Controls | None = None,
    ) -> None:
        self.rules, self.name, self.frames, self.table = rules, name, frames, table
        self.sensor = (sensor or Sensor()).check(rules)
        self.driver = ManualDriver(others)
        look = (look or Look())._replace(sensor=self.sensor, rival=rival, ghost=ghost)
        self.place: tuple[int, int] | None = None
        self.viewer = Viewer(
            self._make, seed=seed, look=look, manual=self.driver, size=size, on_end=self._finish, controls=controls
        )

    def run(self) -> Result:
        """Open the window, drive until it is closed, and return what came of the last drive."""
        self.viewer.run()
        return self.result()

    def result(self) -> Result:
        """Return what has come of the drive so far."""
        episode = self.viewer.episode
        place, of = self.place if self.place is not None else (None, None)
        return Result(episode.score_mph(), place, of, episode.trace(), self.demonstration)

    def _make(self, seed: int) -> Episode:
        self.place = None
        self.demonstration = Demonstration(self.driver, self.sensor, self.name)
        start, driver = Start.open(seed), self.demonstration
        return Episode(self.rules, start, driver, frames=self.frames, label=self.name, sensor=self.sensor)

    def _finish(self, episode: Episode) -> str:
        """Enter a finished run into the table; return what to tell the driver."""
        score = episode.score_mph()
        if self.place is None:
            passed, seed = int(episode.state.passed[0]), self.viewer.seed
            run = Run(self.name, score, passed, self.rules.year, self.rules.other_agents, seed)
            self.place = add_run(run, self.table)
        place, of = self.place
        return f"{score:.2f} mph  \u00b7  place {place} of {of}  \u00b7  R: drive again"
