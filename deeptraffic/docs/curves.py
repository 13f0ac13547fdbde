"""Learning curves of every algorithm, trained with its quick preset: `python -m deeptraffic.docs.curves`.

The command trains each algorithm with three seeds in `runs/curves`, resumes after any interruption, and writes
`curves.csv` beside this module, from which the site's figures are drawn.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from agents.analysis.tables import csv_content
from agents.registry import ALGORITHMS, ENTRIES, Entry
from agents.run import RunFolder
from agents.settings import build_config
from agents.trainer import train
from deeptraffic.evaluation.statistics import mean_interval
from deeptraffic.figure import BLUE, GREY, new_figure
from deeptraffic.run_dir import write_atomically

FILE = Path(__file__).parent / "curves.csv"
COLUMNS = ("algorithm", "seed", "decisions", "mean_mph", "cpu_seconds")
SEEDS = (0, 1, 2)
SETTINGS = {"total_timesteps": 100_000, "evaluate_every": 10_000, "evaluation_runs": 200}
RANDOM_MPH, GAP_MPH = 60.05, 73.35  # official scores of `random` and `gap`, see README

Row = dict[str, str]


def preset_of(entry: Entry) -> str:
    """Return the preset that an algorithm's curve is trained with."""
    return "quick" if "quick" in entry.presets else entry.presets[0]


def train_curve(entry: Entry, seed: int, folder: Path) -> list[Row]:
    """Train in a run folder, or complete the run there; return one row per evaluation on tuning seeds."""
    config = build_config(entry.name, preset_of(entry), settings={**SETTINGS, "seed": seed})
    train(config, folder)
    return [
        {
            "algorithm": entry.name,
            "seed": str(seed),
            "decisions": str(record["decisions"]),
            "mean_mph": f"{record['tuning_mean_mph']:.2f}",
            "cpu_seconds": f"{record['cpu_seconds']:.1f}",
        }
        for record in RunFolder(folder).metrics()
        if "tuning_mean_mph" in record
    ]


def write_curves(names: Iterable[str], runs: Path, file: Path = FILE) -> None:
    """Train the named algorithms and put their rows in place of what the file has of them."""
    for name in names:
        rows = [row for seed in SEEDS for row in train_curve(ALGORITHMS[name], seed, runs / f"{name}-{seed}")]
        kept = [row for row in read_curves(file) if row["algorithm"] != name]
        order = list(ALGORITHMS)
        rows = sorted([*kept, *rows], key=lambda row: order.index(row["algorithm"]))
        write_atomically(file, csv_content(rows, COLUMNS))


def read_curves(file: Path = FILE) -> list[Row]:
    """Read the stored curves; none if the file is missing."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def draw_curve(name: str, rows: list[Row]) -> Figure:
    """Return the figure of one algorithm: every seed's curve, and their mean with its 95% interval."""
    figure, axes = new_figure(f"{name}: mean speed on 200 tuning runs", (7.0, 3.6))
    seeds = {row["seed"]: [each for each in rows if each["seed"] == row["seed"]] for row in rows}
    for curve in seeds.values():
        decisions, mph = zip(*((int(row["decisions"]), float(row["mean_mph"])) for row in curve), strict=True)
        axes.plot(decisions, mph, color=GREY, linewidth=0.8)
    points = list(zip(*seeds.values(), strict=False))
    at = [int(point[0]["decisions"]) for point in points]
    values = [[float(row["mean_mph"]) for row in point] for point in points]
    intervals = [mean_interval(each) for each in values]
    axes.plot(at, [sum(each) / len(each) for each in values], color=BLUE, linewidth=2.2)
    low, high = zip(*intervals, strict=True)
    axes.fill_between(at, low, high, color=BLUE, alpha=0.2, linewidth=0)
    axes.axhline(RANDOM_MPH, color=GREY, linestyle=":", linewidth=1)
    axes.text(0.99, RANDOM_MPH, "random", ha="right", va="bottom", color=GREY, transform=axes.get_yaxis_transform())
    axes.set_ylim(48, 76)
    axes.set_xlabel("decisions")
    axes.set_ylabel("mph")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return figure


if __name__ == "__main__":
    import sys

    online = [entry.name for entry in ENTRIES if entry.kind != "offline"]  # these learn without a data set
    write_curves(sys.argv[1:] or online, Path("runs/curves"))
