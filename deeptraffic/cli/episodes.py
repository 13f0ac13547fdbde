"""Episodes that `record`, `watch` and `play` show, of a policy or from a trace, and the options of their appearance."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from deeptraffic.cli.policies import POLICY_HELP, complete_policy, load_announced

if TYPE_CHECKING:
    from deeptraffic.episodes.decision import Insight
    from deeptraffic.episodes.episode import Episode
    from deeptraffic.episodes.trace import Trace
    from deeptraffic.insight.recorder import Caption
    from deeptraffic.policies.base import Policy
    from deeptraffic.render.layers import RoadLayer
    from deeptraffic.render.sprites import VehicleImage
    from deeptraffic.sim.rules import Rules, Sensor

EPISODE_HELP = POLICY_HELP.removesuffix(".") + ", or an episode trace."
DEFAULT_SEED = 1
RUN_FRAMES = 2000
SEED_HELP = "Random seed of the run."

PolicyOrTrace = Annotated[
    str | None, typer.Argument(autocompletion=complete_policy, help=EPISODE_HELP, show_default=False)
]
Overlay = Annotated[
    str | None, typer.Option(help="Overlay on the road: none, input, safety or map.", show_default="none")
]
Theme = Annotated[str | None, typer.Option(help="Theme: dark or light.", show_default="dark")]
Trail = Annotated[str, typer.Option(help="Colour of the trail, one of the contest's thirteen.")]
VehiclePath = Annotated[
    Path | None, typer.Option("--vehicle", help="Image (png) of the ego car, seen from above, its front up.")
]
LayerNames = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        help="Layer on the road: attention, futures, values, imagined (of a world model's run), an installed one, or a "
        "file (.py); may be repeated.",
        show_default="none",
    ),
]
Race = Annotated[
    str | None,
    typer.Option(
        "--race", help="Policies A,B,C that race in the same traffic, 2 to 8, in place of POLICY.", show_default="none"
    ),
]


def race_names(policy: str | None, race: str | None) -> list[str]:
    """Return the names of the policies to show; ValueError unless either one policy or a race is given."""
    if (policy is None) == (race is None):
        raise ValueError("give one POLICY, or several with --race A,B,C")
    if race is None:
        return [str(policy)]
    from deeptraffic.render.race import check_entrants

    names = [name.strip() for name in race.split(",") if name.strip()]
    check_entrants(len(names))
    for name in names:
        if find_trace(name) is not None:
            raise ValueError(f"{name!r} is a trace, with traffic of its own; name policies in --race")
    return names


class EpisodeSource(NamedTuple):
    """Source of episodes of one policy, or of the one episode of a trace.

    rules: rules of its road
    make: seed -> the episode from its start, with an empty memory of the policy (a trace ignores the seed)
    sensor: cells that the policy observes, for the input overlay
    insight: what the policy last decided, and why; None for a trace
    policy: that drives; None for a trace
    """

    rules: "Rules"
    make: "Callable[[int], Episode]"
    sensor: "Sensor"
    insight: "Callable[[], Insight | None] | None" = None
    policy: "Policy | None" = None

    def with_layers(self, names: list[str] | None, theme: str | None) -> "tuple[EpisodeSource, list[RoadLayer]]":
        """Return the source, of whose decisions the layers of these names are told, and the layers."""
        from deeptraffic.render.layers import LayerContext, make_layer, watch_decisions
        from deeptraffic.render.theme import theme_by_name

        context = LayerContext(self.rules, self.policy, theme_by_name(theme or "dark"))
        layers = [make_layer(name, context) for name in names or ()]
        return self._replace(make=lambda seed: watch_decisions(self.make(seed), layers)), layers


# parameters: the options of `record` and `watch`
def find_episode(
    name: str,
    rules: int | None = None,
    other_agents: int | None = None,
    frames: int | None = None,
    road: "Rules | None" = None,
    beside: "Trace | None" = None,
    caption: "Caption | None" = None,
    epsilon: float | None = None,
) -> EpisodeSource:
    """Return the source of episodes that a policy's or a trace's name stands for.

    rules, other_agents: of a policy's road; None for its own
    frames: length; None for a whole run, or all of a trace
    road: in place of rules and other_agents
    beside: a trace whose road, traffic and length a policy gets, whatever the seed
    caption: describes each decision of a policy in a sentence
    epsilon: probability of a policy's random actions; None for its own

    Raises ValueError if there is no such policy or trace, or if options would change a trace.
    """
    from deeptraffic.episodes.episode import Episode
    from deeptraffic.episodes.trace import Start
    from deeptraffic.evaluation.episodes import policy_episode
    from deeptraffic.insight.recorder import InsightRecorder
    from deeptraffic.render.layers import watch_decisions
    from deeptraffic.sim.rules import RoadConfig, Sensor

    trace = find_trace(name)
    if trace is not None:
        if caption is not None:
            raise ValueError(f"{name!r} is a trace, whose decisions have no captions; name a policy")
        for flag, given in (("--rules", rules), ("--other-agents", other_agents), ("--epsilon", epsilon)):
            if given is not None:
                raise ValueError(f"{flag} {given}: trace {name!r} was recorded with its own; leave {flag} out")
        return EpisodeSource(trace.rules, lambda _: Episode.replay(trace, frames), trace.sensor or Sensor())
    policy = load_announced(name, rules if road is None else road.year, epsilon)
    if beside is not None:
        road, frames = beside.rules, beside.frames if frames is None else frames
    elif road is None:
        others = policy.other_agents if rules in (None, policy.rules) else 0
        others = others if other_agents is None else other_agents
        road = RoadConfig(rules=policy.rules if rules is None else rules, other_agents=others).build()
    insight = InsightRecorder(policy, caption)

    def make(seed: int) -> "Episode":
        start = Start.open(seed) if beside is None else beside.start
        return watch_decisions(policy_episode(policy, road, start, frames or RUN_FRAMES), [insight])

    return EpisodeSource(road, make, policy.sensor, insight, policy)


def find_trace(name: str | None) -> "Trace | None":
    """Return the trace in a file of this name; None if there is none."""
    from deeptraffic.episodes.trace import Trace, is_trace

    path = Path(name or ".")
    return Trace.load(path) if path.is_file() and (is_trace(path) or path.suffix == ".trace") else None


def read_vehicle(path: Path | None) -> "VehicleImage | None":
    """Return the image in a file; None for no file."""
    from deeptraffic.render.sprites import VehicleImage

    return None if path is None else VehicleImage(path)
