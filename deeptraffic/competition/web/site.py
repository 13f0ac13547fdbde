"""Shared by all pages: the database, settings and caches; the current user; forms and the token that they carry."""

import gzip
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Annotated, Any, BinaryIO, Generic, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends
from markupsafe import Markup
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.models import DEFAULT_TRAIL, Competition, Member, Person
from deeptraffic.competition.store import accounts, co_organisers
from deeptraffic.competition.store.board import Boards
from deeptraffic.competition.store.competitions import find_competition, membership
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.web.bodies import UploadRoom
from deeptraffic.competition.web.charts import Chart
from deeptraffic.competition.web.guard import Limiter, client_of
from deeptraffic.competition.web.health import Health
from deeptraffic.competition.web.replays import Tracks, Videos
from deeptraffic.competition.web.settings import WebSettings

Made = TypeVar("Made")
SESSION_SECONDS = 14 * 86_400
VISITOR_SECONDS = 86_400
TOKEN_FIELD = "form_token"
MAX_FIELDS = 60
MAX_FIELD = 1_000_000  # [bytes]


class Cache(Generic[Made]):
    """Cache of the values that were asked for last; a key contains everything that its value depends on."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[Hashable, Made] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return the value of a key, made if it is not cached."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return made


class CachedTexts:
    """Cache of long texts that many ask for, compressed, each with a tag by which browsers need not load it twice."""

    def __init__(self, most: int = 32) -> None:
        self._kept: Cache[tuple[str, bytes]] = Cache(most)

    def answer(self, request: Request, key: Hashable, make: Callable[[], str], kind: str, name: str = "") -> Response:
        """Return the text of a key, made if it is not cached; with a name, as a file to download."""
        tag, packed = self._kept.get(key, lambda: _pack(make()))
        headers = {"Vary": "Accept-Encoding", "ETag": tag, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        if name:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=kind)
        return Response(gzip.decompress(packed), headers=headers, media_type=kind)


def _pack(text: str) -> tuple[str, bytes]:
    """Return the tag of a text, and the text compressed."""
    content = text.encode("utf-8")
    return f'W/"{hashlib.sha256(content).hexdigest()[:32]}"', gzip.compress(content, 6, mtime=0)


@dataclass(frozen=True)
class Site:
    """The application's own objects, in `app.state.site`.

    uploads: permits of the uploads that are received or checked
    health: whether the database and the disk can be written
    upload_threads, replay_threads: how many uploads are checked, and replays made, at the same time, in threads apart
        from those of the pages
    texts, fragments, charts: caches of files, parts of pages that many users see alike, and figures
    lab: files of the lab's page by their path; None: the site has no lab
    """

    db: Database
    settings: WebSettings
    limiter: Limiter
    boards: Boards
    tracks: Tracks
    videos: Videos
    uploads: UploadRoom
    health: Health
    upload_threads: CapacityLimiter
    replay_threads: CapacityLimiter
    texts: CachedTexts
    fragments: Cache[Markup]
    charts: Cache[dict[str, Chart]]
    lab: Mapping[str, bytes] | None

    def cookie(self, name: str) -> str:
        """Return a cookie's full name: where cookies are Secure, one that only this very host can set."""
        return f"__Host-{name}" if self.settings.secure else f"deeptraffic-{name}"

    def set_cookie(self, answer: Response, name: str, value: str, seconds: int) -> None:
        """Set a cookie that no script can read and no form of another site sends."""
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
        """Delete a cookie."""
        answer.delete_cookie(self.cookie(name), path="/", secure=self.settings.secure, httponly=True, samesite="lax")

    def now(self) -> int:
        """Return the store's time [ms since 1970 UTC]."""
        return self.db.now()

    def address(self, request: Request, path: str) -> str:
        """Return a path as a URL that can be sent to others."""
        origin = self.settings.public_origin or f"{request.url.scheme}://{request.headers.get('host', 'localhost')}"
        return origin + path


def site_of(request: Request) -> Site:
    """Return the application's own objects."""
    site: Site = request.app.state.site
    return site


async def run_limited(limiter: CapacityLimiter, function: Callable[..., Made], *arguments: Any) -> Made:
    """Run a slow function in a thread of a limited pool, so that pages do not wait behind it."""
    return await to_thread.run_sync(partial(function, *arguments), limiter=limiter)


# --- the current user ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CurrentUser:
    """The user of a request: a person with a session, or a visitor.

    key: of the session or visitor cookie; form tokens are derived from it
    is_new: whether the visitor cookie must be set
    organises: ids of the competitions of which the person is a co-organiser
    """

    person: Person | None
    key: str
    is_new: bool = False
    organises: frozenset[int] = frozenset()

    @property
    def form_token(self) -> str:
        """The token of every form on this user's pages."""
        return hmac.new(self.key.encode(), b"form", hashlib.sha256).hexdigest()

    @property
    def is_organiser(self) -> bool:
        """Whether there are organiser's pages for this user."""
        return bool(self.organises) or self.is_chief

    @property
    def is_chief(self) -> bool:
        """Whether this user organises all competitions of the server."""
        return self.person is not None and self.person.is_organiser

    def may_organise(self, competition_id: int) -> bool:
        """Return whether the organiser's pages of a competition are open to this user."""
        return self.is_chief or competition_id in self.organises


