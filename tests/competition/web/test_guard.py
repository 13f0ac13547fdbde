"""Headers of every answer; where requests may come from; whose word about addresses counts; how large a body is."""

import http.client
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from deeptraffic.competition.store import accounts
from deeptraffic.competition.store.errors import Unavailable
from deeptraffic.competition.web import health, site
from deeptraffic.competition.web.settings import Rate


@pytest.mark.parametrize(
    "path", ["/c/lab", "/about", "/none", "/api/v1/competitions", "/c/lab/board.json", "/me", "/healthz"]
)
def test_every_answer_forbids_foreign_content(browse: Callable, path: str) -> None:
    headers = browse().get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


def test_no_page_holds_a_script_or_style_of_its_own(world, browse: Callable, routes) -> None:
    world.driven(world.person("Ada"), "gap")
    pages = [address for method, address in routes if method == "GET"]
    for browser in (browse(world.organiser), browse()):
        for address in pages:
            text = browser.get(address).text
            assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", text), address
            assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text), address
            assert not re.search(r"<pre(?! tabindex)", text), address  # which scrolls, so keyboards must reach it


def test_nothing_is_changed_by_a_get(world, browse: Callable, routes) -> None:
    changing = {address for method, address in routes if method != "GET"}
    assert len(changing) >= 20
    browser = browse(world.organiser)
    before = dump(world)
    for address in {address for _, address in routes}:
        browser.get(address)
        browser.head(address)
    assert dump(world) == before


def dump(world) -> list[str]:
    with world.db.read() as session:
        return list(session.connection().connection.driver_connection.iterdump())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "SELF"}, 303),
        ({"Referer": "SELF/me"}, 303),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "SELF.evil.example"}, 403),
        ({"Origin": "https://evil.example", "Referer": "SELF/me"}, 403),
        ({"Referer": "https://evil.example/?SELF"}, 403),
        ({"Referer": "http://[::1"}, 403),
    ],
)
def test_a_form_must_come_from_a_page_of_this_site(
    world, browse: Callable, headers: dict[str, str], status: int
) -> None:
    browser = browse(world.person("Ada"))
    sent = {name: value.replace("SELF", browser.origin) for name, value in headers.items()}
    form = {"form_token": browser.form_token("/me"), "name": "Countess"}
    assert browser.post("/me/name", data=form, headers=sent).status_code == status
    assert ("Countess" in browser.get("/me").text) == (status == 303)


@pytest.mark.parametrize("token", ["", "0" * 64, "é", "other"])
def test_a_form_must_carry_its_users_own_token(world, browse: Callable, token: str) -> None:
    browser = browse(world.person("Ada"))
    given = browse(world.person("Eve")).form_token("/me") if token == "other" else token
    answer = browser.post("/me/name", data={"form_token": given, "name": "X"}, headers={"Origin": browser.origin})
    assert answer.status_code == 403 and "Reload its page" in answer.text


def test_every_changing_route_asks_for_the_form_token_or_a_bearer_token(world, browse: Callable, routes) -> None:
    browser = browse(world.organiser)
    for method, address in routes:
        if method not in ("GET", "HEAD"):
            answer = browser.request(method, address, headers={"Origin": browser.origin}, data={"sure": "yes"})
            assert answer.status_code in (401, 403), address


def test_other_hosts_are_not_answered_for_where_the_address_is_known(browse: Callable) -> None:
    browser = browse(public_url="https://traffic.example.org")
    for host, status in (("traffic.example.org", 200), ("127.0.0.1:8000", 200), ("evil.example", 400), ("", 400)):
        assert browser.get("/about", headers={"Host": host}).status_code == status, host


