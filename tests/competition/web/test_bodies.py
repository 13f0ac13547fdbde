"""Bodies of requests: refusals that arrive whatever the client does, permits, and the time that counts."""

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from starlette.exceptions import HTTPException

from deeptraffic.competition.config import to_time
from deeptraffic.competition.sandbox import validation
from deeptraffic.competition.store import accounts, competitions, submissions
from deeptraffic.competition.web.bodies import UploadRoom
from deeptraffic.competition.web.settings import Rate

PATH = "/api/v1/competitions/lab/submissions"
LARGE = bytes(3_000_000)  # more than the sockets of both sides hold


def refusal(address: str, token: str, body: bytes = LARGE) -> tuple[int, str]:
    """Status and sentence, as a client gets them that writes its whole body first (urllib)."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
    try:
        urlopen(Request(address + PATH, body, headers), timeout=30).close()
    except HTTPError as error:
        return error.code, json.loads(error.read())["error"]["message"]
    return 201, ""


@pytest.mark.usefixtures("quick_validation")
def test_refusals_before_the_body_arrive_every_time(world: Any, serve: Callable[..., str]) -> None:
    closed, hasty = world.person("Closed"), world.person("Hasty")
    tokens = {name: accounts.new_submit_token(world.db, person.id) for name, person in (("c", closed), ("h", hasty))}
    with world.db.write() as session:  # a closed account whose token is still valid
        session.merge(closed).blocked_at = 1
    address = serve(uploads=Rate(0.0001, 1.0), secrets=Rate(0.0001, 5.0), max_upload=2_000_000)
    small = serve(uploads=Rate(0.0001, 1.0), max_upload=4_000_000)
    refusal(small, tokens["h"], b"x")
    expected = {
        "wrong token": (address, "wrong", b"x" * 2_000_000, 401, "this link or token is invalid"),
        "too large": (address, tokens["h"], LARGE, 413, "at most 2,064,000 bytes"),
        "too often": (small, tokens["h"], LARGE, 429, "Too many uploads"),
        "closed account": (small, tokens["c"], LARGE, 401, "this account is closed"),
        "no token": (small, "", LARGE, 403, "does not come from a page"),
    }
    for name, (server, token, body, status, sentence) in expected.items():
        for _ in range(5 if name == "wrong token" else 20):
            found = refusal(server, token, body)
            assert found[0] == status and sentence in found[1], name
    for _ in range(20):
        assert refusal(address, "wrong", b"x" * 2_000_000)[0] == 429


def test_a_refusal_does_not_wait_for_the_rest_of_the_body(serve: Callable[..., str]) -> None:
    parts = urlsplit(serve())
    started = time.monotonic()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as line:
        line.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n".encode())
        assert b"403" in line.recv(4096)
    assert time.monotonic() - started < 3.0


def test_permits_limit_the_bytes_of_all_and_the_number_of_each() -> None:
    room = UploadRoom(total=100, each=2)
    with room.permit(1, 30), room.permit(1, 30):
        with pytest.raises(HTTPException) as found, room.permit(1, 1):
            pass
        assert found.value.status_code == 429 and "2 of your uploads" in found.value.detail
        with room.permit(2, 40):
            with pytest.raises(HTTPException) as found, room.permit(3, 1):
                pass
            assert (found.value.status_code, room.taken) == (503, 100)
        with room.permit(3, 40):
            pass
    assert room.taken == 0


def stall(address: str, token: str, path: str = PATH) -> socket.socket:
    """A connection that has begun to send 16 MB."""
    parts = urlsplit(address)
    line = socket.create_connection((parts.hostname, parts.port), timeout=20)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 16000000\r\n\r\n"
    line.sendall(head.encode() + bytes(100_000))
    return line


def answer_of(line: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer and (part := line.recv(65536)):
        answer += part
    return answer


@pytest.mark.usefixtures("quick_validation")
def test_stalled_uploads_hold_permits_and_no_one_elses(world: Any, serve: Callable[..., str]) -> None:
    address = serve(upload_room=50_000_000, uploads_each=2, idle_seconds=3.0, max_upload=16_000_000)
    tokens = [accounts.new_submit_token(world.db, world.person(name).id) for name in ("Ada", "Bo", "Cy")]
    held = [stall(address, tokens[0]) for _ in range(2)]
    time.sleep(0.5)
    with stall(address, tokens[0]) as third:
        assert b" 429 " in answer_of(third)
    held.append(stall(address, tokens[1]))
    time.sleep(0.5)
    with stall(address, tokens[2]) as fourth:
        assert b" 503 " in answer_of(fourth)
    for line in held:
        assert b" 408 " in answer_of(line)  # given up, which frees their permits
        line.close()
    assert refusal(address, tokens[2], b"policy ?")[0] != 503


@pytest.mark.parametrize("form", [False, True])
def test_thirty_students_in_the_last_seconds_are_all_in(
    world: Any, browse: Callable, serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch, form: bool
) -> None:
    started: list[float] = []

    def slow(content: bytes, filename: str) -> Any:
        started.append(time.time())
        time.sleep(1.0)
        return world.upload(content=content, sha256=content[:64].decode(), filename=filename)

    monkeypatch.setattr(validation, "validate", slow)
    world.db.clock = lambda: time.time_ns() // 1_000_000
    address, people = serve(), [world.person(f"Student {number}") for number in range(30)]
    tokens = [accounts.new_submit_token(world.db, person.id) for person in people]
    browsers = [browse(person) for person in people] if form else []
    fields = [browser.form_token("/c/lab/submit") for browser in browsers]
    closes = time.time() + 4.0
    competitions.change_config(world.db, world.competition.id, {"closes_at": to_time(round(1000 * closes))}, "test")

    def submit(number: int) -> int:
        content = b"%064d" % number + bytes(100_000)
        if form:
            data, files = {"form_token": fields[number]}, {"file": ("mine.safetensors", content)}
            headers = {"Origin": browsers[number].origin}
            return browsers[number].post("/c/lab/submit", data=data, files=files, headers=headers).status_code
        return refusal(address, tokens[number], content)[0]

    with ThreadPoolExecutor(30) as pool:
        statuses = list(pool.map(submit, range(30)))
    assert statuses == [303 if form else 201] * 30
    assert started[-1] > closes, "no check began after the deadline, so this shows nothing"
    found, total = submissions.history(world.db, world.competition.id)
    assert total == 30 and all(made.accepted_at < 1000 * closes for made in found)
    assert refusal(address, tokens[0], b"%064d" % 99)[0] == 422


def test_a_body_that_trickles_past_the_deadline_is_late(
    world: Any, serve: Callable[..., str], quick_validation
) -> None:
    world.db.clock = lambda: time.time_ns() // 1_000_000
    closes = time.time() + 1.0
    competitions.change_config(world.db, world.competition.id, {"closes_at": to_time(round(1000 * closes))}, "test")
    token, parts = accounts.new_submit_token(world.db, world.person("Ada").id), urlsplit(serve())
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as line:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 8\r\n\r\n"
        line.sendall(head.encode() + b"policy ")
        threading.Event().wait(1.5)
        line.sendall(b"!")
        assert b" 422 " in answer_of(line)
