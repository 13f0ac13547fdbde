"""The leaderboard, and the points of the figures; both as records, CSV and JSON.

Order: score, then the mean of the unrounded runs to a millionth, then the first accepted. A team has one row, for the
best of its members. Rows equal in both values share a rank, and the ranks after them are skipped: 1, 2, 2, 4. Baselines
stand where their score puts them, without a rank. Neighbours whose difference is smaller than the two 95% intervals of
their scores allow, added as independent errors, are marked.

A further column is a field of `BoardRow`, with its source in COLUMNS if it comes straight from the tables.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import hypot
from threading import Lock
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from deeptraffic.competition.config import to_time
from deeptraffic.competition.models import ORDER, Competition, EvaluationResult, Member, Person, Submission, Team
from deeptraffic.competition.store import competitions
from deeptraffic.competition.store.database import Database

FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)  # what begins a formula in a spreadsheet
DIGITS = 6  # after the decimal point, in records
LANDMARKS = (100, 50, 25, 10, 5, 3, 2, 1)  # ranks whose scores people ask for


@dataclass(frozen=True)
class BoardRow:
    """A row of the leaderboard: the best submission of a member, or the one in the final.

    rank: None for baselines; name: the alias where the board is anonymous
    tied: whether another row has the same rank
    alike_above: whether the difference to the ranked row above is within chance (95%)
    submissions: how many its owner, or the team, has made
    person_id, people: the owner of the submission, and everybody whose row it is
    """

    rank: int | None
    name: str
    baseline: bool
    score: float
    score_low: float
    score_high: float
    mean: float
    mean_low: float
    mean_high: float
    tied: bool
    alike_above: bool
    other_agents: int
    parameters: int
    cells: int
    layers: int
    submissions: int
    accepted_at: int
    submission: str
    label: str
    person_id: int
    people: tuple[int, ...]


COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "score": EvaluationResult.score,
    "score_low": EvaluationResult.score_low,
    "score_high": EvaluationResult.score_high,
    "mean": EvaluationResult.mean,
    "mean_low": EvaluationResult.mean_low,
    "mean_high": EvaluationResult.mean_high,
    "other_agents": Submission.other_agents,
    "parameters": Submission.parameters,
    "cells": Submission.cells,
    "layers": Submission.layers,
    "accepted_at": Submission.accepted_at,
    "submission": Submission.key,
    "label": Submission.label,
    "person_id": Member.person_id,
}
NAMES = (Person.name, Person.role, Member.alias, Team.name.label("team"), Team.alias.label("team_alias"))
PUBLIC = [name for name in BoardRow.__dataclass_fields__ if name not in ("label", "person_id", "people")]


@dataclass(frozen=True)
class Board:
    """All rows, and how many of them have a rank."""

    rows: tuple[BoardRow, ...]
    ranked: int
    version: int

    @property
    def leader(self) -> BoardRow | None:
        """The first row that has a rank."""
        return next((row for row in self.rows if row.rank is not None), None)

    def search(self, text: str) -> list[BoardRow]:
        """Return the rows whose name contains a text."""
        wanted = text.casefold().strip()
        return [row for row in self.rows if wanted in row.name.casefold()]

    def needed(self, row: BoardRow | None) -> list[tuple[int, float]]:
        """Return better ranks, the nearest first, each with the score [mph] to beat if no other changes.

        row: a person's own, None if they have no score
        """
        others = [one.score for one in self.rows if one.rank is not None and one is not row]
        now = len(others) + 1 if row is None or row.rank is None else row.rank
        ranks = [now - 1, *(rank for rank in LANDMARKS if rank < now - 1)]
        scores = dict.fromkeys(others[rank - 1] for rank in ranks if rank > 0)
        return [(others.index(score) + 1, score) for score in scores]  # who beats a score beats all that are equal

    def of(self, person_id: int) -> BoardRow | None:
        """Return the row of a person, or of their team."""
        return next((row for row in self.rows if person_id in row.people), None)


@dataclass(frozen=True)
class Point:
    """A scored submission in the figures; best: of its owner's so far."""

    accepted_at: int
    score: float
    cells: int
    layers: int
    parameters: int
    other_agents: int
    person_id: int
    name: str
    baseline: bool
    best: float


