"""The commands `watch` and `play`: a window that shows an episode, or in which a person plays."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agents.loader import load_policy
from deeptraffic.cli.episodes import (
    DEFAULT_SEED,
    SEED_HELP,
    LayerNames,
    Overlay,
    PolicyOrTrace,
    Race,
    Theme,
    Trail,
    VehiclePath,
    find_episode,
    find_trace,
    race_names,
    read_vehicle,
)
from deeptraffic.cli.policies import POLICY_HELP, Epsilon, OwnOthers, OwnRules, load_announced
from deeptraffic.cli.terminal import Json, messages, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from deeptraffic.render.play import PlayResult
    from deeptraffic.sim.engine import Simulator


def watch(
    policy: PolicyOrTrace = None,
    rules: OwnRules = None,
    other_agents: OwnOthers = None,
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
    from deeptraffic.render.controls import Controls
    from deeptraffic.render.screen import ViewerOptions
    from deeptraffic.render.viewer import Viewer

    if ghost and beside is None:
        raise ValueError("--ghost needs a second policy: name a policy or trace with --beside")
    policy, *entrants = race_names(policy, race)
    if entrants and beside is not None:
        raise ValueError("--beside is of no use in a race: name the second policy in --race")
    first, second = find_trace(policy), find_trace(beside)
    only_second = first is not None and second is None and beside is not None  # acts at random, beside a trace
    own, trace, words = None if only_second else epsilon, first or second, _read_caption(caption)
    found = find_episode(policy, rules, other_agents, beside=trace, caption=words, epsilon=own)
    found, layers = found.with_layers(layer, theme)
    options = ViewerOptions(found.sensor, found.insight, image=read_vehicle(vehicle), layers=layers, stuck=stuck_level)
    if entrants:
        racers = [find_episode(name, road=found.rules, epsilon=epsilon).make for name in entrants]
        options = options._replace(rivals=racers, arrangement="race")
    elif beside:
        own = None if second is not None else epsilon
        rival = find_episode(beside, road=found.rules, beside=trace, epsilon=own)
        rival, layers = rival.with_layers(layer if rival.policy is not None and not ghost else None, theme)
        how = "ghost" if ghost else "beside"
        options = options._replace(rivals=[rival.make], arrangement=how, rival_layers=layers)
    controls = Controls(found.rules.vehicles, overlay or "none", trail, theme or "dark")
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
    from deeptraffic.evaluation.episodes import decide_with, policy_episode
    from deeptraffic.render.controls import Controls
    from deeptraffic.render.play import Play
    from deeptraffic.render.screen import ViewerOptions
    from deeptraffic.sim.rules import RoadConfig

    if ghost and against is None:
        raise ValueError("--ghost needs a second policy: name a policy with --against")
    road = RoadConfig(rules=rules, other_agents=other_agents).build()
    options, others = ViewerOptions(image=read_vehicle(vehicle), arrangement="ghost" if ghost else "beside"), None
    if against is not None:
        opponent = load_announced(against, rules, epsilon)
        options = options._replace(rivals=[lambda seed: policy_episode(opponent, road, Start.open(seed))])
        others = partial(decide_with, load_policy(against, rules, epsilon=epsilon)) if other_agents else None
    controls = Controls(road.vehicles, overlay or "none", trail, theme or "dark")
    _need_display()
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    session = Play(
        road,
        name=name,
        seed=seed,
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
    facts = {"score_mph": result.score_mph, "place": result.place, "of": result.of, "seed": seed}
    place = f", place {result.place} of {result.of} on this machine" if result.place else ", not finished"
    report(json, facts | kept, f"{result.score_mph:.2f} mph{place}", *kept.values())


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
