"""Table of the champions in CHAMPIONS.md.

$ python -m agents.champions pages
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.analysis.tables import markdown_table, replace_section
from agents.champions.registry import CHAMPIONS, FOLDER, Champion

CHAMPIONS_PAGE = FOLDER / "CHAMPIONS.md"
PAGES = (CHAMPIONS_PAGE,)  # with a table of champions
BEGIN, END = "<!-- table of champions -->", "<!-- end of the table -->"


def write_pages() -> list[Path]:
    """Write the table of champions into the pages of this source checkout; return their paths."""
    for page in PAGES:
        replace_section(page, BEGIN, END, champions_table(CHAMPIONS))
    return list(PAGES)


def champions_table(champions: Mapping[str, Champion]) -> str:
    """Return the champions as a Markdown table; its head names the number of reporting runs of the first champion."""
    runs = next(iter(champions.values())).reporting["runs"]
    head = ["policy", "trained by", "other agents", "official", f"median of {runs:,} reporting runs", "mean"]
    head += ["decisions", "CPU minutes", "parameters"]
    return markdown_table([head, *(_cells(champion, runs) for champion in champions.values())], left=2)


def _cells(champion: Champion, usual_runs: int) -> list[str]:
    scores = champion.reporting
    runs = "" if scores["runs"] == usual_runs else f", {scores['runs']:,} runs"
    label = "" if champion.access == "contest" else f" ({champion.access})"
    return [
        f"`{champion.name}`",
        f"{champion.algorithm}{label}",
        f"{champion.other_agents}",
        f"**{champion.official_mph:.2f}**",
        _with_interval(scores["median_mph"], scores["median_interval"]) + runs,
        _with_interval(scores["mean_mph"], scores["mean_interval"]),
        "-" if champion.decisions is None else f"{champion.decisions:,}",
        "-" if champion.cpu_minutes is None else f"{champion.cpu_minutes:.1f}",
        f"{champion.parameters:,}",
    ]


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
