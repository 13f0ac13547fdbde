"""HTTP connections with limits: of time, for a head to arrive and a response to be read; and of number, per client.

>>> uvicorn.Config(app, http=connections(settings.proxies))

uvicorn waits forever on a connection whose head arrives byte by byte, or whose response is never read, and accepts any
number. Bodies have their own limits in `bodies.py`. A client is an address, or the /64 network of an IPv6 address;
trusted proxies are exempt, since their clients share an address.
"""

import asyncio
import ipaddress
from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from deeptraffic.competition.web.guard import client_of
from deeptraffic.competition.web.settings import Network

HEAD_SECONDS = 15.0
RESPONSE_SECONDS = 600.0  # a video over a slow connection
GRACE_SECONDS = 1.0  # for the head of a request, before its connection counts as half open
HALF_OPEN = 40  # connections of a client that wait for a head; the oldest are closed beyond that
EACH, TOTAL = 1000, 4000  # connections of a client, which may be a whole class behind one address, and of all


class PatientConnection(H11Protocol):
    """An HTTP/1.1 connection that is closed when its time limit is exceeded, or its client has too many."""

    head_seconds, response_seconds, grace_seconds = HEAD_SECONDS, RESPONSE_SECONDS, GRACE_SECONDS
    half_open, each, total = HALF_OPEN, EACH, TOTAL
    proxies: ClassVar[Sequence[Network]] = ()
    clients: ClassVar[dict[str, dict["PatientConnection", None]]] = defaultdict(dict)  # in order of arrival
    _timer: asyncio.TimerHandle | None = None
    _waits_for_head = False
    _client: str | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request's head, or refuse a connection too many."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not is_in(address, self.proxies):
            self._client = client_of(address)
            mine = self.clients[self._client]
            mine[self] = None
            surplus = self._half_open()[:1] if len(mine) > self.each else []
            for one in surplus:
                one._give_up()
            open_ones = sum(one._is_open for one in mine) if len(mine) > self.each else 0
            if open_ones > self.each or (len(self.connections) > self.total and not is_loopback(address)):
                transport.abort()
                return
            if len(mine) > self.half_open:
                self.loop.call_later(self.grace_seconds, self._close_half_open)
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
        if self._client is not None:
            mine = self.clients[self._client]
            mine.pop(self, None)
            if not mine:
                del self.clients[self._client]

    def _half_open(self) -> list["PatientConnection"]:
        """Return this client's connections that wait for a head, the oldest first; an idle one is none of them."""
        mine = self.clients.get(self._client or "", {})
        return [one for one in mine if one._waits_for_head and one.timeout_keep_alive_task is None and one._is_open]

    @property
    def _is_open(self) -> bool:
        return not self.transport.is_closing()

    def _close_half_open(self) -> None:
        waiting = self._half_open()
        for one in waiting[: max(0, len(waiting) - self.half_open)]:
            one._give_up()

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
        if self._is_open:
            self.transport.abort()


def connections(trusted: Sequence[Network]) -> type[PatientConnection]:
    """Return the class of connections of a server behind these proxies, with counts of its own."""
    return type("ServerConnection", (PatientConnection,), {"proxies": trusted, "clients": defaultdict(dict)})


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of some networks."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip.version == network.version and ip in network for network in networks)


def is_loopback(address: str) -> bool:
    """Return whether an address is this machine's own, as a monitor's on it is."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
