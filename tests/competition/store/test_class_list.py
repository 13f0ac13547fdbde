"""Class lists: who may join, each contact once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deeptraffic.competition.store import accounts, class_list
from deeptraffic.competition.store.competitions import membership
from deeptraffic.competition.store.errors import RequestError


def test_a_list_is_read_from_lines_or_the_column_of_csv() -> None:
    assert class_list.read_contacts("\ufeffada@x.org\n\n ADA@x.org \nbo@x.org,Bo\n") == ["ada@x.org", "bo@x.org"]
    assert class_list.read_contacts("name,Contact\nAda,ada@x.org\nBo,bo@x.org\n") == ["ada@x.org", "bo@x.org"]
    assert class_list.read_contacts("") == []
    for text in ("contact,name\n,Bo", "x" * 201, f'"{"x" * 200_000}"', "\u200b"):
        with pytest.raises(RequestError):
            class_list.read_contacts(text)


def test_only_who_is_on_the_list_joins_and_each_contact_once(any_lab: Any) -> None:
    db = any_lab.db
    any_lab.change(joining="open")
    assert class_list.replace(db, 1, "ada@x.org\nbo@x.org", "Eve") == 2
    secret = accounts.new_invite(db, 1, "test")
    for contact in ("", "cy@x.org"):
        for join in (
            lambda c: accounts.join_by_invite(db, secret, "Cy", c),
            lambda c: accounts.join_open(db, 1, "Cy", c),
        ):
            with pytest.raises(RequestError) as found:
                join(contact)
            assert found.value.code == "class_list"
    ada, _ = accounts.join_by_invite(db, secret, "Ada", " Ada@X.org ")
    assert (ada.contact, class_list.count_free(db, 1)) == ("Ada@X.org", (2, 1))
    with pytest.raises(RequestError):
        accounts.join_open(db, 1, "Mallory", "ada@x.org")
    assert accounts.search_people(db, "Mallory") == ([], 0)  # nothing is left of a refused one

    def join(number: int) -> bool:
        try:
            accounts.join_open(db, 1, f"Bo {chr(97 + number)}", "bo@x.org")
        except RequestError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(join, range(4))) == [False, False, False, True]


def test_an_account_joins_with_its_own_contact_or_another(lab: Any) -> None:
    [(ada, _), (bo, _)] = accounts.import_people(lab.db, 1, "name,contact\nAda,ada@x.org\nBo,bo@x.org", "Eve")
    class_list.replace(lab.db, 1, "ada@x.org\nbo@uni.org\ncy@x.org", "Eve")
    assert [(one.contact, one.person_id) for one in class_list.contacts_of(lab.db, 1)] == [
        ("ada@x.org", ada.id),
        ("bo@uni.org", None),
        ("cy@x.org", None),
    ]
    other = lab.member("Dee") if not class_list.is_set(lab.db, 1) else None
    assert other is None and membership(lab.db, 1, bo.id) is not None  # the organiser's accounts are members anyway
    class_list.replace(lab.db, 1, "", "Eve")
    lab.member("Dee")
