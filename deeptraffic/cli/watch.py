"""The commands `watch` and `play`: a window that shows an episode, or in which a person plays."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agents.loader import load_policy
from deeptraffic.cli.episodes import (
    DEFAULT_SEED,
    EPISODE_HELP,
    SEED_HELP,
    LayerNames,
    Overlay,
    Race,
    Theme,
    Trail,
    VehiclePath,
    find_episode,
    find_trace,
    make_controls,
    race_names,
    read_vehicle,
)
from deeptraffic.cli.policies import OTHERS_HELP, OWN, POLICY_HELP, Epsilon, complete_policy, load_announced
from deeptraffic.cli.terminal import Json, messages, print_json, results

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeptraffic.render.play import PlayResult
    from deeptraffic.sim.engine import Simulator


def watch(
    policy: str | None = typer.Argument(None, autocompletion=complete_policy, help=EPISODE_HELP, show_default=False),
    rules: int | None = typer.Option(None, help="Rules of the contest: 2018 or 2017.", show_default=OWN),
    other_agents: int | None = typer.Option(None, help=OTHERS_HELP, show_default=OWN),
    seed: int = typer.Option(DEFAULT_SEED, help=f"{SEED_HELP} A trace has its own."),
    epsilon: Epsilon = None,
    beside: str | None = typer.Option(None, help="Second policy or trace, shown beside the first with the same seed."),
    ghost: bool = typer.Option(False, "--ghost", help="Show the second ego car as a ghost on the first road."),
    race: Race = None,
    caption: Path | None = typer.Option(
        None, help="Weights of a captioner (`deeptraffic pretrain captioner`) that describes each step in a sentence."
    ),
    overlay: Overlay = None,
    layer: LayerNames = None,
    theme: Theme = None,
    trail: Trail = "yellow",
    vehicle: VehiclePath = None,
) -> None:
    """Watch an episode in a window; F1 or H lists the keys."""
    from deeptraffic.evaluation.loss_causes import stuck_level
    from deeptraffic.render.viewer import Viewer, ViewerOptions

    if ghost and beside is None:
        raise ValueError("--ghost needs a second policy: name a policy or trace with --beside")
    policy, *entrants = race_names(policy, race)
    if entrants and beside is not None:
        raise ValueError("--beside is of no use in a race: name the second policy in --race")
    trace = find_trace(policy) or find_trace(beside)
    traces = find_trace(policy) is not None, find_trace(beside) is not None
    own = None if traces[0] and beside and not traces[1] else epsilon  # then it is the second policy's alone
    found = find_episode(policy, rules, other_agents, beside=trace, caption=_read_caption(caption), epsilon=own)
    other = None if traces[1] else epsilon
    found, layers = found.with_layers(layer, theme)
    options = ViewerOptions(
        found.sensor, found.insight, None, ghost, read_vehicle(vehicle), layers=layers, stuck=stuck_level
    )
    racers = [find_episode(name, road=found.rules, epsilon=epsilon).make for name in entrants]
    options = options._replace(racers=racers)
    if beside:
        second = find_episode(beside, road=found.rules, beside=trace, epsilon=other)
        second, layers = second.with_layers(layer if second.policy is not None and not ghost else None, theme)
        options = options._replace(rival=second.make, rival_layers=layers)
    controls = make_controls(found.rules.vehicles, overlay, theme, trail)
    _need_display()
    Viewer(found.make, seed=seed, options=options, controls=controls).run()


def play(
    against: str | None = typer.Option(None, help=f"Opponent. {POLICY_HELP}"),
    rules: int = typer.Option(2018, help="Rules of the contest: 2018 or 2017."),
    other_agents: int = typer.Option(
        0, help="Other agents on the road, 0 to 10; self-play copies of --against, if given."
    ),
    seed: int = typer.Option(DEFAULT_SEED, help=SEED_HELP),
    name: str = typer.Option("you", help="Your name in the local table of results."),
    ghost: bool = typer.Option(False, "--ghost", help="Show the policy's ego car as a ghost on your road."),
    epsilon: Epsilon = None,
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Folder to save the demonstration (.npz) and the trace of your run in."
    ),
    overlay: Overlay = None,
    theme: Theme = None,
    trail: Trail = "yellow",
    vehicle: VehiclePath = None,
    json: Json = False,
) -> None:
    """Drive with the arrow keys, scored as in the contest."""
    from deeptraffic.episodes.trace import Start
    from deeptraffic.evaluation.episodes import decide_anywhere, policy_episode
    from deeptraffic.render.play import Play
    from deeptraffic.render.viewer import ViewerOptions
    from deeptraffic.sim.rules import RoadConfig

    if ghost and against is None:
        raise ValueError("--ghost needs a second policy: name a policy with --against")
    road = RoadConfig(rules=rules, other_agents=other_agents).build()
    rival = others = None
    if against is not None:
        opponent = load_announced(against, rules, epsilon)
        rival = lambda seed: policy_episode(opponent, road, Start.open(seed))  # noqa: E731
        others = decide_anywhere(load_policy(against, rules, epsilon=epsilon)) if other_agents else None
    options, controls = ViewerOptions(image=read_vehicle(vehicle)), make_controls(road.vehicles, overlay, theme, trail)
    _need_display()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    session = Play(
        road,
        name=name,
        seed=seed,
        rival=rival,
        ghost=ghost,
        others=others,
        targets=_targets(rules, other_agents),
        options=options,
        controls=controls,
    )
    _print_result(session.run(), session.viewer.seed, output, json)


def _targets(rules: int, other_agents: int) -> list[tuple[str, float]]:
    """Return the known official scores and the champions' under these rules, by name [mph]."""
    from agents.champions.registry import CHAMPIONS
    from deeptraffic.evaluation.protocol import KNOWN_SCORES
    from deeptraffic.policies.base import DEFAULT_RULES

    if rules != DEFAULT_RULES:
        return []
    known = [(name, score) for name, others, score in KNOWN_SCORES if others == other_agents]
    champions = [each for each in CHAMPIONS.values() if each.other_agents == other_agents]
    return known + [(each.name, each.official_mph) for each in champions if each.official_mph is not None]