def test_only_a_trusted_proxy_says_who_asks(browse: Callable) -> None:
    slow = Rate(0.001, 2.0)
    for proxies, statuses in (((), [200, 200, 429, 429]), (("127.0.0.1",), [200, 200, 200, 200])):
        browser = browse(trusted_proxies=proxies, reads=slow)
        asked = [
            browser.get("/about", headers={"X-Forwarded-For": f"9.9.9.9, 1.2.3.{k}"}).status_code for k in range(4)
        ]
        assert asked == statuses


def test_a_proxys_own_line_counts_whatever_line_the_client_wrote(browse: Callable) -> None:
    browser = browse(trusted_proxies=("127.0.0.1",), reads=Rate(0.001, 2.0))
    asked = []
    for k in range(4):  # HAProxy adds a line of its own behind the client's
        lines = [("X-Forwarded-For", f"9.9.9.{k}"), ("X-Forwarded-For", "6.6.6.6")]
        asked.append(browser.get("/about", headers=lines).status_code)
    assert asked == [200, 200, 429, 429]


@pytest.mark.parametrize(("proxies", "status"), [(("127.0.0.1",), 303), ((), 403)])
def test_a_proxys_scheme_counts_for_the_origin_if_it_is_trusted(world, browse: Callable, proxies, status: int) -> None:
    browser = browse(world.person("Ada"), trusted_proxies=proxies)
    form = {"form_token": browser.form_token("/me"), "name": "Countess"}
    headers = {"Origin": browser.origin.replace("http://", "https://"), "X-Forwarded-Proto": "https"}
    assert browser.post("/me/name", data=form, headers=headers).status_code == status


def test_a_page_can_be_asked_for_its_head_alone(world, browse: Callable) -> None:
    browser = browse(world.person("Ada"))
    for path in ("/", "/c/lab", "/about", "/me", "/c/lab/board.json", "/healthz", "/api/v1/competitions"):
        whole, head = browser.get(path), browser.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        assert head.headers.get("content-type") == whole.headers.get("content-type"), path


def test_an_error_of_ours_has_the_headers_of_every_answer(world, browse: Callable, monkeypatch) -> None:
    browser = browse()
    monkeypatch.setattr(site.Site, "now", lambda self: 1 / 0)
    answer = browser.get("/api/v1/competitions")
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "failure"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_health_shares_no_limit_with_pages(browse: Callable) -> None:
    browser = browse(reads=Rate(0.001, 1.0), requests=1)
    assert [browser.get("/about").status_code for _ in range(2)] == [200, 429]
    assert [browser.get("/healthz").status_code for _ in range(5)] == [200] * 5


def test_only_so_many_requests_are_answered_at_a_time(browse: Callable) -> None:
    browser = browse(requests=0)
    answer = browser.get("/about")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
    assert browser.get("/healthz").status_code == 200


def test_health_is_red_where_nothing_can_be_stored(world, browse: Callable, monkeypatch) -> None:
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
    browser, usage = browse(), shutil.disk_usage(world.folder)
    assert browser.get("/healthz").status_code == 200
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    answer = browser.get("/healthz")
    assert answer.status_code == 503 and "1,000 bytes are free" in answer.json()["error"]
    monkeypatch.undo()
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)

    @contextmanager
    def full(lock: str | None = None) -> Iterator[None]:
        raise Unavailable("full", "the disk of the database is full; free some space")
        yield

    monkeypatch.setattr(world.db, "write", full)
    answer = browser.get("/healthz")
    assert answer.status_code == 503 and "the database is full" in answer.json()["error"]


