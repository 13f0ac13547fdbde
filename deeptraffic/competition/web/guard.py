"""Request guard: host, origin, rate limits, requests at a time, body size; and response headers.

A request that changes something must come from a page of this site (its Origin), or carry a bearer token, which a page
of another site cannot add. Form tokens are checked besides, where a form is read (`checked_form`). Rate limits are
token buckets per kind of request and client, in the memory of the one web process.
"""

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deeptraffic.competition.web.bodies import RequestBody
from deeptraffic.competition.web.settings import Rate, WebSettings

SAFE = ("GET", "HEAD", "OPTIONS")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "testserver")
UPLOADS = re.compile(r"/c/[^/]+/submit|/api/v1/competitions/[^/]+/submissions")
HEALTH = "/healthz"  # a monitor shares no limit with pages
LAB_FILES = re.compile(r"/lab/(?!account\.json)")  # some fifty for each visitor, at once
MULTIPART_ROOM = 64_000  # [bytes] of an upload's body beside its file
HEADERS = {  # unless a response has its own, as the lab's page has, which runs WebAssembly and workers
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; media-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # "no-referrer" would hide the Origin of our own forms
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
MAX_CLIENTS = 50_000  # remembered; the longest unseen are dropped, which fills their buckets


class Limiter:
    """Token buckets per kind of request and client.

    rates: by kind of request
    """

    def __init__(self, rates: dict[str, Rate]) -> None:
        self.rates = rates
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait(self, kind: str, client: str, now: float | None = None) -> float:
        """Take a token; return 0, or the seconds until there is one again."""
        missing = self.missing(kind, client, now)
        if missing == 0.0:
            self._keep(kind, client, *self._left(kind, client, now), taken=1.0)
        return missing

    def missing(self, kind: str, client: str, now: float | None = None) -> float:
        """Return the seconds until there is a token, 0 if there is one; take none."""
        left, _ = self._left(kind, client, now)
        return 0.0 if left >= 1.0 else (1.0 - left) / self.rates[kind].per_second

    def _left(self, kind: str, client: str, now: float | None) -> tuple[float, float]:
        """Return the number of tokens, and the current time."""
        rate, now = self.rates[kind], time.monotonic() if now is None else now
        left, then = self._buckets.get((kind, client), (rate.burst, now))
        return min(rate.burst, left + max(0.0, now - then) * rate.per_second), now

    def _keep(self, kind: str, client: str, left: float, now: float, taken: float) -> None:
        self._buckets[kind, client] = (left - taken, now)
        self._buckets.move_to_end((kind, client))
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)


class Guard:
    """ASGI middleware around the whole application; the client's address is resolved before."""

    def __init__(self, app: ASGIApp, settings: WebSettings, limiter: Limiter) -> None:
        self.app, self.settings, self.limiter, self.running = app, settings, limiter, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or reject it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = RequestBody(scope, receive, with_headers(send), self.settings, self._max_body(scope))
        rejection = None if scope["path"] == HEALTH else self._rejection(scope, Headers(scope=scope))
        if scope["method"] == "HEAD":  # as GET; the server leaves the body out
            scope = {**scope, "method": "GET"}
        if rejection is not None:
            return await rejection(scope, body.receive, body.send)
        self.running += 1
        try:
            await self.app(scope, body.receive, body.send)
        finally:
            self.running -= 1

    def _rejection(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        client = client_of(scope["client"][0] if scope.get("client") else "")
        host = headers.get("host", "").lower()
        safe = scope["method"] in SAFE
        if not self._knows(host):
            return reject(400, "host", f"this server does not serve {host!r:.80}; use its own address")
        if self.running >= self.settings.requests:
            return reject(503, "busy", "the server is busy; try again in a moment", {"Retry-After": "2"})
        kind = "writes" if not safe else "files" if LAB_FILES.match(scope["path"]) else "reads"
        wait = self.limiter.wait(kind, client)
        if wait:
            return reject(
                429, "too_many_requests", "too many requests; wait a moment", {"Retry-After": str(int(wait) + 1)}
            )
        if not safe and not is_bearer(headers) and not self._is_own_page(scope, headers, host):
            return reject(
                403, "origin", "this request does not come from a page of this site; open the page and try again"
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_body(scope):
            return reject(
                413, "too_large", f"the request is too large; at most {self._max_body(scope):,} bytes are accepted"
            )
        return None

    def _knows(self, host: str) -> bool:
        """Return whether the Host header is ours; without a public URL, any is."""
        public = self.settings.public_origin
        if public is None:
            return True
        return host == urlsplit(public).netloc or host.rpartition(":")[0] in LOOPBACK or host in LOOPBACK

    def _is_own_page(self, scope: Scope, headers: Headers, host: str) -> bool:
        own = {f"{scope['scheme']}://{host}", self.settings.public_origin}
        origin = headers.get("origin")
        if origin is not None:
            return origin.lower() in own
        try:
            referrer = urlsplit(headers.get("referer", ""))
        except ValueError:  # no URL
            return False
        return f"{referrer.scheme}://{referrer.netloc.lower()}" in own

    def _max_body(self, scope: Scope) -> int:
        upload = UPLOADS.fullmatch(scope["path"])
        return self.settings.max_upload + MULTIPART_ROOM if upload else self.settings.max_form


def is_bearer(headers: Headers) -> bool:
    """Return whether a request carries a bearer token instead of a cookie."""
    return headers.get("authorization", "").lower().startswith("bearer ")


def reject(status: int, code: str, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as JSON, which a person can read too."""
    return JSONResponse({"error": {"code": code, "message": sentence}}, status, headers)


def with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    """Return a `send` that adds the headers of every response."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def client_of(address: str) -> str:
    """Return the client of an address: itself, or for IPv6 its /64 network, which one site has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)
