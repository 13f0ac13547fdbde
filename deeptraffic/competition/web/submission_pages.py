"""A participant's pages in a competition: submit, a submission's progress, history, choice for the final."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deeptraffic.competition.config import to_time
from deeptraffic.competition.models import Competition, Member, Person, Submission
from deeptraffic.competition.names import visible
from deeptraffic.competition.sandbox import validation
from deeptraffic.competition.sandbox.errors import InvalidSubmission, PlatformError
from deeptraffic.competition.store import co_organisers
from deeptraffic.competition.store.board import Board, score_text
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.submissions import (
    MAX_NOTE,
    accept,
    charge,
    check_early,
    choose,
    content_of,
    cpu_seconds_today,
    find_submission,
    history,
    limits,
    losses_of,
    quota,
    scores_of,
    set_note,
)
from deeptraffic.competition.web.board_pages import PER_PAGE, context_of, page_links
from deeptraffic.competition.web.bodies import milliseconds_since
from deeptraffic.competition.web.charts import history_chart
from deeptraffic.competition.web.rendering import about, page, redirect, wants_json
from deeptraffic.competition.web.site import (
    Form,
    SentForm,
    competition_of,
    member_of,
    not_found,
    page_number,
    person_of,
    run_limited,
    site_of,
)

router = APIRouter()
MAX_NAME = 200  # [characters] of a file's name
GROUPS = {"waiting": "waiting", "validated": "waiting", "validating": "running", "running": "running"}
COLUMNS = (  # of a submission's record
    *("key", "state", "filename", "label", "sha256", "other_agents", "parameters", "cells", "layers"),
    *("code", "reason", "counted", "late", "score", "best", "chosen"),
)
MEANINGS = {  # of `deeptraffic.evaluation.loss_causes.CAUSES`, for people who have not read it
    "below full throttle": "nothing near ahead, but not at full speed: accelerate",
    "boxed in by traffic": "a slower car ahead, and no lane change allowed: leave the lane earlier",
    "boxed in by a copy": "the same, behind another car that this policy drives",
    "at the edge of the view": "the safety system cannot see far enough: stay in the middle of the picture",
    "no faster lane": "a lane change was allowed, but no lane there was faster",
    "passed up a faster lane": "a faster lane was free at the last decision, which did not take it",
    "faster lane opened too late": "a faster lane is free now, but was not at the last decision",
    "changing lanes": "between two lanes, with a car near ahead",
    "moved by another agent": "pushed between two lanes by another agent's decision",
}


# --- uploads ------------------------------------------------------------------------------------------------------


@router.get("/c/{key}/submit")
def submit_page(request: Request) -> Response:
    """The form to submit with."""
    return _submit_page(request, competition_of(request))


def uploading_person(request: Request) -> Person:
    """Return the current user, who uploads a file."""
    return limit_uploads(request, person_of(request))


async def permitted_person(
    request: Request, person: Annotated[Person, Depends(uploading_person)]
) -> AsyncIterator[Person]:
    """Yield the current user, with a permit to upload."""
    with upload_permit(request, person):
        yield person


@router.post("/c/{key}/submit")
async def submit(request: Request, person: Annotated[Person, Depends(permitted_person)], form: SentForm) -> Response:
    """Accept a submission: show what is wrong with it, or redirect to its page; as JSON where a script sent it."""
    return await run_limited(site_of(request).upload_threads, _submit, request, person, form)


def _submit(request: Request, person: Person, form: Form) -> Response:
    competition = competition_of(request)
    try:
        made = check_and_accept(request, competition, person, form.filename, form.content)
        if form.text("note"):
            set_note(site_of(request).db, made.key, person.id, form.text("note")[:MAX_NOTE])
    except RequestError as error:
        if wants_json(request):
            raise
        return _submit_page(request, competition, error)
    if wants_json(request):
        return JSONResponse({"page": f"/s/{made.key}"}, 201)
    return redirect(f"/s/{made.key}")


def _submit_page(request: Request, competition: Competition, error: RequestError | None = None) -> Response:
    person, _ = _participant(request, competition)
    site = site_of(request)
    return page(
        request,
        "submit.html",
        422 if error else 200,
        **context_of(request, competition),
        used=quota(site.db, competition.id, person.id),
        limits=limits(site.db, competition.id, person.id),
        limit_bytes=competition.config.max_bytes,
        most_note=MAX_NOTE,
        cpu_seconds=cpu_seconds_today(site.db, competition.id, person.id),
        origin=site.address(request, ""),
        wrong=error.message if error else "",
        subject=error.subject if error else None,
    )


def limit_uploads(request: Request, person: Person) -> Person:
    """Return a person who uploads, or raise 429; called before the body is read, so that it fills no memory."""
    wait = site_of(request).limiter.wait("uploads", f"person {person.id}")
    if wait:
        seconds = int(wait) + 1
        raise HTTPException(429, f"Too many uploads; try again in {seconds} s.", {"Retry-After": str(seconds)})
    return person


def upload_permit(request: Request, person: Person) -> AbstractContextManager[None]:
    """Return a permit to upload a file, which is held from before its first byte until it is accepted or refused."""
    site, length = site_of(request), request.headers.get("content-length")
    return site.uploads.permit(person.id, site.settings.max_upload if length is None else int(length))


def check_and_accept(
    request: Request, competition: Competition, person: Person, filename: str, content: bytes
) -> Submission:
    """Check a file and accept it; raises RequestError, also for what is wrong with the file, or HTTPException 503.

    What can be rejected without reading the file is rejected before a child process is started for it. Its time is that
    of its last byte, however long the check takes.
    """
    site = site_of(request)
    _check_early(request, competition, person, content)
    try:
        upload = validation.validate(content, plain_name(filename))
    except InvalidSubmission as error:
        charge(site.db, competition.id, person.id, error.cpu_seconds)
        raise RequestError(error.code, str(error)) from None
    except PlatformError:
        raise HTTPException(503, "The file could not be checked just now; it was not counted. Try again.") from None
    charge(site.db, competition.id, person.id, upload.cpu_seconds)
    return accept(site.db, competition.id, person.id, upload, milliseconds_since(request.state.arrived))


def _check_early(request: Request, competition: Competition, person: Person, content: bytes) -> None:
    config = competition.config
    if not content:
        raise RequestError("empty", "the upload has no file; choose one and send it again")
    if len(content) > config.max_bytes:
        raise RequestError("size", f"the file must have at most {config.max_bytes:,} bytes, got {len(content):,}")
    if member_of(request, competition) is None and person.role != "baseline":
        return  # accept rejects it
    check_early(site_of(request).db, competition, person.id)


def plain_name(filename: str) -> str:
    """Return a file's name as it is stored and shown: its last part, without characters that are not printable."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    return visible(last, "")[-MAX_NAME:].strip() or validation.NO_LABEL


