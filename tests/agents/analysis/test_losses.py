"""Where miles per hour are lost: nothing twice, nothing left out, and the right cause in scenes set up by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from agents.analysis.loss_report import BEGIN, END, losses_table, write_page
from agents.analysis.losses import START, measure_losses
from agents.champions.pages import CHAMPIONS_PAGE
from deeptraffic.cli.app import app
from deeptraffic.episodes.trace import Start
from deeptraffic.evaluation import loss_causes
from deeptraffic.evaluation.episodes import policy_episode
from deeptraffic.evaluation.loss_causes import CAUSES, count_streak, find_cause, stuck_level
from deeptraffic.evaluation.protocol import OPEN_FRAMES, evaluate_open
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.render.timeline import phases
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.kernel import clear, find_places, follow, mark_all
from deeptraffic.sim.rules import RULES_2018, RoadConfig

FAR = (6, 20.0, 2.0)  # lane, y [px], speed [px/frame] of a car that matters to nobody
EGO = (3, 525.0, 4.0)
SLOW_AHEAD = (3, 465.0, 2.0)  # three cells ahead of EGO's front


@pytest.mark.parametrize(("name", "others"), [("gap", 0), ("gap", 3), ("decelerate", 0)])
def test_causes_add_up_to_80_less_the_score_of_the_same_runs(name: str, others: int) -> None:
    found = measure_losses(make_builtin(name), other_agents=others, runs=12)
    alone = evaluate_open(make_builtin(name), other_agents=others, runs=12, seed_set="tuning")
    np.testing.assert_array_equal(found.run_mph, alone.run_speeds)
    np.testing.assert_allclose(80.0 - found.lost.mean(1).sum(1), found.run_mph, atol=1e-9)
    start, steady = found.lost_between(0, START), found.lost_between(START)
    share = START / OPEN_FRAMES
    np.testing.assert_allclose(share * start + (1 - share) * steady, found.lost_mph, atol=1e-9)


def scene(*cars: tuple[int, float, float]) -> Simulator:
    """A game of these vehicles, the first two driven, as it stands when they have been marked and followed."""
    sim = Simulator(RoadConfig(other_agents=1).build())
    sim.reset_open([1])
    game = sim.games[0]
    for i, (lane, y, speed) in enumerate([*cars, *[FAR] * (sim.rules.vehicles - len(cars))]):
        game["lane"][i], game["x"][i], game["y"][i] = lane, 20.0 * lane + 4.0, y
        game["speed_factor"][i], game["map_speed"][i + 1] = speed / 2.0, speed
    clear(game)
    find_places(sim.table[0], game)
    mark_all(sim.table[0], game)
    follow(sim.table[0], game)
    return sim


def cause_of(sim: Simulator, was_open: int = 0, mover: int = 0, car: int = 0) -> str:
    return CAUSES[find_cause(sim.table[0], sim.games[0], car, was_open, mover)]


@pytest.mark.parametrize(
    ("cars", "cause"),
    [
        ((EGO, FAR, FAR), "below full throttle"),  # nothing near ahead
        ((EGO, FAR, SLOW_AHEAD, (2, 525.0, 2.0), (4, 525.0, 2.0)), "boxed in by traffic"),
        ((EGO, SLOW_AHEAD, FAR, (2, 525.0, 2.0), (4, 525.0, 2.0)), "boxed in by a copy"),
        ((EGO, FAR, SLOW_AHEAD), "faster lane opened too late"),
        ((EGO, FAR, SLOW_AHEAD, (2, 300.0, 2.0), (4, 300.0, 1.5)), "no faster lane"),
        ((EGO, FAR, SLOW_AHEAD, (2, 300.0, 2.2), (4, 525.0, 2.0)), "faster lane opened too late"),
        (((3, 55.0, 4.0), FAR, (3, 5.0, 2.0)), "at the edge of the view"),
    ],
)
def test_scene_has_its_cause(cars: tuple[tuple[int, float, float], ...], cause: str) -> None:
    assert cause_of(scene(*cars)) == cause


def test_a_faster_lane_that_was_clear_at_the_last_decision_was_passed_up() -> None:
    assert cause_of(scene(EGO, FAR, SLOW_AHEAD), was_open=1) == "passed up a faster lane"


def test_a_lane_change_counts_as_anothers_if_another_agent_decided_on_it() -> None:
    sim = scene(EGO, FAR, SLOW_AHEAD)
    sim.games["x"][0, 0] += 5.0
    assert cause_of(sim) == "changing lanes"
    assert cause_of(sim, mover=1) == "moved by another agent"


def test_lane_changes_by_other_agents_are_found_only_where_there_are_other_agents() -> None:
    moved, copy = loss_causes.MOVED, loss_causes.BOXED_BY_COPY
    alone, team = (measure_losses(make_builtin("random"), other_agents=n, runs=6).lost_mph for n in (0, 6))
    assert alone[moved] == alone[copy] == 0.0
    assert team[moved] > 0.1 and team[copy] > 0.1


def test_the_longest_streak_is_kept() -> None:
    streak = np.zeros(2, np.int64)
    for continues in (True, True, True, False, True, True):
        count_streak(streak, continues)
    assert streak.tolist() == [2, 3]


def test_worst_runs_are_the_slowest_and_their_scene_lies_in_a_box() -> None:
    found = measure_losses(make_builtin("gap"), runs=40)
    worst = found.worst()
    assert np.all(np.diff(found.run_mph[worst]) >= 0) and found.run_mph[worst[0]] == found.run_mph.min()
    rules = Simulator(found.rules).table[0]
    for run in worst:
        assert find_cause(rules, found.scenes[run], 0, False, 0) == loss_causes.BOXED
    fractions = [row["fraction"] for row in found.by_time_stuck()]
    assert sum(fractions) == pytest.approx(1.0)
    assert "| boxed in by traffic |" in losses_table([found])


def test_a_page_gets_the_table_and_two_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    found = [measure_losses(make_builtin("gap"), runs=6)]
    written = write_page(found, page)
    assert losses_table(found) in page.read_text() and "old" not in page.read_text()
    assert [path.relative_to(tmp_path).as_posix() for path in written[1:]] == [
        "figures/causes.png",
        "figures/scenes.png",
    ]


def test_the_page_of_champions_has_a_place_for_it_and_small_figures() -> None:
    page = CHAMPIONS_PAGE.read_text(encoding="utf-8")
    table = page.partition(BEGIN)[2].partition(END)[0]
    assert all(f"| {cause} |" in table for cause in CAUSES)
    for name in ("causes.png", "scenes.png"):
        assert f"](figures/{name})" in page
        assert (CHAMPIONS_PAGE.parent / "figures" / name).stat().st_size < 150_000


def test_policies_are_reported_side_by_side(tmp_path: Path) -> None:
    arguments = ["report", "losses", "gap", "idle", "--runs", "6", "-o", str(tmp_path), "--json"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    printed = json.loads(told.stdout)
    kept = json.loads((tmp_path / "losses.json").read_text())
    assert printed["policies"] == kept["policies"]
    gap, idle = kept["policies"]
    assert gap["mean_mph"] > idle["mean_mph"] and idle["seed_set"] == "tuning"
    assert sum(cause["mph"] for cause in idle["causes"].values()) == pytest.approx(80 - idle["mean_mph"])
    for name in ("causes", "frames", "stuck", "scenes"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 400 and len(picture.convert("RGB").getcolors(1 << 20) or []) > 10


def test_a_car_is_stuck_for_as_long_as_losses_say() -> None:
    policy = make_builtin("accelerate")
    found, seeds = measure_losses(policy, runs=3), choose_seeds("tuning", 3)
    for run, seed in enumerate(seeds):
        episode, levels = policy_episode(policy, RULES_2018, Start.open(int(seed)), OPEN_FRAMES), []
        while episode.advance():
            levels.append(stuck_level(episode.sim))
        longest = max(end - begin for begin, end in phases(np.array(levels) > 0))
        boxed = max((end - begin for begin, end in phases(np.array(levels) == 2)), default=0)
        assert longest == found.slow[run] > 0 and boxed <= found.boxed[run]
