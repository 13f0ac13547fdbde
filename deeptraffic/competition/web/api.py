"""The JSON API, version 1: for `deeptraffic submit` and for programs. Errors are {"error": {"code", "message"}}.

Whoever shows a token to submit with (Authorization: Bearer TOKEN) acts as its owner; the page of a submission asks with
its session. A body is the file itself.

    POST /api/v1/competitions/KEY/submissions?filename=NAME      201 and the submission
    GET  /api/v1/competitions                                    those that there are
    GET  /api/v1/competitions/KEY                                settings and phase
    GET  /api/v1/competitions/KEY/board                          the leaderboard
    GET  /api/v1/competitions/KEY/submissions                    one's own, the newest first
    GET  /api/v1/submissions/KEY                                 one of one's own
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deeptraffic.competition.store import accounts
from deeptraffic.competition.store.competitions import all_competitions
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.records import Competition, Person
from deeptraffic.competition.store.submissions import find_submission, history, quota
from deeptraffic.competition.web.answers import json_answer
from deeptraffic.competition.web.guard import is_bearer
from deeptraffic.competition.web.public import board_as_json
from deeptraffic.competition.web.site import (
    check_secret_tries,
    competition_of,
    count_wrong_secret,
    in_turn,
    not_found,
    site_of,
    viewer_of,
)
from deeptraffic.competition.web.uploads import admit, take
from deeptraffic.competition.web.words import submission_record

router = APIRouter(prefix="/api/v1")
MOST = 100


def token_owner(request: Request) -> Person:
    """Return the owner of the token that a request shows; 401 if it shows none that is valid."""
    if not is_bearer(request.headers):
        raise HTTPException(401, "Show a token: Authorization: Bearer TOKEN. Your page makes one.")
    check_secret_tries(request)
    try:
        return accounts.person_of(site_of(request).db, request.headers["authorization"][7:].strip(), "submit")[0]
    except RequestError as error:
        count_wrong_secret(request)
        raise HTTPException(401, error.message) from None


def reader_of(request: Request) -> Person:
    """Return who reads: by token, or by the session of a page."""
    if is_bearer(request.headers):
        return token_owner(request)
    person = viewer_of(request).person
    if person is None:
        raise HTTPException(401, "Show a token: Authorization: Bearer TOKEN. Your page makes one.")
    return person


def uploading_owner(request: Request) -> Person:
    """Return the owner of the token who sends a file."""
    return admit(request, token_owner(request))


async def whole_body(request: Request) -> bytes:
    """Return the body; the guard has its size and time in hand."""
    return await request.body()


UploadingOwner = Annotated[Person, Depends(uploading_owner)]
Body = Annotated[bytes, Depends(whole_body)]


@router.get("/competitions")
def competitions(request: Request) -> Response:
    """All competitions."""
    site = site_of(request)
    return json_answer([_competition(found, site.now()) for found in all_competitions(site.db)])


@router.get("/competitions/{key}")
def competition(request: Request) -> Response:
    """A competition's settings and phase."""
    return json_answer(_competition(competition_of(request), site_of(request).now()))


def _competition(found: Competition, now: int) -> dict[str, Any]:
    return {"key": found.key, "phase": found.phase(now)} | found.config.to_record()


@router.get("/competitions/{key}/board")
def board(request: Request) -> Response:
    """The leaderboard, the final's once it is revealed."""
    found = competition_of(request)
    final = found.final == "revealed"
    return board_as_json(request, site_of(request).boards.board(found.id, final), final)


@router.post("/competitions/{key}/submissions")
async def submit(request: Request, person: UploadingOwner, content: Body) -> Response:
    """Take a submission; the token is looked at before the body is read."""
    return await in_turn(site_of(request).doors, _submit, request, person, content)


def _submit(request: Request, person: Person, content: bytes) -> Response:
    found = competition_of(request)
    made = take(request, found, person, request.query_params.get("filename", "submission"), content)
    record = submission_record(made) | {"page": site_of(request).address(request, f"/s/{made.key}")}
    return JSONResponse(record, 201)


@router.get("/competitions/{key}/submissions")
def submissions(request: Request) -> Response:
    """One's own submissions, the newest first, and what is left of the quota."""
    found, person, site = competition_of(request), reader_of(request), site_of(request)
    rows, total = history(site.db, found.id, person.id, MOST)
    record = {
        "total": total,
        "used": quota(site.db, found.id, person.id),
        "rows": [submission_record(row) for row in rows],
    }
    return json_answer(record)


@router.get("/submissions/{key}")
def submission(request: Request, key: str) -> Response:
    """One of one's own submissions."""
    person, found = reader_of(request), find_submission(site_of(request).db, key)
    if found is None or not (found.person_id == person.id or person.is_organiser):
        raise not_found()
    return json_answer(submission_record(found))
