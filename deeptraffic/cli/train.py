"""`deeptraffic train` and `deeptraffic demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agents.registry import ALGORITHMS, ENTRIES, PRESETS, WARM_STARTABLE
from deeptraffic.cli.terminal import Json, messages, print_json, progress_bar, results
from deeptraffic.settings import parse_setting

if TYPE_CHECKING:
    from deeptraffic.evaluation.score import Score

OWN_PRESETS = "".join(f"; of {e.name}: {', '.join(e.presets)}" for e in ENTRIES if e.presets != PRESETS)
THEN = "then."  # begins the settings of a second algorithm


def complete_algorithm(incomplete: str) -> list[str]:
    """Return the names of algorithms that begin so, for the shell's completion."""
    return [name for name in ALGORITHMS if name.startswith(incomplete)]


def train(
    algo: str = typer.Argument(..., autocompletion=complete_algorithm, help=f"Algorithm: {', '.join(ALGORITHMS)}."),
    obs: str | None = typer.Option(None, help="Kind of observation, such as grid, or a preset, such as two-frames."),
    encoder: str | None = typer.Option(
        None, help="Name of an encoder, weights file of `deeptraffic pretrain`, or run folder of distil."
    ),
    teacher: str | None = typer.Option(None, help="Policy that distil imitates.", show_default="champion-solo"),
    dataset: str | None = typer.Option(None, help="Data set that bc and cql learn from, of `deeptraffic dataset`."),
    init: str | None = typer.Option(
        None, help=f"Policy that the network of {', '.join(WARM_STARTABLE)} is initialised from."
    ),
    then: str | None = typer.Option(
        None, help="Algorithm that fine-tunes the trained network by reward; its settings are --set then.key=value."
    ),
    stages: str | None = typer.Option(None, help="Curriculum: numbers of other agents in order, such as 0,3,10."),
    config: Path | None = typer.Option(None, help="JSON or TOML file of settings."),
    set_: list[str] = typer.Option([], "--set", help="Setting, key=value; may be given several times."),
    preset: str | None = typer.Option(None, help=f"Preset of settings: {', '.join(PRESETS)}{OWN_PRESETS}."),
    rules: int | None = typer.Option(None, help="Rules of the contest: 2018 or 2017."),
    other_agents: int | None = typer.Option(None, help="Other agents on the road, 0 to 10."),
    seed: int | None = typer.Option(None, help="Random seed of the network, the exploration and the envs."),
    device: str | None = typer.Option(None, help="Device of the network: cpu, cuda or auto."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="Run folder.", show_default="a new one under runs/"
    ),
    score: bool = typer.Option(False, "--score", help="Score the trained network officially, too."),
    json: Json = False,
) -> None:
    """Train an agent in a run folder; the same command on the same folder resumes where it stopped.

    Options win over the config file, that over the preset, that over the algorithm's defaults. On a folder that holds a
    run already, what is not given is that of the run.
    """
    from agents.run import configure, default_folder
    from agents.trainer import train as train_run

    given: dict[str, Any] = {
        "observation.kind": obs,
        "agent.teacher": teacher,
        "road.rules": rules,
        "road.other_agents": other_agents,
        "seed": seed,
        "device": device,
    }
    settings = dict(_network_settings(encoder, init, dataset))
    settings |= {name: value for name, value in given.items() if value is not None}
    folder = output or default_folder(algo)
    chosen = dict(parse_setting(setting) for setting in set_)
    later = {key.removeprefix(THEN): chosen.pop(key) for key in list(chosen) if key.startswith(THEN)}
    if then and stages:
        raise ValueError("--then and --stages cannot be combined; give one of them")
    if later and not then:
        raise ValueError(f"settings {', '.join(later)} are of a second algorithm; name it by --then")
    run = configure(algo, folder / algo if then else folder, preset, config, settings | chosen)
    if then:
        from agents.stages import train_then

        result = train_then(run, then, folder, later, messages)
    elif stages:
        from agents.stages import train_in_stages
        from deeptraffic.cli.others import parse_numbers

        result = train_in_stages(run, parse_numbers(stages), folder, messages)
    else:
        result = train_run(run, folder, messages)
    official = _official_score(result.folder) if score else None
    if json:
        print_json(result.to_json() | ({"official": official.to_json()} if official else {}))
        return
    backend = f", backend={result.backend}" if result.backend else ""
    trained = f"Trained {result.decisions:,} decisions in {result.seconds:.0f} s{backend}: {result.folder}"
    results.print(trained, highlight=False)
    if result.mean_mph is not None and result.median_mph is not None:
        scores = f"mean {result.mean_mph:.2f}, median {result.median_mph:.2f} mph on tuning seeds"
        results.print(f"Best network, after {result.best_at:,} decisions: {scores}", highlight=False)
    if official:
        from deeptraffic.cli.evaluate import print_score

        print_score(official)
    else:
        results.print(f"Score it officially: deeptraffic evaluate {result.folder}", highlight=False, soft_wrap=True)


def _official_score(folder: Path) -> "Score":
    """Return the official score of a run's network, by the rules and with the other agents of its training."""
    from agents.loader import load_policy
    from deeptraffic.evaluation.protocol import evaluate_official

    policy = load_policy(folder)
    with progress_bar(f"scoring {policy.label}") as progress:
        return evaluate_official(policy, policy.rules, policy.other_agents, progress)


def _network_settings(encoder: str | None, init: str | None, dataset: str | None) -> dict[str, Any]:
    """Return the settings that `--encoder`, `--init` and `--dataset` stand for."""
    settings: dict[str, Any] = {}
    if encoder:
        from agents.perception import encoder_settings

        settings |= encoder_settings(encoder)
    if dataset:
        from agents.datasets.offline import dataset_settings

        settings |= dataset_settings(dataset)
    if init:
        from agents.warm_start import init_settings, load_init

        settings |= {"init": init, **init_settings(load_init(init))}
    return settings


def demo(
    output: Path = typer.Option(Path("runs/demo"), "--output", "-o", help="Run folder."),
    set_: list[str] = typer.Option([], "--set", help="Setting of the training, key=value."),
    json: Json = False,
) -> None:
    """Train a policy in half a minute, score it officially beside known scores, and record a video."""
    from agents.demo import run_demo

    result = run_demo(output, tuple(set_), messages if json else results)
    if json:
        files = {name: str(path) for name, path in result.files.items()}
        print_json({"training": result.training.to_json(), "score": result.score.to_json(), "files": files})
