"""Submitting on the page, watching, history, choice."""

import re
from collections.abc import Callable

import pytest

from deeptraffic.competition.config import CompetitionConfig, to_time
from deeptraffic.competition.sandbox import validation
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.store import competitions, evaluations, organise, queue
from deeptraffic.competition.store.competitions import membership
from deeptraffic.competition.store.submissions import cpu_seconds_today, get_submission, history
from deeptraffic.competition.web.submission_pages import MEANINGS
from deeptraffic.evaluation.loss_causes import CAUSES


@pytest.mark.usefixtures("quick_validation")
def test_a_file_submitted_on_the_page_is_scored_and_shown(world, browse: Callable) -> None:
    ada = world.person("Ada")
    browser = browse(ada)
    answer = browser.upload(b"policy ada", "../my net.safetensors")
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"]).text
    assert "place 1 in the queue" in page and "my net.safetensors" in page and ".." not in page
    world.work(world.fake_score(70.0))
    page = browser.get(answer.headers["location"]).text
    assert "Official score" in page and "out of 1" in page and "data-progress" not in page


@pytest.mark.usefixtures("quick_validation")
def test_a_refused_file_costs_nothing_and_says_what_to_do(world, browse: Callable) -> None:
    ada = world.person("Ada")
    answer = browse(ada).upload(b"\x80\x04 a pickle", "net.pkl")
    assert answer.status_code == 422
    assert "export one with deeptraffic export" in answer.text and "did not count" in answer.text
    assert history(world.db, world.competition.id, ada.id)[1] == 0


@pytest.mark.usefixtures("quick_validation")
def test_the_same_file_again_leads_to_the_first(world, browse: Callable) -> None:
    browser = browse(world.person("Ada"))
    first = browser.upload(b"policy").headers["location"]
    again = browser.upload(b"policy")
    assert again.status_code == 422 and f'href="{first}"' in again.text


@pytest.mark.usefixtures("quick_validation")
def test_no_file_and_too_large_a_file_are_refused_by_their_size(world, browse: Callable) -> None:
    competitions.change_config(world.db, world.competition.id, {"max_bytes": 1000}, "test")
    browser = browse(world.person("Ada"))
    assert "the upload has no file" in browser.upload(b"").text
    assert "at most 1,000" in browser.upload(b"policy" * 400).text


def test_a_late_entry_says_so_and_cannot_be_chosen(world, browse: Callable) -> None:
    ada = world.person("Ada")
    early = world.scored(ada, 60.0)
    world.clock.now += 3_600_000
    late = world.scored(ada, 70.0)
    browser = browse(ada)
    assert ">late<" not in browser.get("/c/lab/mine").text
    competitions.change_config(world.db, 1, {"closes_at": to_time(world.clock.now - 1_800_000)}, "test")
    page = browser.get("/c/lab/mine").text
    assert page.count(">late<") == 1 and f'value="{late.key}"' not in page
    assert "came after your deadline" in browser.get(f"/s/{late.key}").text
    assert "came after your deadline" not in browser.get(f"/s/{early.key}").text
    records = (browser.get(f"/api/v1/submissions/{one.key}").json() for one in (early, late))
    assert [record["late"] for record in records] == [False, True]


def test_progress_counts_runs(world, browse: Callable) -> None:
    ada = world.person("Ada")
    made = world.submit(ada)
    job = queue.lease(world.db, "worker")
    assert job is not None
    queue.renew(world.db, job, 7, 20)
    record = browse(ada).get(f"/api/v1/submissions/{made.key}").json()
    assert (record["state"], record["runs_done"], record["runs_total"], record["finished"]) == (
        "validating",
        7,
        20,
        False,
    )
    assert "7 of 20 runs" in browse(ada).get(f"/s/{made.key}").text


def test_history_shows_states_and_reasons(world, browse: Callable) -> None:
    ada = world.person("Ada")
    world.scored(ada, 70.0)
    refused = world.submit(ada)
    world.work(None)
    bad = world.scored(ada, 60.0, seed=1)
    organise.disqualify(world.db, bad.key, "test", "copied")
    text = browse(ada).get("/c/lab/mine").text
    assert "this is no policy file" in text and "disqualified" in text and "counts" in text
    assert "copied" in browse(ada).get(f"/s/{bad.key}").text
    assert "this is no policy file" in browse(ada).get(f"/s/{refused.key}").text


