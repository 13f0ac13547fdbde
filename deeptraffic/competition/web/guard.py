"""The outermost layer: who really asks, how often, from which site, and how large a body; and every answer's headers.

A request that changes something must come from a page of this site (its Origin), or carry a bearer token, which no
other site's page can add. Form tokens are checked besides, where a form is read (`forms.py`).
"""

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deeptraffic.competition.web.limits import Limiter, caller_of
from deeptraffic.competition.web.settings import WebSettings

SAFE = ("GET", "HEAD", "OPTIONS")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "testserver")
UPLOADS = re.compile(r"/c/[^/]+/submit|/api/v1/competitions/[^/]+/submissions")
MULTIPART_ROOM = 64_000  # [bytes] of an upload's body beside its file
HEADERS = {
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


class BodyRefused(HTTPException):
    """A body that is too large or comes too slowly."""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: WebSettings, limiter: Limiter) -> None:
        self.app, self.settings, self.limiter = app, settings, limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        self._believe_proxies(scope, headers)
        send = with_headers(send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self.app(scope, self._limited(scope, receive), send)

    def _believe_proxies(self, scope: Scope, headers: Headers) -> None:
        """Put the caller's own address and scheme in place of a trusted proxy's; believe nobody else."""
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

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        caller = caller_of(scope["client"][0])
        host = headers.get("host", "").lower()
        safe = scope["method"] in SAFE
        if not self._knows(host):
            return refuse(400, "host", f"this server does not answer for {host!r:.80}; use its own address")
        wait = self.limiter.wait("reads" if safe else "writes", caller)
        if wait:
            return refuse(
                429, "too_many_requests", "too many requests; wait a little", {"Retry-After": str(int(wait) + 1)}
            )
        if not safe and not is_bearer(headers) and not self._is_own_page(scope, headers, host):
            return refuse(
                403, "origin", "this request does not come from a page of this site; open the page and try again"
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_body(scope):
            return refuse(
                413, "too_large", f"the request is too large; at most {self._max_body(scope):,} bytes are accepted"
            )
        return None

    def _knows(self, host: str) -> bool:
        """Whether the Host header is ours; without a public address any is."""
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
        """Return a `receive` that counts the body's bytes and time, whatever its headers say."""
        most, got, ended, started = self._max_body(scope), 0, False, asyncio.get_running_loop().time()

        async def limited() -> Message:
            nonlocal got, ended
            if ended:
                return await receive()
            left = started + self.settings.body_seconds - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, min(left, self.settings.idle_seconds)))
            except TimeoutError:
                raise BodyRefused(408, "the request came too slowly; try again on a faster line") from None
            got += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if got > most:
                raise BodyRefused(413, f"the request is too large; at most {most:,} bytes are accepted")
            return message

        return limited


def is_bearer(headers: Headers) -> bool:
    """Whether a request carries a token of its own instead of a cookie."""
    return headers.get("authorization", "").lower().startswith("bearer ")


def refuse(status: int, code: str, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return a refusal as JSON, which a person can read too."""
    return JSONResponse({"error": {"code": code, "message": sentence}}, status, headers)


def with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    """Return a `send` that adds what every answer must say."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
