"""Public pages of a competition: its leaderboard, figures and rules, also as JSON and CSV."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deeptraffic.competition.models import Competition
from deeptraffic.competition.store import board as boards
from deeptraffic.competition.store.accounts import get_person
from deeptraffic.competition.store.board import Board, BoardRow
from deeptraffic.competition.store.competitions import all_competitions, count
from deeptraffic.competition.store.submissions import has_replay
from deeptraffic.competition.web.charts import axis_of, figures_of, own_dots, points_csv, points_record
from deeptraffic.competition.web.rendering import fragment, page, to_json
from deeptraffic.competition.web.site import competition_of, member_of, page_number, site_of, trail_of, user_of

router = APIRouter()
JSON, CSV = "application/json", "text/csv; charset=utf-8"
RANGE_WIDTH = 136.0  # [px] of the intervals on a board
PER_PAGE = 50


@router.get("/")
def home(request: Request) -> Response:
    """All competitions; a single one is shown itself."""
    site = site_of(request)
    found = all_competitions(site.db)
    if len(found) == 1:
        return RedirectResponse(f"/c/{found[0].key}", 303)
    return page(request, "home.html", competitions=found, now=site.now())


@router.get("/about")
def about(request: Request) -> Response:
    """How scores are computed."""
    return page(request, "about.html")


@router.get("/c/{key}")
def board(request: Request, q: str = "") -> Response:
    """The leaderboard: the final one once it is revealed, or ?board=public."""
    site, competition = site_of(request), competition_of(request)
    shown, final = _shown_board(request, competition)
    text, number = q[:80], page_number(request)
    person = user_of(request).person
    mine = shown.of(person.id) if person else None
    people, entries = count(site.db, competition.id)
    state = (competition.id, final, shown.version)
    own = mine.submission if mine and (text.strip() or shown.rows.index(mine) // PER_PAGE == number - 1) else None
    return page(
        request,
        "board.html",
        **context_of(request, competition),
        q=text,
        final=final,
        leader=shown.leader,
        table=site.fragments.get(("table", *state, text, number, own), lambda: _table(request, shown, final, own)),
        strip=site.fragments.get(("strip", *state), lambda: _strip(request, shown)),
        mine=mine,
        ranked=shown.ranked,
        people=people,
        entries=entries,
    )


def _table(request: Request, shown: Board, final: bool, own: str | None) -> Markup:
    """Return a page of the table, own: the submission in it that is the user's; empty if there are no rows."""
    competition, text = competition_of(request), request.query_params.get("q", "")[:80]
    view = board_page(shown, text, page_number(request))
    if not view.rows:
        return Markup()
    kept = {"q": text} if text else {}
    kept |= {"board": "public"} if competition.final == "revealed" and not final else {}
    links = page_links(f"/c/{competition.key}", view.page, view.total, **kept)
    axis = axis_of(view.rows, RANGE_WIDTH)
    return fragment("board_table.html", rows=view.rows, below=view.below, mine=own, axis=axis, **links)


def _strip(request: Request, shown: Board) -> Markup:
    """Return the leader's median run beside the table; empty if none is kept."""
    db, leader = site_of(request).db, shown.leader
    if leader is None or not has_replay(db, leader.submission):
        return Markup()
    trail = trail_of(get_person(db, leader.person_id), competition_of(request))
    return fragment("board_strip.html", leader=leader, trail=trail)


@router.get("/c/{key}/board.json")
def board_json(request: Request) -> Response:
    """The leaderboard as JSON."""
    return board_as_json(request, *_shown_board(request, competition_of(request)))


def board_as_json(request: Request, board: Board, final: bool) -> Response:
    """Return a board as JSON, cached until it changes."""
    competition = competition_of(request)
    key = ("board.json", competition.key, final, board.version)
    return site_of(request).texts.answer(request, key, lambda: to_json(board_record(competition, board, final)), JSON)


@router.get("/c/{key}/board.csv")
def board_csv(request: Request) -> Response:
    """The leaderboard as CSV."""
    competition = competition_of(request)
    board, final = _shown_board(request, competition)
    key, name = ("board.csv", competition.key, final, board.version), f"{competition.key}-board.csv"
    return site_of(request).texts.answer(request, key, lambda: boards.board_csv(board), CSV, name)


