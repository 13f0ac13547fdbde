"""The leaderboard, and what the pages draw from all submissions.

Order: score, then the mean of the unrounded runs, then who was accepted first. Equal in both numbers share a rank, and
the ranks after them are left out: 1, 2, 2, 4. Baselines stand where their score puts them, without a rank. Neighbours
whose difference is smaller than the two 95% intervals of their scores allow, added as independent errors, are marked.
"""

from dataclasses import dataclass, replace
from math import hypot
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Select, and_, func, select

from deeptraffic.competition.store import competitions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.records import BoardRow, Point
from deeptraffic.competition.store.schema import members, people, results, submissions

POINT_NUMBERS = ("accepted_at", "score", "cells", "layers", "parameters", "other_agents")


@dataclass(frozen=True)
class Board:
    """All rows, and how many of them have a rank."""

    rows: tuple[BoardRow, ...]
    ranked: int
    version: int

    def search(self, text: str) -> list[BoardRow]:
        """Return the rows whose name holds a text."""
        wanted = text.casefold().strip()
        return [row for row in self.rows if wanted in row.name.casefold()]

    def of(self, person_id: int) -> BoardRow | None:
        """Return a person's row."""
        return next((row for row in self.rows if row.person_id == person_id), None)


class Boards:
    """Keeps the boards of all competitions that somebody looked at, as long as nothing in them has changed."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._building: dict[tuple[Any, ...], Lock] = {}
        self._lock = Lock()

    def board(self, competition_id: int, final: bool = False) -> Board:
        """Return the public board, or that of the revealed final."""
        return self._keep("board", competition_id, final)

    def points(self, competition_id: int) -> list[Point]:
        """Return all scored submissions for the figures."""
        return self._keep("points", competition_id, False)

    def _keep(self, what: str, competition_id: int, final: bool) -> Any:
        key = (what, competition_id, final)
        with self._lock:
            building = self._building.setdefault(key, Lock())
        with building:  # of many who ask at once, one reads and the others wait
            with self.db.read() as connection:
                version = competitions.get(connection, competition_id).version
                if key in self._kept and self._kept[key][0] == version:
                    return self._kept[key][1]
                found = (_points if what == "points" else _read_board)(connection, competition_id, final)
            self._kept[key] = (version, found)
        return found


def read_board(db: Database, competition_id: int, final: bool = False) -> Board:
    """Return the board; final: of the final, which is empty until the organiser reveals it."""
    with db.read() as connection:
        return _read_board(connection, competition_id, final)


def _read_board(connection: Connection, competition_id: int, final: bool = False) -> Board:
    competition = competitions.get(connection, competition_id)
    if final and competition.final != "revealed":
        return Board((), 0, competition.version)
    return build_board(connection, competition_id, competition.config.anonymous, competition.version, final)


def build_board(connection: Connection, competition_id: int, anonymous: bool, version: int, final: bool) -> Board:
    """Return a board, a hidden final's too: for the organiser's preview."""
    counts = _submissions_by_person(connection, competition_id)
    rows, ranked = [], 0
    last: Any = None
    for row in connection.execute(_query(competition_id, final)):
        baseline = row.role == "baseline"
        rank = None
        if not baseline:
            ranked += 1
            same = last is not None and (row.score, row.unrounded_mean) == last[:2]
            rank = last[2] if same else ranked
            last = (row.score, row.unrounded_mean, rank)
        rows.append(_row(row, rank, baseline, anonymous, counts.get(row.person_id, 0)))
    return Board(tuple(_compare(rows)), ranked, version)


def _query(competition_id: int, final: bool) -> Select[Any]:
    entry = func.coalesce(members.c.chosen_id, members.c.best_id) if final else members.c.best_id
    result = submissions.c.final_id if final else submissions.c.result_id
    columns = [people.c.name, people.c.role, people.c.key.label("person_key"), members.c.alias, members.c.person_id]
    columns += [submissions.c.key.label("submission_key"), submissions.c.label, submissions.c.accepted_at]
    columns += [submissions.c[name] for name in ("other_agents", "parameters", "cells", "layers")]
    columns += [results.c[name] for name in ("score", "score_low", "score_high", "mean", "mean_low", "mean_high")]
    source = members.join(people, people.c.id == members.c.person_id).join(submissions, submissions.c.id == entry)
    source = source.join(results, results.c.id == result)
    shown = (members.c.competition_id == competition_id, members.c.disqualified_at.is_(None))
    order = (results.c.score.desc(), results.c.unrounded_mean.desc(), submissions.c.id)
    return select(*columns, results.c.unrounded_mean).select_from(source).where(*shown).order_by(*order)


def _row(row: Any, rank: int | None, baseline: bool, anonymous: bool, submitted: int) -> BoardRow:
    given = {"rank", "baseline", "name", "submissions", "tied", "alike_above"}
    values = {name: getattr(row, name) for name in BoardRow.__dataclass_fields__ if name not in given}
    name = row.alias if anonymous and not baseline else row.name
    return BoardRow(
        rank=rank, baseline=baseline, name=name, submissions=submitted, tied=False, alike_above=False, **values
    )


def _compare(rows: list[BoardRow]) -> list[BoardRow]:
    """Mark ties, and neighbours that cannot be told apart."""
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
    """Whether two scores differ by less than chance explains, at 95%."""
    half_a, half_b = (a.score_high - a.score_low) / 2, (b.score_high - b.score_low) / 2
    return abs(a.score - b.score) <= hypot(half_a, half_b)


def _submissions_by_person(connection: Connection, competition_id: int) -> dict[int, int]:
    query = select(submissions.c.person_id, func.count()).where(submissions.c.competition_id == competition_id)
    return {person: count for person, count in connection.execute(query.group_by(submissions.c.person_id))}


def _points(connection: Connection, competition_id: int, _: bool) -> list[Point]:
    anonymous = competitions.get(connection, competition_id).config.anonymous
    same = and_(
        members.c.competition_id == submissions.c.competition_id, members.c.person_id == submissions.c.person_id
    )
    source = submissions.join(results, results.c.id == submissions.c.result_id).join(members, same)
    source = source.join(people, people.c.id == submissions.c.person_id)
    columns: list[Any] = [submissions.c[name] for name in POINT_NUMBERS if name != "score"]
    columns += [submissions.c.key, people.c.key.label("person_key"), people.c.name, people.c.role, members.c.alias]
    shown = (
        submissions.c.competition_id == competition_id,
        submissions.c.disqualified_at.is_(None),
        members.c.disqualified_at.is_(None),
    )
    query = select(*columns, results.c.score).select_from(source).where(*shown).order_by(submissions.c.id)
    best: dict[str, float] = {}
    points = []
    for row in connection.execute(query):
        best[row.person_key] = max(best.get(row.person_key, row.score), row.score)
        baseline = row.role == "baseline"
        numbers = {name: getattr(row, name) for name in POINT_NUMBERS}
        points.append(
            Point(
                submission_key=row.key,
                person_key=row.person_key,
                name=row.alias if anonymous and not baseline else row.name,
                baseline=baseline,
                best=best[row.person_key],
                **numbers,
            )
        )
    return points
