"""Organiser's pages on the class: one person's terms, team and data; class list, teams, grades, co-organisers."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.config import to_milliseconds, to_time
from deeptraffic.competition.models import Person
from deeptraffic.competition.store import accounts, class_list, co_organisers, deadlines, grades, removal, teams
from deeptraffic.competition.store.competitions import membership
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.web.board_pages import CSV, context_of
from deeptraffic.competition.web.organise import competition_page
from deeptraffic.competition.web.rendering import page, redirect
from deeptraffic.competition.web.replays import delete_cached
from deeptraffic.competition.web.site import (
    Form,
    SentForm,
    chief_of,
    competition_of,
    not_found,
    organiser_of,
    site_of,
    user_of,
)

router = APIRouter(prefix="/organise/c/{key}")


# --- one person ---------------------------------------------------------------------------------------------------


def person_in_class(request: Request, key: str, manage: bool = False) -> Person:
    """Return a person whom the current organiser may see; manage: whose account too. 404 for all others."""
    db, user, found = site_of(request).db, user_of(request), competition_of(request)
    person = accounts.find_person(db, key)
    if person is None or user.person is None:
        raise not_found()
    member = user.is_chief or membership(db, found.id, person.id) is not None
    if not member or (manage and not co_organisers.may_manage(db, user.person, person)):
        raise not_found()
    return person


@router.get("/people/{person}")
def person_page(request: Request, person: str) -> Response:
    """A person's account, terms and team."""
    return _person_page(request, person)


def _person_page(request: Request, key: str, wrong: str = "") -> Response:
    organiser = organiser_of(request)
    found, db, person = competition_of(request), site_of(request).db, person_in_class(request, key)
    member = membership(db, found.id, person.id)
    own = None if member is None else member.closes_at
    return page(
        request,
        "organise/person.html",
        422 if wrong else 200,
        **context_of(request, found),
        person=person,
        their=member,
        own_deadline="" if own is None else to_time(own)[:19],
        team=teams.team_of(db, found.id, person.id),
        names=[one.team.name for one in teams.teams_of(db, found.id)],
        may_manage=co_organisers.may_manage(db, organiser, person),
        is_co_organiser=found.id in co_organisers.competitions_of(db, person.id),
        wrong=wrong,
    )


@router.post("/people/terms")
def change_terms(request: Request, form: SentForm) -> Response:
    """Give a person a deadline and limits of the own."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    person = person_in_class(request, form.text("person"))
    try:
        closes = to_milliseconds("closes_at", form.text("closes_at"))
        terms = deadlines.Terms(closes, _whole(form, "daily_limit"), _whole(form, "total_limit"))
        deadlines.set_person(db, found.id, person.id, actor.name, terms)
    except ValueError as error:
        return _person_page(request, person.key, str(error))
    return redirect(f"/organise/c/{found.key}/people/{person.key}", "saved")


def _whole(form: Form, name: str) -> int | None:
    text = form.text(name)
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(f"{name}={text!r:.40} must be an integer of at least 0, or empty for the competition's")
    return int(text) if text else None


@router.post("/people/team")
def change_team(request: Request, form: SentForm) -> Response:
    """Put a person into a team, or into none."""
    actor, found, db = organiser_of(request), competition_of(request), site_of(request).db
    person = person_in_class(request, form.text("person"))
    try:
        teams.assign(db, found.id, person.id, form.text("team"), actor.name)
    except RequestError as error:
        return _person_page(request, person.key, error.message)
    return redirect(f"/organise/c/{found.key}/people/{person.key}", "saved")


@router.get("/people/{person}/remove")
def removal_page(request: Request, person: str) -> Response:
    """What removing a person's data deletes, and the form that does it."""
    return _removal_page(request, person)


def _removal_page(request: Request, key: str, wrong: str = "") -> Response:
    organiser_of(request)
    found, db = competition_of(request), site_of(request).db
    data = removal.preview(db, person_in_class(request, key, manage=True).id)
    context = context_of(request, found)
    return page(request, "organise/remove.html", 422 if wrong else 200, **context, data=data, wrong=wrong)


@router.post("/people/remove")
def remove_person(request: Request, form: SentForm) -> Response:
    """Remove a person's data, once the name is typed as a confirmation."""
    actor, found, site = organiser_of(request), competition_of(request), site_of(request)
    person = person_in_class(request, form.text("person"), manage=True)
    if form.text("name") != person.name:
        return _removal_page(request, person.key, "Type the name exactly as it is shown; nothing was removed.")
    try:
        parts = removal.remove(site.db, person.id, actor.name, found.id)
    except RequestError as error:
        return _removal_page(request, person.key, error.message)
    delete_cached(site.settings.data_dir, parts)
    return redirect(f"/organise/c/{found.key}/people", "forgotten")


# --- the class ----------------------------------------------------------------------------------------------------


@router.get("/class")
def class_page(request: Request) -> Response:
    """The class list and the teams."""
    return _class_page(request)


def _class_page(request: Request, wrong: str = "", text: str | None = None) -> Response:
    organiser_of(request)
    found, db = competition_of(request), site_of(request).db
    contacts = class_list.contacts_of(db, found.id)
    return page(
        request,
        "organise/class.html",
        422 if wrong else 200,
        **context_of(request, found),
        text="\n".join(one.contact for one in contacts) if text is None else text,
        listed=len(contacts),
        joined=sum(one.person_id is not None for one in contacts),
        teams=teams.teams_of(db, found.id),
        wrong=wrong,
    )


@router.post("/class")
def change_class(request: Request, form: SentForm) -> Response:
    """Replace the class list, by text or by a file."""
    actor, found = organiser_of(request), competition_of(request)
    text = form.content.decode("utf-8", "replace") if form.content else form.fields.get("contacts", "")
    try:
        class_list.replace(site_of(request).db, found.id, text, actor.name)
    except RequestError as error:
        return _class_page(request, error.message, text)
    return redirect(f"/organise/c/{found.key}/class", "listed")


@router.get("/grades")
def grades_page(request: Request) -> Response:
    """The grade sheet."""
    organiser_of(request)
    found = competition_of(request)
    rows = grades.read_grades(site_of(request).db, found.id)
    context = context_of(request, found)
    return page(request, "organise/grades.html", **context, rows=rows)


@router.post("/grades")
def download_grades(request: Request, form: SentForm) -> Response:
    """The grade sheet as CSV; the audit log says who has it."""
    actor, found = organiser_of(request), competition_of(request)
    text = "\ufeff" + grades.grades_csv(site_of(request).db, found.id, actor.name)  # the mark of UTF-8
    headers = {"Content-Disposition": f'attachment; filename="{found.key}-grades.csv"'}
    return Response(text, headers=headers, media_type=CSV)


# --- co-organisers ------------------------------------------------------------------------------------------------


@router.post("/co-organisers/{act}")
def change_co_organisers(request: Request, act: str, form: SentForm) -> Response:
    """Add a co-organiser, an account or a new one by name, or remove one; the organiser of the server alone."""
    actor, found, site = chief_of(request), competition_of(request), site_of(request)
    person = accounts.find_person(site.db, form.text("person"))
    try:
        if act == "new":
            secret = co_organisers.add_new(site.db, found.id, form.fields.get("name", ""), actor.name)
            return competition_page(request, link=site.address(request, f"/link/{secret}"))
        if person is None or act not in ("add", "remove"):
            raise not_found()
        change = co_organisers.add if act == "add" else co_organisers.remove
        change(site.db, found.id, person.id, actor.name)
    except RequestError as error:
        return competition_page(request, error.message)
    return redirect(f"/organise/c/{found.key}", "co-organiser")
