"""Log of shown episodes: what each frame that they have been through had to show, so that they can be rewound."""

from collections.abc import Callable, Sequence

import numpy as np

from deeptraffic.episodes.decision import Insight
from deeptraffic.episodes.episode import Episode
from deeptraffic.render.race import COLOURS, Entrant, Ghost
from deeptraffic.render.timeline import Mark
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import LANE_MARGIN, LANE_WIDTH


class RunLog:
    """Log of E episodes, of F frames each.

    Args:
        episodes: at their starts
        insight: returns what the first one's policy last decided; None for no insights
        stuck: returns whether the ego car of a simulator's env 0 is stuck, as a level of the timeline; None for never

    speeds: (F + 1,) the first one's read-out [mph], NaN where it is not known
    insights: by the number of decisions
    marks: of the timeline, by frame; stuck: (F + 1,) levels
    grounds: (F + 1,) distance [px] that each road has moved
    distances: (F + 1, E) [px] of the ego cars, NaN where they are not known
    """

    def __init__(
        self,
        episodes: Sequence[Episode],
        insight: Callable[[], Insight | None] | None = None,
        stuck: Callable[[Simulator], int] | None = None,
    ) -> None:
        self.episodes, self._insight, self._stuck = episodes, insight, stuck
        frames = episodes[0].frames + 1
        self.speeds = np.full(frames, np.nan)
        self.insights: dict[int, Insight] = {}
        self.marks: dict[int, Mark] = {}
        self.stuck = np.zeros(frames, np.uint8)
        self.grounds = [np.zeros(episode.frames + 1) for episode in episodes]
        self.distances = np.full((frames, len(episodes)), np.nan)
        self.distances[0] = [-float(episode.state[0]["y"][0]) for episode in episodes]

    def advance(self) -> bool:
        """Advance every episode by a frame; False if the first one is over."""
        if not self.roll(0):
            return False
        for index in range(1, len(self.episodes)):
            self.roll(index)
        begun = self.episodes[0].frame - 1
        if len(self.episodes) > 1 and begun in self.marks and begun == self.episodes[1].frame - 1:
            self.marks[begun] = self.marks[begun]._replace(other=self.episodes[1].ego_action)
        return True

    def roll(self, index: int) -> bool:
        """Advance one episode by a frame; False if it is over."""
        episode, ground = self.episodes[index], self.grounds[index]
        decisions, moved = episode.decisions, ground[episode.frame] + episode.sim.games["scroll"][0]
        if not episode.advance():
            return False
        ground[episode.frame] = moved
        self.distances[episode.frame, index] = moved - float(episode.sim.games["y"][0, 0])
        if index == 0:
            if episode.decisions != decisions:
                self._note_insight()
            self.note_frame(episode)
        return True

    def note_frame(self, episode: Episode) -> None:
        """Keep what the timeline shows of the frame that has just ended."""
        action, begun = episode.ego_action, episode.frame - 1
        if begun % episode.rules.decision_period == 0 and action is not None:
            self.marks[begun] = Mark(begun, action, episode.refused)
        if self._stuck is not None:
            self.stuck[episode.frame] = self._stuck(episode.sim)

    def _note_insight(self) -> None:
        """Keep the policy's insight; a decision that is replayed keeps its first one."""
        first = self.episodes[0]
        if self._insight is not None and first.decisions not in self.insights:
            insight = self._insight()
            if insight is not None:
                self.insights[first.decisions] = insight._replace(refused=first.refused)

    @property
    def moved(self) -> list[float]:
        """Distance [px] that each road has moved by its present frame."""
        return [float(ground[each.frame]) for ground, each in zip(self.grounds, self.episodes, strict=True)]

    def lead(self) -> float:
        """Return how far the first ego car is ahead of the second [px]."""
        one, other = (self.distances[each.frame, k] for k, each in enumerate(self.episodes[:2]))
        return float(one - other)

    def entrants(self) -> list[Entrant]:
        """Return the entrants of a race as they are now."""
        run = self.distances[self.episodes[0].frame] - self.distances[0]
        return [
            Entrant(episode.label, COLOURS[k], episode.score_mph(), float(run[k]))
            for k, episode in enumerate(self.episodes)
        ]

    def ghosts(self, is_rival: bool = False) -> list[Ghost]:
        """Return the other ego cars on the first one's road, of which a single rival has no number."""
        moved = [ground[self.episodes[0].frame] for ground in self.grounds]
        found = []
        for k, scene in list(enumerate(episode.state[0] for episode in self.episodes))[1:]:
            x, y = float(scene["x"][0]), float(scene["y"][0]) - (moved[k] - moved[0])
            turn = np.sign(np.rint(LANE_WIDTH * scene["lane"][0] + LANE_MARGIN - x))
            found.append(Ghost(0 if is_rival else k + 1, COLOURS[0 if is_rival else k], x, y, int(turn)))
        return found
