"""Connections that send or read too slowly are closed; others are served as before."""

import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from deeptraffic.competition.store import accounts
from deeptraffic.competition.web.connection import PatientConnection, connections
from deeptraffic.competition.web.settings import read_network


class Hasty(PatientConnection):
    head_seconds, response_seconds = 0.4, 0.8


async def answer(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    size = 100_000_000 if scope["path"] == "/large" else 2
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(size).encode())]})
    for _ in range(size // 1_000_000):
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
    await send({"type": "http.response.body", "body": b"ok" if size == 2 else b""})


@pytest.fixture
def hasty(server_of: Any) -> Iterator[Any]:
    server = server_of(uvicorn.Config(answer, port=0, lifespan="off", log_level="error", http=Hasty))
    server.port = int(server.start().rpartition(":")[2])
    yield server
    server.stop()


@pytest.fixture
def port(hasty: Any) -> int:
    return int(hasty.port)


@pytest.fixture
def crowded(server_of: Any) -> Iterator[Any]:
    """Ports of servers whose connections, made by `connections`, are limited more tightly."""
    servers = []

    def make(*proxies: str, **limits: Any) -> int:
        kind = type("Crowded", (connections([read_network(proxy) for proxy in proxies]),), limits)
        servers.append(server_of(uvicorn.Config(answer, port=0, lifespan="off", log_level="error", http=kind)))
        return int(servers[-1].start().rpartition(":")[2])

    yield make
    for server in servers:
        server.stop()


def hold(port: int, count: int) -> list[socket.socket]:
    """Connections that have sent half a head."""
    held = []
    for _ in range(count):
        held.append(socket.create_connection(("127.0.0.1", port)))
        held[-1].send(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
    return held


def status_from(port: int, source: str = "127.0.0.1") -> int:
    """The status of a request from an address of this machine; 0 if the connection is closed."""
    try:
        with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return int(line.recv(4096).split()[1])
    except (OSError, IndexError):
        return 0


def open_ones(held: list[socket.socket]) -> int:
    return sum(not is_closed(line, 0.01) for line in held)


def comes_about(is_so: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether something is so within a time."""
    end = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def test_half_open_connections_of_one_address_shut_nobody_out(crowded: Any) -> None:
    port = crowded(grace_seconds=0.3, half_open=5, each=60)
    held = hold(port, 50)
    assert status_from(port) == status_from(port, "127.0.0.2") == 200
    assert comes_about(lambda: open_ones(held) == 5) and open_ones(held[-5:]) == 5  # the oldest are closed
    assert status_from(port) == 200


def test_idle_connections_are_not_half_open(crowded: Any) -> None:
    port = crowded(grace_seconds=0.3, half_open=2)
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
    for line in held:
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not line.recv(4096).endswith(b"ok"):
            pass
    time.sleep(0.8)
    assert open_ones(held) == 6


def test_an_address_has_only_so_many_connections_and_others_have_their_own(crowded: Any) -> None:
    port = crowded(each=10, half_open=100, head_seconds=20.0)
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
    for line in held:
        line.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        line.recv(1)  # and no more is read
    assert [status_from(port, source) for source in ("127.0.0.1", "127.0.0.2")] == [0, 200]
    held.pop().close()
    assert comes_about(lambda: status_from(port) == 200)
    held += hold(port, 20)  # where there are half-open ones, the oldest of them makes room
    assert status_from(port) == 200


def test_a_trusted_proxys_connections_are_not_counted(crowded: Any) -> None:
    port = crowded("127.0.0.0/8", each=3, half_open=1, grace_seconds=0.1)
    held = hold(port, 10)
    time.sleep(0.4)
    assert status_from(port) == 200 and open_ones(held) == 10


def is_closed(line: socket.socket, seconds: float) -> bool:
    """Whether the other side ends the connection within a time."""
    line.settimeout(seconds)
    try:
        while line.recv(1_000_000):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_a_head_that_comes_byte_by_byte_is_given_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line, pytest.raises(OSError):
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 10_000:
            line.sendall(bytes([byte]))
            time.sleep(0.02)


def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        assert is_closed(line, 20)


def test_a_second_head_on_a_connection_has_its_own_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        for _ in range(3):
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"ok"):
                answer += line.recv(4096)
            time.sleep(0.2)
        line.sendall(b"GET / HTTP/1.1\r\nHost")
        assert is_closed(line, 20)


def test_an_answer_that_nobody_reads_is_given_up(hasty: Any) -> None:
    held = hasty.server.server_state.connections
    with socket.create_connection(("127.0.0.1", hasty.port)) as line:
        line.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert comes_about(lambda: bool(held)) and comes_about(lambda: not held)


def sockets() -> int:
    """The number of this process's open sockets."""
    return sum(path.is_socket() for path in Path("/proc/self/fd").iterdir())


def test_killed_connections_leave_nothing_behind(world: Any, server_of: Any, caplog: Any) -> None:
    kind, token = connections([]), accounts.new_submit_token(world.db, world.person("Ada").id)
    app = world.app()
    server = server_of(uvicorn.Config(app, port=0, log_level="error", ws="none", http=kind))
    port = int(server.start().rpartition(":")[2])
    logging.getLogger("uvicorn.error").addHandler(caplog.handler)
    upload = f"POST /api/v1/competitions/lab/submissions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    stages = (
        "GET /c/lab HT",
        "GET /c/lab HTTP/1.1\r\nHost: x\r\n\r\n",
        f"{upload}Content-Length: 1000000\r\n\r\npolicy",
        f"{upload}Transfer-Encoding: chunked\r\n\r\n6\r\npolicy\r\n",
        "GET /c/lab HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )

    def left_behind() -> tuple[int, ...]:
        state = server.server.server_state
        return app.state.site.uploads.taken, len(kind.clients), len(state.connections), len(state.tasks)

    def kill(count: int) -> tuple[int, ...]:
        for number in range(count):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(stages[number % len(stages)].encode())
                if number % 2:
                    time.sleep(0.002)
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no goodbye
        comes_about(lambda: not any(left_behind()))
        return left_behind()

    assert kill(20) == (0, 0, 0, 0)
    before = sockets()
    assert kill(100) == (0, 0, 0, 0)
    assert sockets() <= before
    logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert caplog.records == []  # nobody fills the log by hanging up
    server.stop()
