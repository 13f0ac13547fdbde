"""Account pages: joining by invitation, signing in with one-time links, and the account's own page."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.models import AccessToken, Competition, Person
from deeptraffic.competition.store import accounts, class_list, co_organisers
from deeptraffic.competition.store.competitions import competitions_of, get_competition
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.web.rendering import page, redirect
from deeptraffic.competition.web.site import (
    SESSION_SECONDS,
    Form,
    SentForm,
    competition_of,
    count_wrong_token,
    person_of,
    site_of,
    user_of,
)
from deeptraffic.render.theme import TRAIL_COLOURS

router = APIRouter()
MAX_SECRET = 300  # [characters] of a pasted link


def _with_session(request: Request, answer: Response, secret: str) -> Response:
    """Start a new session in the browser; its earlier one ends."""
    site, user = site_of(request), user_of(request)
    if user.person is not None:
        accounts.close_session(site.db, user.key)
    site.set_cookie(answer, "session", secret, SESSION_SECONDS)
    site.drop_cookie(answer, "visitor")
    return answer


# --- invitations --------------------------------------------------------------------------------------------------


@router.get("/join/{secret}")
def invitation(request: Request, secret: str) -> Response:
    """The page of an invitation; it is used when its form is sent."""
    return _join_page(request, _invited_to(request, secret))


@router.post("/join/{secret}")
def follow_invitation(request: Request, secret: str, form: SentForm) -> Response:
    """Join, with the current account or a new one."""
    competition, site, person = _invited_to(request, secret), site_of(request), user_of(request).person
    target = redirect(f"/c/{competition.key}", "joined")
    name, contact = form.fields.get("name", ""), form.text("contact")
    try:
        if person is not None:
            accounts.join_as(site.db, secret, person.id, contact)
            return target
        return _with_session(request, target, accounts.join_by_invite(site.db, secret, name, contact)[1])
    except RequestError as error:
        return _not_joined(request, competition, error, form)


@router.get("/c/{key}/join")
def open_competition(request: Request) -> Response:
    """The form to join a competition that is open to everybody."""
    competition = competition_of(request)
    if competition.config.joining != "open":
        raise RequestError(
            "invite_needed", "joining this competition takes an invitation; ask the organiser for its link"
        )
    return _join_page(request, competition)


@router.post("/c/{key}/join")
def join_open(request: Request, form: SentForm) -> Response:
    """Join a competition that is open to everybody."""
    competition, site = competition_of(request), site_of(request)
    try:
        name, contact = form.fields.get("name", ""), form.text("contact")
        _, secret = accounts.join_open(site.db, competition.id, name, contact)
    except RequestError as error:
        return _not_joined(request, competition, error, form)
    return _with_session(request, redirect(f"/c/{competition.key}", "joined"), secret)


def _invited_to(request: Request, secret: str) -> Competition:
    token = _token(request, secret, "invite")
    assert token.competition_id is not None
    return get_competition(site_of(request).db, token.competition_id)


def _token(request: Request, secret: str, scope: str) -> AccessToken:
    """Return the token of a link; wrong ones are counted and limited."""
    try:
        return accounts.look_at(site_of(request).db, secret, scope)
    except RequestError:
        count_wrong_token(request)
        raise


def _not_joined(request: Request, competition: Competition, error: RequestError, form: Form) -> Response:
    """Say why somebody could not join; contacts that are not on the class list are counted and limited."""
    if error.code == "class_list":
        count_wrong_token(request)
    return _join_page(request, competition, error.message, form)


def _join_page(request: Request, competition: Competition, wrong: str = "", form: Form | None = None) -> Response:
    shown = {"competition": competition, "anonymous": competition.config.anonymous, "wrong": wrong}
    person = user_of(request).person
    sent = {name: "" if form is None else form.text(name)[:200] for name in ("name", "contact")}
    sent["contact"] = sent["contact"] or ("" if person is None else person.contact)
    listed = class_list.is_set(site_of(request).db, competition.id)
    return page(request, "join.html", 422 if wrong else 200, **shown, **sent, listed=listed)


# --- links --------------------------------------------------------------------------------------------------------


@router.get("/enter")
def sign_in_page(request: Request) -> Response:
    """The form for a link or token."""
    return _sign_in_page(request)


@router.get("/link/{secret}")
def link(request: Request, secret: str) -> Response:
    """The page of a one-time link; it is used when its form is sent, not by the preview of a mail program."""
    token = _token(request, secret, "link")
    assert token.person_id is not None
    name = accounts.get_person(site_of(request).db, token.person_id).name
    return page(request, "enter.html", secret=secret, name=name, wrong="")


@router.post("/enter")
def sign_in(request: Request, form: SentForm) -> Response:
    """Use a one-time link; an invitation redirects to its own page."""
    site, secret = site_of(request), form.text("secret")[:MAX_SECRET].rstrip("/").rpartition("/")[2]
    try:
        accounts.look_at(site.db, secret, "link")  # a read: a wrong link does not wait for the writers
        person, session = accounts.follow_link(site.db, secret)
    except RequestError as error:
        return _sign_in_otherwise(request, secret, error)
    organises = person.is_organiser or co_organisers.competitions_of(site.db, person.id)
    return _with_session(request, redirect("/organise" if organises else "/me"), session)


def _sign_in_otherwise(request: Request, secret: str, error: RequestError) -> Response:
    try:
        accounts.look_at(site_of(request).db, secret, "invite")
    except RequestError:
        count_wrong_token(request)
        return _sign_in_page(request, error.message)
    return redirect(f"/join/{secret}")


def _sign_in_page(request: Request, wrong: str = "") -> Response:
    return page(request, "enter.html", 422 if wrong else 200, secret="", wrong=wrong)


@router.post("/leave")
def leave(request: Request, form: SentForm) -> Response:
    """End the session of this browser."""
    site = site_of(request)
    accounts.close_session(site.db, user_of(request).key)
    answer = redirect("/", "left")
    site.drop_cookie(answer, "session")
    return answer


# --- a person's own page ------------------------------------------------------------------------------------------


@router.get("/me")
def me(request: Request) -> Response:
    """The account's own page."""
    return _me(request)


