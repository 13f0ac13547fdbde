"""`deeptraffic bench --train`: the table of `agents/analysis/train_bench.py`."""

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from deeptraffic.cli.terminal import messages, print_json, results

if TYPE_CHECKING:
    from agents.analysis.train_bench import TrainingSpeed

WHOSE = {"deeptraffic": "ours", "stable-baselines3": "SB3's own"}  # settings, in words that 80 columns have room for


def bench_training(seconds: float, json: bool) -> None:
    """Measure how fast each agent trains, beside Stable-Baselines3's own defaults, and print it."""
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
    """Return a table with a line per agent."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("agent", "settings"):
        table.add_column(heading, no_wrap=True)
    for heading in ("games", "others", "decisions/s", "per CPU s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for speed in measured:
        rates = (f"{rate:,.0f}" for rate in (speed.decisions_per_second, speed.decisions_per_cpu_second))
        counts = (f"{speed.num_envs:,}", str(speed.other_agents))
        table.add_row(speed.name, WHOSE.get(speed.defaults, speed.defaults), *counts, *rates)
    return table
