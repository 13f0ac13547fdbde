"""Organiser's pages on the class, and who may open them: co-organisers those of their own competition alone."""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from deeptraffic.competition.config import CompetitionConfig, to_time
from deeptraffic.competition.store import accounts, audit, class_list, co_organisers, competitions, teams
from deeptraffic.competition.store.competitions import find_competition, membership
from deeptraffic.competition.store.submissions import same_networks
from tests.competition.web.conftest import make_upload

BASE = "/organise/c/lab"
HOUR = 3_600_000


@pytest.fixture
def organiser(world, browse: Callable) -> Any:
    return browse(world.organiser)


@pytest.fixture
def tutor(world, browse: Callable) -> Any:
    """A co-organiser of the competition, in a browser."""
    person = world.person("Tutor")
    co_organisers.add(world.db, world.competition.id, person.id, "test")
    return browse(person)


def test_a_form_makes_a_competition_with_the_checks_of_the_command(world, organiser) -> None:
    page = "/organise/new"
    assert 'type="datetime-local"' in organiser.get(page).text
    form = {
        "key": "spring",
        "title": "Spring",
        "rules": "2018",
        "joining": "open",
        "access": "contest",
        "others": "given",
    }
    form |= {
        "others_0": "yes",
        "others_3": "yes",
        "daily_limit": "3",
        "closes_at": "2027-01-31T23:59",
        "team_size": "3",
    }
    assert organiser.fill(page, **form).headers["location"].startswith("/organise/c/spring")
    config = find_competition(world.db, "spring").config
    assert (config.other_agents, config.closes_at, config.team_size) == ((0, 3), "2027-01-31T23:59:00Z", 3)
    for wrong, words in (
        ({"key": "spring"}, "exists already"),
        ({"opens_at": "2027-02-01T00:00"}, "is not after"),
        ({"opens_at": "tomorrow"}, "is not a time"),
        ({"daily_limit": "many"}, "must be an integer"),
        ({"daily_limit": "0"}, "daily_limit must be"),
        ({"rules": "2017"}, "other_agents"),
        ({"title": "  "}, "title must be"),
    ):
        answer = organiser.fill(page, **(form | {"key": "other"} | wrong))
        assert answer.status_code == 422 and words in answer.text, wrong
        assert (
            'value="3" min="0"' in answer.text or "many" in answer.text or "daily_limit" in wrong
        )  # what was typed stays


