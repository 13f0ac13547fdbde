"""The lab in the site: its files, their policy, the account that it submits for, and submissions by a script."""

from collections.abc import Callable
from typing import Any

import pytest

from deeptraffic.competition.store import competitions
from deeptraffic.competition.web.lab_pages import ACCOUNT_SCRIPT
from deeptraffic.competition.web.settings import Rate

STATED = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"
META = f'<meta http-equiv="Content-Security-Policy" content="{STATED}">'.encode()
LAB = {"index.html": META, "account.js": b"of no site", "engine.wasm": b"\0asm", "champions/a.safetensors": b"a"}


@pytest.mark.parametrize(
    ("path", "kind", "content"),
    [
        ("/lab/", "text/html; charset=utf-8", META),
        ("/lab/index.html", "text/html; charset=utf-8", META),
        ("/lab/account.js", "text/javascript; charset=utf-8", ACCOUNT_SCRIPT),
        ("/lab/engine.wasm", "application/wasm", b"\0asm"),
        ("/lab/champions/a.safetensors", "application/octet-stream", b"a"),
    ],
)
def test_the_labs_files_have_their_types_and_the_policy_that_the_page_states(
    browse: Callable, path: str, kind: str, content: bytes
) -> None:
    browser = browse(lab=LAB)
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, content)
    policy = answer.headers["content-security-policy"]
    assert policy == f"{STATED}; frame-ancestors 'none'"
    assert answer.headers["x-frame-options"] == "DENY"
    again = browser.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and again.content == b""


def test_the_rest_of_the_site_keeps_its_own_policy(browse: Callable) -> None:
    browser = browse(lab=LAB)
    for path in ("/c/lab", "/lab/none.js", "/lab/account.json", "/about"):
        assert "wasm" not in browser.get(path).headers["content-security-policy"], path


@pytest.mark.parametrize("path", ["/lab/none.js", "/lab/../about.html", "/lab/%2e%2e/index.html", "/lab/champions"])
def test_no_other_file_is_served(browse: Callable, path: str) -> None:
    assert browse(lab=LAB).get(path).status_code == 404


def test_a_class_behind_one_address_may_open_the_lab_at_once(browse: Callable) -> None:
    browser = browse(lab=LAB, reads=Rate(0.001, 5.0), files=Rate(0.001, 40.0))
    assert [browser.get("/lab/engine.wasm").status_code for _ in range(45)] == [200] * 40 + [429] * 5
    answers = [browser.get("/lab/account.json").status_code for _ in range(6)]  # asks the database: it is no such file
    assert answers == [200] * 5 + [429]


def test_the_menu_names_the_lab_where_there_is_one(world: Any, browse: Callable) -> None:
    with_lab, without = browse(lab=LAB), browse()
    assert '<a href="/lab/">Lab</a>' in with_lab.get("/c/lab").text
    ada = browse(world.person("Ada"), lab=LAB)
    assert 'in the <a href="/lab/">lab</a>, and submit it there' in ada.get("/c/lab").text
    assert with_lab.get("/lab", follow_redirects=False).headers["location"] == "/lab/"
    assert 'href="/lab/"' not in without.get("/c/lab").text
    assert [without.get(path).status_code for path in ("/lab/", "/lab/account.json")] == [404, 404]


def test_the_account_names_its_competitions(world: Any, browse: Callable) -> None:
    visitor = browse(lab=LAB).get("/lab/account.json").json()
    assert visitor["name"] is None and visitor["competitions"] == []
    browser = browse(world.person("Ada"), lab=LAB)
    account = browser.get("/lab/account.json").json()
    assert account["name"] == "Ada" and account["form_token"] == browser.form_token("/me")
    (found,) = account["competitions"]
    assert found["title"] == "Deep Traffic at the lab" and found["submit"] == "/c/lab/submit" and found["open"]


def test_the_trail_of_an_accounts_car_is_on_the_board_in_replays_and_in_the_lab(world, browse: Callable) -> None:
    ada = world.person("Ada")
    submission = world.driven(ada, "gap")
    browser, addresses = browse(ada, lab=LAB), ("/c/lab", f"/e/{submission.key}/replay")
    assert all('data-trail="255,214,36"' in browser.get(address).text for address in addresses)
    assert browser.fill("/me/trail", page="/me", trail="aqua").status_code == 303
    assert "<option selected>aqua</option>" in browser.get("/me").text
    assert all('data-trail="48,222,240"' in browse().get(address).text for address in addresses)
    assert browser.get("/lab/account.json").json()["trail"] == "aqua"
    refused = browser.fill("/me/trail", page="/me", trail="pink")
    assert refused.status_code == 422 and "there is no trail colour &#39;pink&#39;; choose one of red" in refused.text
    competitions.change_config(world.db, world.competition.id, {"anonymous": True}, "test")
    assert all('data-trail="255,214,36"' in browse().get(address).text for address in addresses)


def submit(browser: Any, content: bytes, **changes: Any) -> Any:
    given = {"token": browser.get("/lab/account.json").json()["form_token"], "origin": browser.origin} | changes
    headers = {"Accept": "application/json", "Origin": given["origin"]}
    data, files = {"form_token": given["token"]}, {"file": ("network.safetensors", content)}
    return browser.post("/c/lab/submit", data=data, files=files, headers=headers)


@pytest.mark.usefixtures("quick_validation")
def test_a_script_submits_and_reads_the_page_of_the_submission(world: Any, browse: Callable) -> None:
    browser = browse(world.person("Ada"), lab=LAB)
    answer = submit(browser, b"policy one")
    assert answer.status_code == 201
    assert browser.get(answer.json()["page"]).status_code == 200


@pytest.mark.usefixtures("quick_validation")
@pytest.mark.parametrize(
    ("content", "changes", "status", "sentence"),
    [
        (b"no network", {}, 422, "this is no policy file; export one with deeptraffic export"),
        (b"policy", {"token": "of another"}, 403, "This form has expired or came from another site"),
        (b"policy", {"origin": "http://elsewhere.example"}, 403, "does not come from a page of this site"),
    ],
)
def test_a_refusal_is_a_sentence_in_json(
    world: Any, browse: Callable, content: bytes, changes: dict[str, str], status: int, sentence: str
) -> None:
    answer = submit(browse(world.person("Ada"), lab=LAB), content, **changes)
    assert answer.status_code == status and sentence in answer.json()["error"]["message"]
    answer = submit(browse(lab=LAB), b"policy")
    assert answer.status_code == 401 and "needs an account" in answer.json()["error"]["message"]
