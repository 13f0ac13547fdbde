"""Web application of a database and settings; the framework's documentation pages are off.

>>> app = create_app(Database.in_folder(folder).migrate(), WebSettings(data_dir=folder))
>>> uvicorn.run(app, proxy_headers=False, server_header=False, access_log=False)

The access log stays off because the URLs of links contain their secrets.
"""

from collections.abc import Mapping

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from deeptraffic.competition.store.board import Boards
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError, Unavailable
from deeptraffic.competition.web import (
    account_pages,
    api,
    board_pages,
    entry_pages,
    lab_pages,
    organise,
    organise_class,
    organise_people,
    submission_pages,
    team_pages,
)
from deeptraffic.competition.web.bodies import UploadRoom
from deeptraffic.competition.web.guard import HEADERS, HEALTH, Guard, Limiter
from deeptraffic.competition.web.health import Health
from deeptraffic.competition.web.rendering import STATIC, page, static_version, wants_json
from deeptraffic.competition.web.replays import TRACKS, VIDEOS, Tracks, Videos
from deeptraffic.competition.web.settings import WebSettings
from deeptraffic.competition.web.site import Cache, CachedTexts, Site

PARTS = (
    api,
    board_pages,
    entry_pages,
    submission_pages,
    account_pages,
    team_pages,
    organise,
    organise_class,  # its single actions on people come before the general one
    organise_people,
    lab_pages,
)
UPLOAD_THREADS, REPLAY_THREADS = 4, 2
FRAGMENTS = 256  # of pages, some 60 kB each
TITLES = {
    401: "Please sign in first",
    403: "Not allowed",
    404: "Page not found",
    405: "Method not allowed",
    408: "Too slow",
    413: "Too large",
    422: "Not possible",
    429: "Too many requests",
    503: "Temporarily unavailable",
}
STATUSES = {
    "token": 404,
    "blocked": 403,
    "duplicate": 409,
    **dict.fromkeys(("quota_day", "quota_total", "quota_cpu", "waiting"), 429),
}


class CachedStaticFiles(StaticFiles):
    """Static files under a URL that changes with them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file that browsers may cache for good."""
        answer = await super().get_response(path, scope)
        if answer.status_code == 200:
            answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return answer


def create_app(db: Database, settings: WebSettings, lab: Mapping[str, bytes] | None = None) -> FastAPI:
    """Return the application over a migrated database; it starts no workers.

    lab: files of the lab's page by their path; None: the site has no lab
    """
    app = FastAPI(title="DeepTraffic", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    rates = {name: getattr(settings, name) for name in ("reads", "writes", "files", "secrets", "uploads")}
    limiter = Limiter(rates)
    app.state.site = Site(
        db=db,
        settings=settings,
        limiter=limiter,
        boards=Boards(db),
        tracks=Tracks(settings.data_dir / TRACKS),
        videos=Videos(settings.data_dir / VIDEOS),
        uploads=UploadRoom(settings.upload_room, settings.uploads_each),
        health=Health(db, settings.data_dir),
        upload_threads=CapacityLimiter(UPLOAD_THREADS),
        replay_threads=CapacityLimiter(REPLAY_THREADS),
        texts=CachedTexts(),
        fragments=Cache(FRAGMENTS),
        charts=Cache(16),
        lab=None if lab is None else lab_pages.files_of_site(lab),
    )
    app.mount(f"/static/{static_version()}", CachedStaticFiles(directory=STATIC))
    app.get(HEALTH)(health)
    for part in PARTS:
        app.include_router(part.router)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestError, on_request_error)
    app.add_exception_handler(Unavailable, on_unavailable)
    app.add_exception_handler(ClientDisconnect, on_disconnect)
    app.add_exception_handler(Exception, on_failure)
    app.add_middleware(Guard, settings=settings, limiter=limiter)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=[str(network) for network in settings.proxies])
    return app


def health(request: Request) -> Response:
    """Return 200 if the database answers and both it and the data folder can be written, 503 otherwise."""
    site: Site = request.app.state.site
    wrong = site.health.wrong()
    return JSONResponse({"time": site.now()} | ({"error": wrong} if wrong else {}), 503 if wrong else 200)


def on_failure(request: Request, error: Exception) -> Response:
    """Answer a request that met an error of ours, which the log shows."""
    sentence = "the server failed; the organiser finds the reason in its log"
    return JSONResponse({"error": {"code": "failure", "message": sentence}}, 500, HEADERS)


def on_disconnect(request: Request, error: Exception) -> Response:
    """End a request whose client has gone; a traceback for each would let anybody fill the log."""
    return Response(status_code=400)


def on_http_error(request: Request, error: Exception) -> Response:
    """Explain an HTTP error, as a page or as JSON."""
    assert isinstance(error, HTTPException)
    code = TITLES.get(error.status_code, "error").lower().replace(" ", "_")
    return _explain(request, error.status_code, code, str(error.detail), dict(error.headers or {}))


def on_request_error(request: Request, error: Exception) -> Response:
    """Explain a request that the rules do not allow."""
    assert isinstance(error, RequestError)
    return _explain(request, STATUSES.get(error.code, 422), error.code, error.message, {}, error.subject)


def on_unavailable(request: Request, error: Exception) -> Response:
    """Explain that the database is unavailable."""
    assert isinstance(error, Unavailable)
    return _explain(request, 503, error.code, error.message, {"Retry-After": "5"})


def _explain(
    request: Request, status: int, code: str, sentence: str, headers: dict[str, str], subject: str | None = None
) -> Response:
    if request.url.path.startswith("/api/") or status == 503 or wants_json(request):
        error = {"code": code, "message": sentence} | ({"subject": subject} if subject else {})
        return JSONResponse({"error": error}, status, headers)
    if status == 401 and request.method == "GET":
        return RedirectResponse("/enter", 303)
    title = TITLES.get(status, "Not possible")
    text = sentence[:1].upper() + sentence[1:]
    answer = page(request, "error.html", status, title=title, status=status, sentence=text)
    answer.headers.update(headers)
    return answer
