"""The report: every model's figures beside its baselines, on one page with pictures.

    deeptraffic report representation         # trains what is missing, then writes representation/REPORT.md

The page is made from what recipes leave in their folders (`result.json`, pictures) and from the table of encoders that
drive (`agents/analysis/encoder_table.py`). report.json beside it holds the same figures for programs.
"""

import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeptraffic.run_dir import write_atomically, write_json
from representation.catalog import PARADIGMS, RECIPES
from representation.recipe import RESULT, Figure, Outcome, read_outcome

Result = tuple[Outcome, dict[str, Any], Path]  # of a recipe: what it found, its result.json, its folder
PAGE, JSON, PICTURES, TABLE = "REPORT.md", "report.json", "figures", "driving.csv"
HEAD = """# Six paradigms of deep learning, on the road

What each model learns from data that the simulator makes, measured on held-out runs, beside baselines that could
embarrass it. `deeptraffic report representation` makes this page; `deeptraffic pretrain NAME` makes one model;
`deeptraffic report driving` makes the table at the end. A figure in bold beats all its baselines; ✓ and ✗ say whether
it reaches the bar that was set for it beforehand.
"""


def write_report(results: str | Path, folder: str | Path) -> Path:
    """Write the page, its pictures and report.json into `folder` from the results of recipes; return the page.

    results: the folder under which every recipe has its own

    Raises ValueError if there is no result.
    """
    found = sorted(Path(results).glob(f"*/{RESULT}"))
    if not found:
        raise ValueError(f"there are no results under {str(results)!r}; run `deeptraffic pretrain NAME` first")
    folder = Path(folder)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    recipes = sorted(((*read_outcome(path), path.parent) for path in found), key=_place)
    pages = [HEAD, _summary(recipes)]
    for paradigm in PARADIGMS:
        own = [entry for entry in recipes if entry[1]["paradigm"] == paradigm]
        if own:
            pages.append(f"## {paradigm[0].upper()}{paradigm[1:]}\n")
            pages += [_section(outcome, content, source, folder) for outcome, content, source in own]
    if (folder / TABLE).exists():
        pages.append(_driving_section((folder / TABLE).read_text(encoding="utf-8")))
    write_json(folder / JSON, {content["recipe"]: _as_json(content) for _, content, _ in recipes})
    write_atomically(folder / PAGE, "\n".join(pages).encode())
    return folder / PAGE


def _place(entry: Result) -> tuple[int, int, str]:
    """Where a recipe stands on the page: by its paradigm, then as the catalogue lists it."""
    _, content, _ = entry
    known = list(RECIPES)
    name = content["recipe"]
    return PARADIGMS.index(content["paradigm"]), known.index(name) if name in known else len(known), name


def _summary(recipes: Sequence[Result]) -> str:
    """The first figure of every recipe, in one table."""
    lines = [
        "| model | first figure on held-out runs | this model | baselines | goal |",
        "| --- | --- | --- | --- | --- |",
    ]
    for outcome, content, _ in recipes:
        figure = replace(outcome.figures[0], note="")
        lines.append(f"| [`{content['recipe']}`](#{content['recipe']}) {_row(figure)}")
    return "\n".join([*lines, ""])


def _section(outcome: Outcome, content: dict[str, Any], source: Path, folder: Path) -> str:
    """One recipe: what it is, its table, its pictures."""
    minutes = content["cpu_seconds"] / 60.0
    lines = [
        f"### `{content['recipe']}`\n",
        f"{content['summary']} Source: {content['source']}. Training and measuring: {minutes:.1f} CPU minutes.\n",
        "| on held-out runs | this model | baselines | goal |",
        "| --- | --- | --- | --- |",
        *(_row(figure) for figure in outcome.figures),
        "",
    ]
    for picture in outcome.pictures:
        name = Path(picture.file).name
        name = name if name.startswith(content["recipe"]) else f"{content['recipe']}-{name}"
        shutil.copyfile(source / picture.file, folder / PICTURES / name)
        lines.append(f"![{picture.caption}]({PICTURES}/{name})\n\n*{picture.caption}*\n")
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    value = f"{figure.value:.4g}{unit}"
    if figure.baselines and figure.beats_baselines:
        value = f"**{value}**"
    beside = ", ".join(f"{name} {other:.4g}" for name, other in figure.baselines.items()) or "–"
    goal = "–" if figure.goal is None else f"{figure.goal:g} {'✓' if figure.reaches_goal else '✗'}"
    note = f" ({figure.note})" if figure.note else ""
    arrow = "" if figure.higher_is_better else " (lower is better)"
    return f"| {figure.name}{arrow}{note} | {value} | {beside} | {goal} |"


def _as_json(content: dict[str, Any]) -> dict[str, Any]:
    kept = ("paradigm", "summary", "source", "figures", "cpu_seconds", "scale", "settings")
    return {name: content[name] for name in kept} | {"commit": content["versions"]["commit"]}


# --- the table of encoders that drive ---------------------------------------------------------------------------------


def _driving_section(text: str) -> str:
    lines = list(csv.DictReader(text.splitlines()))
    first = lines[0]
    return "\n".join(
        [
            "## Do they help to drive?\n",
            f"PPO with each encoder in front, {int(first['decisions']):,} decisions, scored on 1,000 reporting runs of",
            "the open protocol: means over the seeds, and their range. *open*: it sees more than the contest's sensor.",
            "A driver that always accelerates has 51.6, one at random 60.2. Each run is a line of",
            "[driving.csv](driving.csv).\n",
            "| encoder | way | observation | seeds | mean mph | range | median | worst tenth | CPU s |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *(_driving_row(group) for group in _groups(lines)),
            "",
        ]
    )


def _groups(lines: Sequence[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Yield the lines of each encoder and way, those of the same network together, in the table's order."""
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
