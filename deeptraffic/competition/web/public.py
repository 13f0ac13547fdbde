"""Pages that everybody may see: competitions, boards, figures, rules."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from deeptraffic.competition.store.board import Board
from deeptraffic.competition.store.competitions import all_competitions
from deeptraffic.competition.store.members import count_members
from deeptraffic.competition.store.records import Competition
from deeptraffic.competition.store.submissions import count_submissions, find_submission, result_of
from deeptraffic.competition.web.answers import to_json
from deeptraffic.competition.web.board_views import (
    board_page,
    board_record,
    board_text,
    points_record,
    points_text,
    scale_of,
)
from deeptraffic.competition.web.rendering import page
from deeptraffic.competition.web.site import competition_of, member_of, site_of, viewer_of

router = APIRouter()
JSON, CSV = "application/json", "text/csv; charset=utf-8"
RANGE_WIDTH = 136.0  # [px] of the intervals on a board


@router.get("/")
def home(request: Request) -> Response:
    """All competitions; the only one itself."""
    site = site_of(request)
    found = all_competitions(site.db)
    if len(found) == 1:
        return RedirectResponse(f"/c/{found[0].key}", 303)
    return page(request, "home.html", competitions=found, now=site.now())


@router.get("/about")
def about(request: Request) -> Response:
    """How scores are made."""
    return page(request, "about.html")


@router.get("/c/{key}")
def board(request: Request, q: str = "") -> Response:
    """The leaderboard: the final one once it is revealed, or ?board=public."""
    site, competition = site_of(request), competition_of(request)
    shown, final = _shown_board(request, competition)
    text, number = q[:80], request.query_params.get("page", "1")
    view = board_page(shown, text, int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else 1)
    leader = next((row for row in shown.rows if row.rank == 1), None)
    entries = count_submissions(site.db, competition.id)
    viewer = viewer_of(request)
    mine = shown.of(viewer.person.id) if viewer.person else None

    def address(number: int) -> str:
        kept = {name: request.query_params[name] for name in ("q", "board") if name in request.query_params}
        return f"/c/{competition.key}?{urlencode(kept | {'page': number})}"

    return page(
        request,
        "board.html",
        **context_of(request, competition),
        **vars(view),
        q=text,
        final=final,
        leader=leader,
        strip=leader is not None and _has_replay(request, leader.submission_key),
        mine=mine,
        ranked=shown.ranked,
        people=count_members(site.db, competition.id),
        entries=entries,
        scale=scale_of(view.rows, RANGE_WIDTH),
        address=address,
    )


@router.get("/c/{key}/board.json")
def board_json(request: Request) -> Response:
    """The leaderboard as JSON."""
    return board_as_json(request, *_shown_board(request, competition_of(request)))


def board_as_json(request: Request, board: Board, final: bool) -> Response:
    """Return a board as JSON, kept as long as nothing on it changes."""
    competition = competition_of(request)
    key = ("board.json", competition.key, final, board.version)
    return site_of(request).texts.answer(request, key, lambda: to_json(board_record(competition, board, final)), JSON)


@router.get("/c/{key}/board.csv")
def board_csv(request: Request) -> Response:
    """The leaderboard as a table for spreadsheets."""
    competition = competition_of(request)
    board, final = _shown_board(request, competition)
    key, name = ("board.csv", competition.key, final, board.version), f"{competition.key}-board.csv"
    return site_of(request).texts.answer(request, key, lambda: board_text(board), CSV, name)


@router.get("/c/{key}/figures")
def figures(request: Request) -> Response:
    """The figures' page."""
    return page(request, "figures.html", **context_of(request, competition_of(request)))


@router.get("/c/{key}/figures.json")
def figures_json(request: Request) -> Response:
    """The figures' numbers."""
    competition, site, person = competition_of(request), site_of(request), viewer_of(request).person
    mine = None if person is None or member_of(request, competition) is None else person.key
    key = ("figures.json", competition.key, competition.version, mine)
    read = site.boards.points
    return site.texts.answer(request, key, lambda: to_json(points_record(read(competition.id), mine)), JSON)


@router.get("/c/{key}/figures.csv")
def figures_csv(request: Request) -> Response:
    """The figures' numbers as a table."""
    competition, site = competition_of(request), site_of(request)
    key, name = ("figures.csv", competition.key, competition.version), f"{competition.key}-submissions.csv"
    return site.texts.answer(request, key, lambda: points_text(site.boards.points(competition.id)), CSV, name)


@router.get("/c/{key}/rules")
def rules(request: Request) -> Response:
    """What is asked of the participants."""
    return page(request, "rules.html", **context_of(request, competition_of(request)))


def _shown_board(request: Request, competition: Competition) -> tuple[Board, bool]:
    """The board that the address asks for, and whether it is the final's."""
    final = competition.final == "revealed" and request.query_params.get("board") != "public"
    return site_of(request).boards.board(competition.id, final), final


def _has_replay(request: Request, key: str) -> bool:
    found = find_submission(site_of(request).db, key)
    result = None if found is None else result_of(site_of(request).db, found.id)
    return result is not None and result.drive is not None


def context_of(request: Request, competition: Competition) -> dict[str, Any]:
    """Return what every page of a competition knows."""
    return {
        "competition": competition,
        "phase": competition.phase(site_of(request).now()),
        "member": member_of(request, competition),
        "anonymous": competition.config.anonymous,
        "others_words": others_words(competition.config.other_agents),
    }


def others_words(numbers: tuple[int, ...]) -> str:
    """Return how many other agents an entry may drive, in words."""
    if len(numbers) == 1:
        return f"{numbers[0]} other agent{'' if numbers[0] == 1 else 's'}"
    if numbers == tuple(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]} other agents"
    return ", ".join(map(str, numbers[:-1])) + f" or {numbers[-1]} other agents"
