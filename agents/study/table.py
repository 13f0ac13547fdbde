"""The table of a study, study.csv: one line per finished trial, all that the figures and findings are made of.

    >>> table = read_tables(["runs/sweep"])                # folders of sweeps, or CSV files
    >>> table.numbers("gamma")                             # (trials,) float64, NaN where a trial has none
    >>> table.complete().texts("study")

Columns: study, number, state (complete, pruned, failed), failure, algorithm; score and the quantiles of the run scores
[mph]; first_N, the score of the first N evaluation runs, and spread_N, the standard deviation of the median of N runs
[mph]; what the network and the training are (inputs, units, layers, parameters, decisions, cpu_seconds); then settings
by their short names, those of the paper's figures first.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.study.config import SweepConfig
from agents.study.trial import COUNTS
from deeptraffic.sim.state import F64

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TABLE_FILE = "study.csv"
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
ABOUT = ("study", "number", "state", "failure", "algorithm")
MEASURED = (
    *("score", "mean", "median", "sd", "p05", "p25", "p75", "p95"),
    *(f"{kind}_{count}" for count in COUNTS for kind in ("first", "spread")),
    *("parameters", "layers", "units", "inputs", "decisions", "cpu_seconds"),
)
SETTINGS = ("lanes_side", "patches_ahead", "patches_behind", "temporal_window", "gamma", "other_agents")
FIRST = (*ABOUT, *MEASURED, *SETTINGS)


# --- writing ----------------------------------------------------------------------------------------------------------


def table_row(study: str, config: SweepConfig, trial: "FrozenTrial") -> dict[str, Any]:
    """Return a finished trial's line, by column."""
    facts = trial.user_attrs.get("facts", {})
    told = {name.rpartition(".")[2]: value for name, value in facts.get("settings", {}).items()}
    row = {"study": study, "number": trial.number, "state": STATES[trial.state.name]}
    row |= {"failure": trial.user_attrs.get("failure", ""), "algorithm": config.algorithm}
    row |= {name: facts[name] for name in MEASURED if name in facts}
    row |= {name: told[name] for name in SETTINGS if name in told}
    for parameter in config.space:
        short = parameter.name.rpartition(".")[2]
        if set(parameter.distributions()) == {parameter.name} and short not in row:
            row[short] = trial.params.get(parameter.name)
    sizes = _sizes(told)
    return row | ({"units": int(np.mean(sizes)) if sizes else 0, "inputs": _inputs(told)} if told else {})


def table_content(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV, the columns that all tables have first."""
    columns = [*FIRST, *sorted({name for row in rows for name in row} - set(FIRST))]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _sizes(told: Mapping[str, Any]) -> list[int]:
    """Units of each hidden layer."""
    layers = told.get("layers", told.get("hidden", []))
    return [layer[0] if isinstance(layer, list | tuple) else layer for layer in layers]


def _inputs(told: Mapping[str, Any]) -> int:
    """Cells that the sensor shows, those of earlier decisions included."""
    cells = (2 * told["lanes_side"] + 1) * (told["patches_ahead"] + told["patches_behind"])
    return cells * (1 + told.get("temporal_window", 0))


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyTable:
    """Lines of one or more studies, as text by column."""

    rows: tuple[Mapping[str, str], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, column: str) -> list[str]:
        """A column as it was written."""
        return [row.get(column) or "" for row in self.rows]

    def numbers(self, column: str) -> F64:
        """A column as (trials,) numbers, NaN where there is none; ValueError if it holds other text."""
        try:
            return np.array([float(text) if text else np.nan for text in self.texts(column)], np.float64)
        except ValueError as error:
            raise ValueError(f"column {column!r} holds what is no number ({error}); take another column") from error

    def is_numeric(self, column: str) -> bool:
        """Whether a column holds numbers alone."""
        try:
            return bool(np.isfinite(self.numbers(column)).any())
        except ValueError:
            return False

    def where(self, kept: Iterable[bool]) -> "StudyTable":
        """The lines that a mask keeps."""
        return StudyTable(tuple(row for row, keep in zip(self.rows, kept, strict=True) if keep))

    def complete(self) -> "StudyTable":
        """The trials that have a score."""
        return self.where(state == "complete" for state in self.texts("state"))

    def studies(self) -> "dict[str, StudyTable]":
        """The lines of each study, in the order in which they first appear."""
        names = self.texts("study")
        return {name: self.where(other == name for other in names) for name in dict.fromkeys(names)}

    def varied(self, skip: Sequence[str] = (*ABOUT, *MEASURED)) -> list[str]:
        """Columns of settings that differ between trials."""
        columns = dict.fromkeys(name for row in self.rows for name in row)
        return [name for name in columns if name not in skip and len(set(self.texts(name)) - {""}) > 1]


def read_tables(sources: Sequence[str | Path]) -> StudyTable:
    """Read studies; ValueError if there is no table in a place, or it is none of a sweep."""
    rows: list[Mapping[str, str]] = []
    for source in map(Path, sources):
        path = source / TABLE_FILE if source.is_dir() else source
        try:
            with path.open(encoding="utf-8", newline="") as file:
                found = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"there is no study in {str(source)!r} ({error}); name a sweep's folder or its {TABLE_FILE}"
            ) from error
        if not found or not set(ABOUT) <= set(found[0]):
            raise ValueError(f"{str(path)!r} is no table of a sweep: it lacks lines or the columns {', '.join(ABOUT)}")
        rows += found
    return StudyTable(tuple(rows))
