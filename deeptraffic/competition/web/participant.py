"""A participant's pages in a competition: submit, watch a submission, history, choice for the final."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.store.accounts import get_person
from deeptraffic.competition.store.competitions import get_competition
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.records import Competition, Member, Person, Submission
from deeptraffic.competition.store.submissions import choose, content_of, find_submission, history, quota
from deeptraffic.competition.web.answers import see
from deeptraffic.competition.web.board_views import PER_PAGE
from deeptraffic.competition.web.forms import Form, SentForm
from deeptraffic.competition.web.public import context_of
from deeptraffic.competition.web.rendering import page
from deeptraffic.competition.web.site import competition_of, in_turn, member_of, not_found, person_of, site_of
from deeptraffic.competition.web.uploads import admit, take
from deeptraffic.competition.web.words import group_of, progress_words

router = APIRouter()


@router.get("/c/{key}/submit")
def submit_page(request: Request) -> Response:
    """The form to submit with."""
    return _submit_page(request, competition_of(request))


def uploading_person(request: Request) -> Person:
    """Return the viewer who sends a file."""
    return admit(request, person_of(request))


@router.post("/c/{key}/submit")
async def submit(request: Request, person: Annotated[Person, Depends(uploading_person)], form: SentForm) -> Response:
    """Take a submission; say what is wrong with it, or go on to its page."""
    return await in_turn(site_of(request).doors, _submit, request, person, form)


def _submit(request: Request, person: Person, form: Form) -> Response:
    competition = competition_of(request)
    try:
        made = take(request, competition, person, form.filename, form.content)
    except RequestError as error:
        return _submit_page(request, competition, error)
    return see(f"/s/{made.key}")


def _submit_page(request: Request, competition: Competition, error: RequestError | None = None) -> Response:
    person, _ = _participant(request, competition)
    site = site_of(request)
    return page(
        request,
        "submit.html",
        422 if error else 200,
        **context_of(request, competition),
        used=quota(site.db, competition.id, person.id),
        limit=competition.config.max_bytes,
        origin=site.address(request, ""),
        wrong=error.message if error else "",
        subject=error.subject if error else None,
        free=error is not None,
    )


def _participant(request: Request, competition: Competition) -> tuple[Person, Member]:
    person, member = person_of(request), member_of(request, competition)
    if member is None:
        raise not_found()
    return person, member


@router.get("/c/{key}/mine")
def mine(request: Request) -> Response:
    """One's own history, best score and rank, and the choice for the final."""
    competition, site = competition_of(request), site_of(request)
    person, member = _participant(request, competition)
    text = request.query_params.get("page", "1")
    number = max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 7 else 1
    rows, total = history(site.db, competition.id, person.id, PER_PAGE, (number - 1) * PER_PAGE)
    board = site.boards.board(competition.id)
    used, config = quota(site.db, competition.id, person.id), competition.config
    return page(
        request,
        "mine.html",
        **context_of(request, competition),
        history=rows,
        total=total,
        page=number,
        pages=max(1, -(-total // PER_PAGE)),
        address=lambda other: f"/c/{competition.key}/mine?page={other}",
        used=used,
        left=max(0, min(config.daily_limit - used["day"], config.total_limit - used["total"])),
        mine=board.of(person.id),
        ranked=board.ranked,
        chosen=member.chosen_id is not None,
        choosing=competition.final == "none",
    )


@router.post("/c/{key}/choose")
def choose_entry(request: Request, form: SentForm) -> Response:
    """Say which submission counts in the final; none: the best."""
    competition = competition_of(request)
    person, _ = _participant(request, competition)
    choose(site_of(request).db, competition.id, person.id, form.text("entry") or None)
    return see(f"/c/{competition.key}/mine", "chosen")


def own_submission(request: Request, key: str) -> Submission:
    """Return a submission for its owner or the organiser; for all others there is none."""
    person, found = person_of(request), find_submission(site_of(request).db, key)
    if found is None or not (found.person_id == person.id or person.is_organiser):
        raise not_found()
    return found


@router.get("/s/{key}")
def submission(request: Request, key: str) -> Response:
    """A submission with its progress, its result or what was wrong with it."""
    found, site = own_submission(request, key), site_of(request)
    competition, group = get_competition(site.db, found.competition_id), group_of(found)
    board = site.boards.board(competition.id)
    return page(
        request,
        "submission.html",
        **context_of(request, competition),
        submission=found,
        owner=get_person(site.db, found.person_id),
        group=group,
        pending=group != "finished",
        words=progress_words(found),
        mine=board.of(found.person_id),
        ranked=board.ranked,
    )


@router.get("/s/{key}/file")
def file(request: Request, key: str) -> Response:
    """The policy file of a submission, for its owner."""
    found = own_submission(request, key)
    headers = {"Content-Disposition": f'attachment; filename="{found.sha256[:16]}.safetensors"'}
    return Response(content_of(site_of(request).db, found.id), headers=headers, media_type="application/octet-stream")