@router.post("/me/name")
def rename(request: Request, form: SentForm) -> Response:
    """Change the display name."""
    try:
        accounts.rename(site_of(request).db, person_of(request).id, form.fields.get("name", ""))
    except RequestError as error:
        return _me(request, wrong=error.message)
    return redirect("/me", "name")


@router.post("/me/trail")
def change_trail(request: Request, form: SentForm) -> Response:
    """Change the colour of the trail behind the account's car."""
    try:
        accounts.change_trail(site_of(request).db, person_of(request).id, form.text("trail"))
    except RequestError as error:
        return _me(request, wrong=error.message)
    return redirect("/me", "trail")


@router.post("/me/token")
def new_token(request: Request, form: SentForm) -> Response:
    """Create a token to submit with, and show it this once."""
    secret = accounts.new_submit_token(site_of(request).db, person_of(request).id, form.text("note"))
    return _me(request, secret=secret, secret_words="Your new token for submissions.")


@router.post("/me/revoke")
def revoke(request: Request, form: SentForm) -> Response:
    """Revoke a token of the account."""
    accounts.revoke(site_of(request).db, form.text("token"), person_id=person_of(request).id)
    return redirect("/me", "revoked")


@router.post("/me/link")
def new_link(request: Request, form: SentForm) -> Response:
    """Create a one-time link that opens this account in another browser, and show it this once."""
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
        trails=list(TRAIL_COLOURS),
        tokens=accounts.tokens_of(site.db, person.id, "submit"),
        standings=[_standing(request, person, found) for found in competitions_of(site.db, person.id)],
    )


def _standing(request: Request, person: Person, competition: Competition) -> dict[str, object]:
    board = site_of(request).boards.board(competition)
    return {"competition": competition, "mine": board.of(person.id), "ranked": board.ranked}