# --- a person's own submissions -----------------------------------------------------------------------------------


def _participant(request: Request, competition: Competition) -> tuple[Person, Member]:
    person, member = person_of(request), member_of(request, competition)
    if member is None:
        raise not_found()
    return person, member


@router.get("/c/{key}/mine")
def mine(request: Request) -> Response:
    """A person's history, best score and rank, and choice for the final."""
    competition, site, number = competition_of(request), site_of(request), page_number(request)
    person, member = _participant(request, competition)
    rows, total = history(site.db, competition.id, person.id, PER_PAGE, (number - 1) * PER_PAGE)
    board = site.boards.board(competition)
    used, most = quota(site.db, competition.id, person.id), limits(site.db, competition.id, person.id)
    own, scores = board.of(person.id), scores_of(site.db, competition.id, person.id)
    return page(
        request,
        "mine.html",
        **context_of(request, competition),
        history=rows,
        **page_links(f"/c/{competition.key}/mine", number, total),
        used=used,
        left=max(0, min(most["day"] - used["day"], most["total"] - used["total"])),
        mine=own,
        ranked=board.ranked,
        needed=board.needed(own),
        curve=history_chart(scores, board.leader.score if board.leader else None) if scores else None,
        chosen=member.chosen_id is not None,
        choosing=competition.final == "none",
    )


@router.post("/c/{key}/choose")
def choose_entry(request: Request, form: SentForm) -> Response:
    """Choose a submission for the final; none: the best."""
    competition = competition_of(request)
    person, _ = _participant(request, competition)
    choose(site_of(request).db, competition.id, person.id, form.text("entry") or None)
    return redirect(f"/c/{competition.key}/mine", "chosen")


def own_submission(request: Request, key: str, person: Person) -> Submission:
    """Return a submission to its owner or an organiser of its competition; 404 to all others."""
    db = site_of(request).db
    found = find_submission(db, key)
    if found is None:
        raise not_found()
    organises = person.is_organiser or found.competition_id in co_organisers.competitions_of(db, person.id)
    if not (found.person_id == person.id or organises):
        raise not_found()
    return found


@router.get("/s/{key}")
def submission(request: Request, key: str) -> Response:
    """A submission with its progress, its result or its error."""
    found = own_submission(request, key, person_of(request))
    return _submission_page(request, found)


