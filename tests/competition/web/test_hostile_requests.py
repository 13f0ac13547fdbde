"""Hostile requests, each with its expected answer; after each the server is up, and an honest submission is scored.

What is hostile by what a file holds or a child does is in `tests/competition/sandbox`.
"""

import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest

from deeptraffic.competition.config import to_time
from deeptraffic.competition.store import accounts, competitions, evaluations, queue
from deeptraffic.competition.store.errors import LeaseLost
from deeptraffic.competition.store.submissions import get_submission, history
from deeptraffic.competition.web import submission_pages

UPLOAD = "/api/v1/competitions/lab/submissions"
SMALL = {"max_upload": 200_000}
HASTY = {"idle_seconds": 0.3, "body_seconds": 2.0}


class Attack:
    """What an attacker has: an account, its browser and token, a victim's entry, and a bare socket."""

    def __init__(self, world: Any, browse: Callable[..., Any], settings: dict[str, float]) -> None:
        self.world, self.db = world, world.db
        self.victim, self.eve = world.person("Victim"), world.person("Eve")
        self.entry = world.scored(self.victim, 60.0)
        self.browser, self.visitor = browse(self.eve, **settings), browse(**settings)
        self.token = accounts.new_submit_token(self.db, self.eve.id)
        self.bearer = {"Authorization": f"Bearer {self.token}"}
        self.address = self.browser.origin

    def raw(self, *pieces: bytes, pause: float = 0.0, hang_up: bool = False) -> int:
        """Send bytes as they are; return the first answer's status, 0 if there was none."""
        parts, answer = urlsplit(self.address), b""
        with socket.create_connection((parts.hostname, parts.port), timeout=30) as line:
            with suppress(OSError):  # the server may hang up on what it has refused already: its answer is there
                for piece in pieces:
                    line.sendall(piece)
                    time.sleep(pause)
            if hang_up:
                return 0
            with suppress(OSError):
                while b"\r\n\r\n" not in answer and (part := line.recv(65536)):
                    answer += part
        return int(answer.split(b" ", 2)[1]) if answer else 0

    def head(self, *lines: str, path: str = UPLOAD, method: str = "POST") -> bytes:
        given = (f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Authorization: Bearer {self.token}")
        return "\r\n".join([*given, *lines, "", ""]).encode()

    def post(self, content: Any, filename: str = "net.safetensors", headers: dict[str, str] | None = None) -> Any:
        return self.browser.post(UPLOAD, params={"filename": filename}, content=content, headers=headers or self.bearer)

    def count(self) -> int:
        return history(self.db, self.world.competition.id, self.eve.id)[1]


CASES: dict[str, tuple[Callable[[Attack], Any], Any, dict[str, float]]] = {}


def case(expected: Any, **settings: float) -> Callable[[Callable[[Attack], Any]], Callable[[Attack], Any]]:
    """Enter a function into the table with the answer that it must give, and the server's settings."""

    def enter(act: Callable[[Attack], Any]) -> Callable[[Attack], Any]:
        CASES[act.__name__] = (act, expected, SMALL | settings)
        return act

    return enter


# --- bodies -------------------------------------------------------------------------------------------------------


@case(413)
def body_over_the_limit(attack: Attack) -> Any:
    return attack.raw(attack.head("Content-Length: 300000"), b"x" * 1000)


@case(413)
def body_over_the_limit_in_chunks(attack: Attack) -> Any:
    return attack.raw(attack.head("Transfer-Encoding: chunked"), *[b"c350\r\n" + b"x" * 50_000 + b"\r\n"] * 8)


@case(413)
def form_over_the_limit(attack: Attack) -> Any:
    form = {"form_token": attack.browser.form_token("/me"), "name": "x" * 1_100_000}
    return attack.browser.post("/me/name", data=form, headers={"Origin": attack.address}).status_code


@case(408, **HASTY)
def body_that_stops_half_way(attack: Attack) -> Any:
    return attack.raw(attack.head("Content-Length: 1000"), b"half")


@case({0, 408}, **HASTY)  # whoever goes on sending may lose the answer
def body_byte_by_byte(attack: Attack) -> Any:
    return attack.raw(attack.head("Content-Length: 1000"), *[b"x"] * 30, pause=0.1)


@case([401, 401])
def upload_of_somebody_unknown_whose_body_is_not_even_read(attack: Attack) -> Any:
    lines = (
        f"Host: {attack.address.partition('//')[2]}",
        f"Origin: {attack.address}",
        "Content-Length: 150000",
        "",
        "",
    )
    tail = "\r\n".join(("Connection: close", *lines)).encode()
    page = attack.raw(b"POST /c/lab/submit HTTP/1.1\r\n" + tail)
    return [page, attack.raw(f"POST {UPLOAD} HTTP/1.1\r\nAuthorization: Bearer none\r\n".encode() + tail)]


@case(0)
def upload_that_hangs_up(attack: Attack) -> Any:
    return attack.raw(attack.head("Content-Length: 100000"), b"policy" * 100, hang_up=True)


@case(201)
def length_that_says_too_little(attack: Attack) -> Any:
    return attack.raw(attack.head("Content-Length: 8"), b"policy 1GET /organise HTTP/1.1\r\n\r\n")


@case(400)
def length_that_is_no_number(attack: Attack) -> Any:
    return attack.raw(attack.head("Content-Length: many"), b"policy")


@case(400)
def two_lengths(attack: Attack) -> Any:
    return attack.raw(attack.head("Content-Length: 8", "Content-Length: 800"), b"policy 1")


@case(400)
def chunk_size_that_is_no_number(attack: Attack) -> Any:
    return attack.raw(attack.head("Transfer-Encoding: chunked"), b"zz\r\npolicy\r\n0\r\n\r\n")


@case((422, "format"))
def body_that_says_it_is_compressed(attack: Attack) -> Any:
    answer = attack.post(b"\x1f\x8b\x08" + b"\0" * 50, headers=attack.bearer | {"Content-Encoding": "gzip"})
    return answer.status_code, answer.json()["error"]["code"]


@case((422, "empty"))
def empty_body(attack: Attack) -> Any:
    answer = attack.post(b"")
    return answer.status_code, answer.json()["error"]["code"]


@case(400)
def header_of_a_megabyte(attack: Attack) -> Any:
    return attack.raw(attack.head("X-Junk: " + "a" * 1_000_000))


@case(400)
def form_of_ten_thousand_fields(attack: Attack) -> Any:
    fields = {f"field{k}": "x" for k in range(10_000)} | {"form_token": attack.browser.form_token("/me")}
    return attack.browser.post("/me/name", data=fields, headers={"Origin": attack.address}).status_code


@case(400)
def form_with_twenty_files(attack: Attack) -> Any:
    files = [("file", (f"{k}.js", b"policy")) for k in range(20)]
    return attack.browser.fill("/c/lab/submit", files=files).status_code


@case({400, 403, 422})
def form_without_its_boundary(attack: Attack) -> Any:
    headers = {"Origin": attack.address, "Content-Type": "multipart/form-data"}
    return attack.browser.post("/c/lab/submit", content=b"--x\r\n", headers=headers).status_code


@case(403)
def form_as_json(attack: Attack) -> Any:
    token = attack.browser.form_token("/me")
    return attack.browser.post(
        "/me/name", json={"form_token": token, "name": "X"}, headers={"Origin": attack.address}
    ).status_code


# --- names of files -------------------------------------------------------------------------------------------------


def filename_kept(attack: Attack, name: str) -> Any:
    answer = attack.post(b"policy " + name.encode("utf-8", "replace")[:50], name)
    page = attack.browser.get(f"/s/{answer.json()['key']}").text
    assert "<script>alert" not in page and "\u202e" not in page
    return answer.json()["filename"]


@case("passwd")
def file_name_that_climbs(attack: Attack) -> Any:
    return filename_kept(attack, "../../../../etc/passwd")


@case("x.js")
def file_name_of_windows(attack: Attack) -> Any:
    return filename_kept(attack, "C:\\Windows\\..\\x.js")


@case("netsj.exe")
def file_name_turned_around(attack: Attack) -> Any:
    return filename_kept(attack, "net\u202esj.exe")


@case("script>")
def file_name_with_a_script(attack: Attack) -> Any:
    return filename_kept(attack, "<script>alert(1)</script>")


@case("ab")
def file_name_with_controls(attack: Attack) -> Any:
    return filename_kept(attack, "a\x00\r\n\x1b[31m"[:4] + "b")


@case(200)
def file_name_of_ten_thousand_letters(attack: Attack) -> Any:
    return len(filename_kept(attack, "n" * 10_000))


@case("submission")
def file_name_that_is_nothing(attack: Attack) -> Any:
    return filename_kept(attack, "../")


@case("=HYPERLINK(1)")
def file_name_that_is_a_formula(attack: Attack) -> Any:
    return filename_kept(attack, "=HYPERLINK(1)")


# --- other people's things ------------------------------------------------------------------------------------------


@case([404] * 4)
def others_submission_by_its_key(attack: Attack) -> Any:
    key = attack.entry.key
    addresses = (f"/s/{key}", f"/s/{key}/file", f"/api/v1/submissions/{key}", "/s/1")
    return [attack.browser.get(address).status_code for address in addresses]


@case(404)
def others_submission_by_token(attack: Attack) -> Any:
    return attack.visitor.get(f"/api/v1/submissions/{attack.entry.key}", headers=attack.bearer).status_code


@case(422)
def others_submission_as_ones_own_choice(attack: Attack) -> Any:
    return attack.browser.fill("/c/lab/choose", page="/me", entry=attack.entry.key).status_code


@case(303)
def session_as_a_bearer_token_and_the_reverse(attack: Attack) -> Any:
    session = attack.browser.cookies["deeptraffic-session"]
    assert attack.visitor.get(UPLOAD, headers={"Authorization": f"Bearer {session}"}).status_code == 401
    attack.visitor.cookies.set("deeptraffic-session", attack.token)
    return attack.visitor.get("/me").status_code


@case(422)
def submit_token_as_a_way_in(attack: Attack) -> Any:
    return attack.visitor.fill("/enter", secret=attack.token).status_code


@case(401)
def revoked_token(attack: Attack) -> Any:
    [token] = accounts.tokens_of(attack.db, attack.eve.id, "submit")
    accounts.revoke(attack.db, token.key)
    return attack.post(b"policy").status_code


@case(401)
def expired_token(attack: Attack) -> Any:
    attack.bearer = {"Authorization": f"Bearer {accounts.new_submit_token(attack.db, attack.eve.id, lifetime=1)}"}
    attack.world.clock.now += 2
    return attack.post(b"policy").status_code


@case({401, 403})
def token_of_a_closed_account(attack: Attack) -> Any:
    accounts.block(attack.db, attack.eve.id, "test", "gone")
    return attack.post(b"policy").status_code


@case([401, 401, 401, 400])
def tokens_that_are_none(attack: Attack) -> Any:
    given = ["none", "' OR 1=1 --", "\u00e9".encode().decode("latin-1")]
    found = [
        attack.visitor.post(UPLOAD, headers={"Authorization": f"Bearer {one}".encode("latin-1")}).status_code
        for one in given
    ]
    return [*found, attack.raw(b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: a\x00b\r\n\r\n")]


@case(403)
def form_token_of_the_victim(attack: Attack) -> Any:
    form = {"form_token": "0" * 64, "name": "Eve II"}
    return attack.browser.post("/me/name", data=form, headers={"Origin": attack.address}).status_code


@case(403)
def form_from_another_site(attack: Attack) -> Any:
    form = {"form_token": attack.browser.form_token("/me"), "name": "Eve II"}
    return attack.browser.post("/me/name", data=form, headers={"Origin": "https://evil.example"}).status_code


@case(303)
def cookies_of_rubbish(attack: Attack) -> Any:
    cookie = "deeptraffic-session=" + "%00\u00ff;".encode("latin-1").decode("latin-1") * 100
    return attack.visitor.get("/me", headers={"Cookie": cookie.encode("latin-1")}).status_code


# --- addresses --------------------------------------------------------------------------------------------------------

PATHS = (
    "/static/../app.py",
    "/static/..%2fapp.py",
    "/static/%2e%2e/%2e%2e/app.py",
    "/static/VERSION/../templates/base.html",
    "/static/VERSION/..%2f..%2fapp.py",
    "/static/VERSION/%2e%2e/%2e%2e/app.py",
    "/static/VERSION//etc/passwd",
    "/static/VERSION/\\..\\..\\app.py",
    "/e/../../etc/passwd",
    "/e/%2e%2e%2f%2e%2e/track/best",
    "/c/%00",
    "/c/lab%00",
    "/c/lab/../../organise",
    "//evil.example/%2e%2e",
    "/%c0%ae%c0%ae/",
    "/c/%ff%fe",
    "/e/" + "a" * 5000,
)


@case({400, 404})
def paths_that_climb(attack: Attack) -> Any:
    version = re.search(r"/static/(\w+)/", attack.visitor.get("/about").text).group(1)  # type: ignore[union-attr]
    found = {attack.raw(attack.head(path=path.replace("VERSION", version), method="GET")) for path in PATHS}
    return found.pop() if len(found) == 1 else 400 if found <= {400, 404} else found


@case([200] * 6)
def searches_that_are_sql(attack: Attack) -> Any:
    texts = ("' OR 1=1 --", "%", "_", '"; DROP TABLE people; --', "\x00", "\\")
    return [attack.visitor.get("/c/lab", params={"q": text}).status_code for text in texts]


@case("&lt;script&gt;")
def search_that_is_a_script(attack: Attack) -> Any:
    text = attack.visitor.get("/c/lab", params={"q": "<script>alert(1)</script>", "note": "<script>"}).text
    assert "<script>alert" not in text
    return re.search(r'value="(&lt;script&gt;)', text).group(1)  # type: ignore[union-attr]


@case([404] * 3)
def keys_that_are_sql(attack: Attack) -> Any:
    keys = ("' OR '1'='1", "lab' --", "1; DELETE FROM submissions")
    return [attack.visitor.get(f"/c/{key}").status_code for key in keys]


@case(303)
def links_that_lead_elsewhere(attack: Attack) -> Any:
    link = accounts.new_link(attack.db, attack.eve.id, "test")
    answer = attack.visitor.fill("/enter?next=https://evil.example", page=f"/link/{link}", secret=link)
    assert answer.headers["location"] == "/me"
    return answer.status_code


@case(200)  # the page, as if nothing had been asked for
def a_websocket(attack: Attack) -> Any:
    lines = ("Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
    head = "GET /c/lab HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    return attack.raw((head + "\r\n".join([*lines, "", ""])).encode())


@case(400)
def words_that_are_no_http(attack: Attack) -> Any:
    return attack.raw(b"\x16\x03\x01 hello\r\n\r\n")


# --- times and quotas -------------------------------------------------------------------------------------------------


@case([201, "closed", "closed"])
def a_millisecond_before_at_and_after_the_deadline(attack: Attack) -> Any:
    clock = attack.world.clock
    closes = clock.now + 60_000
    competitions.change_config(attack.db, attack.world.competition.id, {"closes_at": to_time(closes)}, "test")
    found: list[Any] = []
    for k, moment in enumerate((closes - 1, closes, closes + 1)):
        clock.now = moment
        with patch.object(submission_pages, "milliseconds_since", lambda arrived: 0):  # the clock stands still
            answer = attack.post(b"policy at %d" % k)
        found.append(answer.status_code if answer.status_code == 201 else answer.json()["error"]["code"])
    competitions.change_config(attack.db, attack.world.competition.id, {"closes_at": ""}, "test")
    return found


@case((1, 5, {201, 429}))
def twenty_uploads_in_parallel_at_quota_minus_one(attack: Attack) -> Any:
    competitions.change_config(attack.db, attack.world.competition.id, {"daily_limit": 5}, "test")
    for k in range(4):
        assert attack.post(b"policy %d" % k).status_code == 201
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda k: attack.post(b"policy p %d" % k).status_code, range(20)))
    competitions.change_config(attack.db, attack.world.competition.id, {"daily_limit": 50}, "test")
    return statuses.count(201), attack.count(), set(statuses)


@case(1)
def the_same_file_twenty_times_in_parallel(attack: Attack) -> Any:
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: attack.post(b"policy same").status_code, range(20)))
    return statuses.count(201)


