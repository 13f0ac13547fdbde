"""Coming in and leaving."""

from collections.abc import Callable

import pytest

from deeptraffic.competition.store import accounts, competitions
from deeptraffic.competition.store.competitions import membership


@pytest.fixture
def invite(world) -> str:
    return accounts.new_invite(world.db, world.competition.id, "test")


def test_an_invitation_makes_an_account_that_stays_in_the_browser(world, browse: Callable, invite: str) -> None:
    browser = browse()
    assert "Join Deep Traffic at the lab" in browser.get(f"/join/{invite}").text
    answer = browser.fill(f"/join/{invite}", name="Ada Lovelace")
    assert answer.headers["location"] == "/c/lab?note=joined"
    cookie = next(line for line in answer.headers.get_list("set-cookie") if "session" in line)
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
    assert "Ada Lovelace" in browser.get("/me").text
    assert browser.get("/c/lab/submit").status_code == 200


def test_looking_at_an_invitation_or_link_uses_nothing_up(world, browse: Callable) -> None:
    once = accounts.new_invite(world.db, world.competition.id, "test", uses=1)
    link = accounts.new_link(world.db, world.person("Ada").id, "test")
    browser = browse()
    for _ in range(3):
        assert browser.get(f"/join/{once}").status_code == 200
        assert browser.get(f"/link/{link}").status_code == 200
    assert browser.fill(f"/join/{once}", name="Bob").status_code == 303
    assert browse().get(f"/join/{once}").status_code == 404


def test_a_one_time_link_works_once_and_an_organisers_leads_to_the_organisers_pages(world, browse: Callable) -> None:
    for person, target in ((world.person("Ada"), "/me"), (world.organiser, "/organise")):
        link = accounts.new_link(world.db, person.id, "test")
        browser = browse()
        assert person.name in browser.get(f"/link/{link}").text
        assert browser.fill("/enter", page=f"/link/{link}", secret=link).headers["location"] == target
        assert browser.get(target).status_code == 200
        again = browse().fill("/enter", secret=link)
        assert again.status_code == 422 and "invalid" in again.text


@pytest.mark.parametrize("around", ["{}", "https://x.org/link/{}", " http://x/link/{}/ "])
def test_the_entrance_takes_a_link_or_the_token_at_its_end(world, browse: Callable, around: str) -> None:
    link = accounts.new_link(world.db, world.person("Ada").id, "test")
    assert browse().fill("/enter", secret=around.format(link)).headers["location"] == "/me"


def test_an_invitation_at_the_entrance_leads_to_its_page(browse: Callable, invite: str) -> None:
    assert browse().fill("/enter", secret=invite).headers["location"] == f"/join/{invite}"


def test_who_has_an_account_joins_with_it(world, browse: Callable, invite: str) -> None:
    other = competitions.create(world.db, "other", world.competition.config, "test")
    ada = world.person("Ada", other)
    assert browse(ada).fill(f"/join/{invite}").status_code == 303
    assert membership(world.db, world.competition.id, ada.id) is not None


