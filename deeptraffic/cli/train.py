"""`deeptraffic train` and `deeptraffic demo`: the command lines of `agents/train_command.py` and `agents/demo.py`."""

from pathlib import Path

import typer

from deeptraffic.cli.others import parse_numbers
from deeptraffic.cli.terminal import messages, print_json, results

ORIGINAL = "deepqlearn"
ALGORITHMS = (
    "reinforce, a2c, ppo, team_ppo, maskable_ppo, recurrent_ppo, dqn, qrdqn, pqn, world_model, or deepqlearn, the "
    "original's own."
)


def train(
    algo: str = typer.Argument(..., help=ALGORITHMS),
    obs: str | None = typer.Option(None, help="Kind of observation: vector, gaps, grid, ..."),
    encoder: str | None = typer.Option(None, help="An encoder's name, or a weights file of `deeptraffic pretrain`."),
    init: Path | None = typer.Option(
        None, help="A run folder or policy file whose network ppo or team_ppo begins from."
    ),
    stages: str | None = typer.Option(None, help="Other agents to train with one after another, such as 0,3,10."),
    config: Path | None = typer.Option(None, help="A JSON or TOML file of settings."),
    set_: list[str] = typer.Option([], "--set", help="A setting, key=value; may be given several times."),
    preset: str | None = typer.Option(None, help="default, demo or quick; of deepqlearn mit-basic or mit-default."),
    rules: int | None = typer.Option(None, help="2018 or 2017."),
    other_agents: int | None = typer.Option(None, help="Other agents on the road, 0 to 10."),
    seed: int | None = typer.Option(None, help="Of the network, the exploration and the games."),
    device: str | None = typer.Option(None, help="Of the network: cpu, cuda or auto."),
    output: Path | None = typer.Option(
        None, "--output", "-o", help="The run folder.", show_default="a new one under runs/"
    ),
    json: bool = typer.Option(False, "--json", help="Print one JSON object about the finished run."),
) -> None:
    """Train an agent in a run folder; the same command on the same folder goes on where it stopped."""
    from agents.train_command import to_json, train_command

    if algo == ORIGINAL:
        if obs not in (None, "vector") or device not in (None, "cpu", "auto"):
            raise ValueError(f"{ORIGINAL} learns from the game's own vector, on the CPU; leave --obs and --device out")
        if encoder or init or stages:
            raise ValueError(f"{ORIGINAL} has no encoder, beginning or stages; leave --encoder, --init, --stages out")
        from agents import deepqlearn_run

        typed = {"rules": rules, "other_agents": other_agents, "seed": seed}
        result = deepqlearn_run.train_command(typed, config, set_, preset, output, messages)
    else:
        result = train_command(
            algo,
            observation=obs,
            encoder=encoder,
            init=init,
            stages=parse_numbers(stages) if stages else (),
            config_file=config,
            settings=set_,
            preset=preset,
            rules=rules,
            other_agents=other_agents,
            seed=seed,
            device=device,
            output=output,
            console=messages,
        )
    if json:
        print_json(to_json(result))
        return
    results.print(f"Trained {result.decisions:,} decisions in {result.seconds:.0f} s: {result.folder}", highlight=False)
    if result.mean_mph is not None and result.median_mph is not None:
        scores = f"mean {result.mean_mph:.2f}, median {result.median_mph:.2f} mph on tuning seeds"
        results.print(f"Best network, after {result.best_at:,} decisions: {scores}", highlight=False)
    results.print(f"Score it officially: deeptraffic evaluate {result.folder}", highlight=False, soft_wrap=True)


def demo(
    output: Path = typer.Option(Path("runs/demo"), "--output", "-o", help="The run folder."),
    set_: list[str] = typer.Option([], "--set", help="A setting of the training, key=value."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Train a driver in about two minutes, score it officially beside known scores, and film it."""
    from agents.demo import run_demo
    from agents.train_command import to_json

    result = run_demo(output, tuple(set_), messages if json else results)
    if json:
        files = {name: str(path) for name, path in result.files.items()}
        print_json({"training": to_json(result.training), "score": result.score.to_json(), "files": files})
