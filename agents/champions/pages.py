"""Tables of the champions in CHAMPIONS.md, and of those that perceive on the first page and that of perception.

$ python -m agents.champions pages
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.analysis.tables import markdown_table, replace_section
from agents.champions.registry import CHAMPIONS, FOLDER, PERCEPTION, Champion, SeedScores

CHAMPIONS_PAGE = FOLDER / "CHAMPIONS.md"
FIRST_PAGE = FOLDER.parent.parent / "README.md"
ENCODERS_PAGE = FOLDER.parent.parent / "representation" / "README.md"
END = "<!-- end of the table -->"
UNKNOWN = "-"
USUAL_RUNS = 5000  # reporting runs of a champion that perceives; any other number is told


class ChampionTable(NamedTuple):
    """A table of champions in a page, from the line `begin` to the line `END`."""

    page: Path
    begin: str
    table: Callable[[Mapping[str, Champion]], str]


def write_pages() -> list[Path]:
    """Write the tables of champions into the pages of this source checkout; return their paths."""
    for section in TABLES:
        replace_section(section.page, section.begin, END, section.table(CHAMPIONS))
    return list(dict.fromkeys(section.page for section in TABLES))


def champions_table(champions: Mapping[str, Champion]) -> str:
    """Return the champions that observe the true state as a Markdown table.

    Its head names the number of reporting runs of the first champion.
    """
    shown = [champion for champion in champions.values() if champion.kind != PERCEPTION]
    runs = shown[0].reporting["runs"]
    head = ["policy", "trained by", "other agents", "official", f"median of {runs:,} reporting runs", "mean"]
    head += ["decisions", "CPU minutes", "parameters"]
    return markdown_table([head, *(_cells(champion, runs) for champion in shown)], left=2)


def perception_table(champions: Mapping[str, Champion]) -> str:
    """Return the champions of kind perception, with their scores over training seeds, as a Markdown table."""
    head = [
        "policy",
        "eye",
        "trained by",
        "seeds",
        "mean over seeds",
        "behind its teacher",
        "official",
        "median",
        "mean",
    ]
    head += ["decisions", "CPU minutes", "parameters", "multiplications"]
    return markdown_table([head, *(_perception_cells(*each) for each in perceiving(champions))], left=3)


def encoders_table(champions: Mapping[str, Champion]) -> str:
    """Return how each perception champion drives, beside its teacher, as a Markdown table."""
    head = ["policy", "eye", "trained by", "mean [mph]", "its teacher, which sees the true cells"]
    lines = []
    for champion, scores in perceiving(champions):
        taught = UNKNOWN if scores.teacher_mean is None else f"{scores.teacher_mean:.2f}, `{scores.teacher}`"
        lines.append([f"`{champion.name}`", scores.observation, champion.algorithm, _mean(champion, scores), taught])
    return markdown_table([head, *lines], left=3)


def perceiving(champions: Mapping[str, Champion]) -> list[tuple[Champion, SeedScores]]:
    """Return the champions of kind perception with their scores by training seed."""
    return [(champion, champion.by_seed) for champion in champions.values() if champion.by_seed is not None]


TABLES = (
    ChampionTable(CHAMPIONS_PAGE, "<!-- table of champions -->", champions_table),
    ChampionTable(CHAMPIONS_PAGE, "<!-- table of perception champions -->", perception_table),
    ChampionTable(FIRST_PAGE, "<!-- table of encoders -->", encoders_table),
    ChampionTable(ENCODERS_PAGE, "<!-- table of encoders -->", encoders_table),
)


def _cells(champion: Champion, usual_runs: int) -> list[str]:
    scores = champion.reporting
    label = "" if champion.access == "contest" else f" ({champion.access})"
    return [
        f"`{champion.name}`",
        f"{champion.algorithm}{label}",
        f"{champion.other_agents}",
        _official(champion),
        _with_interval(scores["median_mph"], scores["median_interval"]) + _other_runs(champion, usual_runs),
        _with_interval(scores["mean_mph"], scores["mean_interval"]),
        *_training(champion),
    ]


def _perception_cells(champion: Champion, scores: SeedScores) -> list[str]:
    reporting = champion.reporting
    label = "" if champion.access == "contest" else f" ({champion.access})"
    cost = UNKNOWN if scores.cost is None else _with_interval(scores.cost, scores.cost_interval)
    return [
        f"`{champion.name}`",
        f"`{scores.eye}`: {scores.observation}",
        f"{champion.algorithm}{label}",
        ", ".join(map(str, champion.seeds)),
        UNKNOWN if scores.mean is None else _with_interval(scores.mean, scores.interval),
        cost,
        _official(champion),
        _with_interval(reporting["median_mph"], reporting["median_interval"]) + _other_runs(champion),
        _with_interval(reporting["mean_mph"], reporting["mean_interval"]),
        *_training(champion),
        f"{scores.multiplications:,}",
    ]


def _mean(champion: Champion, scores: SeedScores) -> str:
    """Return the mean over training seeds with its interval; of the shipped network's runs where there is one seed."""
    if scores.mean is None:
        mean = _with_interval(champion.reporting["mean_mph"], champion.reporting["mean_interval"])
        return f"{mean}, one seed{_other_runs(champion)}"
    return f"**{scores.mean:.2f}** ({scores.interval[0]:.2f} to {scores.interval[1]:.2f}){_other_runs(champion)}"


def _other_runs(champion: Champion, usual: int = USUAL_RUNS) -> str:
    """Return the number of reporting runs where it is not the usual one."""
    return "" if champion.reporting["runs"] == usual else f", {champion.reporting['runs']:,} runs"


def _official(champion: Champion) -> str:
    return UNKNOWN if champion.official_mph is None else f"**{champion.official_mph:.2f}**"


def _training(champion: Champion) -> list[str]:
    return [
        UNKNOWN if champion.decisions is None else f"{champion.decisions:,}",
        UNKNOWN if champion.cpu_minutes is None else f"{champion.cpu_minutes:.1f}",
        f"{champion.parameters:,}",
    ]


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
