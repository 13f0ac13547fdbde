"""JSON API, version 1: for `deeptraffic submit` and other programs. Errors are {"error": {"code", "message"}}.

A request with a token for submissions (Authorization: Bearer TOKEN) acts as its owner; the page of a submission reads
with its session. A body is the file itself.

    POST /api/v1/competitions/KEY/submissions?filename=NAME      201 and the submission
    GET  /api/v1/competitions                                    all competitions
    GET  /api/v1/competitions/KEY                                settings and phase
    GET  /api/v1/competitions/KEY/board                          the leaderboard
    GET  /api/v1/competitions/KEY/submissions                    the token owner's, the newest first
    GET  /api/v1/submissions/KEY                                 one of the token owner's
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deeptraffic.competition.models import Competition, Person
from deeptraffic.competition.store import accounts
from deeptraffic.competition.store.competitions import all_competitions
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.submissions import history, limits, quota
from deeptraffic.competition.web.board_pages import board_as_json
from deeptraffic.competition.web.guard import is_bearer
from deeptraffic.competition.web.rendering import json_answer
from deeptraffic.competition.web.site import (
    competition_of,
    count_wrong_token,
    run_limited,
    site_of,
    user_of,
)
from deeptraffic.competition.web.submission_pages import (
    check_and_accept,
    limit_uploads,
    own_submission,
    submission_record,
    upload_permit,
)

router = APIRouter(prefix="/api/v1")
MOST = 100
MAX_IN_MEMORY = 1_000_000  # [bytes] of an upload; the rest is on the disk


def token_owner(request: Request) -> Person:
    """Return the owner of a request's token; 401 without a valid one."""
    if not is_bearer(request.headers):
        raise HTTPException(401, "Send a token: Authorization: Bearer TOKEN. Your account page creates one.")
    try:
        return accounts.person_of(site_of(request).db, request.headers["authorization"][7:].strip(), "submit")[0]
    except RequestError as error:
        count_wrong_token(request)
        raise HTTPException(401, error.message) from None


def reader_of(request: Request) -> Person:
    """Return the reader: by token, or by the session of a page."""
    if is_bearer(request.headers):
        return token_owner(request)
    person = user_of(request).person
    if person is None:
        raise HTTPException(401, "Send a token: Authorization: Bearer TOKEN. Your account page creates one.")
    return person


def uploading_owner(request: Request) -> Person:
    """Return the owner of the token, who uploads a file."""
    return limit_uploads(request, token_owner(request))


@dataclass(frozen=True)
class UploadedFile:
    """An uploaded file, on the disk if it is large, and who sent it."""

    person: Person
    file: BinaryIO


async def uploaded_file(
    request: Request, person: Annotated[Person, Depends(uploading_owner)]
) -> AsyncIterator[UploadedFile]:
    """Receive the body, with a permit; the guard limits its size and time."""
    with upload_permit(request, person), SpooledTemporaryFile(MAX_IN_MEMORY) as file:
        async for part in request.stream():
            file.write(part)
        file.seek(0)
        yield UploadedFile(person, cast(BinaryIO, file))


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
    return board_as_json(request, site_of(request).boards.board(found, final), final)


@router.post("/competitions/{key}/submissions")
async def submit(request: Request, upload: Annotated[UploadedFile, Depends(uploaded_file)]) -> Response:
    """Accept a submission; the token is checked before the body is read."""
    return await run_limited(site_of(request).upload_threads, _submit, request, upload)


def _submit(request: Request, upload: UploadedFile) -> Response:
    found, name = competition_of(request), request.query_params.get("filename", "submission")
    made = check_and_accept(request, found, upload.person, name, upload.file.read())
    record = submission_record(made) | {"page": site_of(request).address(request, f"/s/{made.key}")}
    return JSONResponse(record, 201)


@router.get("/competitions/{key}/submissions")
def submissions(request: Request) -> Response:
    """The reader's submissions, the newest first, and what the quota has counted."""
    found, person, site = competition_of(request), reader_of(request), site_of(request)
    rows, total = history(site.db, found.id, person.id, MOST)
    record = {
        "total": total,
        "used": quota(site.db, found.id, person.id),
        "limits": limits(site.db, found.id, person.id),
        "rows": [submission_record(row) for row in rows],
    }
    return json_answer(record)


@router.get("/submissions/{key}")
def submission(request: Request, key: str) -> Response:
    """One of the reader's submissions."""
    return json_answer(submission_record(own_submission(request, key, reader_of(request))))
