"""Bodies of requests: limits of bytes and time, the time of the last byte, and permits of uploads.

A response to a request whose body is still under way is sent at once, and the rest of the body is read and dropped
before the connection is closed, as nginx does by `lingering_close`. A client that writes its whole body before it reads
(urllib, for one) would otherwise meet a closed connection in place of the reason.
"""

import time
from asyncio import wait_for
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from deeptraffic.competition.web.settings import WebSettings

LINGER_SECONDS = 5.0  # longest pause in a body that is dropped
LINGER_BODIES = 4  # a body that is dropped may be so many times as large as the largest that is accepted


class BodyRejected(HTTPException):
    """A request body that is too large or arrives too slowly."""


class RequestBody:
    """The body of a request: its `receive` and `send`.

    most: [bytes] that are accepted
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: WebSettings, most: int) -> None:
        self.scope, self._receive, self._send, self.settings, self.most = scope, receive, send, settings, most
        self.started, self.size = time.monotonic(), 0
        headers = Headers(scope=scope)
        self.ended = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        scope.setdefault("state", {})["arrived"] = self.started

    async def receive(self) -> Message:
        """Return the next part, and note when the last one came; BodyRejected beyond the limits."""
        if self.ended:
            return await self._receive()
        try:
            message = await self._next(self.settings.idle_seconds)
        except TimeoutError:
            raise BodyRejected(408, "the request arrived too slowly; try again on a faster connection") from None
        if self.size > self.most:
            raise BodyRejected(413, f"the request is too large; at most {self.most:,} bytes are accepted")
        return message

    async def _next(self, pause: float) -> Message:
        left = self.started + self.settings.body_seconds - time.monotonic()
        message = await wait_for(self._receive(), max(0.0, min(left, pause)))
        self.size += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        if self.ended:
            self.scope["state"]["arrived"] = time.monotonic()
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the response; drop what is left of the body before the response ends."""
        if self.ended:
            await self._send(message)
        elif message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Connection"] = "close"
            await self._send(message)
        elif message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._drop()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drop(self) -> None:
        with suppress(TimeoutError):
            while not self.ended and self.size <= LINGER_BODIES * self.settings.max_upload:
                await self._next(min(LINGER_SECONDS, self.settings.idle_seconds))


def milliseconds_since(arrived: float) -> int:
    """Return how long ago the last byte of a body came [ms]; arrived: `request.state.arrived`."""
    return round(1000 * (time.monotonic() - arrived))


class UploadRoom:
    """Permits of the uploads that are received or checked at a time; for the event loop's thread alone.

    total: [bytes] of all of them; each: number of one account
    """

    def __init__(self, total: int, each: int) -> None:
        self.total, self.each, self.taken = total, each, 0
        self._uploads: Counter[int] = Counter()

    @contextmanager
    def permit(self, person_id: int, size: int) -> Iterator[None]:
        """Hold a permit for an upload of at most `size` bytes; HTTPException 429 or 503 where there is none."""
        if self._uploads[person_id] >= self.each:
            raise HTTPException(
                429, f"{self.each} of your uploads are in progress; send the next after them.", {"Retry-After": "5"}
            )
        if self.taken + size > self.total:
            raise HTTPException(
                503, "Many uploads are in progress; it was not counted. Try again soon.", {"Retry-After": "5"}
            )
        self.taken += size
        self._uploads[person_id] += 1
        try:
            yield
        finally:
            self.taken -= size
            self._uploads[person_id] -= 1
            if not self._uploads[person_id]:
                del self._uploads[person_id]
