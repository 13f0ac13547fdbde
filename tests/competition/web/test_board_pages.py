"""Pages that everybody may see."""

import csv
import io
import re
from collections.abc import Callable

import pytest

from deeptraffic.competition.config import CompetitionConfig, to_time
from deeptraffic.competition.store import accounts, competitions, finals, organise
from deeptraffic.competition.web.rendering import duration


def rows_of(text: str) -> list[str]:
    """The rows of a board's page as plain words."""
    body = text.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = [re.sub(r"<svg.*?</svg>|<[^>]+>", " ", row, flags=re.S) for row in body.split("<tr")[1:]]
    return [" ".join(row.partition(">")[2].split()) for row in rows]


def test_the_board_ranks_the_best_of_everybody_and_flags_baselines(world, browse: Callable) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    world.scored(ada, 60.0)
    world.scored(ada, 70.0, seed=1)
    world.scored(bob, 65.0)
    world.scored(world.person("idle", role="baseline"), 67.0)
    rows = rows_of(browse().get("/c/lab").text)
    assert [row.split()[:2] for row in rows] == [["1", "Ada"], ["–", "idle"], ["2", "Bob"]]
    assert "baseline" in rows[1]


def test_a_participant_reads_a_rank_out_of_all(world, browse: Callable) -> None:
    people = [world.person(f"Driver {letter}") for letter in "abcd"]
    for k, person in enumerate(people):
        world.scored(person, 70.0 - 3 * k)
    text = browse(people[2]).get("/c/lab").text
    assert re.search(r"<dd>3 <small>out of 4</small></dd>", text)
    assert 'class="mine' in text.replace("  ", " ")


def test_one_competition_is_the_start_page_and_several_are_listed(world, browse: Callable) -> None:
    assert browse().get("/").headers["location"] == "/c/lab"
    competitions.create(world.db, "spring", CompetitionConfig(title="Spring <b>"), "test")
    text = browse().get("/").text
    assert "Spring &lt;b&gt;" in text and 'href="/c/spring"' in text


def test_a_search_finds_names_and_says_when_there_is_none(world, browse: Callable) -> None:
    for name in ("Ada Lovelace", "Grace Hopper"):
        world.scored(world.person(name))
    browser = browse()
    assert [row.split()[1] for row in rows_of(browser.get("/c/lab?q=HOPPER").text)] == ["Grace"]
    assert "No result" in browser.get("/c/lab?q=nobody").text


def test_an_empty_board_says_so(browse: Callable) -> None:
    assert "No scores yet" in browse().get("/c/lab").text


def test_the_board_as_json_and_as_csv_holds_the_same(world, browse: Callable) -> None:
    world.scored(world.person("Ada"), 70.0, seed=1)
    world.scored(world.person("Bob"), 66.0, seed=2)
    browser = browse()
    record = browser.get("/c/lab/board.json").json()
    table = list(csv.DictReader(io.StringIO(browser.get("/c/lab/board.csv").text)))
    assert [row["name"] for row in record["rows"]] == [row["name"] for row in table] == ["Ada", "Bob"]
    assert float(table[0]["score"]) == record["rows"][0]["score"]
    assert record["ranked"] == 2
    assert "person" not in str(record)


def test_an_anonymous_board_names_nobody_on_any_page(world, browse: Callable) -> None:
    ada = world.person("Ada Lovelace")
    made = world.scored(ada, 70.0, world.upload(filename="adas-file.safetensors", label="Ada's net"))
    competitions.change_config(world.db, world.competition.id, {"anonymous": True}, "test")
    browser = browse()
    pages = ["", "/board.json", "/board.csv", "/figures", "/figures.json", "/figures.csv", "/rules"]
    for address in [*(f"/c/lab{page}" for page in pages), f"/e/{made.key}", f"/e/{made.key}/replay", "/"]:
        text = browser.get(address).text
        assert "Lovelace" not in text and "Ada" not in text and "adas" not in text, address
    assert "Driver " in browser.get("/c/lab").text


@pytest.mark.parametrize("page", ["", "0", "-1", "999999", "x", "1e9", "９", "99999999999999999999"])
def test_any_page_number_gives_a_page(world, browse: Callable, page: str) -> None:
    world.scored(world.person("Ada"))
    answer = browse().get("/c/lab", params={"page": page})
    assert answer.status_code == 200 and "Ada" in answer.text


def test_what_is_disqualified_leaves_board_and_figures(world, browse: Callable) -> None:
    made = world.scored(world.person("Ada"), 70.0)
    browser = browse()
    assert browser.get("/c/lab/figures.json").json()["columns"]["score"] != []
    organise.disqualify(world.db, made.key, "test", "not their own")
    assert browser.get("/c/lab/board.json").json()["rows"] == []
    assert browser.get("/c/lab/figures.json").json()["columns"]["score"] == []
    assert browser.get(f"/e/{made.key}").status_code == 404


def test_figures_say_which_points_are_the_viewers(world, browse: Callable) -> None:
    ada = world.person("Ada")
    world.scored(world.person("Bob"))
    world.scored(ada)
    assert browse().get("/c/lab/figures.json").json()["mine"] == []
    assert browse(ada).get("/c/lab/figures.json").json()["mine"] == [1]