def test_another_deadline_is_shown_before_it_is_applied(world, organiser) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    world.scored(ada, 60.0)
    world.clock.now += HOUR
    world.scored(bob, 70.0)
    form = {"title": "Renamed", "closes_at": to_time(world.clock.now - HOUR // 2)[:19], "anonymous": ""}
    shown = organiser.fill(f"{BASE}/settings", page=BASE, **form)
    assert shown.status_code == 200 and "1 entry would become late" in shown.text and "Bob" in shown.text
    assert find_competition(world.db, "lab").config.closes is None
    sent = dict(
        part.split('" value="')
        for part in shown.text.split('type="hidden" name="')[1:]
        for part in [part.partition('">')[0]]
    )
    assert sent["title"] == "Renamed" and sent["sure"] == "yes"
    assert (
        organiser.fill(
            f"{BASE}/settings", page=BASE, **{k: v for k, v in sent.items() if k != "form_token"}
        ).status_code
        == 303
    )
    assert find_competition(world.db, "lab").config.title == "Renamed"
    assert [row["name"] for row in organiser.get("/c/lab/board.json").json()["rows"]] == ["Ada"]
    again = organiser.fill(f"{BASE}/settings", page=BASE, closes_at=form["closes_at"])  # unchanged: no preview
    assert again.status_code == 303


def test_an_extension_and_a_quota_of_ones_own(world, organiser, browse: Callable) -> None:
    ada = world.person("Ada")
    closes = world.clock.now + HOUR
    competitions.change_config(world.db, 1, {"closes_at": to_time(closes)}, "test")
    page = f"{BASE}/people/{ada.key}"
    form = {"person": ada.key, "closes_at": to_time(closes + HOUR)[:19], "daily_limit": "2", "total_limit": ""}
    assert organiser.fill(f"{BASE}/people/terms", page=page, **form).status_code == 303
    world.clock.now = closes + 1
    assert "for you" in browse(ada).get("/c/lab").text and "for you" not in browse().get("/c/lab").text
    world.submit(ada)
    assert "1 of 2" in browse(ada).get("/c/lab/submit").text
    assert membership(world.db, 1, ada.id).total_limit is None
    wrong = organiser.fill(f"{BASE}/people/terms", page=page, **(form | {"daily_limit": "-3"}))
    assert wrong.status_code == 422 and "must be an integer" in wrong.text


def test_a_class_list_restricts_joining(world, organiser, browse: Callable) -> None:
    page = f"{BASE}/class"
    assert organiser.fill(page, contacts="ada@x.org\nbob@x.org").status_code == 303
    path = f"/join/{accounts.new_invite(world.db, 1, 'test')}"
    stranger = browse()
    assert 'name="contact"' in stranger.get(path).text
    answer = stranger.fill(path, name="Mallory", contact="mallory@x.org")
    assert answer.status_code == 422 and "not on the competition" in answer.text
    assert stranger.fill(path, name="Ada", contact="ADA@x.org").status_code == 303
    assert "2 contacts, 1 of them joined" in organiser.get(page).text
    file = {"file": ("class.csv", "name,contact\nAda,ada@x.org\nZoë,zoe@x.org\n".encode())}
    organiser.fill(page, files=file)
    assert [one.contact for one in class_list.contacts_of(world.db, 1)] == ["ada@x.org", "zoe@x.org"]
    for _ in range(25):  # guesses are limited like wrong tokens
        last = browse().fill(path, name="Guess", contact="guess@x.org").status_code
    assert last == 429


def test_teams_are_founded_joined_and_changed_by_the_organiser(world, organiser, browse: Callable) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    own = browse(ada)
    assert own.get("/c/lab/team").status_code == 404
    competitions.change_config(world.db, 1, {"team_size": 2}, "test")
    page = "/c/lab/team"
    assert own.fill(f"{page}/found", page=page, name="<b>Pair</b>").status_code == 303
    [pair] = teams.teams_of(world.db, 1)
    other = browse(bob)
    assert other.fill(f"{page}/join", page=page, code="wrong").status_code == 422
    assert pair.team.code not in other.get(page).text
    assert other.fill(f"{page}/join", page=page, code=pair.team.code).status_code == 303
    assert "&lt;b&gt;Pair" in other.get(page).text and pair.team.code in other.get(page).text
    made = world.scored(ada)
    assert "&lt;b&gt;Pair" in browse().get(f"/e/{made.key}").text and "&lt;b&gt;Pair" in browse().get("/c/lab").text
    assert own.fill(f"{page}/leave", page="/me").status_code == 422
    for browser, form_page in ((browse(), "/enter"), (organiser, "/me")):  # no members
        assert browser.fill(f"{page}/join", page=form_page).status_code in (401, 404)
    form = {"person": ada.key, "team": ""}
    assert organiser.fill(f"{BASE}/people/team", page=f"{BASE}/people/{ada.key}", **form).status_code == 303
    assert "Ada" in browse().get("/c/lab").text and "&lt;b&gt;Pair" in organiser.get(f"{BASE}/class").text


def test_the_grade_sheet_is_downloaded_and_logged(world, organiser) -> None:
    [(ada, _)] = accounts.import_people(world.db, 1, "name,contact\nAda,=HYPERLINK(1)", "test")
    world.scored(ada, 70.0)
    assert "=HYPERLINK(1)" in organiser.get(f"{BASE}/grades").text
    answer = organiser.fill(f"{BASE}/grades", page=f"{BASE}/grades")
    [row] = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert (row["contact"], row["name"], row["rank"], row["entries"]) == ("'=HYPERLINK(1)", "Ada", "1", "1")
    assert audit.entries(world.db, limit=1)[0].action == "grades"


def test_the_same_network_is_shown_to_organisers_alone(world, organiser, browse: Callable) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    first = world.scored(ada, upload=make_upload(network="a" * 64, label="mine"))
    second = world.scored(bob, upload=make_upload(network="a" * 64, label="not mine"))
    shown = organiser.get(f"{BASE}/submissions").text
    assert "handed in again" in shown and "another person&#39;s" in shown.replace(
        "another person's", "another person&#39;s"
    )
    assert "same network" in organiser.get(f"{BASE}/log").text and len(same_networks(world.db, 1)) == 1
    for browser in (browse(bob), browse(ada), browse()):
        for path in (
            "/c/lab",
            "/c/lab/mine",
            f"/s/{second.key}",
            f"/e/{first.key}",
            "/c/lab/board.json",
            "/c/lab/rules",
        ):
            assert "same network" not in browser.get(path).text.casefold() and "a" * 64 not in browser.get(path).text


def test_a_persons_data_are_removed_once_the_name_is_typed(world, organiser, browse: Callable) -> None:
    ada = world.person("Ada Quirk")
    made = world.driven(ada)
    world.scored(world.person("Bob"), 50.0)
    assert browse().get(f"/e/{made.key}/track/best").status_code == 200
    assert list((world.folder / "tracks").iterdir())
    page = f"{BASE}/people/{ada.key}/remove"
    assert "1 entry" in organiser.get(page).text
    assert organiser.fill(f"{BASE}/people/remove", page=page, person=ada.key, name="Ada").status_code == 422
    inside = browse(ada)
    assert organiser.fill(f"{BASE}/people/remove", page=page, person=ada.key, name="Ada Quirk").status_code == 303
    assert inside.get("/me").status_code == 303 and browse().get(f"/e/{made.key}").status_code == 404
    assert list((world.folder / "tracks").iterdir()) == []
    assert [row["rank"] for row in browse().get("/c/lab/board.json").json()["rows"]] == [1]
    for path in (f"{BASE}/people", f"{BASE}/log", f"{BASE}/grades", "/c/lab", "/organise"):
        assert "Quirk" not in organiser.get(path).text, path


# --- who may open what ----------------------------------------------------------------------------------------------


def test_co_organisers_are_added_and_removed_and_act_under_their_names(world, organiser, browse: Callable) -> None:
    shown = organiser.fill(f"{BASE}/co-organisers/new", page=BASE, name="Tutor").text
    link = shown.partition('<pre tabindex="0" id="link"><code>')[2].partition("<")[0]
    tutor = browse()
    secret = link.rpartition("/")[2]
    assert (
        tutor.fill("/enter", page=link.removeprefix(organiser.origin), secret=secret).headers["location"] == "/organise"
    )
    assert "Deep Traffic at the lab" in tutor.get("/organise").text
    tutor.fill(f"{BASE}/pause", page=BASE, reason="lunch")
    assert audit.entries(world.db, limit=1)[0].actor == "Tutor"
    [person] = co_organisers.of_competition(world.db, 1)
    assert organiser.fill(f"{BASE}/co-organisers/remove", page=BASE, person=person.key).status_code == 303
    assert tutor.get(BASE).status_code == 404 and tutor.get("/organise").status_code == 404
    ada = world.person("Ada")
    assert organiser.fill(f"{BASE}/co-organisers/add", page=BASE, person=ada.key).status_code == 303
    assert browse(ada).get(BASE).status_code == 200
    assert organiser.fill(f"{BASE}/co-organisers/add", page=BASE, person=ada.key).status_code == 422


def test_a_co_organiser_opens_nothing_of_another_competition(world, tutor, browse: Callable, routes) -> None:
    other = competitions.create(world.db, "other", CompetitionConfig(title="The Other"), "test")
    eve = world.person("Eve", other)
    made = world.scored(world.person("Ada"))
    with world.db.write() as session:
        audit.note(session, world.db, "The Organiser", "block", subject="Somebody Elsewhere")
    assert "The Other" not in tutor.get("/organise").text
    assert "Somebody Elsewhere" not in tutor.get("/organise").text + tutor.get(f"{BASE}/log").text
    assert "Eve" not in tutor.get(f"{BASE}/people").text
    pages = [(method, path.replace("/c/lab", "/c/other").replace("{person}", eve.key)) for method, path in routes]
    pages = [(method, path) for method, path in pages if path.startswith("/organise/")]
    assert len(pages) >= 25
    for method, path in pages:  # every one, those of one's own keys too
        fields = {"person": eve.key, "entry": made.key, "name": "Eve", "sure": "yes"}
        answer = tutor.get(path) if method == "GET" else tutor.fill(path, page=BASE, **fields)
        assert answer.status_code == 404, (method, path)


def test_keys_of_elsewhere_are_no_keys_on_ones_own_pages(world, tutor) -> None:
    other = competitions.create(world.db, "other", CompetitionConfig(), "test")
    eve, both = world.person("Eve", other), world.person("Both")
    with world.db.write() as session:
        competitions.join(session, world.db, other.id, both.id)
    for person in (eve, world.organiser):
        assert tutor.get(f"{BASE}/people/{person.key}").status_code == 404
    acts = ("link", "block", "unblock", "disqualify", "requalify", "terms", "team", "remove")
    for act in acts:
        for person in (eve, world.organiser):
            answer = tutor.fill(f"{BASE}/people/{act}", page=BASE, person=person.key, reason="x", name=person.name)
            assert answer.status_code == 404, (act, person.name)
    for act in ("link", "block", "remove"):  # a member of both: the account is not theirs to open
        assert tutor.fill(f"{BASE}/people/{act}", page=BASE, person=both.key, name="Both").status_code == 404
    assert tutor.fill(f"{BASE}/people/disqualify", page=BASE, person=both.key, reason="copied").status_code == 303
    for act in ("new", "add", "remove"):  # the organiser of the server alone
        assert tutor.fill(f"{BASE}/co-organisers/{act}", page=BASE, person=both.key, name="Mate").status_code == 404
    assert tutor.get("/organise/new").status_code == 404


def test_no_organisers_form_works_without_its_token_or_from_elsewhere(world, tutor, organiser, routes) -> None:
    posts = [path for method, path in routes if method == "POST" and (path.startswith("/organise") or "/team" in path)]
    assert len(posts) >= 19
    for browser in (organiser, tutor):
        token = browser.form_token(BASE)
        for path in posts:
            own = {"Origin": browser.origin}
            assert browser.post(path, data={"form_token": "0" * 64}, headers=own).status_code == 403, path
            foreign = {"Origin": "https://evil.example"}
            assert browser.post(path, data={"form_token": token}, headers=foreign).status_code == 403, path
