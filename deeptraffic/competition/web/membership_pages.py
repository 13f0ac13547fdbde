"""Coming in and leaving: invitations, one-time links, one's own page with name and tokens."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.store import accounts
from deeptraffic.competition.store.competitions import get_competition
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.members import competitions_of
from deeptraffic.competition.store.records import Competition, Person
from deeptraffic.competition.web.answers import see
from deeptraffic.competition.web.forms import SentForm
from deeptraffic.competition.web.rendering import page
from deeptraffic.competition.web.site import (
    SESSION_SECONDS,
    check_secret_tries,
    competition_of,
    count_wrong_secret,
    person_of,
    site_of,
    viewer_of,
)

router = APIRouter()
MAX_SECRET = 300  # [characters] of a link that somebody pastes


def _with_session(request: Request, answer: Response, secret: str) -> Response:
    """Give the browser a new session; the one before it ends."""
    site, viewer = site_of(request), viewer_of(request)
    if viewer.person is not None:
        accounts.close_session(site.db, viewer.key)
    site.set_cookie(answer, "session", secret, SESSION_SECONDS)
    site.drop_cookie(answer, "visitor")
    return answer


# --- invitations --------------------------------------------------------------------------------------------------


@router.get("/join/{secret}")
def invitation(request: Request, secret: str) -> Response:
    """An invitation; nothing happens before its form is sent."""
    return _join_page(request, _invited_to(request, secret))


@router.post("/join/{secret}")
def follow_invitation(request: Request, secret: str, form: SentForm) -> Response:
    """Take part, with the account that one has or a new one."""
    competition, site, person = _invited_to(request, secret), site_of(request), viewer_of(request).person
    target = see(f"/c/{competition.key}", "joined")
    if person is not None:
        accounts.join_as(site.db, secret, person.id)
        return target
    try:
        return _with_session(request, target, accounts.join_by_invite(site.db, secret, form.fields.get("name", ""))[1])
    except RequestError as error:
        return _join_page(request, competition, error.message, form.text("name"))


@router.get("/c/{key}/join")
def open_door(request: Request) -> Response:
    """The form to join a competition that is open to everybody."""
    competition = competition_of(request)
    if competition.config.joining != "open":
        raise RequestError(
            "invite_needed", "this competition takes people by invitation; ask the organiser for its link"
        )
    return _join_page(request, competition)


@router.post("/c/{key}/join")
def join_open(request: Request, form: SentForm) -> Response:
    """Take part in a competition that is open to everybody."""
    competition, site = competition_of(request), site_of(request)
    try:
        _, secret = accounts.join_open(site.db, competition.id, form.fields.get("name", ""))
    except RequestError as error:
        return _join_page(request, competition, error.message, form.text("name"))
    return _with_session(request, see(f"/c/{competition.key}", "joined"), secret)


def _invited_to(request: Request, secret: str) -> Competition:
    check_secret_tries(request)
    site = site_of(request)
    try:
        token = accounts.look_at(site.db, secret, "invite")
    except RequestError:
        count_wrong_secret(request)
        raise
    assert token.competition_id is not None
    return get_competition(site.db, token.competition_id)


def _join_page(request: Request, competition: Competition, wrong: str = "", name: str = "") -> Response:
    shown = {"competition": competition, "anonymous": competition.config.anonymous, "wrong": wrong, "name": name[:80]}
    return page(request, "join.html", 422 if wrong else 200, **shown)


# --- links --------------------------------------------------------------------------------------------------------


@router.get("/enter")
def entrance(request: Request) -> Response:
    """A field for a link or token."""
    return _entrance(request)


@router.get("/link/{secret}")
def link(request: Request, secret: str) -> Response:
    """A one-time link; it is used when its form is sent, so that a mail program's preview does not use it up."""
    check_secret_tries(request)
    site = site_of(request)
    try:
        token = accounts.look_at(site.db, secret, "link")
    except RequestError:
        count_wrong_secret(request)
        raise
    assert token.person_id is not None
    return page(request, "enter.html", secret=secret, name=accounts.get_person(site.db, token.person_id).name, wrong="")


@router.post("/enter")
def enter(request: Request, form: SentForm) -> Response:
    """Use a one-time link; an invitation leads on to its own page."""
    check_secret_tries(request)
    site, secret = site_of(request), form.text("secret")[:MAX_SECRET].rstrip("/").rpartition("/")[2]
    try:
        person, session = accounts.follow_link(site.db, secret)
    except RequestError as error:
        return _enter_otherwise(request, secret, error)
    return _with_session(request, see("/organise" if person.is_organiser else "/me"), session)


def _enter_otherwise(request: Request, secret: str, error: RequestError) -> Response:
    try:
        accounts.look_at(site_of(request).db, secret, "invite")
    except RequestError:
        count_wrong_secret(request)
        return _entrance(request, error.message)
    return see(f"/join/{secret}")


def _entrance(request: Request, wrong: str = "") -> Response:
    return page(request, "enter.html", 422 if wrong else 200, secret="", wrong=wrong)


@router.post("/leave")
def leave(request: Request, form: SentForm) -> Response:
    """End the session of this browser."""
    site = site_of(request)
    accounts.close_session(site.db, viewer_of(request).key)
    answer = see("/", "left")
    site.drop_cookie(answer, "session")
    return answer


# --- one's own page -----------------------------------------------------------------------------------------------


@router.get("/me")
def me(request: Request) -> Response:
    """One's own page."""
    return _me(request)


@router.post("/me/name")
def rename(request: Request, form: SentForm) -> Response:
    """Change the display name."""
    try:
        accounts.rename(site_of(request).db, person_of(request).id, form.fields.get("name", ""))
    except RequestError as error:
        return _me(request, wrong=error.message)
    return see("/me", "name")


@router.post("/me/token")
def new_token(request: Request, form: SentForm) -> Response:
    """Make a token to submit with, and show it this once."""
    secret = accounts.new_submit_token(site_of(request).db, person_of(request).id, form.text("note"))
    return _me(request, secret=secret, secret_words="Your new token to submit with.")


@router.post("/me/revoke")
def revoke(request: Request, form: SentForm) -> Response:
    """Make a token of one's own worthless."""
    accounts.revoke(site_of(request).db, form.text("token"), person_id=person_of(request).id)
    return see("/me", "revoked")


@router.post("/me/link")
def new_link(request: Request, form: SentForm) -> Response:
    """Make a one-time link that opens this account in another browser, and show it this once."""
    site, person = site_of(request), person_of(request)
    secret = site.address(request, f"/link/{accounts.new_link(site.db, person.id, person.name)}")
    return _me(request, secret=secret, secret_words="Open this link in the other browser, within two days.")


def _me(request: Request, wrong: str = "", secret: str = "", secret_words: str = "") -> Response:
    site, person = site_of(request), person_of(request)
    return page(
        request,
        "me.html",
        422 if wrong else 200,
        wrong=wrong,
        secret=secret,
        secret_words=secret_words,
        tokens=accounts.tokens_of(site.db, person.id, "submit"),
        standings=[_standing(request, person, number) for number in competitions_of(site.db, person.id)],
    )


def _standing(request: Request, person: Person, competition_id: int) -> dict[str, object]:
    site = site_of(request)
    board = site.boards.board(competition_id)
    return {
        "competition": get_competition(site.db, competition_id),
        "mine": board.of(person.id),
        "ranked": board.ranked,
    }