@case("another worker has it")
def two_workers_with_one_lease(attack: Attack) -> Any:
    made = attack.world.submit(attack.eve)
    first = queue.lease(attack.db, "first")
    attack.world.clock.now += 31_000
    second = queue.lease(attack.db, "second")
    attack.world.clock.now += 30_000  # a second try waits a little
    second = second or queue.lease(attack.db, "second")
    assert first is not None and second is not None and first.id == second.id
    with pytest.raises(LeaseLost, match="another worker has it"):
        evaluations.complete(attack.db, first, attack.world.fake_score(79.0))
    evaluations.complete(attack.db, second, attack.world.fake_score(70.0))
    attack.world.work(attack.world.fake_score(70.0))
    assert get_submission(attack.db, made.id).score < 75
    return "another worker has it"


@case(1)
def one_invitation_for_one_used_by_twenty(attack: Attack) -> Any:
    secret = accounts.new_invite(attack.db, attack.world.competition.id, "test", uses=1)
    form, cookies = {"form_token": attack.visitor.form_token("/enter")}, dict(attack.visitor.cookies)

    def join(k: int) -> int:
        import httpx

        with httpx.Client(base_url=attack.address, cookies=cookies) as browser:
            data = form | {"name": f"Guest number {chr(97 + k)}"}
            return browser.post(f"/join/{secret}", data=data, headers={"Origin": attack.address}).status_code

    with ThreadPoolExecutor(20) as pool:
        return list(pool.map(join, range(20))).count(303)


@case("rest")
def uploads_without_end(attack: Attack) -> Any:
    competitions.change_config(
        attack.db, attack.world.competition.id, {"daily_limit": 1000, "waiting_limit": 1000}, "test"
    )
    statuses = [attack.post(b"policy %d" % k).status_code for k in range(40)]
    return "rest" if set(statuses) == {201, 429} and statuses.count(201) <= 30 else statuses


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_validation")
@pytest.mark.parametrize("name", list(CASES))
def test_a_hostile_request_gets_its_answer_and_the_next_honest_one_its_score(
    world, browse: Callable, name: str
) -> None:
    act, expected, settings = CASES[name]
    attack = Attack(world, browse, settings)
    found = act(attack)
    assert (found in expected) if isinstance(expected, set) else (found == expected), found
    honest = browse(attack.victim, **settings)
    assert honest.get("/healthz").status_code == 200
    answer = honest.upload(b"policy, honest")
    assert answer.status_code == 303
    world.clock.now += 120_000
    world.work(world.fake_score(71.0))
    assert "Official score" in honest.get(answer.headers["location"]).text
