"""The table of runs driven by hand on this machine: a JSON file, best first.

Places are counted among runs of the same rules and number of other agents.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from deeptraffic.render.recorder import whole_file

KEPT = 1000
MAX_NAME = 60  # [letters]


class Run(NamedTuple):
    """One finished run: who drove it, its official score [mph], the game, and its seed."""

    name: str
    score_mph: float
    passed: int
    year: int
    other_agents: int
    seed: int


def default_table_path() -> Path:
    """Return where the table is kept: DEEPTRAFFIC_TABLE, or the user's data folder."""
    if named := os.environ.get("DEEPTRAFFIC_TABLE"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".local" / "share"
    return Path(data) / "deeptraffic" / "runs.json"


def load_table(path: Path | None = None) -> list[Run]:
    """Return all runs, best first; none if there is no table yet. Raises ValueError for a file that is no table."""
    path = path or default_table_path()
    if not path.exists():
        return []
    try:
        return [_run(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no table of runs ({error}); move it away to start a new one") from error


def add_run(run: Run, path: Path | None = None) -> tuple[int, int]:
    """Add a run to the table; return its place, and of how many, among the runs of the same game."""
    path = path or default_table_path()
    runs = [*load_table(path), run._replace(name=run.name[:MAX_NAME])]
    runs.sort(key=lambda other: -other.score_mph)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        text = json.dumps([other._asdict() for other in runs[:KEPT]], indent=1, ensure_ascii=False)
        unfinished.write_text(text, encoding="utf-8")
    rivals = [other for other in runs if (other.year, other.other_agents) == (run.year, run.other_agents)]
    return 1 + sum(other.score_mph > run.score_mph for other in rivals), len(rivals)


def _run(record: dict[str, Any]) -> Run:
    kinds = Run.__annotations__
    return Run(**{name: kind(record[name]) for name, kind in kinds.items()})
