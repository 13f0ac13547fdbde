"""What `record`, `watch` and `play` show: a policy's drive, or a kept trace."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deeptraffic.cli.policies import POLICY_HELP, resolve_policy, trained_for

if TYPE_CHECKING:
    from deeptraffic.policies.base import Policy
    from deeptraffic.render.dashboard import Insight
    from deeptraffic.render.episode import Episode
    from deeptraffic.render.trace import Trace
    from deeptraffic.sim.engine import Simulator
    from deeptraffic.sim.rules import Rules, Sensor

    Caption = Callable[[Simulator, int], str]

EPISODE_HELP = POLICY_HELP.removesuffix(".") + ", or an episode trace."
DEFAULT_SEED = 1
RUN_FRAMES = 2000


class Found(NamedTuple):
    """A drive that can be made anew.

    rules: of its road
    make: seed -> the episode from its start, the policy's memory empty (a trace ignores the seed)
    sensor: what the policy sees, for the input overlay
    insight: what went on in the policy at the ego car's last decision; None for a trace
    """

    rules: "Rules"
    make: "Callable[[int], Episode]"
    sensor: "Sensor"
    insight: "Callable[[], Insight | None] | None" = None


def find_episode(
    name: str,
    rules: int | None = None,
    other_agents: int | None = None,
    frames: int | None = None,
    road: "Rules | None" = None,
    beside: "Trace | None" = None,
    caption: "Caption | None" = None,
) -> Found:
    """Return the drive of a policy or trace by its name.

    rules, other_agents: of a policy's road; None for its own
    frames: how long; None for a whole run, or all of a trace
    road: in place of rules and other_agents
    beside: a trace whose road, traffic and length a policy meets, whatever the seed
    caption: puts each decision of a policy into words

    Raises ValueError if there is no such drive, or if a trace is asked to change.
    """
    from deeptraffic.evaluation.episodes import policy_episode
    from deeptraffic.render.trace import Start

    trace = find_trace(name)
    if trace is not None:
        if caption is not None:
            raise ValueError(f"{name!r} is a trace, whose decisions are not put into words; name a policy")
        for flag, given in (("--rules", rules), ("--other-agents", other_agents)):
            if given is not None:
                raise ValueError(f"{flag} {given}: the road of trace {name!r} is as it was driven on; leave it out")
        return found_trace(trace, frames)
    driver = resolve_policy(name, rules if road is None else road.year)
    if beside is not None:
        road, frames = beside.rules, beside.frames if frames is None else frames
    ground = road_of(driver, rules, other_agents) if road is None else road
    insight = DriverInsight(driver, caption)

    def make(seed: int) -> "Episode":
        start = Start.open(seed) if beside is None else beside.start
        return insight.noting(policy_episode(driver, ground, start, RUN_FRAMES if frames is None else frames))

    return Found(ground, make, driver.sensor, insight)


def find_trace(name: str | None) -> "Trace | None":
    """Return the trace of that name, None if it names something else."""
    from deeptraffic.render.trace import Trace, is_trace

    path = Path(name or ".")
    return Trace.load(path) if path.is_file() and (is_trace(path) or path.suffix == ".trace") else None


def found_trace(trace: "Trace", frames: int | None = None) -> Found:
    """Return a trace's drive, or so many of its first frames."""
    from deeptraffic.render.episode import Episode
    from deeptraffic.sim.rules import Sensor

    return Found(trace.rules, lambda seed: Episode.replay(trace, frames), trace.sensor or Sensor())


def road_of(driver: "Policy", rules: int | None, other_agents: int | None) -> "Rules":
    """Return the road that a policy drives on, its own where nothing else is asked for."""
    from deeptraffic.sim.rules import RoadConfig

    own_rules, own_others = trained_for(driver)
    rules = own_rules if rules is None else rules
    other_agents = (own_others if rules == own_rules else 0) if other_agents is None else other_agents
    return RoadConfig(rules=rules, other_agents=other_agents).build()


class DriverInsight:
    """What went on in a driver at the ego car's last decision: its action, its network if it has one, and in words.

    caption: (simulator with one game, action) -> a sentence; None for none
    """

    def __init__(self, driver: "Policy", caption: "Caption | None" = None) -> None:
        self.driver = driver
        self.action: int | None = None
        self.caption, self.sentence = caption, ""

    def noting(self, episode: "Episode") -> "Episode":
        """Return the episode, whose decisions are noted from now on."""
        decide, self.action = episode.decide, None
        self.driver.activity = []

        def noted(sim: Any, agent: int) -> int:
            assert decide is not None
            action = decide(sim, agent)
            if agent == 0:
                self.action = action
                self.sentence = self.caption(sim, action) if self.caption is not None else ""
            return action

        episode.decide = noted
        return episode

    def __call__(self) -> "Insight | None":
        """Return it; None before the first decision."""
        from deeptraffic.render.dashboard import Insight

        if self.action is None:
            return None
        layers = self.driver.activity
        if not layers:
            return Insight((), None, self.action, self.sentence)
        sensor = self.driver.sensor
        cells = layers[0][: sensor.size].reshape(-1, sensor.columns)
        return Insight([cells, *layers[1:]], layers[-1], self.action, self.sentence)
