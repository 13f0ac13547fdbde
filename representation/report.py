"""Report page: the metrics of every experiment beside its baselines, with plots.

    deeptraffic report representation         # trains what is missing, then writes representation/REPORT.md

The page is made from the experiments' folders (result.json, plots) and from the table of driving scores
(`agents/analysis/encoder_table.py`). report.json beside it holds the same metrics for programs.
"""

import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeptraffic.run_dir import write_atomically, write_json
from representation.catalog import EXPERIMENTS, PARADIGMS
from representation.experiment import RESULT, ExperimentResult, Metric, read_result

Section = tuple[ExperimentResult, dict[str, Any], Path]  # of an experiment: its result, its result.json, its folder
PAGE, JSON, PLOTS, TABLE = "REPORT.md", "report.json", "figures", "driving.csv"
HEAD = """# Six paradigms of deep learning, on the road

What each model learns from simulated data, evaluated on held-out runs against simple baselines.
`deeptraffic report representation` makes this page; `deeptraffic pretrain NAME` trains one model;
`deeptraffic report driving` makes the table at the end. A value in bold beats all its baselines; ✓ and ✗ mark whether
it reaches the goal that was set beforehand.
"""


def write_report(results: str | Path, folder: str | Path) -> Path:
    """Write the page, its plots and report.json into `folder` from the experiments' results; return the page's path.

    results: the folder that holds the experiments' folders

    Raises ValueError if there is no result.
    """
    found = sorted(Path(results).glob(f"*/{RESULT}"))
    if not found:
        raise ValueError(f"there are no results under {str(results)!r}; run `deeptraffic pretrain NAME` first")
    folder = Path(folder)
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    experiments = sorted(((*read_result(path), path.parent) for path in found), key=_place)
    pages = [HEAD, _summary(experiments)]
    for paradigm in PARADIGMS:
        own = [entry for entry in experiments if entry[1]["paradigm"] == paradigm]
        if own:
            pages.append(f"## {paradigm[0].upper()}{paradigm[1:]}\n")
            pages += [_section(result, content, source, folder) for result, content, source in own]
    if (folder / TABLE).exists():
        pages.append(driving_section((folder / TABLE).read_text(encoding="utf-8")))
    write_json(folder / JSON, {content["experiment"]: _as_json(content) for _, content, _ in experiments})
    write_atomically(folder / PAGE, "\n".join(pages).encode())
    return folder / PAGE


def _place(entry: Section) -> tuple[int, int, str]:
    """Return the sort key of an experiment on the page: by its paradigm, then in the catalogue's order."""
    _, content, _ = entry
    known = list(EXPERIMENTS)
    name = content["experiment"]
    return PARADIGMS.index(content["paradigm"]), known.index(name) if name in known else len(known), name


def _summary(experiments: Sequence[Section]) -> str:
    """Return a table of every experiment's main metric."""
    lines = [
        "| model | main metric on held-out runs | this model | baselines | goal |",
        "| --- | --- | --- | --- | --- |",
    ]
    for result, content, _ in experiments:
        metric = replace(result.metrics[0], note="")
        lines.append(f"| [`{content['experiment']}`](#{content['experiment']}) {row(metric)}")
    return "\n".join([*lines, ""])


def _section(result: ExperimentResult, content: dict[str, Any], source: Path, folder: Path) -> str:
    """Return the section of one experiment: summary, table of metrics, plots."""
    minutes = content["cpu_seconds"] / 60.0
    lines = [
        f"### `{content['experiment']}`\n",
        f"{content['summary']} Source: {content['source']}. Training and evaluation: {minutes:.1f} CPU minutes.\n",
        "| on held-out runs | this model | baselines | goal |",
        "| --- | --- | --- | --- |",
        *(row(metric) for metric in result.metrics),
        "",
    ]
    for plot in result.plots:
        name = Path(plot.file).name
        name = name if name.startswith(content["experiment"]) else f"{content['experiment']}-{name}"
        shutil.copyfile(source / plot.file, folder / PLOTS / name)
        lines.append(f"![{plot.caption}]({PLOTS}/{name})\n\n*{plot.caption}*\n")
    return "\n".join(lines)


def row(metric: Metric) -> str:
    """Return a metric as a line of a table: name and note, value, baselines, goal."""
    unit = f" {metric.unit}" if metric.unit else ""
    value = f"{metric.value:.4g}{unit}"
    if metric.baselines and metric.beats_baselines:
        value = f"**{value}**"
    beside = ", ".join(f"{name} {other:.4g}" for name, other in metric.baselines.items()) or "–"
    goal = "–" if metric.goal is None else f"{metric.goal:g} {'✓' if metric.reaches_goal else '✗'}"
    note = f" ({metric.note})" if metric.note else ""
    arrow = "" if metric.higher_is_better else " (lower is better)"
    return f"| {metric.name}{arrow}{note} | {value} | {beside} | {goal} |"


def _as_json(content: dict[str, Any]) -> dict[str, Any]:
    kept = ("paradigm", "summary", "source", "metrics", "cpu_seconds", "scale", "settings")
    return {name: content[name] for name in kept} | {"commit": content["versions"]["commit"]}


# --- driving scores of the encoders ---------------------------------------------------------------------------------


def driving_section(text: str) -> str:
    """Return the section on the encoders' driving scores, from the content of driving.csv."""
    lines = list(csv.DictReader(text.splitlines()))
    first = lines[0]
    return "\n".join(
        [
            "## Do they help to drive?\n",
            f"PPO with each encoder as feature extractor, {int(first['decisions']):,} decisions, evaluated on 1,000",
            "reporting runs of the open protocol: means over the seeds, and their range. *open*: the observation shows",
            "more than the contest's sensor. A policy that always accelerates scores 51.6, a random one 60.2. Each",
            "training run is a line of [driving.csv](driving.csv).\n",
            "| encoder | weights | observation | seeds | mean mph | range | median | 10th percentile | CPU s |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *(_driving_row(group) for group in _groups(lines)),
            "",
        ]
    )


def _groups(lines: Sequence[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Yield the lines of each encoder and way of training, in the file's order."""
    keys = list(dict.fromkeys((line["encoder"], line["way"]) for line in lines))
    for key in keys:
        yield [line for line in lines if (line["encoder"], line["way"]) == key]


def _driving_row(group: Sequence[dict[str, str]]) -> str:
    def column(name: str) -> Any:
        return np.array([float(line[name]) for line in group])

    first, means = group[0], column("mean_mph")
    access = " (open)" if first["access"] == "open" else ""
    cells = [
        first["encoder"],
        first["way"],
        first["observation"] + access,
        str(len(group)),
        f"{means.mean():.2f}",
        f"{means.min():.2f} to {means.max():.2f}",
        f"{column('median_mph').mean():.2f}",
        f"{column('p10_mph').mean():.2f}",
        f"{column('cpu_seconds').mean():.0f}",
    ]
    return "| " + " | ".join(cells) + " |"
