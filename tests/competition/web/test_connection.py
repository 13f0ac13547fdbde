"""Connections that send or read too slowly are closed; others are served as before."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from deeptraffic.competition.web.connection import PatientConnection


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
        while not held:
            time.sleep(0.01)
        while held:  # for ever, if it is not given up
            time.sleep(0.05)
