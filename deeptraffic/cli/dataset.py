"""`deeptraffic dataset`: data sets of driving for offline reinforcement learning."""

from pathlib import Path
from typing import Any

import typer

from deeptraffic.cli.episodes import EPISODE_HELP
from deeptraffic.cli.policies import OTHERS_HELP
from deeptraffic.cli.terminal import print_json, progress_bar, results
from deeptraffic.settings import parse_setting


def dataset(
    policies: list[str] = typer.Argument(..., metavar="POLICY...", help=f"{EPISODE_HELP} Several take turns."),
    output: Path = typer.Option(..., "--output", "-o", help="Name of the data set, such as deeptraffic/medium-v0."),
    obs: str = typer.Option("gaps", help="Kind of observation, or a preset, such as two-frames."),
    option: list[str] = typer.Option([], "--set", help="Option of the observation, key=value."),
    episodes: int = typer.Option(1500, help="Number of episodes; a trace is one."),
    max_steps: int = typer.Option(67, help="Decisions of an episode; 67 are a run of the 2018 contest."),
    seed: int = typer.Option(0, help="Open run of the first episode; the others follow."),
    epsilon: float = typer.Option(0.0, help="Probability of a random action in each decision."),
    reward: str = typer.Option("mit", help="Reward: mit, speed or passed."),
    rules: int = typer.Option(2018, help="Rules of the contest: 2018 or 2017."),
    other_agents: int = typer.Option(0, help=OTHERS_HELP),
    json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Record a Minari data set of policies that drive, or of episode traces; the same command resumes.

    It lies in Minari's local store, $MINARI_DATASETS_PATH or ~/.minari/datasets, and its metadata hold the settings,
    the mean speed and the return of every episode. `deeptraffic train bc --dataset NAME` learns from it.
    """
    from agents.benchmark.tasks import normalised_score
    from agents.datasets.config import DatasetConfig
    from agents.datasets.store import record_dataset
    from deeptraffic.envs.observations import make_observation
    from deeptraffic.sim.rules import RoadConfig

    config = DatasetConfig(
        policies=tuple(policies),
        episodes=episodes,
        max_steps=max_steps,
        seed=seed,
        epsilon=epsilon,
        reward=reward,
        road=RoadConfig(rules=rules, other_agents=other_agents),
        observation=make_observation(obs, **dict(parse_setting(each) for each in option)),
    )
    with progress_bar(f"recording {output}") as progress:
        summary = record_dataset(config, output.as_posix(), progress)
    score = normalised_score(summary.mean_mph, config.road)
    if json:
        facts: dict[str, Any] = summary._asdict() | {"path": str(summary.path), "normalised_score": score}
        print_json(facts | {"config": config.to_json()})
        return
    known = "" if score is None else f", normalised score {score:.1f}"
    text = f"{summary.episodes:,} episodes, {summary.transitions:,} decisions, {summary.mean_mph:.2f} mph{known}"
    results.print(f"{summary.name}: {text}", highlight=False, soft_wrap=True)
    results.print(f'Load it: minari.load_dataset("{summary.name}")', highlight=False, soft_wrap=True)
