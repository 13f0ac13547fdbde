"""A scored submission's public pages: its result, its runs on a canvas, its film.

Whoever has a submission's key, 128 random bits that the board gives away, may see its public result: a shared link goes
on working when its owner has a better one. Nothing here knows of a final's runs.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from deeptraffic.competition.store.accounts import get_person
from deeptraffic.competition.store.competitions import get_competition
from deeptraffic.competition.store.members import membership
from deeptraffic.competition.store.records import Competition, Result, Submission
from deeptraffic.competition.store.submissions import find_submission, result_of
from deeptraffic.competition.web.answers import see
from deeptraffic.competition.web.board_views import histogram
from deeptraffic.competition.web.forms import SentForm
from deeptraffic.competition.web.public import context_of
from deeptraffic.competition.web.rendering import page
from deeptraffic.competition.web.replay_files import file_stem, sensor_of
from deeptraffic.competition.web.site import Site, in_turn, not_found, person_of, site_of
from deeptraffic.evaluation.replays import NOTABLE, ReplayError, notable_runs

router = APIRouter()
OTHERS_TO_CHOOSE = 25


@dataclass(frozen=True)
class PublicEntry:
    """A scored submission as everybody may see it; name: the alias where the board is anonymous."""

    submission: Submission
    result: Result
    competition: Competition
    name: str
    baseline: bool

    @property
    def runs(self) -> dict[str, int]:
        """Which runs (from 0) were the best, the median and the worst."""
        return notable_runs(self.result.run_scores, self.result.score)


def public_entry(request: Request, key: str) -> PublicEntry:
    """Return the scored submission with this key; 404 for all others."""
    site = site_of(request)
    submission = find_submission(site.db, key)
    result = None if submission is None else result_of(site.db, submission.id)
    if submission is None or result is None or submission.state != "scored" or _is_out(site, submission):
        raise not_found()
    competition = get_competition(site.db, submission.competition_id)
    owner, member = get_person(site.db, submission.person_id), membership(site.db, competition.id, submission.person_id)
    hidden = competition.config.anonymous and owner.role != "baseline" and member is not None
    name = member.alias if hidden and member is not None else owner.name
    return PublicEntry(submission, result, competition, name, owner.role == "baseline")


def _is_out(site: Site, submission: Submission) -> bool:
    """Whether a submission, or its owner, is disqualified."""
    member = membership(site.db, submission.competition_id, submission.person_id)
    return submission.disqualified_at is not None or member is None or member.disqualified_at is not None


@router.get("/e/{key}")
def entry(request: Request, key: str) -> Response:
    """A submission's result and the distribution of its runs."""
    found = public_entry(request, key)
    board = site_of(request).boards.board(found.competition.id)
    row = next((row for row in board.rows if row.submission_key == key), None)
    bars = histogram(found.result.run_scores, found.result.score)
    shown = {
        **context_of(request, found.competition),
        "name": found.name,
        "baseline": found.baseline,
        "runs": found.runs,
    }
    return page(
        request,
        "entry.html",
        **shown,
        submission=found.submission,
        result=found.result,
        row=row,
        ranked=board.ranked,
        bars=bars,
    )


@router.get("/e/{key}/replay")
def replay(request: Request, key: str, run: str = "median", beside: str = "") -> Response:
    """One run on a canvas, or two side by side."""
    found = [public_entry(request, key)]
    if beside:
        found.append(public_entry(request, beside))
    _check_run(run)

    def address(which: str) -> str:
        return f"/e/{key}/replay?{urlencode({'run': which} | ({'beside': beside} if beside else {}))}"

    board = site_of(request).boards.board(found[0].competition.id)
    others = [
        {"key": row.submission_key, "words": f"{row.rank or '–'}. {row.name}, {row.score:.2f} mph"}
        for row in board.rows[:OTHERS_TO_CHOOSE]
        if row.submission_key != key
    ]
    if beside and beside not in {other["key"] for other in others}:
        others.append({"key": beside, "words": f"{found[1].name}, {found[1].result.score:.2f} mph"})
    return page(
        request,
        "replay.html",
        **context_of(request, found[0].competition),
        shown=[_shown(one, run) for one in found],
        run=run,
        notable=NOTABLE,
        others=others,
        film=site_of(request).films.state(_film_name(found[0], run)),
        address=address,
    )


def _shown(entry: PublicEntry, run: str) -> dict[str, Any]:
    sensor, number = sensor_of(entry.submission), entry.runs[run]
    return {
        "key": entry.submission.key,
        "name": entry.name,
        "sensor": None if sensor is None else json.dumps(sensor._asdict()),
        "number": number + 1,
        "run_score": float(entry.result.run_scores[number]),
    }


@router.get("/e/{key}/track/{run}")
async def track(request: Request, key: str, run: str) -> Response:
    """A run's positions, which the browser draws."""
    return await in_turn(site_of(request).workshop, _track, request, key, run)


def _track(request: Request, key: str, run: str) -> Response:
    found = public_entry(request, key)
    _check_run(run)
    try:
        content = site_of(request).replays.track(found.submission, found.result, run)
    except ReplayError:
        raise HTTPException(404, "No replay is kept of this submission.") from None
    headers = {"Content-Encoding": "gzip", "Cache-Control": "private, max-age=300"}
    return Response(content, headers=headers, media_type="application/json")


@router.post("/e/{key}/film/{run}")
async def ask_for_film(request: Request, key: str, run: str, form: SentForm) -> Response:
    """Have a showcase film made."""
    return await in_turn(site_of(request).workshop, _ask_for_film, request, key, run)


def _ask_for_film(request: Request, key: str, run: str) -> Response:
    person_of(request)
    found, site = public_entry(request, key), site_of(request)
    _check_run(run)
    board = site.boards.board(found.competition.id)
    row = next((row for row in board.rows if row.submission_key == key), None)
    card: dict[str, Any] = {"name": found.name, "best_mph": found.result.score}
    if row is not None and row.rank is not None:
        card |= {"rank": row.rank, "of": board.ranked}
    try:
        trace = site.replays.trace(found.submission, found.result, run)
    except ReplayError:
        raise HTTPException(404, "No replay is kept of this submission.") from None
    if not site.films.ask(_film_name(found, run), trace, card):
        raise HTTPException(429, "Too many films are being made; ask again later.")
    return see(f"/e/{key}/replay?run={run}")


@router.get("/e/{key}/film/{run}.mp4")
def film(request: Request, key: str, run: str) -> Response:
    """A film that was made."""
    found, films = public_entry(request, key), site_of(request).films
    _check_run(run)
    name = _film_name(found, run)
    if films.state(name) != "ready":
        raise not_found()
    return FileResponse(films.path(name), media_type="video/mp4", filename=f"deeptraffic-{run}-{key[:8]}.mp4")


def _film_name(entry: PublicEntry, run: str) -> str:
    """Return the name of a film: of this entry's, since it shows a name."""
    return f"{file_stem(entry.submission, entry.result)}-{entry.submission.key}-{run}"


def _check_run(run: str) -> None:
    if run not in NOTABLE:
        raise not_found()
