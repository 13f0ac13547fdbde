"""What `record`, `watch` and `play` show: a policy's drive, or a kept trace."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deeptraffic.cli.policies import POLICY_HELP, resolve_policy, trained_for

if TYPE_CHECKING:
    from deeptraffic.render.dashboard import Insight
    from deeptraffic.render.episode import Episode
    from deeptraffic.sim.rules import Rules, Sensor

EPISODE_HELP = POLICY_HELP.removesuffix(".") + ", or an episode trace."


class Found(NamedTuple):
    """A drive that can be made anew.

    make: seed -> the episode from its start, the policy's memory empty (a trace ignores the seed)
    sensor: what the policy sees, for the input overlay
    insight: what went on in the policy at its last decision, where it tells
    """

    make: "Callable[[int], Episode]"
    sensor: "Sensor"
    insight: "Callable[[], Insight | None] | None"


def find_episode(name: str, rules: int | None, other_agents: int | None, frames: int = 2000) -> Found:
    """Return the drive of a policy or trace by its name; rules and other_agents None: the policy's own."""
    from deeptraffic.competition.episodes import policy_episode
    from deeptraffic.render.episode import Episode
    from deeptraffic.render.trace import Start, Trace, is_trace
    from deeptraffic.sim.rules import Sensor

    path = Path(name)
    if path.is_file() and is_trace(path):
        trace = Trace.load(path)
        return Found(lambda seed: Episode.replay(trace), Sensor(), None)
    driver = resolve_policy(name, rules)
    road = road_of(driver, rules, other_agents)
    sensor = getattr(driver.observation, "sensor", driver.observation)

    def make(seed: int) -> Episode:
        return policy_episode(driver, road, Start.open(seed), frames)

    return Found(make, sensor, insight_of(driver))


def road_of(driver: Any, rules: int | None, other_agents: int | None) -> "Rules":
    """Return the road that a policy drives on, its own where nothing else is asked for."""
    from deeptraffic.sim.rules import RoadConfig

    own_rules, own_others = trained_for(driver)
    rules = own_rules if rules is None else rules
    other_agents = (own_others if rules == own_rules else 0) if other_agents is None else other_agents
    return RoadConfig(rules=rules, other_agents=other_agents).build()


def insight_of(driver: Any) -> "Callable[[], Insight | None] | None":
    """Return what tells of the driver's network, None if it has none."""
    from deeptraffic.policy.brain import NetworkPolicy
    from deeptraffic.render.dashboard import Insight

    if not isinstance(driver, NetworkPolicy):
        return None
    driver.activity = []

    def tell() -> Insight | None:
        layers = driver.activity
        if not layers:
            return None
        cells = layers[0][: driver.observation.size].reshape(-1, driver.observation.columns)
        return Insight([cells, *layers[1:]], layers[-1], int(layers[-1].argmax()))

    return tell
