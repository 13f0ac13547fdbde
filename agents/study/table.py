"""Table of a study, study.csv: one line per finished trial, the data of figures and findings.

    >>> table = read_tables(["runs/sweep"])                # folders of sweeps, or CSV files
    >>> table.numbers("gamma")                             # (trials,) float64, NaN where a trial has none
    >>> table.complete().texts("study")

Columns: study, number, state (complete, pruned, failed), failure, algorithm; score and the quantiles of the run scores
[mph]; first_N, the score of the first N evaluation runs, and spread_N, the standard deviation of the median of N runs
[mph]; parameters, layers, units and inputs of the network, decisions and cpu_seconds of the training; then settings by
their short names, those of the paper's figures first.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.analysis.tables import csv_content
from agents.study.config import SweepConfig
from agents.study.trial import COUNTS
from deeptraffic.sim.state import F64

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TABLE_FILE = "study.csv"
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
IDENTITY = ("study", "number", "state", "failure", "algorithm")
MEASURED = (
    *("score", "mean", "median", "sd", "p05", "p25", "p75", "p95"),
    *(f"{kind}_{count}" for count in COUNTS for kind in ("first", "spread")),
    *("parameters", "layers", "units", "inputs", "decisions", "cpu_seconds"),
)
SETTINGS = ("lanes_side", "patches_ahead", "patches_behind", "temporal_window", "gamma", "other_agents")
FIRST = (*IDENTITY, *MEASURED, *SETTINGS)


# --- writing ----------------------------------------------------------------------------------------------------------


def table_row(study: str, config: SweepConfig, trial: "FrozenTrial") -> dict[str, Any]:
    """Return a finished trial's line, by column."""
    facts = trial.user_attrs.get("facts", {})
    settings = {name.rpartition(".")[2]: value for name, value in facts.get("settings", {}).items()}
    row = {"study": study, "number": trial.number, "state": STATES[trial.state.name]}
    row |= {"failure": trial.user_attrs.get("failure", ""), "algorithm": config.algorithm}
    row |= {name: facts[name] for name in MEASURED if name in facts}
    row |= {name: settings[name] for name in SETTINGS if name in settings}
    for parameter in config.space:
        short = parameter.name.rpartition(".")[2]
        if set(parameter.distributions()) == {parameter.name} and short not in row:
            row[short] = trial.params.get(parameter.name)
    if settings:
        units = _layer_units(settings)
        row |= {"units": int(np.mean(units)) if units else 0, "inputs": _inputs(settings)}
    return row


def table_content(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV, with the columns of all tables first."""
    columns = [*FIRST, *sorted({name for row in rows for name in row} - set(FIRST))]
    return csv_content([{name: _cell(value) for name, value in row.items()} for row in rows], columns)


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _layer_units(settings: Mapping[str, Any]) -> list[int]:
    """Units of each hidden layer."""
    layers = settings.get("layers", settings.get("hidden", []))
    return [layer[0] if isinstance(layer, list | tuple) else layer for layer in layers]


def _inputs(settings: Mapping[str, Any]) -> int:
    """Cells of the sensor, including those of earlier decisions."""
    cells = (2 * settings["lanes_side"] + 1) * (settings["patches_ahead"] + settings["patches_behind"])
    return cells * (1 + settings.get("temporal_window", 0))


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StudyTable:
    """Lines of one or more studies, as text by column."""

    rows: tuple[Mapping[str, str], ...]

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, column: str) -> list[str]:
        """A column as text."""
        return [row.get(column) or "" for row in self.rows]

    def numbers(self, column: str) -> F64:
        """A column as (trials,) float64, NaN where it is empty; ValueError if it has other text."""
        try:
            return np.array([float(text) if text else np.nan for text in self.texts(column)], np.float64)
        except ValueError as error:
            raise ValueError(f"column {column!r} has text that is no number ({error}); take another column") from error

    def is_numeric(self, column: str) -> bool:
        """Whether a column has numbers only."""
        try:
            return bool(np.isfinite(self.numbers(column)).any())
        except ValueError:
            return False

    def where(self, mask: Iterable[bool]) -> "StudyTable":
        """The lines that a mask selects."""
        return StudyTable(tuple(row for row, keep in zip(self.rows, mask, strict=True) if keep))

    def complete(self) -> "StudyTable":
        """The trials that have a score."""
        return self.where(state == "complete" for state in self.texts("state"))

    def studies(self) -> "dict[str, StudyTable]":
        """The lines of each study, in the order of first appearance."""
        names = self.texts("study")
        return {name: self.where(other == name for other in names) for name in dict.fromkeys(names)}

    def varied(self) -> list[str]:
        """Columns of settings that vary between trials."""
        columns = dict.fromkeys(name for row in self.rows for name in row)
        return [
            name for name in columns if name not in (*IDENTITY, *MEASURED) and len(set(self.texts(name)) - {""}) > 1
        ]


def read_tables(sources: Sequence[str | Path]) -> StudyTable:
    """Read studies from tables or from sweeps' folders; ValueError if one has no table of a sweep."""
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
        if not found or not set(IDENTITY) <= set(found[0]):
            raise ValueError(
                f"{str(path)!r} is no table of a sweep: it lacks trials or columns of {', '.join(IDENTITY)}"
            )
        rows += found
    return StudyTable(tuple(rows))