def _print_result(result: "PlayResult", seed: int, keep: Path | None, json: bool) -> None:
    kept = {} if keep is None else _keep(result, keep)
    if json:
        print_json({"score_mph": result.score_mph, "place": result.place, "of": result.of, "seed": seed} | kept)
        return
    place = f", place {result.place} of {result.of} on this machine" if result.place else ", not finished"
    results.print(f"{result.score_mph:.2f} mph{place}", highlight=False)
    for path in kept.values():
        results.print(path, highlight=False, soft_wrap=True)


def _keep(result: "PlayResult", folder: Path) -> dict[str, str]:
    """Write demonstration and trace under the first free number; return their paths."""
    if len(result.demonstration) == 0:
        messages.print("Nothing is saved: the window was closed before the second step.")
        return {}
    number = 1
    while any(folder.glob(f"drive-{number}.*")):
        number += 1
    demonstration, trace = folder / f"drive-{number}.npz", folder / f"drive-{number}.trace"
    result.demonstration.save(demonstration)
    result.trace.save(trace)
    return {"demonstration": str(demonstration), "trace": str(trace)}


def _read_caption(weights: Path | None) -> "Callable[[Simulator, int], str] | None":
    if weights is None:
        return None
    from representation.paradigms.encoder_decoder.caption import narrator

    return narrator(weights)


def _need_display() -> None:
    from deeptraffic.render.window import has_display

    if not has_display():
        messages.print("There is no display: record a video instead by `deeptraffic record POLICY -o run.mp4`.")
        raise RuntimeError("no display to open a window on")
