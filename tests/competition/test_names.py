"""Display names and labels: one form, nothing invisible, no look-alikes, and no honest names refused."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeptraffic.competition.evaluation import idle_policy
from deeptraffic.competition.names import clean_name, skeleton, visible
from deeptraffic.competition.sandbox.validation import NO_LABEL, label_of, validate_unsandboxed
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.web.submission_pages import plain_name
from deeptraffic.policies.file import PolicyFile, policy_content


@pytest.mark.parametrize(
    "name",
    [
        *("Ana", "José Núñez", "李雷", "O'Neill-Smith", "محمد", "Team 🚗 7", "=cmd", "<b>x</b>"),
        *(
            "Софья Ковалевская",
            "Αρχιμήδης",
            "रामानुजन्",
            "김철수",
            "山田太郎 Taro",
            "ゆき",
            "Łukasz Żółć",
            "Đorđe",
            "Zoë",
        ),
    ],
)
def test_honest_names_stay_as_they_are(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "   ", "...", "🚗", "a" * 41),
        *("a\u202eb", "a\u200bb", "a\u2066b", "a\u0000b", "a\tb", "a\nb", "a\u00adb", "\ufeffa"),
        *("a\ud800", "a\ue000", "a" + "\u0301" * 3, "👩\u200d🚀 a"),
        *("\u3164", "Ada Lovelace\u3164", "Ada\u2800", "Ada\u115f", "Ada\uffa0", "Ada\u034f", "Ada\ufe0f", "Ada\u17b4"),
        *("\u13aada Lovelace", "АnА", "Νikos", "Ivan Иванов", "Ana Ω", "Օla", "ゆき김"),  # of two scripts
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
        ("Cape", "Саре"),  # Cyrillic, all of it
        ("OYKXEP", "ОУКХЕР"),
        ("HOMEP", "ΗΟΜΕΡ"),  # Greek
        ("Ada Lovelace", "Ada Lovel\u0251ce"),  # a letter of Latin that looks like another
        ("Bill", "B\u0269ll"),
        ("Paul", "Pau1"),
        ("Paul", "PauI"),
        ("Bob", "B0b"),
        ("Ana", "A n a"),
        ("Ana", "An-a."),
        ("Amelie", "Amélie"),
        ("modern", "modem"),
        ("vvill", "will"),
    ],
)
def test_names_that_look_alike_have_one_skeleton(name: str, other: str) -> None:
    assert skeleton(clean_name(name)) == skeleton(clean_name(other))


def test_numbered_teams_are_all_different() -> None:
    names = [f"Team {number}" for number in range(1000)]
    assert len({skeleton(name) for name in names}) == 1000


@pytest.mark.parametrize(
    ("name", "other"),
    [
        *(("Ana", "Anna"), ("Team A", "Team 4"), ("Ana 🚗", "Ana 🚕"), ("李", "雷")),
        *(("Nan", "Van"), ("Guy", "Gyy"), ("Иван", "Ивам"), ("Νίκος", "Νίκη")),
    ],
)
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


def test_what_nobody_sees_is_no_label() -> None:
    assert [visible(text) for text in ("\u3164", "\u2800 \ufeff", "a\u115fb", " net 7 ", "a\u202eb")] == [
        *("", "", "a b", "net 7", "a b")
    ]
    assert label_of("\u3164.js") == label_of("/x/\u2800.js") == plain_name("\u3164") == NO_LABEL
    content = policy_content(replace_label(idle_policy(), "\u3164\u2800"))
    assert validate_unsandboxed(content, "net.safetensors").label == NO_LABEL


def replace_label(policy_file: PolicyFile, label: str) -> PolicyFile:
    return PolicyFile(replace(policy_file.manifest, label=label), policy_file.network)
