"""What all pages share: the database, the settings, the limits; and who looks at a page."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.store import accounts
from deeptraffic.competition.store.board import Boards
from deeptraffic.competition.store.competitions import find_competition
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.store.members import membership
from deeptraffic.competition.store.records import Competition, Member, Person
from deeptraffic.competition.web.answers import KeptTexts
from deeptraffic.competition.web.films import Films
from deeptraffic.competition.web.limits import Limiter, caller_of
from deeptraffic.competition.web.replay_files import ReplayFiles
from deeptraffic.competition.web.settings import WebSettings

Made = TypeVar("Made")
SESSION_SECONDS = 14 * 86_400
VISITOR_SECONDS = 86_400


@dataclass(frozen=True)
class Site:
    """The application's own things, in `app.state.site`.

    doors, workshop: how many uploads are read, and tracks made, at the same time, in threads apart from the pages'
    """

    db: Database
    settings: WebSettings
    limiter: Limiter
    boards: Boards
    replays: ReplayFiles
    films: Films
    doors: CapacityLimiter
    workshop: CapacityLimiter
    texts: KeptTexts

    def cookie(self, name: str) -> str:
        """Return a cookie's full name: where cookies are Secure, one that only this very host can set."""
        return f"__Host-{name}" if self.settings.secure else f"deeptraffic-{name}"

    def set_cookie(self, answer: Response, name: str, value: str, seconds: int) -> None:
        """Give the browser a cookie that no script reads and no other site's form sends."""
        answer.set_cookie(
            self.cookie(name),
            value,
            max_age=seconds,
            path="/",
            secure=self.settings.secure,
            httponly=True,
            samesite="lax",
        )

    def drop_cookie(self, answer: Response, name: str) -> None:
        """Take a cookie back."""
        answer.delete_cookie(self.cookie(name), path="/", secure=self.settings.secure, httponly=True, samesite="lax")

    def now(self) -> int:
        """Return the store's time [ms since 1970 UTC]."""
        with self.db.read() as connection:
            return self.db.now(connection)

    def address(self, request: Request, path: str) -> str:
        """Return a path as an address that can be sent to others."""
        origin = self.settings.public_origin or f"{request.url.scheme}://{request.headers.get('host', 'localhost')}"
        return origin + path


@dataclass(frozen=True)
class Viewer:
    """Who looks at a page: a person with a session, or a visitor.

    key: of their session or visitor cookie; form tokens are made from it
    is_new: whether the visitor cookie must be set
    """

    person: Person | None
    key: str
    is_new: bool = False

    @property
    def form_token(self) -> str:
        """What every form of a page for this viewer carries."""
        return hmac.new(self.key.encode(), b"form", hashlib.sha256).hexdigest()

    @property
    def is_organiser(self) -> bool:
        """Whether the organiser's pages are open to them."""
        return self.person is not None and self.person.is_organiser


async def in_turn(limiter: CapacityLimiter, function: Callable[..., Made], *arguments: Any) -> Made:
    """Run what takes long in a thread of its own, so many at a time, so that pages do not wait behind it."""
    return await to_thread.run_sync(partial(function, *arguments), limiter=limiter)


def site_of(request: Request) -> Site:
    """Return the application's own things."""
    site: Site = request.app.state.site
    return site


def viewer_of(request: Request) -> Viewer:
    """Return who looks at the page; looked up once for a request."""
    if not hasattr(request.state, "viewer"):
        request.state.viewer = _find_viewer(request)
    viewer: Viewer = request.state.viewer
    return viewer


def _find_viewer(request: Request) -> Viewer:
    site = site_of(request)
    session = request.cookies.get(site.cookie("session"), "")
    if session:
        try:
            return Viewer(accounts.person_of(site.db, session, "session")[0], session)
        except RequestError:
            pass  # ended or revoked: a visitor again
    visitor = request.cookies.get(site.cookie("visitor"), "")
    return Viewer(None, visitor) if len(visitor) >= 40 else Viewer(None, secrets.token_urlsafe(32), is_new=True)


def person_of(request: Request) -> Person:
    """Return the person who looks at the page; visitors are sent to the entrance."""
    person = viewer_of(request).person
    if person is None:
        raise HTTPException(401, "This page needs an account: follow your invitation, or enter with your link.")
    return person


def organiser_of(request: Request) -> Person:
    """Return the organiser who looks at the page; for all others the page is not there."""
    person = viewer_of(request).person
    if person is None or not person.is_organiser:
        raise not_found()
    return person


def competition_of(request: Request) -> Competition:
    """Return the competition that the address names."""
    found = find_competition(site_of(request).db, request.path_params["key"])
    if found is None:
        raise not_found()
    return found


def member_of(request: Request, competition: Competition) -> Member | None:
    """Return the viewer's part in a competition."""
    person = viewer_of(request).person
    return None if person is None else membership(site_of(request).db, competition.id, person.id)


def not_found() -> HTTPException:
    """Return the error of an address where nothing is, or nothing for this viewer."""
    return HTTPException(404, "There is no such page, or it is not yours to see.")


def check_secret_tries(request: Request) -> None:
    """Refuse a caller who has tried too many wrong tokens."""
    caller = caller_of(request.client.host if request.client else "")
    if site_of(request).limiter.missing("secrets", caller):
        raise HTTPException(429, "Too many wrong links or tokens came from your network; wait a minute.")


def count_wrong_secret(request: Request) -> None:
    """Remember that a caller showed a wrong token."""
    site_of(request).limiter.wait("secrets", caller_of(request.client.host if request.client else ""))
