"""The JSON API."""

from collections.abc import Callable

import pytest

from deeptraffic.competition.store import accounts, competitions

PATH = "/api/v1/competitions/lab/submissions"


@pytest.fixture
def bearer(world) -> dict[str, str]:
    return {"Authorization": f"Bearer {accounts.new_submit_token(world.db, world.person('Ada').id)}"}


@pytest.mark.usefixtures("quick_validation")
def test_a_file_is_submitted_with_a_token_and_looked_after(world, browse: Callable, bearer: dict[str, str]) -> None:
    browser = browse()
    answer = browser.post(f"{PATH}?filename=net.safetensors", content=b"policy", headers=bearer)
    made = answer.json()
    assert (answer.status_code, made["state"], made["filename"], made["queue_place"]) == (
        201,
        "waiting",
        "net.safetensors",
        1,
    )
    world.work(world.fake_score(70.0))
    record = browser.get(f"/api/v1/submissions/{made['key']}", headers=bearer).json()
    assert record["finished"] and record["score"] == pytest.approx(70, abs=1)
    listed = browser.get(PATH, headers=bearer).json()
    assert [row["key"] for row in listed["rows"]] == [made["key"]]
    assert listed["used"] == {"day": 1, "total": 1, "waiting": 0}


@pytest.mark.usefixtures("quick_validation")
def test_refusals_are_a_code_and_a_sentence(world, browse: Callable, bearer: dict[str, str]) -> None:
    browser = browse()
    fault = browser.post(PATH, content=b"PK\x03\x04", headers=bearer)
    assert (fault.status_code, fault.json()["error"]["code"]) == (422, "format")
    first = browser.post(PATH, content=b"policy", headers=bearer).json()["key"]
    again = browser.post(PATH, content=b"policy", headers=bearer)
    assert (again.status_code, again.json()["error"]["subject"]) == (409, first)
    competitions.pause(world.db, world.competition.id, "test", "Back at noon.")
    paused = browser.post(PATH, content=b"policy 2", headers=bearer).json()["error"]
    assert paused["code"] == "paused" and "Back at noon." in paused["message"]
    assert browser.post("/api/v1/competitions/none/submissions", content=b"policy", headers=bearer).status_code == 404


def test_settings_and_board_can_be_read_by_all(world, browse: Callable) -> None:
    world.scored(world.person("Ada"))
    browser = browse()
    [listed] = browser.get("/api/v1/competitions").json()
    assert (listed["key"], listed["phase"], listed["rules"]) == ("lab", "open", 2018)
    assert browser.get("/api/v1/competitions/lab").json() == listed
    assert browser.get("/api/v1/competitions/lab/board").json()["rows"][0]["name"] == "Ada"


@pytest.mark.parametrize("path", [PATH, "/api/v1/submissions/none"])
def test_without_a_token_nothing_private_is_read(browse: Callable, path: str) -> None:
    answer = browse().get(path)
    assert answer.status_code == 401 and "Bearer" in answer.json()["error"]["message"]