@router.get("/c/{key}/figures")
def figures(request: Request) -> Response:
    """The charts of all scored submissions, the user's own marked."""
    competition, site, person = competition_of(request), site_of(request), user_of(request).person
    points = site.boards.points(competition)
    charts = site.charts.get((competition.id, competition.version), lambda: figures_of(points) if points else {})
    own = own_dots(charts, points, person.id if person else None)
    return page(request, "figures.html", **context_of(request, competition), points=points, charts=charts, own=own)


@router.get("/c/{key}/figures.json")
def figures_json(request: Request) -> Response:
    """The data of the figures."""
    competition, site, person = competition_of(request), site_of(request), user_of(request).person
    mine = None if person is None or member_of(request, competition) is None else person.id
    key = ("figures.json", competition.key, competition.version, mine)
    read = site.boards.points
    return site.texts.answer(request, key, lambda: to_json(points_record(read(competition), mine)), JSON)


@router.get("/c/{key}/figures.csv")
def figures_csv(request: Request) -> Response:
    """The data of the figures as CSV."""
    competition, site = competition_of(request), site_of(request)
    key, name = ("figures.csv", competition.key, competition.version), f"{competition.key}-submissions.csv"
    return site.texts.answer(request, key, lambda: points_csv(site.boards.points(competition)), CSV, name)


@router.get("/c/{key}/rules")
def rules(request: Request) -> Response:
    """The rules of the competition."""
    return page(request, "rules.html", **context_of(request, competition_of(request)))


def _shown_board(request: Request, competition: Competition) -> tuple[Board, bool]:
    """Return the requested board, and whether it is the final's."""
    final = competition.final == "revealed" and request.query_params.get("board") != "public"
    return site_of(request).boards.board(competition, final), final


def context_of(request: Request, competition: Competition) -> dict[str, Any]:
    """Return what all pages of a competition show."""
    now, member = site_of(request).now(), member_of(request, competition)
    own = None if member is None else member.closes_at
    return {
        "competition": competition,
        "phase": competition.phase(now, own),
        "closes": competition.closes(own),
        "now": now,
        "member": member,
        "anonymous": competition.config.anonymous,
        "others_words": others_words(competition.config.other_agents),
    }


def page_links(path: str, number: int, total: int, **query: str) -> dict[str, Any]:
    """Return what a page of a long list shows about the others; query: kept in the links to them."""
    links = {"page": number, "pages": max(1, math.ceil(total / PER_PAGE)), "total": total}
    return links | {"address": lambda other: f"{path}?{urlencode(query | {'page': other})}"}


def others_words(numbers: tuple[int, ...]) -> str:
    """Return the allowed numbers of other agents, in words."""
    if len(numbers) == 1:
        return f"{numbers[0]} other agent{'' if numbers[0] == 1 else 's'}"
    if numbers == tuple(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]} other agents"
    return ", ".join(map(str, numbers[:-1])) + f" or {numbers[-1]} other agents"


# --- pages and records of a board ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class BoardPage:
    """A page of rows; below: keys of the submissions whose difference to the next ranked one may be chance."""

    rows: list[BoardRow]
    page: int
    total: int
    below: frozenset[str]


def board_page(board: Board, text: str, page: int) -> BoardPage:
    """Return a page of a board, or of a search in it; a page past the end is the last one."""
    rows = board.search(text) if text.strip() else list(board.rows)
    pages = max(1, math.ceil(len(rows) / PER_PAGE))
    page = min(max(page, 1), pages)
    shown = rows[(page - 1) * PER_PAGE : page * PER_PAGE]
    return BoardPage(shown, page, len(rows), frozenset() if text.strip() else alike_below(board.rows))


def alike_below(rows: Sequence[BoardRow]) -> frozenset[str]:
    """Return the keys of rows whose difference to the next ranked row may be chance, baselines between them too."""
    keys, alike = set(), False
    for row in reversed(rows):
        if alike:
            keys.add(row.submission)
        if row.rank is not None:
            alike = row.alike_above
    return frozenset(keys)


def board_record(competition: Competition, board: Board, final: bool) -> dict[str, Any]:
    """Return a board as JSON values."""
    rows = [boards.record(row) for row in board.rows]
    head = {"competition": competition.key, "title": competition.config.title, "final": final, "ranked": board.ranked}
    return head | {"rows": rows}