def test_who_asks_too_often_waits(browse: Callable) -> None:
    browser = browse(reads=Rate(0.001, 3.0))
    assert [browser.get("/about").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert int(browser.get("/about").headers["retry-after"]) >= 1


def test_wrong_links_and_tokens_are_counted(world, browse: Callable) -> None:
    browser = browse(secrets=Rate(0.001, 3.0))
    statuses = [browser.get(f"/join/{k}").status_code for k in range(2)]
    statuses += [browser.get(f"/link/{k}").status_code for k in range(2)]
    bearer = {"Authorization": "Bearer none"}
    statuses.append(browser.get("/api/v1/submissions/x", headers=bearer).status_code)
    assert statuses == [404, 404, 404, 429, 429]


def test_wrong_tokens_of_a_neighbour_shut_nobody_out(world, browse: Callable) -> None:
    neighbour = browse(secrets=Rate(0.001, 3.0))
    ada = world.person("Ada")
    token, link = accounts.new_submit_token(world.db, ada.id), accounts.new_link(world.db, ada.id, "test")
    invite = accounts.new_invite(world.db, world.competition.id, "test")
    wrong = {"Authorization": "Bearer wrong"}
    refused = [neighbour.get("/api/v1/submissions/x", headers=wrong).status_code for _ in range(5)]
    assert refused == [401, 401, 401, 429, 429]
    valid = browse(secrets=Rate(0.001, 3.0))
    mine = "/api/v1/competitions/lab/submissions"
    assert valid.get(mine, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert valid.get(f"/join/{invite}").status_code == valid.get(f"/link/{link}").status_code == 200
    assert valid.fill("/enter", page=f"/link/{link}", secret=link).headers["location"] == "/me"
    assert valid.get("/me").status_code == 200
    stranger = browse(secrets=Rate(0.001, 3.0))
    assert stranger.fill("/enter", secret=f"https://x/join/{invite}").headers["location"] == f"/join/{invite}"
    assert stranger.fill("/enter", secret="wrong").status_code == 429


def test_wrong_bearer_tokens_are_counted_too(browse: Callable) -> None:
    browser, bearer = browse(secrets=Rate(0.001, 2.0)), {"Authorization": "Bearer none"}
    assert [browser.get("/api/v1/submissions/x", headers=bearer).status_code for _ in range(3)] == [401, 401, 429]


def raw(address: str, request: bytes, pieces: list[bytes] = [], pause: float = 0.0) -> bytes:  # noqa: B006
    """Send bytes as they are, then pieces with pauses; return what came back."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as line:
        answer = b""
        try:
            line.sendall(request)
            for piece in pieces:
                time.sleep(pause)
                line.sendall(piece)
        except OSError:
            pass  # the server hung up, which is its right
        try:
            while part := line.recv(65536):
                answer += part
        except OSError:
            pass
        return answer


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def post(headers: str, body: bytes = b"") -> bytes:
    head = "POST /api/v1/competitions/lab/submissions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    return f"{head}Authorization: Bearer none\r\n{headers}\r\n".encode() + body


def test_a_body_that_says_it_is_too_large_is_not_read(serve: Callable) -> None:
    answer = raw(serve(), post("Content-Length: 99999999\r\n"))
    assert status_of(answer) == 413 and b"at most 17,064,000" in answer


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def test_a_body_without_a_length_is_counted_while_it_comes(world, serve: Callable) -> None:
    token = accounts.new_submit_token(world.db, world.person("Ada").id)
    request = post("Transfer-Encoding: chunked\r\n").replace(b"none", token.encode())
    address = serve(max_upload=100_000)
    answer = raw(address, request, [chunk(b"x" * 50_000)] * 40)
    assert status_of(answer) == 413


def test_a_body_that_does_not_come_is_given_up(world, serve: Callable) -> None:
    token = accounts.new_submit_token(world.db, world.person("Ada").id)
    request = post("Content-Length: 1000\r\n").replace(b"none", token.encode())
    assert status_of(raw(serve(idle_seconds=0.2), request)) == 408
    drops = [b"x"] * 30
    assert status_of(raw(serve(body_seconds=0.4), request, drops, pause=0.05)) == 408


def test_an_unknown_method_changes_nothing(serve: Callable) -> None:
    parts = urlsplit(serve())
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "BREW"):
        line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        line.request(method, "/me", headers={"Origin": serve()})
        assert line.getresponse().status in (400, 405), method
        line.close()
