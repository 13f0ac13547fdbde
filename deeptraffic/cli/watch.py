"""`deeptraffic watch` and `deeptraffic play`: a window to look at a drive, or to drive in."""

from pathlib import Path

import typer

from deeptraffic.cli.episodes import EPISODE_HELP, find_episode
from deeptraffic.cli.policies import OTHERS_HELP, POLICY_HELP, resolve_policy
from deeptraffic.cli.terminal import messages, print_json, results

SEED_HELP = "Of the open run."


def watch(
    policy: str = typer.Argument(..., help=EPISODE_HELP),
    rules: int | None = typer.Option(None, help="2018 or 2017; by default the policy's own."),
    other_agents: int | None = typer.Option(None, help=OTHERS_HELP),
    seed: int = typer.Option(1, help=SEED_HELP),
    beside: str | None = typer.Option(None, help="A second policy or trace, shown beside the first on the same seed."),
    ghost: bool = typer.Option(False, help="Show the second one's ego car as a ghost on the first one's road."),
) -> None:
    """Look at a drive in a window; F1 or H shows the keys."""
    from deeptraffic.render.viewer import Look, Viewer

    _need_display()
    found = find_episode(policy, rules, other_agents)
    rival = find_episode(beside, rules, other_agents).make if beside else None
    Viewer(found.make, seed=seed, look=Look(found.sensor, found.insight, rival, ghost)).run()


def play(
    against: str | None = typer.Option(None, help=f"Drive against: {POLICY_HELP}"),
    rules: int = typer.Option(2018, help="2018 or 2017."),
    other_agents: int = typer.Option(
        0, help="Other agents on the road; the policy of --against drives them, or nobody."
    ),
    seed: int = typer.Option(1, help=SEED_HELP),
    name: str = typer.Option("you", help="Yours, for the local table."),
    ghost: bool = typer.Option(False, help="Show the policy's ego car as a ghost on your road."),
    keep: Path | None = typer.Option(None, help="Folder for what you drove: demonstration (.npz) and trace."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object about the drive."),
) -> None:
    """Drive by the arrow keys, for a score as the contest counts it."""
    from deeptraffic.competition.episodes import decide_anywhere, policy_episode
    from deeptraffic.render.play import Play
    from deeptraffic.render.trace import Start
    from deeptraffic.sim.rules import RoadConfig

    road = RoadConfig(rules=rules, other_agents=other_agents).build()
    _need_display()
    rival = others = None
    if against is not None:
        driver = resolve_policy(against, rules)
        rival = lambda seed: policy_episode(driver, road, Start.open(seed))  # noqa: E731
        others = decide_anywhere(resolve_policy(against, rules)) if other_agents else None
    result = Play(road, name=name, seed=seed, rival=rival, ghost=ghost, others=others).run()
    kept = {}
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        kept = {"demonstration": str(keep / "demonstration.npz"), "trace": str(keep / "drive.trace")}
        result.demonstration.save(keep / "demonstration.npz")
        result.trace.save(keep / "drive.trace")
    if json:
        print_json({"score_mph": result.score_mph, "place": result.place, "of": result.of, "seed": seed} | kept)
        return
    place = f", place {result.place} of {result.of} on this machine" if result.place else ", not finished"
    results.print(f"{result.score_mph:.2f} mph{place}", highlight=False)
    for path in kept.values():
        results.print(path, highlight=False, soft_wrap=True)


def _need_display() -> None:
    from deeptraffic.render.window import has_display

    if not has_display():
        messages.print("There is no display: `deeptraffic record POLICY -o drive.mp4` films a drive instead.")
        raise RuntimeError("no display to open a window on")
