"""Report page: the metrics of every experiment beside its baselines, with plots.

    deeptraffic report representation         # trains what is missing, then writes representation/REPORT.md

The experiments' folders (result.json, plots) give report.json and the figures; the page is made from these and from the
table of driving scores (`agents/analysis/encoder_table.py`).
"""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from deeptraffic.run_dir import write_atomically, write_json
from representation.catalog import EXPERIMENTS, PARADIGMS
from representation.experiment import RESULT, ExperimentResult, Plot, PooledMetric, read_result
from representation.plots import save_scores

PAGE, JSON, PLOTS, TABLE = "REPORT.md", "report.json", "figures", "driving.csv"
HEAD = """# Six paradigms of deep learning, on the road

What each model learns from simulated data, evaluated on held-out runs against simple baselines.
`deeptraffic report representation` makes this page; `deeptraffic pretrain NAME --seed SEED` trains one model;
`deeptraffic report driving` makes the table at the end.

A value is the mean over seeds, each with initial weights and recorded runs of its own; in brackets is its 95% interval
(Student's t over seeds). *Margin* is the difference to the best baseline, paired by seed, with its interval. A value is
**bold** only where that interval excludes 0 in its favour; a single seed has no interval. ✓ and ✗ mark whether the mean
reaches the goal that was set beforehand.
"""
SCORES = "Main metrics: means over seeds with 95% intervals, the best in blue."
COLUMNS = "| on held-out runs | this model | baselines | margin | goal |\n| --- | --- | --- | --- | --- |"


@dataclass(frozen=True)
class Section:
    """The results of an experiment, pooled over its seeds.

    name, paradigm, summary, source, scale, settings: as in its result.json
    cpu_seconds: of all seeds; commits: that measured the metrics
    plots: of the first seed, files in the folder of figures; drawn: the commit that made them
    """

    name: str
    paradigm: str
    summary: str
    source: str
    scale: float
    settings: Mapping[str, Any]
    cpu_seconds: float
    commits: Sequence[str]
    drawn: str
    metrics: Sequence[PooledMetric]
    plots: Sequence[Plot]

    def to_json(self) -> dict[str, Any]:
        """Return the section for report.json."""
        metrics = [
            {**asdict(metric), "mean": metric.mean, "interval": metric.interval, "margin": metric.difference}
            for metric in self.metrics
        ]
        return {**asdict(self), "metrics": metrics}


def write_report(results: str | Path, folder: str | Path, mixed: bool = False) -> Path:
    """Write report.json, the plots and the page into `folder` from the experiments' results; return the page's path.

    results: the folder that holds the experiments' folders
    mixed: whether results of several commits, or of changed files, are accepted

    Raises ValueError if there is no result, or if results are mixed and must not be.
    """
    found, folder = _results(Path(results)), Path(folder)
    sections = sorted((_pooled(seeds) for seeds in found.values()), key=_place)
    commits = sorted({commit for section in sections for commit in section.commits})
    if not mixed and (len(commits) > 1 or "+" in commits[0]):
        raise ValueError(
            f"the results under {str(results)!r} come from {', '.join(commits)}, not from one clean commit; delete the "
            "old ones and run again, or accept them with --mixed"
        )
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    for name, seeds in found.items():
        result, _, source = next(iter(seeds.values()))
        for plot in result.plots:
            shutil.copyfile(source / plot.file, folder / PLOTS / _plot_name(name, plot))
    write_json(folder / JSON, {section.name: section.to_json() for section in sections})
    return write_page(folder)


def write_page(folder: Path) -> Path:
    """Write the page of a folder's report.json, and the plots of its scores; return the page's path."""
    sections = stored_sections(folder / JSON)
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    for paradigm, own in _by_paradigm(sections).items():
        save_scores({one.name: one.metrics[0].score for one in own}, folder / PLOTS / _scores_name(paradigm))
    write_atomically(folder / PAGE, report_page(folder).encode())
    return folder / PAGE


def report_page(folder: Path) -> str:
    """Return the page of a folder's report.json and, if it is there, driving.csv."""
    sections = stored_sections(folder / JSON)
    pages = [HEAD, _origin(sections), _summary(sections)]
    for paradigm, own in _by_paradigm(sections).items():
        pages.append(f"## {paradigm[0].upper()}{paradigm[1:]}\n")
        pages.append(_image(Plot(_scores_name(paradigm), SCORES)))
        pages += [_section(section) for section in own]
    if (folder / TABLE).exists():
        pages.append(driving_section((folder / TABLE).read_text(encoding="utf-8")))
    return "\n".join(pages)


def stored_sections(path: Path) -> list[Section]:
    """Return the sections in a report.json."""
    known = [part.name for part in fields(PooledMetric)]
    sections = []
    for section in json.loads(path.read_text(encoding="utf-8")).values():
        section["metrics"] = [PooledMetric(**{part: one[part] for part in known}) for one in section["metrics"]]
        sections.append(Section(**{**section, "plots": [Plot(**plot) for plot in section["plots"]]}))
    return sections


def _results(results: Path) -> dict[str, dict[int, tuple[ExperimentResult, dict[str, Any], Path]]]:
    """Return result, result.json and folder of every experiment and seed under a folder."""
    found: dict[str, dict[int, tuple[ExperimentResult, dict[str, Any], Path]]] = {}
    for path in sorted(results.glob(f"*/{RESULT}")):
        result, content = read_result(path)
        found.setdefault(content["experiment"], {})[content["seed"]] = (result, content, path.parent)
    if not found:
        raise ValueError(f"there are no results under {str(results)!r}; run `deeptraffic pretrain NAME` first")
    return {name: dict(sorted(seeds.items())) for name, seeds in found.items()}


