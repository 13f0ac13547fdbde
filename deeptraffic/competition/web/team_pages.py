"""The page of a member's team: found one, join one by its code, leave it."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.models import Competition, Person
from deeptraffic.competition.store import teams
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.web.board_pages import context_of
from deeptraffic.competition.web.rendering import page, redirect
from deeptraffic.competition.web.site import SentForm, competition_of, member_of, not_found, person_of, site_of

router = APIRouter(prefix="/c/{key}/team")


def _member(request: Request) -> tuple[Competition, Person]:
    """Return a competition with teams and the current user, a member; 404 otherwise."""
    competition, person = competition_of(request), person_of(request)
    if competition.config.team_size < 2 or member_of(request, competition) is None:
        raise not_found()
    return competition, person


@router.get("")
def team_page(request: Request) -> Response:
    """A member's team."""
    return _team_page(request)


def _team_page(request: Request, wrong: str = "") -> Response:
    competition, person = _member(request)
    db = site_of(request).db
    return page(
        request,
        "team.html",
        422 if wrong else 200,
        **context_of(request, competition),
        mine=teams.team_of(db, competition.id, person.id),
        fixed=teams.has_submitted(db, competition.id, person.id) or competition.final != "none",
        wrong=wrong,
    )


@router.post("/{act}")
def change_team(request: Request, act: str, form: SentForm) -> Response:
    """Found, join or leave a team."""
    competition, person = _member(request)
    db = site_of(request).db
    try:
        if act == "found":
            teams.found_team(db, competition.id, person.id, form.fields.get("name", ""))
        elif act == "join":
            teams.join_team(db, competition.id, person.id, form.text("code"))
        elif act == "leave":
            teams.leave_team(db, competition.id, person.id)
        else:
            raise not_found()
    except RequestError as error:
        return _team_page(request, error.message)
    return redirect(f"/c/{competition.key}/team", "team")
