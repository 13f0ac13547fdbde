"""Command `bench`: throughput on this machine."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from deeptraffic.cli.terminal import Json, messages, print_json, print_table

if TYPE_CHECKING:
    from agents.analysis.train_bench import TrainingSpeed
    from deeptraffic.bench import BenchRow

RATE_SECONDS, TRAINING_SECONDS, PEER_SECONDS = 0.15, 2.0, 1.0
SETTINGS = {"deeptraffic": "ours", "deeptraffic, compiled": "ours, compiled", "stable-baselines3": "SB3's own"}


def bench(
    json: Json = False,
    train: bool = typer.Option(
        False, "--train", help="Measure the training speed of every algorithm instead, in two minutes."
    ),
    peers: bool = typer.Option(
        False, "--peers", help="Measure environments and learners of others and ours on one core, in three minutes."
    ),
    page: bool = typer.Option(False, "--page", help="With --peers: update the table of README.md."),
    repeats: int = typer.Option(5, min=1, max=1000, help="With --peers: measurements of each, in alternating order."),
    seconds: float | None = typer.Option(
        None, help="Duration of each measurement.", show_default="0.15, the best of three; with --train 2, --peers 1"
    ),
    highway_env: bool = typer.Option(True, help="Measure highway-env too, if it is installed."),
) -> None:
    """Measure throughput: frames, steps, observations and evaluations, in about half a minute."""
    if train and peers:
        raise ValueError("--train and --peers cannot be combined; give one of them")
    if page and not peers:
        raise ValueError("--page writes the table of --peers; give --peers too")
    if seconds is None:
        seconds = TRAINING_SECONDS if train else PEER_SECONDS if peers else RATE_SECONDS
    if not 0 < seconds <= 60:
        raise ValueError(f"--seconds must be a number above 0, at most 60, got {seconds:g}")
    if train:
        bench_training(seconds, json)
    elif peers:
        bench_peers(seconds, repeats, page, json)
    else:
        bench_throughput(seconds, highway_env, json)


def bench_throughput(seconds: float, highway_env: bool, json: bool) -> None:
    """Measure simulator, environments and evaluations, and print them."""
    from deeptraffic.bench import Bench, describe_machine

    measured = []
    with messages.status("measuring") as status:
        for result in Bench(seconds, opponent=highway_env).run():
            measured.append(result)
            status.update(f"measured {result.name}: {format_value(result)}")
    machine = describe_machine()
    if json:
        print_json({"machine": machine, "results": [result.to_json() for result in measured]})
        return
    title = f"{machine['processor']}, {machine['threads']} threads"
    print_table(title, ("what", "rules", "others", "threads", "envs", "value"), rows_of(measured))


def rows_of(measured: "Sequence[BenchRow]") -> list[tuple[str, ...]]:
    """Return the cells of a line per measurement; a name is written once for those that share it."""
    rows: list[tuple[str, ...]] = []
    last = ""
    for result in measured:
        rows.append(
            (
                "" if result.name == last else result.name,
                "" if result.rules is None else str(result.rules),
                "" if result.other_agents is None else str(result.other_agents),
                str(result.threads),
                f"{result.num_envs:,}",
                format_value(result),
            )
        )
        last = result.name
    return rows


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
        return
    headings = ("algorithm", "settings", "envs", "others", "decisions/s", "per CPU s")
    print_table(machine["processor"], headings, [training_cells(speed) for speed in measured], left=2)


def training_cells(speed: "TrainingSpeed") -> tuple[str, ...]:
    """Return a training speed as cells of a table."""
    rates = (f"{rate:,.0f}" for rate in (speed.decisions_per_second, speed.decisions_per_cpu_second))
    settings = SETTINGS.get(speed.defaults, speed.defaults)
    return (speed.name, settings, f"{speed.num_envs:,}", str(speed.other_agents), *rates)


# --- peers ----------------------------------------------------------------------------------------------------------


def bench_peers(seconds: float, repeats: int, page: bool, json: bool) -> None:
    """Measure environments and learners of others and ours in alternating order, and print them."""
    from agents.analysis.peers import describe_run, measure_peers, peer_cells, write_page

    with messages.status("measuring") as status:
        report = measure_peers(
            seconds,
            repeats,
            progress=lambda name, rate: status.update(f"measured {name}: {rate:,.0f} decisions per CPU second"),
        )
    if json:
        print_json(report.to_json())
    else:
        head, *rows = peer_cells(report)
        print_table(describe_run(report), head, rows)
    if page:
        messages.print(f"{write_page(report)}", highlight=False, soft_wrap=True)