def _pooled(seeds: Mapping[int, tuple[ExperimentResult, dict[str, Any], Path]]) -> Section:
    results = {seed: result for seed, (result, _, _) in seeds.items()}
    contents = [content for _, content, _ in seeds.values()]
    first, counts = contents[0], {len(result.metrics) for result in results.values()}
    if len(counts) > 1:
        raise ValueError(f"the seeds of {first['experiment']!r} measured different things; run them again")
    plots = next(iter(results.values())).plots
    return Section(
        name=first["experiment"],
        **{name: first[name] for name in ("paradigm", "summary", "source", "scale", "settings")},
        cpu_seconds=round(sum(one["cpu_seconds"] for one in contents), 1),
        commits=sorted({str(one["versions"]["commit"]) for one in contents}),
        drawn=str(first["versions"]["commit"]),
        metrics=[
            PooledMetric.of({seed: result.metrics[k] for seed, result in results.items()}) for k in range(counts.pop())
        ],
        plots=[Plot(_plot_name(first["experiment"], plot), plot.caption) for plot in plots],
    )


def _place(section: Section) -> tuple[int, int, str]:
    """Return the sort key of an experiment on the page: by its paradigm, then in the catalogue's order."""
    known = list(EXPERIMENTS)
    place = known.index(section.name) if section.name in known else len(known)
    return PARADIGMS.index(section.paradigm), place, section.name


def _by_paradigm(sections: Sequence[Section]) -> dict[str, list[Section]]:
    return {name: own for name in PARADIGMS if (own := [one for one in sections if one.paradigm == name])}


def _plot_name(experiment: str, plot: Plot) -> str:
    name = Path(plot.file).name
    return name if name.startswith(experiment) else f"{experiment}-{name}"


def _scores_name(paradigm: str) -> str:
    return f"scores-{paradigm.replace(' ', '-')}.png"


def _image(plot: Plot) -> str:
    return f"![{plot.caption}]({PLOTS}/{plot.file})\n\n*{plot.caption}*\n"


def _origin(sections: Sequence[Section]) -> str:
    """Return where the page's results and figures come from, and their CPU time."""
    minutes = sum(section.cpu_seconds for section in sections) / 60.0
    commits = sorted({commit for section in sections for commit in section.commits})
    origin = f"commit {commits[0][:12]}" if len(commits) == 1 else f"{len(commits)} commits, named in report.json"
    text = f"Results of {origin}: {minutes:.0f} CPU minutes on one core."
    later: dict[str, list[str]] = {}
    for section in sections:
        if section.plots and section.drawn not in section.commits:
            later.setdefault(section.drawn, []).append(f"`{section.name}`")
    return (
        " ".join(
            [
                text,
                *(f"Figures of {', '.join(own)}: another run of commit {drawn[:12]}." for drawn, own in later.items()),
            ]
        )
        + "\n"
    )


def _summary(sections: Sequence[Section]) -> str:
    """Return a table of every experiment's main metric."""
    lines = [
        "| model | main metric on held-out runs | this model | baselines | margin | goal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for section in sections:
        lines.append(f"| [`{section.name}`](#{section.name}) {row(section.metrics[0], with_note=False)}")
    return "\n".join([*lines, ""])


def _section(section: Section) -> str:
    """Return the section of one experiment: summary, table of metrics, plots."""
    seeds = section.metrics[0].seeds
    named = f"{'Seed' if len(seeds) == 1 else 'Seeds'} {', '.join(map(str, seeds))}"
    lines = [
        f"### `{section.name}`\n",
        f"{section.summary} Source: {section.source}. {named}; {section.cpu_seconds / 60.0:.1f} CPU minutes.\n",
        COLUMNS,
        *(row(metric) for metric in section.metrics),
        "",
        *(_image(plot) for plot in section.plots),
    ]
    return "\n".join(lines)


def row(metric: PooledMetric, with_note: bool = True) -> str:
    """Return a metric as a line of a table: name and note, value, baselines, margin, goal."""
    value = f"{metric.mean:.4g}{_bracketed(metric.interval)}{metric.unit and ' ' + metric.unit}"
    means = {name: float(np.mean(values)) for name, values in metric.baselines.items()}
    beside = ", ".join(f"{name} {mean:.4g}" for name, mean in means.items()) or "–"
    margin = "–" if metric.difference is None else f"{metric.difference[0]:+.3g}{_bracketed(metric.difference[1:])}"
    goal = "–" if metric.goal is None else f"{metric.goal:.4g} {'✓' if metric.reaches_goal else '✗'}"
    note = f" ({metric.note})" if metric.note and with_note else ""
    arrow = "" if metric.higher_is_better else " (lower is better)"
    return f"| {metric.name}{arrow}{note} | {f'**{value}**' if metric.wins else value} | {beside} | {margin} | {goal} |"


def _bracketed(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]"


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
            "training run is a line of [driving.csv](driving.csv). These learn from reward alone; what encoders reach",
            "that learn from a teacher is on the page of the [champions](../agents/champions/CHAMPIONS.md).\n",
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
