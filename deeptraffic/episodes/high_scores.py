"""High-score table of runs driven by hand, a JSON file in the user's data folder."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from deeptraffic.run_dir import whole_file

KEPT = 1000  # runs
MAX_NAME = 60  # [letters]


class HandDrivenRun(NamedTuple):
    """A finished run in the high-score table; score_mph: official score [mph]; passed: vehicles overtaken."""

    name: str
    score_mph: float
    passed: int
    year: int
    other_agents: int
    seed: int


def score_table_path() -> Path:
    """Return the path of the high-score table: DEEPTRAFFIC_TABLE, or a file in the user's data folder."""
    if named := os.environ.get("DEEPTRAFFIC_TABLE"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".local" / "share"
    return Path(data) / "deeptraffic" / "runs.json"


def load_scores(path: Path | None = None) -> list[HandDrivenRun]:
    """Return all runs, best first; an empty list without a file. Raises ValueError for a file of another kind."""
    path = path or score_table_path()
    if not path.exists():
        return []
    try:
        return [_run(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a high-score table ({error}); move it away to start a new one") from error


def add_score(run: HandDrivenRun, path: Path | None = None) -> tuple[int, int]:
    """Add a run to the table; return (its place, number of runs) among runs of the same rules and other agents."""
    path = path or score_table_path()
    runs = [*load_scores(path), run._replace(name=run.name[:MAX_NAME])]
    runs.sort(key=lambda other: -other.score_mph)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        text = json.dumps([other._asdict() for other in runs[:KEPT]], indent=1, ensure_ascii=False)
        unfinished.write_text(text, encoding="utf-8")
    rivals = [other for other in runs if (other.year, other.other_agents) == (run.year, run.other_agents)]
    return 1 + sum(other.score_mph > run.score_mph for other in rivals), len(rivals)


def _run(record: dict[str, Any]) -> HandDrivenRun:
    kinds = HandDrivenRun.__annotations__
    return HandDrivenRun(**{name: kind(record[name]) for name, kind in kinds.items()})
