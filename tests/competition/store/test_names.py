"""Display names: one form, nothing invisible, no look-alikes, and no honest names refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptraffic.competition.store.accounts import clean_name, skeleton
from deeptraffic.competition.store.errors import RequestError


@pytest.mark.parametrize(
    "name", ["Ana", "José Núñez", "李雷", "O'Neill-Smith", "محمد", "Team 🚗 7", "=cmd", "<b>x</b>"]
)
def test_honest_names_stay_as_they_are(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "   ", "...", "🚗", "a" * 41),
        *("a\u202eb", "a\u200bb", "a\u2066b", "a\u0000b", "a\tb", "a\nb", "a\u00adb", "\ufeffa"),
        *("a\ud800", "a\ue000", "a" + "\u0301" * 3, "👩\u200d🚀 a"),
    ],
)
def test_what_deceives_or_says_nothing_is_refused(name: str) -> None:
    with pytest.raises(RequestError) as found:
        clean_name(name)
    assert found.value.code == "name"


def test_forms_and_spaces_become_one() -> None:
    assert clean_name("  Ana   Li ") == "Ana Li"
    assert clean_name("Ame\u0301lie") == clean_name("Amélie")
    assert clean_name("ＡＢＣ") == "ABC"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Ana", "ana"),
        ("Ana", "АnА"),  # Cyrillic
        ("Paul", "Pau1"),
        ("Paul", "PauI"),
        ("Bob", "B0b"),
        ("Ana", "A n a"),
        ("Ana", "An-a."),
        ("Amelie", "Amélie"),
        ("modern", "modem"),
        ("vvill", "will"),
        ("Nikos", "Νikos"),  # Greek
    ],
)
def test_names_that_look_alike_have_one_skeleton(name: str, other: str) -> None:
    assert skeleton(clean_name(name)) == skeleton(clean_name(other))


def test_numbered_teams_are_all_different() -> None:
    names = [f"Team {number}" for number in range(1000)]
    assert len({skeleton(name) for name in names}) == 1000


@pytest.mark.parametrize(("name", "other"), [("Ana", "Anna"), ("Team A", "Team 4"), ("Ana 🚗", "Ana 🚕"), ("李", "雷")])
def test_different_names_stay_different(name: str, other: str) -> None:
    assert skeleton(clean_name(name)) != skeleton(clean_name(other))


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_a_clean_name_is_its_own_clean_name(text: str) -> None:
    try:
        name = clean_name(text)
    except RequestError:
        return
    assert clean_name(name) == name and skeleton(name) and len(skeleton(name)) <= 200