def user_of(request: Request) -> CurrentUser:
    """Return the current user; looked up once per request."""
    if not hasattr(request.state, "user"):
        request.state.user = _find_user(request)
    user: CurrentUser = request.state.user
    return user


def _find_user(request: Request) -> CurrentUser:
    site = site_of(request)
    session = request.cookies.get(site.cookie("session"), "")
    if session:
        try:
            person, _ = accounts.person_of(site.db, session, "session")
            return CurrentUser(person, session, organises=co_organisers.competitions_of(site.db, person.id))
        except RequestError:
            pass  # expired or revoked: a visitor again
    visitor = request.cookies.get(site.cookie("visitor"), "")
    if len(visitor) >= 40:
        return CurrentUser(None, visitor)
    return CurrentUser(None, secrets.token_urlsafe(32), is_new=True)


def trail_of(person: Person, competition: Competition) -> str:
    """Return the name of the colour of a person's trail; the default where it could tell who an alias is."""
    return DEFAULT_TRAIL if competition.config.anonymous else person.trail


def person_of(request: Request) -> Person:
    """Return the current user's account; 401 for visitors."""
    person = user_of(request).person
    if person is None:
        raise HTTPException(401, "This page needs an account: follow your invitation, or sign in with your link.")
    return person


def organiser_of(request: Request) -> Person:
    """Return the current user's account; 404 if it is no organiser's of the competition in the URL, or of any."""
    user = user_of(request)
    allowed = user.is_organiser
    if allowed and "key" in request.path_params:
        allowed = user.may_organise(competition_of(request).id)
    if user.person is None or not allowed:
        raise not_found()
    return user.person


def chief_of(request: Request) -> Person:
    """Return the current user's account; 404 if it is not that of an organiser of the server."""
    user = user_of(request)
    if user.person is None or not user.is_chief:
        raise not_found()
    return user.person


def competition_of(request: Request) -> Competition:
    """Return the competition in the URL, looked up once per request; 404 if there is none."""
    if not hasattr(request.state, "competition"):
        request.state.competition = find_competition(site_of(request).db, request.path_params["key"])
    found: Competition | None = request.state.competition
    if found is None:
        raise not_found()
    return found


def member_of(request: Request, competition: Competition) -> Member | None:
    """Return the current user's membership in a competition, looked up once per request."""
    person, kept = user_of(request).person, request.state
    if not hasattr(kept, "member") or kept.member[0] != competition.id:
        found = None if person is None else membership(site_of(request).db, competition.id, person.id)
        kept.member = (competition.id, found)
    member: Member | None = kept.member[1]
    return member


def not_found() -> HTTPException:
    """Return the error of a page that does not exist, or not for this user."""
    return HTTPException(404, "There is no such page, or you have no access to it.")


def page_number(request: Request) -> int:
    """Return which page of a list is requested, from 1."""
    text = request.query_params.get("page", "1")
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) < 9 else 1


def count_wrong_token(request: Request) -> None:
    """Count a wrong token of a client; raise 429 after too many. Valid tokens of the same network stay valid."""
    client = client_of(request.client.host if request.client else "")
    if site_of(request).limiter.wait("secrets", client):
        raise HTTPException(429, "Too many wrong links or tokens came from your network; wait a minute.")


# --- forms --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """A form's fields, as texts, and its file, if one was chosen."""

    fields: dict[str, str]
    filename: str = ""
    file: BinaryIO | None = None

    @property
    def content(self) -> bytes:
        """The content of its file, read into the memory; empty if there is none."""
        if self.file is None:
            return b""
        self.file.seek(0)
        return self.file.read()

    def text(self, name: str) -> str:
        """Return a field, "" if it is missing."""
        return self.fields.get(name, "").strip()


async def checked_form(request: Request) -> AsyncIterator[Form]:
    """Yield a form that one of our pages sent for this very user; 403 otherwise. Its file is on the disk if large."""
    fields: dict[str, str] = {}
    filename, file = "", None
    async with request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD) as data:
        for name, value in data.multi_items():
            if isinstance(value, UploadFile):
                filename, file = value.filename or "", value.file
            else:
                fields[name] = value
        given = fields.pop(TOKEN_FIELD, "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), user_of(request).form_token.encode()):
            raise HTTPException(
                403, "This form has expired or came from another site. Reload its page and send it again."
            )
        yield Form(fields, filename, file)


SentForm = Annotated[Form, Depends(checked_form)]