def test_an_open_competition_needs_no_invitation(world, browse: Callable) -> None:
    assert browse().get("/c/lab/join").status_code == 422
    competitions.change_config(world.db, world.competition.id, {"joining": "open"}, "test")
    browser = browse()
    assert 'href="/c/lab/join"' in browser.get("/c/lab").text
    assert browser.fill("/c/lab/join", name="Ada").status_code == 303
    assert "Ada" in browser.get("/me").text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "must have 1 to 40 characters"),
        ("x" * 41, "must have 1 to 40 characters"),
        ("Ada\u202eecalevoL", "invisible"),
        ("Ada\u200bLovelace", "invisible"),
        ("Ada\x00", "invisible"),
        ("ADA LOVELACE", "is taken"),
        ("Ad\u0430 Lovelace", "mixes letters of scripts, Cyrillic and Latin"),
        ("Ada Lovel\u0251ce", "is taken"),
        ("<script>alert(1)</script>" * 2, "must have 1 to 40 characters"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(world, browse, invite: str, name: str, words: str) -> None:
    world.person("Ada Lovelace")
    browser = browse()
    answer = browser.fill(f"/join/{invite}", name=name)
    assert answer.status_code == 422 and words in answer.text
    assert browser.get("/me").status_code == 303
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize(
    "name", ["🚗 vroom", "محمد علي", "<script>alert(1)</script>", "'; DROP TABLE people; --", "{{ 7*7 }}"]
)
def test_an_odd_name_is_shown_as_it_is_and_does_nothing(world, browse: Callable, invite: str, name: str) -> None:
    import html

    browser = browse()
    assert browser.fill(f"/join/{invite}", name=name).status_code == 303
    text = browser.get("/me").text
    assert f"<bdi>{html.escape(name)}</bdi>" in text.replace("&#x27;", "&#x27;").replace("&#39;", "&#x27;")
    assert "<script>alert" not in text


def test_a_new_name_is_on_the_board_at_once(world, browse: Callable) -> None:
    ada = world.person("Ada")
    world.scored(ada)
    browser = browse(ada)
    assert browser.fill("/me/name", page="/me", name="Countess").status_code == 303
    assert "Countess" in browse().get("/c/lab").text
    assert browser.fill("/me/name", page="/me", name="\u200b").status_code == 422


def test_a_token_is_shown_once_submits_and_can_be_revoked(world, browse: Callable) -> None:
    ada = world.person("Ada")
    browser = browse(ada)
    shown = browser.fill("/me/token", page="/me", note="laptop").text
    token = shown.partition('<pre tabindex="0" id="secret"><code>')[2].partition("<")[0]
    assert accounts.person_of(world.db, token, "submit")[0] == ada
    page = browser.get("/me").text
    assert "laptop" in page and token not in page
    key = accounts.tokens_of(world.db, ada.id, "submit")[0].key
    browse(world.person("Eve")).fill("/me/revoke", page="/me", token=key)
    assert accounts.tokens_of(world.db, ada.id, "submit") != []
    browser.fill("/me/revoke", page="/me", token=key)
    assert accounts.tokens_of(world.db, ada.id, "submit") == []


def test_a_link_for_another_browser_opens_the_same_account(world, browse: Callable) -> None:
    ada = world.person("Ada")
    shown = browse(ada).fill("/me/link", page="/me").text
    link = shown.partition('<pre tabindex="0" id="secret"><code>')[2].partition("<")[0]
    other = browse()
    assert link.startswith(other.origin)
    other.fill("/enter", secret=link)
    assert "Ada" in other.get("/me").text


def test_who_leaves_has_no_session_any_more(world, browse: Callable) -> None:
    browser = browse(world.person("Ada"))
    session = browser.cookies["deeptraffic-session"]
    assert browser.fill("/leave", page="/me").status_code == 303
    assert browser.get("/me").status_code == 303
    thief = browse()
    thief.cookies.set("deeptraffic-session", session)
    assert thief.get("/me").status_code == 303


def test_a_new_session_ends_the_one_before_it_in_this_browser(world, browse: Callable) -> None:
    browser = browse(world.person("Ada"))
    before = browser.cookies["deeptraffic-session"]
    link = accounts.new_link(world.db, world.person("Bob").id, "test")
    assert browser.fill("/enter", page=f"/link/{link}", secret=link).status_code == 303
    assert "Bob" in browser.get("/me").text
    with pytest.raises(ValueError, match="invalid"):
        accounts.person_of(world.db, before, "session")


def test_behind_https_cookies_are_secure_and_belong_to_the_host_alone(world, browse: Callable, invite: str) -> None:
    browser = browse(public_url="https://traffic.example.org")
    page = browser.get(f"/join/{invite}")
    visitor = page.headers["set-cookie"]
    assert visitor.startswith("__Host-visitor=") and "Secure" in visitor
    token = page.text.partition('name="form_token" value="')[2].partition('"')[0]
    headers = {"Origin": "https://traffic.example.org", "Cookie": visitor.partition(";")[0]}
    answer = browser.post(f"/join/{invite}", data={"form_token": token, "name": "Ada"}, headers=headers)
    session = next(line for line in answer.headers.get_list("set-cookie") if "session" in line)
    assert session.startswith("__Host-session=") and all(word in session for word in ("Secure", "HttpOnly", "SameSite"))