def _submission_page(request: Request, found: Submission, wrong: str = "") -> Response:
    site, group = site_of(request), group_of(found)
    board = site.boards.board(found.competition)
    return page(
        request,
        "submission.html",
        422 if wrong else 200,
        **context_of(request, found.competition),
        submission=found,
        wrong=wrong,
        most_note=MAX_NOTE,
        losses=_losses(site.db, found, board),
        result=found.result,
        group=group,
        pending=group != "finished",
        words=progress_text(found),
        mine=board.of(found.person_id),
        ranked=board.ranked,
    )


@dataclass(frozen=True)
class LossTable:
    """Where a submission lost speed, and the class's best.

    causes: (cause, its meaning, mph lost, mph that the class's best lost), the largest first
    total: [mph] of all causes; scale: [mph] of the longest bar
    slow: [frames] where in the worst run the longest time below 60 mph begins and ends
    """

    causes: list[tuple[str, str, float, float | None]]
    total: float
    scale: float
    slow: tuple[int, int]


def _losses(db: Database, submission: Submission, board: Board) -> LossTable | None:
    """Return where a submission lost speed; None if it is not known."""
    record = losses_of(db, submission.key)
    if record is None:
        return None
    best = losses_of(db, board.leader.submission) if board.leader is not None else None
    others = {} if best is None else best["causes"]
    causes = [(name, MEANINGS[name], lost, others.get(name)) for name, lost in record["causes"].items()]
    shown = [cause for cause in causes if max(cause[2], cause[3] or 0.0) >= 0.005]
    scale = max((max(cause[2], cause[3] or 0.0) for cause in shown), default=1.0)
    shown.sort(key=lambda cause: -cause[2])
    return LossTable(shown, sum(record["causes"].values()), scale, tuple(record["slow"]))


@router.post("/s/{key}/note")
def note(request: Request, key: str, form: SentForm) -> Response:
    """Change the note of one's own submission."""
    person = person_of(request)
    found = own_submission(request, key, person)
    try:
        set_note(site_of(request).db, key, person.id, form.fields.get("note", ""))
    except RequestError as error:
        return _submission_page(request, found, error.message)
    return redirect(f"/s/{key}", "noted")


@router.get("/s/{key}/file")
def file(request: Request, key: str) -> Response:
    """The policy file of a submission, for its owner."""
    found = own_submission(request, key, person_of(request))
    headers = {"Content-Disposition": f'attachment; filename="{found.sha256[:16]}.safetensors"'}
    return Response(content_of(site_of(request).db, found.id), headers=headers, media_type="application/octet-stream")


# --- progress -----------------------------------------------------------------------------------------------------


def group_of(submission: Submission) -> str:
    """Return waiting, running or finished."""
    return GROUPS.get(submission.state, "finished")


def progress_text(submission: Submission) -> str:
    """Return the progress of a submission, in a sentence."""
    if submission.state in ("waiting", "validated"):
        what = "validation (part 1 of 2)" if submission.state == "waiting" else "its official evaluation (part 2 of 2)"
        place = "" if submission.place is None else f", place {submission.place:,} in the queue"
        wait = "" if submission.wait is None else f" Its score is expected in about {about(submission.wait)}."
        return f"Waiting for {what}{place}.{wait}"
    if submission.state in ("validating", "running") and submission.job is not None:
        what = "Part 1 of 2, validation" if submission.state == "validating" else "Part 2 of 2, official evaluation"
        again = f" (try {submission.job.tries})" if submission.job.tries > 1 else ""
        return f"{what}: {submission.job.done:,} of {submission.job.total:,} runs done{again}."
    if submission.state == "scored":
        return f"Scored {score_text(submission.score)} mph."
    return submission.reason or "It did not get a score."


def submission_record(submission: Submission) -> dict[str, Any]:
    """Return a submission as its owner may see it, as JSON values."""
    record: dict[str, Any] = {name: getattr(submission, name) for name in COLUMNS}
    result, validation, job, group = submission.result, submission.validation, submission.job, group_of(submission)
    record["validation"] = None if validation is None else validation.score
    record |= {name: None if result is None else getattr(result, name) for name in ("mean", "mean_low", "mean_high")}
    record |= {"state_group": group, "finished": group == "finished", "words": progress_text(submission)}
    wait = None if submission.wait is None else submission.wait / 1000
    record |= {"queue_place": submission.place, "expected_seconds": wait}
    record |= {"tries": 0 if job is None else job.tries}
    record |= {"runs_done": 0 if job is None else job.done, "runs_total": 0 if job is None else job.total}
    times = {"accepted_at": submission.accepted_at, "scored_at": submission.scored_at}
    times["started_at"] = None if job is None else job.started_at
    record |= {name: None if value is None else to_time(value) for name, value in times.items()}
    return record | {"disqualified": submission.disqualified_reason if submission.disqualified_at else None}