def test_a_choice_for_the_final_is_kept_until_it_begins(world, browse: Callable) -> None:
    ada = world.person("Ada")
    best, other = world.scored(ada, 70.0), world.scored(ada, 60.0, seed=1)
    browser = browse(ada)
    assert browser.fill("/c/lab/choose", page="/c/lab/mine", entry=other.key).status_code == 303
    assert get_submission(world.db, other.id).chosen
    browser.fill("/c/lab/choose", page="/c/lab/mine", entry="")
    assert membership(world.db, world.competition.id, ada.id).chosen_id is None
    assert not get_submission(world.db, best.id).chosen


def test_ones_own_file_comes_back(world, browse: Callable) -> None:
    ada, entry = world.person("Ada"), world.upload()
    made = world.submit(ada, entry)
    answer = browse(ada).get(f"/s/{made.key}/file")
    assert answer.content == entry.content
    assert answer.headers["content-disposition"].startswith("attachment")
    assert browse(world.organiser).get(f"/s/{made.key}/file").content == entry.content


@pytest.mark.parametrize("page", ["/c/lab/submit", "/c/lab/mine", "/me"])
def test_visitors_are_led_to_the_entrance(browse: Callable, page: str) -> None:
    assert browse().get(page).headers["location"] == "/enter"


@pytest.mark.parametrize("page", ["/c/lab/submit", "/c/lab/mine"])
def test_who_takes_no_part_finds_nothing(world, browse: Callable, page: str) -> None:
    other = competitions.create(world.db, "other", world.competition.config, "test")
    assert browse(world.person("Eve", other)).get(page).status_code == 404


def test_the_pages_command_names_the_competition(world, browse: Callable) -> None:
    competitions.create(world.db, "second", CompetitionConfig(), "test")
    browser = browse(world.person("Ada"))
    command = re.search(r"<pre[^>]*><code>(.*?)</code>", browser.get("/c/lab/submit").text, re.S)[1]
    assert command.endswith("--token TOKEN --competition lab") and f"--server {browser.origin} " in command


def test_the_quota_tells_the_processor_time_of_today(world, browse: Callable) -> None:
    ada = world.person("Ada")
    world.submit(ada)
    evaluations.refuse(world.db, queue.lease(world.db, "test"), "time", "too slow", cpu_seconds=41.6)
    assert "<dt>Processor time today</dt><dd>42 of 1,800 s</dd>" in browse(ada).get("/c/lab/submit").text


def test_progress_says_which_of_the_two_parts_it_is_in(world, browse: Callable) -> None:
    ada = world.person("Ada")
    made = world.submit(ada)
    browser, words = browse(ada), []
    for _ in range(2):
        words.append(browser.get(f"/api/v1/submissions/{made.key}").json()["words"])
        job = queue.lease(world.db, "test")
        queue.renew(world.db, job, 3, 20)
        words.append(browser.get(f"/api/v1/submissions/{made.key}").json()["words"])
        evaluations.complete(world.db, job, world.fake_score(70.0))
    assert words == [
        "Waiting for validation (part 1 of 2), place 1 in the queue.",
        "Part 1 of 2, validation: 3 of 20 runs done.",
        "Waiting for its official evaluation (part 2 of 2), place 1 in the queue.",
        "Part 2 of 2, official evaluation: 3 of 20 runs done.",
    ]


def test_what_a_refused_file_costs_is_charged_to_its_sender(world, browse: Callable, monkeypatch) -> None:
    def refuse(content: bytes, filename: str) -> None:
        error = InvalidSubmission("broken", "this is no policy file")
        error.cpu_seconds = 900.0
        raise error

    monkeypatch.setattr(validation, "validate", refuse)
    ada = world.person("Ada")
    own = browse(ada)
    for _ in range(2):
        assert "no policy file" in own.upload(b"x").text
    assert cpu_seconds_today(world.db, world.competition.id, ada.id) == 1800.0
    assert "1,800 s of processor time" in own.upload(b"x").text
    assert cpu_seconds_today(world.db, world.competition.id, ada.id) == 1800.0