class Boards:
    """Cache of boards and points, read again when the version of their competition has changed."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._building: dict[tuple[Any, ...], Lock] = {}
        self._lock = Lock()

    def board(self, competition: Competition, final: bool = False) -> Board:
        """Return the public board, or that of the revealed final, as new as the given competition or newer."""
        return self._keep("board", competition, final)

    def points(self, competition: Competition) -> list[Point]:
        """Return all scored submissions for the figures."""
        return self._keep("points", competition, False)

    def _keep(self, what: str, competition: Competition, final: bool) -> Any:
        key = (what, competition.id, final)
        with self._lock:
            building = self._building.setdefault(key, Lock())
        with building:  # of many concurrent requests, one reads and the others wait
            if key in self._kept and self._kept[key][0] >= competition.version:
                return self._kept[key][1]
            with self.db.read() as session:
                newest = competitions.get(session, competition.id)
                found = _points(session, newest) if what == "points" else _board(session, newest, final)
            self._kept[key] = (newest.version, found)
        return found


# --- reading ------------------------------------------------------------------------------------------------------


def read_board(db: Database, competition_id: int, final: bool = False) -> Board:
    """Return the board; final: of the final, which is empty until the organiser reveals it."""
    with db.read() as session:
        return _board(session, competitions.get(session, competition_id), final)


def _board(session: Session, competition: Competition, final: bool) -> Board:
    if final and competition.final != "revealed":
        return Board((), 0, competition.version)
    return build_board(session, competition, final, competition.config.anonymous)


def build_board(session: Session, competition: Competition, final: bool, anonymous: bool) -> Board:
    """Return a board, that of a hidden final too: for the organiser only."""
    counts = _submissions_by_person(session, competition.id)
    teams = _people_by_team(session, competition.id)
    rows, ranked, seen = [], 0, set()
    last: Any = None
    for row in session.execute(_query(competition.id, final)):
        if row.team_id in seen:
            continue  # a team is where its best submission is
        people = teams.get(row.team_id, (row.person_id,))
        seen |= {row.team_id} - {None}
        baseline, rank = row.role == "baseline", None
        if not baseline:
            ranked += 1
            same = last is not None and (row.score, row.unrounded_mean) == last[:2]
            rank = last[2] if same else ranked
            last = (row.score, row.unrounded_mean, rank)
        rows.append(
            BoardRow(
                rank=rank,
                name=_shown_name(row, anonymous),
                baseline=baseline,
                tied=False,
                alike_above=False,
                submissions=sum(counts.get(person, 0) for person in people),
                people=people,
                **{name: getattr(row, name) for name in COLUMNS},
            )
        )
    return Board(tuple(_compare(rows)), ranked, competition.version)


def _query(competition_id: int, final: bool) -> Select[Any]:
    entry = func.coalesce(Member.chosen_id, Member.best_id) if final else Member.best_id
    result = Submission.final_id if final else Submission.result_id
    columns = [column.label(name) for name, column in COLUMNS.items()]
    return (
        select(*columns, *NAMES, Member.team_id, EvaluationResult.unrounded_mean)
        .join_from(Member, Person, Person.id == Member.person_id)
        .outerjoin(Team, Team.id == Member.team_id)
        .join(Submission, Submission.id == entry)
        .join(EvaluationResult, EvaluationResult.id == result)
        .where(Member.competition_id == competition_id, Member.disqualified_at.is_(None))
        .order_by(*ORDER)
    )


def _shown_name(row: Any, anonymous: bool) -> str:
    """Return the name of a row of NAMES: the team's, the person's, or where the board is anonymous the alias."""
    if row.role == "baseline":
        return str(row.name)
    alias, name = (row.team_alias, row.team) if row.team is not None else (row.alias, row.name)
    return str(alias if anonymous else name)


def _people_by_team(session: Session, competition_id: int) -> dict[int | None, tuple[int, ...]]:
    query = select(Member.team_id, Member.person_id).where(Member.competition_id == competition_id)
    teams: dict[int | None, tuple[int, ...]] = {}
    for team, person in session.execute(query.where(Member.team_id.is_not(None)).order_by(Member.person_id)):
        teams[team] = (*teams.get(team, ()), person)
    return teams


def _compare(rows: list[BoardRow]) -> list[BoardRow]:
    """Mark ties, and neighbours whose difference is not significant."""
    by_rank: dict[int | None, int] = {}
    for row in rows:
        by_rank[row.rank] = by_rank.get(row.rank, 0) + 1
    above: BoardRow | None = None
    compared = []
    for row in rows:
        if row.rank is None:
            compared.append(row)
            continue
        alike = above is not None and alike_by_chance(above, row)
        compared.append(replace(row, tied=by_rank[row.rank] > 1, alike_above=alike))
        above = row
    return compared


def alike_by_chance(a: BoardRow, b: BoardRow) -> bool:
    """Return whether chance explains the difference of two scores, at 95%."""
    half_a, half_b = (a.score_high - a.score_low) / 2, (b.score_high - b.score_low) / 2
    return abs(a.score - b.score) <= hypot(half_a, half_b)


def _submissions_by_person(session: Session, competition_id: int) -> dict[int, int]:
    query = select(Submission.person_id, func.count()).where(Submission.competition_id == competition_id)
    return {person: count for person, count in session.execute(query.group_by(Submission.person_id))}


def _points(session: Session, competition: Competition) -> list[Point]:
    names = ("accepted_at", "score", "cells", "layers", "parameters", "other_agents", "person_id")
    columns = [COLUMNS[name] for name in names]
    counting = (Submission.disqualified_at.is_(None), Submission.late.is_(False), Member.disqualified_at.is_(None))
    query = (
        select(*columns, *NAMES, Member.team_id)
        .join_from(Submission, EvaluationResult, EvaluationResult.id == Submission.result_id)
        .join(Submission.member)
        .join(Submission.owner)
        .outerjoin(Team, Team.id == Member.team_id)
        .where(Submission.competition_id == competition.id, *counting)
        .order_by(Submission.id)
    )
    best: dict[tuple[int | None, int], float] = {}
    points = []
    for row in session.execute(query):
        unit = (row.team_id, row.person_id if row.team_id is None else 0)
        best[unit] = max(best.get(unit, row.score), row.score)
        baseline, name = row.role == "baseline", _shown_name(row, competition.config.anonymous)
        values = {column: getattr(row, column) for column in names}
        points.append(Point(name=name, baseline=baseline, best=best[unit], **values))
    return points


def score_text(score: float | None) -> str:
    """Return a score with all its digits, 72.76 or 72.765; a dash if there is none."""
    if score is None:
        return "–"
    halves = round(score * 200)
    return f"{halves / 200:.{2 + halves % 2}f}"


# --- records and CSV ----------------------------------------------------------------------------------------------


def record(row: BoardRow, label: bool = False) -> dict[str, Any]:
    """Return a row as JSON values, times in ISO format; label: with the policy's own name, for the organiser only."""
    values = {name: getattr(row, name) for name in ([*PUBLIC, "label"] if label else PUBLIC)}
    rounded = {name: round(value, DIGITS) for name, value in values.items() if isinstance(value, float)}
    return values | rounded | {"accepted_at": to_time(row.accepted_at)}


def board_csv(board: Board, label: bool = False) -> str:
    """Return a board as CSV text; label: as of `record`."""
    return csv_text([*PUBLIC, "label"] if label else PUBLIC, (record(row, label).values() for row in board.rows))


def csv_text(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return CSV text; a text that a spreadsheet would run as a formula gets an apostrophe (OWASP, "CSV injection")."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_safe_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _safe_cell(value: Any) -> Any:
    if isinstance(value, str) and (value.startswith(FORMULA) or value.lstrip().startswith(FORMULA)):
        return "'" + value
    return value
