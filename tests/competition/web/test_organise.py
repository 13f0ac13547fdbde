"""The organiser's pages."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from deeptraffic.competition.store import accounts, audit, finals, organise
from deeptraffic.competition.store.competitions import find_competition
from deeptraffic.competition.store.submissions import get_submission

BASE = "/organise/c/lab"


@pytest.fixture
def organiser(world, browse: Callable) -> Any:
    return browse(world.organiser)


def acts(world) -> list[str]:
    return [entry.action for entry in audit.entries(world.db)]


def test_a_competition_is_made_from_a_config_files_text(world, organiser) -> None:
    text = 'title = "Spring"\nother_agents = [0, 3]\ndaily_limit = 3\ncloses_at = "2027-01-31T23:59:59Z"'
    assert organiser.fill("/organise/new", page="/organise/new", key="spring", config=text).status_code == 303
    config = find_competition(world.db, "spring").config
    assert (config.title, config.other_agents, config.daily_limit) == ("Spring", (0, 3), 3)
    assert organiser.fill("/organise/new", page="/organise/new", key="json", config='{"title": "J"}').status_code == 303
    seeds = ", ".join(str(3_000_000_000 + k) for k in range(10))
    own = f'title = "Own seeds"\nfinal_runs = 10\nprivate_seeds = [{seeds}]'
    assert organiser.fill("/organise/new", page="/organise/new", key="own", config=own).status_code == 303
    shown = "".join(
        organiser.get(address).text for address in ("/c/own/rules", "/organise/c/own", "/organise/c/own/log")
    )
    assert "3000000003" not in shown
    for key, config, words in (
        ("new", "private_seeds = [1, 1]", "private seeds"),
        ("new", 'private_seeds = ["a", 3]', "must be a list of integers"),
        ("new", "private_seeds = 9", "must be a list of integers"),
        ("spring", 'title = "X"', "already"),
        ("../x", 'title = "X"', "not a valid name in URLs"),
        ("new", "title = ", "cannot be parsed"),
        ("new", "tile = 3", "there is no setting tile"),
        ("new", "daily_limit = 0", "daily_limit must be an integer"),
        ("new", '{"a":' * 5000, "nested"),
    ):
        answer = organiser.fill("/organise/new", page="/organise/new", key=key, config=config)
        assert answer.status_code == 422 and words in answer.text, config


def test_dates_and_limits_are_changed(world, organiser) -> None:
    form = {"title": "New", "daily_limit": "3", "closes_at": "2026-12-31T00:00:00Z", "anonymous": "yes"}
    assert organiser.fill(f"{BASE}/settings", page=BASE, **form).status_code == 303
    config = find_competition(world.db, "lab").config
    assert (config.title, config.daily_limit, config.anonymous) == ("New", 3, True)
    assert organiser.fill(f"{BASE}/settings", page=BASE, daily_limit="none").status_code == 422
    assert "change" in acts(world)


def test_pause_keeps_submissions_out_until_resumed(world, organiser) -> None:
    ada = world.person("Ada")
    organiser.fill(f"{BASE}/pause", page=BASE, reason="Back at noon.")
    with pytest.raises(ValueError, match="Back at noon"):
        world.submit(ada)
    assert "Back at noon." in organiser.get("/c/lab").text
    organiser.fill(f"{BASE}/resume", page=BASE)
    world.submit(ada)
    assert {"pause", "resume"} <= set(acts(world))


def test_an_invitation_is_shown_once_and_can_be_revoked(world, organiser, browse: Callable) -> None:
    shown = organiser.fill(f"{BASE}/invite", page=BASE, note="Monday", uses="2").text
    link = shown.partition('<pre tabindex="0" id="invite"><code>')[2].partition("<")[0]
    path = link.removeprefix(organiser.origin)
    assert browse().get(path).status_code == 200
    assert path not in organiser.get(BASE).text and "Monday" in organiser.get(BASE).text
    [token] = accounts.invites_of(world.db, world.competition.id)
    organiser.fill(f"{BASE}/revoke", page=BASE, token=token.key)
    assert browse().get(path).status_code == 404
    assert organiser.fill(f"{BASE}/invite", page=BASE, uses="many").status_code == 422


def test_accounts_come_from_csv_each_with_a_link(world, organiser, browse: Callable) -> None:
    people = f"{BASE}/people"
    shown = organiser.fill(f"{people}/import", page=people, csv="name,contact\nAda,ada@x.org\nGrace,=1+1\n").text
    assert "2 one-time links" in shown and "=1+1" in shown
    links = [word.partition("<")[0].strip() for word in shown.split("/link/")[1:]]
    assert browse().fill("/enter", secret=links[0].split("\r")[0].split("\n")[0]).headers["location"] == "/me"
    wrong = organiser.fill(f"{people}/import", page=people, csv="name\nEve\nAda\n")
    assert wrong.status_code == 422 and "line 3" in wrong.text
    assert accounts.search_people(world.db, "Eve")[1] == 0
    file = {"file": ("class.csv", "\ufeffname\nÉmilie\n".encode())}
    assert "Émilie" in organiser.fill(f"{people}/import", page=people, files=file).text


def test_people_are_found_given_links_closed_and_disqualified(world, organiser, browse: Callable) -> None:
    ada = world.person("Ada")
    world.scored(ada)
    people = f"{BASE}/people"
    assert "Ada" in organiser.get(f"{people}?q=ad").text
    shown = organiser.fill(f"{people}/link", page=people, person=ada.key).text
    assert "1 one-time link" in shown
    organiser.fill(f"{people}/disqualify", page=people, person=ada.key, reason="two accounts")
    assert organiser.get("/c/lab/board.json").json()["rows"] == []
    organiser.fill(f"{people}/requalify", page=people, person=ada.key)
    assert len(organiser.get("/c/lab/board.json").json()["rows"]) == 1
    inside = browse(ada)
    organiser.fill(f"{people}/block", page=people, person=ada.key, reason="left the course")
    assert inside.get("/me").status_code == 303
    organiser.fill(f"{people}/unblock", page=people, person=ada.key)
    assert organiser.fill(f"{people}/disqualify", page=people, person=ada.key).status_code == 422
    assert organiser.fill(f"{people}/promote", page=people, person=ada.key).status_code == 404


def test_a_submission_is_disqualified_with_a_reason_and_taken_back(world, organiser) -> None:
    made, page = world.scored(world.person("Ada")), f"{BASE}/submissions"
    assert "Ada" in organiser.get(page).text
    assert organiser.fill(f"{page}/disqualify", page=page, entry=made.key).status_code == 422
    organiser.fill(f"{page}/disqualify", page=page, entry=made.key, reason="copied")
    assert get_submission(world.db, made.id).disqualified_reason == "copied"
    organiser.fill(f"{page}/requalify", page=page, entry=made.key)
    assert get_submission(world.db, made.id).disqualified_at is None


def test_a_reevaluation_is_seen_before_it_is_applied(world, organiser) -> None:
    ada = world.person("Ada")
    made, page = world.scored(ada, 70.0), f"{BASE}/reevaluate"
    assert organiser.fill(f"{page}/begin", page=page).status_code == 422
    organiser.fill(f"{page}/begin", page=page, all="yes")
    assert "disabled" in organiser.get(page).text
    world.work(world.fake_score(60.0))
    shown = organiser.get(page).text
    assert "1 score would change" in shown and f"{made.score:.2f}" in shown
    assert get_submission(world.db, made.id).score == made.score
    [batch] = organise.open_reevaluations(world.db, world.competition.id)
    assert organiser.fill(f"{page}/apply", page=page, batch="other").status_code == 404
    organiser.fill(f"{page}/apply", page=page, batch=batch)
    after = get_submission(world.db, made.id)
    assert after.score < 65 and after.replaced.score == made.score
    organiser.fill(f"{page}/begin", page=page, entries=made.key)
    [batch] = organise.open_reevaluations(world.db, world.competition.id)
    organiser.fill(f"{page}/discard", page=page, batch=batch)
    assert organise.open_reevaluations(world.db, world.competition.id) == []


def test_the_final_is_hidden_on_every_route_until_it_is_revealed(world, organiser, browse: Callable) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    made = [world.scored(ada, 70.0), world.scored(bob, 60.0)]
    page = f"{BASE}/final"
    assert "2 entries would be evaluated" in organiser.get(page).text
    assert organiser.fill(f"{page}/begin", page=page).status_code == 422
    organiser.fill(f"{page}/begin", page=page, sure="yes")
    for middle in (41.0, 45.0):
        world.work(world.fake_score(middle, runs=1000), at_most=1)
    hidden = finals.hidden_board(world.db, world.competition.id, "test")
    secrets = [f"{row.score:.2f}" for row in hidden.rows]
    assert len(secrets) == 2
    routes = [
        "/c/lab",
        "/c/lab?board=final",
        "/c/lab/board.json",
        "/c/lab/board.csv",
        "/c/lab/figures.json",
        "/c/lab/mine",
    ]
    routes += [
        "/c/lab/figures.csv",
        "/api/v1/competitions/lab/board",
        "/api/v1/competitions/lab/submissions",
        "/me",
        "/c/lab/rules",
    ]
    for one in made:
        routes += [f"/e/{one.key}", f"/e/{one.key}/replay", f"/e/{one.key}/track/best", f"/s/{one.key}"]
        routes += [f"/api/v1/submissions/{one.key}"]
    assert [row["name"] for row in organiser.get("/c/lab/board.json").json()["rows"]] == ["Ada", "Bob"]
    for who in (browse(), browse(ada), organiser):
        for route in routes:
            text = who.get(route).text
            assert not any(secret in text for secret in secrets), route
    assert not any(secret in organiser.get(page).text for secret in secrets)
    looked = organiser.fill(f"{page}/look", page=page).text
    assert all(secret in looked for secret in secrets) and "preview final" in acts(world)
    assert browse(ada).fill(f"{page}/look", page="/me").status_code == 404
    organiser.fill(f"{page}/reveal", page=page, sure="yes")
    text = browse().get("/c/lab").text
    assert "Final ranking" in text and all(secret in text for secret in secrets)
    assert secrets[0] not in browse().get("/c/lab?board=public").text


def test_the_log_tells_who_did_what(world, organiser) -> None:
    organiser.fill(f"{BASE}/pause", page=BASE, reason="<b>noon</b>")
    text = organiser.get(f"{BASE}/log").text
    assert "The Organiser" in text and "&lt;b&gt;noon" in text
    assert organiser.get(f"{BASE}/log?before=1").status_code == 200


def test_an_export_is_a_zip_and_is_logged(world, organiser) -> None:
    world.scored(world.person("Ada"))
    answer = organiser.fill(f"{BASE}/export", page=BASE)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None and len(archive.namelist()) > 2
    assert "export" in acts(world)


def test_no_page_of_the_organisers_is_there_for_anybody_else(world, browse: Callable, routes) -> None:
    pages = [(method, address) for method, address in routes if address.startswith("/organise")]
    assert len(pages) >= 15
    for browser in (browse(world.person("Ada")), browse()):
        for method, address in pages:
            answer = browser.get(address) if method == "GET" else browser.fill(address, page="/enter")
            assert answer.status_code == 404, (method, address)


def test_a_search_with_special_characters_is_kept_from_page_to_page(organiser) -> None:
    people = f"{BASE}/people"
    organiser.fill(f"{people}/import", page=people, csv="name\n" + "".join(f"A & B {k}\n" for k in range(51)))
    shown = organiser.get(people, params={"q": "A & B"}).text
    assert f"{people}?q=A+%26+B&amp;page=2" in shown
