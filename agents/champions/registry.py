"""The shipped champions: trained policies by name, each with the command that made it and what it scores.

    $ deeptraffic evaluate champion-solo                # wherever a POLICY is asked for
    >>> policy = load_champion("champion-solo")         # drives as `deeptraffic.policies.builtin.Policy` says

`agents/champions/champions.json` lists them, policy files lie beside it. A network is shipped, scored and listed by

    $ python -m agents.champions.registry ship champion-solo runs/solo --kind policy-based --command "deeptraffic ..."
    $ python -m agents.champions.registry pages          # write the table into README.md and agents/CHAMPIONS.md

Scores are measured on the file as it is shipped: the official one, and open runs on reporting seeds, on which nothing
was chosen. This module imports nothing heavy: the command line asks it for names.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeptraffic.policies.builtin import Policy

FOLDER = Path(__file__).resolve().parent
BOOK = "champions.json"
KINDS = ("policy-based", "value-based", "model-based", "planner")
ORDER = (
    "champion",
    "champion-solo",
    "champion-ppo",
    "champion-pqn",
    "champion-world-model",
    "champion-planner",
)  # the names there may be, as tables list them

ROOT = FOLDER.parent.parent
PAGES = (Path("agents/CHAMPIONS.md"), Path("README.md"))  # that hold the table, in the source checkout
BEGIN, END = "<!-- table of champions -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Champion:
    """One line of the book.

    name: on the command line; file: beside the book; kind: one of KINDS
    algorithm: in words; commands: that made it, in order; config: of the last run's every setting, {} if not known
    seeds: of its training; chosen_on: on which runs checkpoint and settings were chosen
    decisions, cpu_minutes: of all its training, None if not known; parameters: of the network
    other_agents: cars that copies of it drive; access: "contest", or "privileged" for a planner
    official_mph: the contest's score; reporting: open runs on reporting seeds, what `Score.to_json` says of them
    planner: settings of a planner (`agents.planner.PlannerConfig`), None for a policy file
    """

    name: str
    file: str
    kind: str
    algorithm: str
    commands: list[str]
    config: dict[str, Any]
    seeds: list[int]
    chosen_on: str
    decisions: int | None
    cpu_minutes: float | None
    parameters: int
    other_agents: int
    access: str
    official_mph: float
    reporting: dict[str, Any]
    planner: dict[str, Any] | None = None


def read_book(folder: Path = FOLDER) -> dict[str, Champion]:
    """Return the champions of a folder by name, in the order of tables."""
    listed = json.loads((folder / BOOK).read_text(encoding="utf-8"))
    return {name: Champion(**listed[name]) for name in ORDER if name in listed}


CHAMPIONS = read_book()


def load_champion(name: str, folder: Path = FOLDER) -> "Policy":
    """Return a champion as a driver; `champion-planner` is privileged, and labelled so.

    Raises ValueError if there is none of that name.
    """
    book = CHAMPIONS if folder == FOLDER else read_book(folder)
    if name not in book:
        raise ValueError(f"there is no champion {name!r}; choose one of {', '.join(book)}")
    champion = book[name]
    if champion.planner is not None:
        from agents.planner import PlannerConfig, load_planner

        return load_planner(folder / champion.file, PlannerConfig(**champion.planner), name)
    from deeptraffic.policies.file import read_policy

    return read_policy(folder / champion.file).policy()


# --- pages ------------------------------------------------------------------------------------------------------------


def table(book: dict[str, Champion]) -> str:
    """Return the champions as a Markdown table."""
    first = next(iter(book.values()), None)
    runs = f"{first.reporting['runs']:,} " if first else ""
    head = ["policy", "trained by", "others", "official", f"median of {runs}reporting runs", "mean"]
    head += ["decisions", "CPU minutes", "parameters"]
    usual = first.reporting["runs"] if first else 0
    lines = [head, [*["---"] * 2, *["---:"] * 7], *(_cells(champion, usual) for champion in book.values())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(champion: Champion, usual: int) -> list[str]:
    found = champion.reporting
    runs = "" if found["runs"] == usual else f", {found['runs']:,} runs"
    label = "" if champion.access == "contest" else f" ({champion.access})"
    return [
        f"`{champion.name}`",
        f"{champion.algorithm}{label}",
        f"{champion.other_agents}",
        f"**{champion.official_mph:.2f}**",
        _estimate(found["median_mph"], found["median_interval"]) + runs,
        _estimate(found["mean_mph"], found["mean_interval"]),
        "-" if champion.decisions is None else f"{champion.decisions:,}",
        "-" if champion.cpu_minutes is None else f"{champion.cpu_minutes:.1f}",
        f"{champion.parameters:,}",
    ]


def _estimate(value: float, interval: Sequence[float]) -> str:
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def with_table(page: str, book: dict[str, Champion]) -> str:
    """Return a page whose part between the two marks is the table; ValueError if the marks are not there."""
    return with_part(page, BEGIN, END, table(book))


def with_part(page: str, begin: str, end: str, part: str) -> str:
    """Return a page with `part` between the lines `begin` and `end`; ValueError if it does not have them."""
    before, found, rest = page.partition(f"{begin}\n")
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"the page has no place for it; write the lines {begin} and {end} where it belongs")
    return f"{before}{begin}\n{part}{end}{after}"


def write_pages() -> list[Path]:
    """Write the table into the pages of this source checkout; return their paths."""
    from deeptraffic.run_dir import write_atomically

    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        write_atomically(ROOT / page, with_table(text, read_book()).encode())
    return [ROOT / page for page in PAGES]


# --- the command ------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m agents.champions.registry ship | pages`."""
    parser = argparse.ArgumentParser(prog="python -m agents.champions.registry", description="Ship champions.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pages", help="write the table into the pages")
    ship = commands.add_parser("ship", help="write, score and list one network")
    ship.add_argument("name", choices=ORDER)
    ship.add_argument("source", type=Path, help="a run folder, a policy file, or a planner's weights")
    ship.add_argument("--kind", choices=KINDS, required=True)
    ship.add_argument("--algorithm", required=True, help="in words, for the table")
    ship.add_argument("--command", dest="made_by", action="append", required=True, help="that made it; may be repeated")
    ship.add_argument("--chosen-on", default="tuning runs", help="where checkpoint and settings were chosen")
    ship.add_argument("--other-agents", type=int, help="default: as it was trained")
    ship.add_argument("--decisions", type=int, help="default: those that the run tells")
    ship.add_argument("--cpu-minutes", type=float, help="default: those that the run tells")
    ship.add_argument("--seed", dest="seeds", type=int, action="append", help="default: the run's")
    ship.add_argument("--planner", default="{}", help="a planner's settings as JSON")
    ship.add_argument("--runs", type=int, default=5000, help="reporting runs")
    given = vars(parser.parse_args(arguments))
    if given.pop("command") == "pages":
        write_pages()
        return
    from agents.champions.shipping import ship_champion

    given["planner"] = json.loads(given["planner"]) if given["kind"] == "planner" else None
    champion = ship_champion(**given)
    found = champion.reporting
    print(f"{champion.name}: official {champion.official_mph:.2f}, reporting {found['median_mph']:.2f} mph")


if __name__ == "__main__":
    main()
