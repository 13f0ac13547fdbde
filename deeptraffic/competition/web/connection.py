"""HTTP connections with time limits: for the head of a request to arrive, and for its response to be read.

>>> uvicorn.Config(app, http=PatientConnection)

The server's number of connections is limited, and uvicorn waits forever on one whose head arrives byte by byte, or
whose response is never read. Bodies have their own limits in `guard.py`.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0
RESPONSE_SECONDS = 600.0  # a video over a slow connection


class PatientConnection(H11Protocol):
    """An HTTP/1.1 connection that is closed when its time limit is exceeded."""

    head_seconds, response_seconds = HEAD_SECONDS, RESPONSE_SECONDS
    _timer: asyncio.TimerHandle | None = None
    _waits_for_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request's head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Receive data, and update the time limit."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Start the time limit of the next request's head."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limit."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        """Restart the time limit when a request's head is complete, or a response ends; not for every byte."""
        waits = self.conn.their_state is h11.IDLE
        if self._timer is not None and waits == self._waits_for_head:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._waits_for_head = waits
        self._timer = self.loop.call_later(self.head_seconds if waits else self.response_seconds, self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()
