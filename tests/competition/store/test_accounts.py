"""Accounts and tokens: what opens which door, how often, and until when."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import URL, select

from deeptraffic.competition.models import AccessToken
from deeptraffic.competition.store import accounts, competitions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError

DAY = 86_400_000


def code_of(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(RequestError) as found:
        call(*arguments, **named)
    return found.value.code


def test_tokens_are_long_and_only_their_hashes_are_kept(lab: Any) -> None:
    secret = accounts.open_session(lab.db, lab.member("Ana").id)
    assert len(secret) == 43  # 256 bits in base 64
    with lab.db.read() as session:
        rows = session.scalars(select(AccessToken)).all()
    assert not any(secret in map(str, vars(row).values()) for row in rows)
    assert accounts.digest(secret) in {row.digest for row in rows}


def test_a_token_opens_only_doors_of_its_scope(lab: Any) -> None:
    ana = lab.member("Ana")
    session, submit = accounts.open_session(lab.db, ana.id), accounts.new_submit_token(lab.db, ana.id, "laptop")
    invite = accounts.new_invite(lab.db, lab.competition.id, "test")
    assert accounts.person_of(lab.db, session, "session")[0] == ana
    assert accounts.person_of(lab.db, submit, "submit")[1].note == "laptop"
    for secret in (submit, invite, "", "x" * 43, "\ud800"):
        assert code_of(accounts.person_of, lab.db, secret, "session") == "token"
    for secret in (session, submit):
        assert code_of(accounts.follow_link, lab.db, secret) == "token"
        assert code_of(accounts.join_by_invite, lab.db, secret, "Bo") == "token"


def test_a_token_ends_with_its_time(lab: Any) -> None:
    ana = lab.member("Ana")
    session = accounts.open_session(lab.db, ana.id, lifetime=1000)
    lab.times.append(lab.times[-1] + 999)
    accounts.person_of(lab.db, session, "session")
    lab.times.append(lab.times[-1] + 1)
    assert code_of(accounts.person_of, lab.db, session, "session") == "token"


def test_a_closed_or_revoked_token_is_worthless(lab: Any) -> None:
    ana, bo = lab.member("Ana"), lab.member("Bo")
    session, submit = accounts.open_session(lab.db, ana.id), accounts.new_submit_token(lab.db, ana.id)
    accounts.close_session(lab.db, session)
    assert code_of(accounts.person_of, lab.db, session, "session") == "token"
    key = accounts.tokens_of(lab.db, ana.id, "submit")[0].key
    accounts.revoke(lab.db, key, person_id=bo.id)  # not Bo's to revoke
    accounts.person_of(lab.db, submit, "submit")
    accounts.revoke(lab.db, key, person_id=ana.id)
    assert code_of(accounts.person_of, lab.db, submit, "submit") == "token"
    assert accounts.tokens_of(lab.db, ana.id, "submit") == []


def test_a_link_works_once_however_many_follow_it_together(any_lab: Any) -> None:
    ana = any_lab.member("Ana")
    secret = accounts.new_link(any_lab.db, ana.id, "test")
    assert accounts.look_at(any_lab.db, secret, "link").person_id == ana.id

    def follow(_: int) -> str:
        try:
            return accounts.follow_link(any_lab.db, secret)[0].name
        except RequestError as refused:
            return refused.code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(follow, range(8))) == ["Ana"] + ["token"] * 7


def test_of_two_who_found_a_link_valid_one_uses_it(
    postgres_url: Callable[[], URL], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Database(postgres_url()).migrate()
    secret, both_found, find = accounts.organiser_link(db, "test"), Barrier(2), accounts._find

    def find_together(*arguments: Any) -> Any:
        row = find(*arguments)
        both_found.wait(30)
        return row

    monkeypatch.setattr(accounts, "_find", find_together)

    def follow(_: int) -> str:
        try:
            return accounts.follow_link(db, secret)[0].name
        except RequestError as refused:
            return refused.code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(follow, range(2))) == ["Organiser", "token"]
    db.close()


def test_a_new_link_ends_the_one_before(lab: Any) -> None:
    first, second = (accounts.organiser_link(lab.db, "test") for _ in range(2))
    assert code_of(accounts.follow_link, lab.db, first) == "token"
    organiser, session = accounts.follow_link(lab.db, second)
    assert organiser.is_organiser and accounts.person_of(lab.db, session, "session")[0] == organiser
    third = accounts.organiser_link(lab.db, "test")
    assert accounts.follow_link(lab.db, third)[0].id == organiser.id


def test_an_invitation_lets_so_many_in(lab: Any) -> None:
    secret = accounts.new_invite(lab.db, lab.competition.id, "test", uses=2)
    ana, _ = accounts.join_by_invite(lab.db, secret, "Ana")
    assert code_of(accounts.join_by_invite, lab.db, secret, "A-n-a") == "name_taken"  # which uses nothing up
    accounts.join_by_invite(lab.db, secret, "Bo")
    assert code_of(accounts.join_by_invite, lab.db, secret, "Cy") == "token"
    assert competitions.membership(lab.db, lab.competition.id, ana.id) is not None
    assert competitions.count(lab.db, lab.competition.id)[0] == 2


def test_somebody_with_an_account_joins_another_competition_with_it(lab: Any) -> None:
    ana = lab.member("Ana")
    other = competitions.create(lab.db, "other", lab.competition.config, "test")
    secret = accounts.new_invite(lab.db, other.id, "test", uses=1)
    assert accounts.join_as(lab.db, secret, ana.id) == other.id
    found = competitions.competitions_of(lab.db, ana.id)
    assert sorted(one.id for one in found) == [lab.competition.id, other.id]
    mine = accounts.new_invite(lab.db, lab.competition.id, "test", uses=1)
    accounts.join_as(lab.db, mine, ana.id)  # a member already: the invitation is left for somebody else
    accounts.join_by_invite(lab.db, mine, "Bo")


def test_open_joining_is_the_organisers_choice(lab: Any) -> None:
    assert code_of(accounts.join_open, lab.db, lab.competition.id, "Ana") == "invite_needed"
    lab.change(joining="open")
    assert accounts.join_open(lab.db, lab.competition.id, "Ana")[0].name == "Ana"


def test_a_blocked_account_is_out_at_once_and_may_come_back(lab: Any) -> None:
    ana = lab.member("Ana")
    session, link = accounts.open_session(lab.db, ana.id), accounts.new_link(lab.db, ana.id, "test")
    accounts.block(lab.db, ana.id, "test", "left the course")
    assert code_of(accounts.person_of, lab.db, session, "session") == "token"
    assert code_of(accounts.follow_link, lab.db, link) == "token"
    assert code_of(accounts.follow_link, lab.db, accounts.new_link(lab.db, ana.id, "test")) == "blocked"
    accounts.unblock(lab.db, ana.id, "test")
    accounts.follow_link(lab.db, accounts.new_link(lab.db, ana.id, "test"))


def test_a_name_changes_unless_it_is_taken(lab: Any) -> None:
    ana, _ = lab.member("Ana"), lab.member("Bo")
    assert code_of(accounts.rename, lab.db, ana.id, "B0") == "name_taken"
    assert accounts.rename(lab.db, ana.id, "ANA").name == "ANA"
    assert accounts.find_person(lab.db, ana.key).name == "ANA"


def test_a_list_of_names_becomes_accounts_or_nothing(lab: Any) -> None:
    text = '\ufeffname,contact\nAna,ana@example.org\n"O\'Neill, Bo",\n'
    made = accounts.import_people(lab.db, lab.competition.id, text, "test")
    assert [(person.name, person.contact) for person, _ in made] == [("Ana", "ana@example.org"), ("O'Neill, Bo", "")]
    assert accounts.follow_link(lab.db, made[0][1])[0].name == "Ana"
    with pytest.raises(RequestError, match="line 3"):
        accounts.import_people(lab.db, lab.competition.id, "name\nCy\nana\n", "test")
    assert accounts.search_people(lab.db, "cy") == ([], 0)
    for wrong in ("", "who\nAna\n", "name\n"):
        assert code_of(accounts.import_people, lab.db, lab.competition.id, wrong, "test") == "accounts"


def test_search_takes_signs_as_they_are(lab: Any) -> None:
    for name in ("100%", "Ana_B", "Anna"):
        lab.member(name)
    found = {text: [p.name for p in accounts.search_people(lab.db, text)[0]] for text in ("%", "_", "AN", "' OR 1=1")}
    assert found == {"%": ["100%"], "_": ["Ana_B"], "AN": ["Ana_B", "Anna"], "' OR 1=1": []}
