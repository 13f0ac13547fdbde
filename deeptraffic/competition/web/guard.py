"""Request guard, the outermost layer: client address, host, origin, rate limits, body size; and response headers.

A request that changes something must come from a page of this site (its Origin), or carry a bearer token, which a page
of another site cannot add. Form tokens are checked besides, where a form is read (`checked_form`). Rate limits are
token buckets per kind of request and client, in the memory of the one web process.
"""

import asyncio
import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deeptraffic.competition.web.settings import Rate, WebSettings

SAFE = ("GET", "HEAD", "OPTIONS")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "testserver")
UPLOADS = re.compile(r"/c/[^/]+/submit|/api/v1/competitions/[^/]+/submissions")
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


class BodyRejected(HTTPException):
    """A request body that is too large or arrives too slowly."""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: WebSettings, limiter: Limiter) -> None:
        self.app, self.settings, self.limiter = app, settings, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or reject it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        self._resolve_client(scope, headers)
        send = with_headers(send)
        rejection = self._rejection(scope, headers)
        if rejection is not None:
            await rejection(scope, receive, send)
        else:
            await self.app(scope, self._limited(scope, receive), send)

    def _resolve_client(self, scope: Scope, headers: Headers) -> None:
        """Replace a trusted proxy's address and scheme by the client's own; ignore the headers of all others."""
        peer = scope["client"][0] if scope.get("client") else ""
        forwarded = [part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part.strip()]
        if self._is_proxy(peer):
            while forwarded and self._is_proxy(peer):
                peer = forwarded.pop()
            if headers.get("x-forwarded-proto") in ("http", "https"):
                scope["scheme"] = headers["x-forwarded-proto"]
        scope["client"] = (peer, 0)

    def _is_proxy(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip.version == network.version and ip in network for network in self.settings.proxies)

    def _rejection(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        client = client_of(scope["client"][0])
        host = headers.get("host", "").lower()
        safe = scope["method"] in SAFE
        if not self._knows(host):
            return reject(400, "host", f"this server does not serve {host!r:.80}; use its own address")
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
        referrer = urlsplit(headers.get("referer", ""))
        return f"{referrer.scheme}://{referrer.netloc.lower()}" in own

    def _max_body(self, scope: Scope) -> int:
        upload = UPLOADS.fullmatch(scope["path"])
        return self.settings.max_upload + MULTIPART_ROOM if upload else self.settings.max_form

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that limits the body's bytes and time, whatever its headers say."""
        most, got, ended, started = self._max_body(scope), 0, False, asyncio.get_running_loop().time()

        async def limited() -> Message:
            nonlocal got, ended
            if ended:
                return await receive()
            left = started + self.settings.body_seconds - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(left, self.settings.idle_seconds)))
            except TimeoutError:
                raise BodyRejected(408, "the request arrived too slowly; try again on a faster connection") from None
            got += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if got > most:
                raise BodyRejected(413, f"the request is too large; at most {most:,} bytes are accepted")
            return message

        return limited


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
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)
