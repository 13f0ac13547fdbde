"""Command `bench`: throughput on this machine."""

from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from deeptraffic.cli.terminal import messages, print_json, results

if TYPE_CHECKING:
    from agents.analysis.train_bench import TrainingSpeed
    from deeptraffic.bench import BenchRow

TABLE_WIDTH = 100  # [columns] in which every value fits
RATE_SECONDS, TRAINING_SECONDS = 0.15, 2.0
SETTINGS = {"deeptraffic": "ours", "stable-baselines3": "SB3's own"}  # short, to fit 80 columns


def bench(
    json: bool = typer.Option(False, "--json", help="Print one JSON object instead of a table."),
    train: bool = typer.Option(
        False, "--train", help="Measure the training speed of every algorithm instead, in two minutes."
    ),
    seconds: float | None = typer.Option(
        None, help="Duration of each measurement.", show_default="0.15, the best of three; with --train 2"
    ),
    highway_env: bool = typer.Option(True, help="Measure highway-env too, if it is installed."),
) -> None:
    """Measure throughput: frames, steps, observations and evaluations, in about half a minute."""
    from deeptraffic.bench import Bench, describe_machine

    if seconds is None:
        seconds = TRAINING_SECONDS if train else RATE_SECONDS
    if not 0 < seconds <= 60:
        raise ValueError(f"--seconds must be a number above 0, at most 60, got {seconds:g}")
    if train:
        bench_training(seconds, json)
        return
    measured = []
    with messages.status("measuring") as status:
        for result in Bench(seconds, opponent=highway_env).run():
            measured.append(result)
            status.update(f"measured {result.name}: {format_value(result)}")
    machine = describe_machine()
    if json:
        print_json({"machine": machine, "results": [result.to_json() for result in measured]})
        return
    table = table_of(measured, f"{machine['processor']}, {machine['threads']} threads")
    Console(width=max(results.width, TABLE_WIDTH)).print(table)


def table_of(measured: "list[BenchRow]", title: str) -> Table:
    """Return a table with a line per measurement; a name is written once for those that share it."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("what", no_wrap=True)
    for heading in ("rules", "others", "threads", "envs", "value"):
        table.add_column(heading, justify="right", no_wrap=True)
    last = ""
    for result in measured:
        table.add_row(
            "" if result.name == last else result.name,
            "" if result.rules is None else str(result.rules),
            "" if result.other_agents is None else str(result.other_agents),
            str(result.threads),
            f"{result.num_envs:,}",
            format_value(result),
        )
        last = result.name
    return table


def format_value(result: "BenchRow") -> str:
    """Return the value with its unit."""
    digits = 2 if result.value < 10 else 0
    return f"{result.value:,.{digits}f} {result.unit}"


# --- training -------------------------------------------------------------------------------------------------------


def bench_training(seconds: float, json: bool) -> None:
    """Measure the training speed of every algorithm, beside Stable-Baselines3's defaults, and print it."""
    from agents.analysis.train_bench import measure_training
    from deeptraffic.bench import describe_machine

    measured = []
    with messages.status("training") as status:
        for speed in measure_training(seconds):
            measured.append(speed)
            status.update(f"trained {speed.name}: {speed.decisions_per_cpu_second:,.0f} decisions per CPU second")
    machine = describe_machine()
    if json:
        print_json({"machine": machine, "training": [speed.to_json() for speed in measured]})
    else:
        results.print(table_of_training(measured, machine["processor"]))


def table_of_training(measured: "list[TrainingSpeed]", title: str) -> Table:
    """Return a table with a line per algorithm and source of its settings."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("algorithm", "settings"):
        table.add_column(heading, no_wrap=True)
    for heading in ("envs", "others", "decisions/s", "per CPU s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for speed in measured:
        rates = (f"{rate:,.0f}" for rate in (speed.decisions_per_second, speed.decisions_per_cpu_second))
        counts = (f"{speed.num_envs:,}", str(speed.other_agents))
        table.add_row(speed.name, SETTINGS.get(speed.defaults, speed.defaults), *counts, *rates)
    return table