def test_rules_show_the_settings(world, browse: Callable) -> None:
    competitions.change_config(world.db, world.competition.id, {"parameter_cap": 5000, "daily_limit": 7}, "test")
    text = browse().get("/c/lab/rules").text
    assert "at most 5,000" in text and "7 a day" in text and "0 to 10 other agents" in text


def test_static_files_are_kept_for_ever_and_pages_never(browse: Callable) -> None:
    browser = browse()
    page = browser.get("/c/lab")
    assert page.headers["cache-control"] == "no-store"
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        found = browser.get(address)
        assert found.status_code == 200 and "immutable" in found.headers["cache-control"], address


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/c/none", "/e/none", "/static/x/style.css", "/c"]
)
def test_where_nothing_is_a_page_says_so(browse: Callable, path: str) -> None:
    answer = browse().get(path)
    assert answer.status_code == 404 and "Page not found" in answer.text


def test_kept_texts_follow_every_change_of_the_board(world, browse: Callable) -> None:
    ada, browser = world.person("Ada"), browse()
    files = ("board.json", "board.csv", "figures.json", "figures.csv")
    seen: list[list[str]] = []
    for change in (
        lambda: world.scored(ada, 60.0),
        lambda: world.scored(ada, 70.0, seed=1),
        lambda: accounts.rename(world.db, ada.id, "Countess"),
    ):
        change()
        seen.append([browser.get(f"/c/lab/{file}").text for file in files])
        assert seen[-1] == [
            browser.get(f"/c/lab/{file}", headers={"Accept-Encoding": "identity"}).text for file in files
        ]
    assert all(seen[0][k] != seen[1][k] for k in range(4))
    assert "Countess" in seen[2][0] and "Countess" in seen[2][1] and "Ada" not in seen[2][0]


def test_the_interval_is_drawn_above_the_car_and_said(world, browse: Callable) -> None:
    world.scored(world.person("Ada"), 70.0)
    (lane,) = re.findall(r'<svg class="lane".*?</svg>', browse().get("/c/lab").text, re.S)
    (top, height), (below, _) = (
        re.search(rf'class="{name}"[^>]* y="([\d.]+)"[^>]* height="([\d.]+)"', lane).groups()
        for name in ("span", "body")
    )
    assert float(top) + float(height) < float(below), "the car covers the interval"
    assert re.search(r"</svg>\s*<span[^>]*>[\d.]+ to [\d.]+</span>", browse().get("/c/lab").text)


@pytest.mark.parametrize(
    ("closes", "final", "words"),
    [
        (90_061_000, False, r'closes <time.*?</time> <span class="tag" data-left="90061000">1 d 1 h left</span>'),
        (-1000, False, r"closed <time"),
        (-1000, True, r"closed <time"),
        (90_000_000, True, None),  # the final was begun before: no date to say
    ],
)
def test_a_date_is_closed_once_it_is_past(world, browse: Callable, closes: int, final: bool, words: str | None) -> None:
    world.scored(world.person("Ada"), 70.0)
    change = {"closes_at": to_time(world.clock.now + closes)}
    competitions.change_config(world.db, world.competition.id, change, "test")
    if final:
        finals.begin(world.db, world.competition.id, "test")
    heading = browse().get("/c/lab").text.partition("</h1>")[2].partition("</p>")[0]
    assert ("clos" not in heading.lower().replace("closed</span>", "")) if words is None else re.search(words, heading)


def test_durations_are_said_in_their_two_largest_units() -> None:
    said = [duration(1000 * seconds) for seconds in (0, 59, 61, 7200, 90_061, 200_000)]
    assert said == ["0 s", "59 s", "1 min 1 s", "2 h 0 min", "1 d 1 h", "2 d 7 h"]


def test_a_browser_loads_a_file_again_only_when_it_has_changed(world, browse: Callable) -> None:
    ada = world.person("Ada")
    world.scored(ada, 60.0)
    browser = browse()
    for path in ("/c/lab/board.json", "/c/lab/figures.json", "/c/lab/figures.csv", "/api/v1/competitions/lab/board"):
        first = browser.get(path)
        again = browser.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"") and first.headers["cache-control"].endswith("no-cache")
    world.scored(ada, 70.0)
    assert browser.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_what_many_see_alike_is_kept_and_never_shown_to_the_wrong_user(world, browse: Callable) -> None:
    ada, bob = world.person("Ada"), world.person("Bob")
    world.driven(ada)
    world.scored(bob, 60.0)
    for _ in range(2):
        assert browse().get("/c/lab").text.count(">you<") == 0
        mine = browse(ada).get("/c/lab").text
        assert mine.count(">you<") == 1 and mine.index("<bdi>Ada</bdi></a>") < mine.index(">you<") < mine.index(">Bob<")
        assert browse(bob).get("/c/lab?q=bob").text.count(">you<") == 1
        assert browse(ada).get("/c/lab?q=bob").text.count(">you<") == 0
    before = browse().get("/c/lab").text
    accounts.change_trail(world.db, ada.id, "aqua")
    accounts.rename(world.db, bob.id, "Robert")
    after = browse().get("/c/lab").text
    assert "Robert" in after and ">Bob<" not in after
    trail = 'data-trail="'
    assert before.partition(trail)[2][:12] != after.partition(trail)[2][:12]