def test_a_note_is_its_owners_escaped_and_limited(world, browse: Callable) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    made = world.scored(ada)
    browser, path = browse(ada), f"/s/{made.key}"
    assert browser.fill(f"{path}/note", path, note="<b>wider</b>\r\nsensor\u202e").status_code == 303
    assert get_submission(world.db, made.id).note == "<b>wider</b>\nsensor"
    for page in (path, "/c/lab/mine"):
        assert "&lt;b&gt;wider&lt;/b&gt;" in browser.get(page).text and "<b>wider" not in browser.get(page).text
    wrong = browser.fill(f"{path}/note", path, note="x" * 501)
    assert wrong.status_code == 422 and "at most 500 characters, got 501" in wrong.text
    assert browse(bob).fill(f"{path}/note", "/c/lab/mine", note="mine now").status_code in (403, 404)
    chief = browse(world.organiser)
    assert "wider" not in chief.get(path).text  # the organiser sees the submission, and no note
    assert chief.fill(f"{path}/note", "/organise/new", note="theirs").status_code == 422
    assert get_submission(world.db, made.id).note.startswith("<b>")
    assert "wider" not in browse().get(f"/e/{made.key}").text


@pytest.mark.usefixtures("quick_validation")
def test_a_script_uploads_with_a_note_and_reads_where_to_go(world, browse: Callable) -> None:
    ada = world.person("Ada")
    browser = browse(ada)
    data = {"form_token": browser.form_token("/c/lab/submit"), "note": "first try"}
    head = {"Origin": browser.origin, "Accept": "application/json"}
    send = {"data": data, "files": {"file": ("net.safetensors", b"policy")}, "headers": head}
    made = browser.post("/c/lab/submit", **send)
    assert made.status_code == 201 and "first try" in browser.get(made.json()["page"]).text
    again = browser.post("/c/lab/submit", **send)
    assert again.status_code == 409 and f"/s/{again.json()['error']['subject']}" == made.json()["page"]


def test_a_history_says_what_better_ranks_need(world, browse: Callable) -> None:
    ada = world.person("Ada")
    assert "What a better rank needs" not in browse(ada).get("/c/lab/mine").text
    for number, score in enumerate((72.0, 71.0, 70.0, 69.0)):
        world.scored(world.person(f"Driver {number}"), score)
    text = browse(ada).get("/c/lab/mine").text
    assert "Rank 4 needs more than" in text and "more than your best" not in text
    world.scored(ada, 70.5)
    board = browse().get("/c/lab/board.json").json()["rows"]
    above, own = board[1]["score"], board[2]["score"]
    text = browse(ada).get("/c/lab/mine").text
    assert f"Rank 2 needs more than {above:.2f} mph: {above - own:.2f} mph more than your best" in text
    assert 'class="drawing"' in text and text.count("<circle") == 1


def test_the_losses_of_a_submission_stand_beside_the_best_of_the_class(world, browse: Callable) -> None:
    def lose(share: float) -> dict:
        return {"causes": dict.fromkeys(CAUSES, 0.0) | {"boxed in by traffic": share}, "slow": [640, 1452]}

    for name, middle, share in (("Best", 74.0, 5.5), ("Ada", 68.0, 11.25)):
        made = world.submit(world.person(name))
        for _ in range(2):
            job = queue.lease(world.db, "test")
            evaluations.complete(world.db, job, world.fake_score(middle), losses=lose(share))
    assert set(MEANINGS) == set(CAUSES)
    text = browse(made.owner).get(f"/s/{made.key}").text
    assert "Boxed in by traffic" in text and ">11.25<" in text and ">5.50<" in text and "Changing lanes" not in text
    assert "below 60 mph for 812 frames, from frame 640" in text
    assert f"/e/{made.key}/replay?run=worst&amp;beside=median&amp;frame=520" in text
    assert "Where miles per hour were lost" not in browse().get(f"/e/{made.key}").text
    before = world.scored(made.owner, 60.0)  # a result without them
    assert "Where miles per hour were lost" not in browse(made.owner).get(f"/s/{before.key}").text


def test_a_page_says_when_the_score_is_expected(world, browse: Callable) -> None:
    ada = world.person("Ada")
    queue.report_worker(world.db, "one", "all", 0)
    made = world.submit(ada)
    assert "is expected" not in browse(ada).get(f"/s/{made.key}").text
    while job := queue.lease(world.db, "one"):
        world.clock.now += 40_000
        evaluations.complete(world.db, job, world.fake_score(70.0))
    later, browser = world.submit(ada), browse(ada)
    queue.report_worker(world.db, "one", "all", 0)
    assert "Its score is expected in about 2 min." in browser.get(f"/s/{later.key}").text
    assert browser.get(f"/api/v1/submissions/{later.key}").json()["expected_seconds"] == 80.0
    assert "<title>In the queue · a driver" in browser.get(f"/s/{later.key}").text
