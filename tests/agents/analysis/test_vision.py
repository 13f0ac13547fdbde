"""The benchmark DeepTraffic-Vision: eyes of policies, share of the gap closed, kept scores, the page."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from agents.analysis import vision
from agents.analysis.vision import (
    BEGIN,
    END,
    VISION_PAGE,
    board_row,
    board_table,
    eye_of,
    in_order,
    shipped,
    write_page,
)
from agents.champions.registry import CHAMPIONS
from agents.loader import load_policy
from deeptraffic.cli.app import app
from deeptraffic.envs.observations import PRESETS, make_observation
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import pack_policy, write_policy
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import RULES_2018, Action


def blind_policy(path: Path, action: Action, preset: str = "blind", **options: object) -> Path:
    """A policy file that always takes one action, and sees by a preset."""
    seen = make_observation(preset, **options).by_name(RULES_2018)
    tensors = {"1.weight": np.zeros((5, seen.size), np.float32), "1.bias": np.eye(5, dtype=np.float32)[action]}
    write_policy(path, pack_policy(Network(seen.size, (Dense(outputs=5),), tensors), seen, path.stem))
    return path


@pytest.mark.parametrize("preset", PRESETS)
def test_a_policy_file_of_every_eye_is_known_by_it(tmp_path: Path, preset: str) -> None:
    path = blind_policy(tmp_path / "mine.safetensors", Action.NOTHING, preset)
    assert eye_of(load_policy(path), "mine") == preset


def test_a_stack_of_what_an_eye_shows_is_the_same_eye(tmp_path: Path) -> None:
    path = blind_policy(tmp_path / "mine.safetensors", Action.NOTHING, "noisy", temporal_window=3)
    assert eye_of(load_policy(path), "mine") == "noisy"


def test_a_policy_that_sees_by_no_eye_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="gap observes vector with options that are no eye of the benchmark; train a policy with --obs"
    ):
        eye_of(make_builtin("gap"), "gap")
    path = blind_policy(tmp_path / "mine.safetensors", Action.NOTHING, "lossy", drop_rate=0.5)
    with pytest.raises(ValueError, match="options that are no eye"):
        eye_of(load_policy(path), "mine")


def test_the_gap_closed_is_0_for_the_floor_and_1_for_the_ceiling() -> None:
    random = np.random.default_rng(0)
    floor, ceiling = random.normal(50.0, 5.0, 200), random.normal(70.0, 5.0, 200)
    policy = make_builtin("idle")
    shares = [board_row(("x", policy), "blind", s, (floor, ceiling)).gap_closed for s in (floor, ceiling)]
    assert shares == [0.0, 1.0]
    middle = board_row(("x", policy), "blind", 0.5 * (floor + ceiling), (floor, ceiling))
    assert middle.gap_closed == pytest.approx(0.5) and middle.gap_interval == pytest.approx((0.5, 0.5))
    other = board_row(("x", policy), "blind", random.normal(60.0, 5.0, 200), (floor, ceiling))
    low, high = other.gap_interval
    assert 0.4 < low < other.gap_closed < high < 0.6 and other.multiplications is None


def test_the_command_ranks_policies_of_the_same_eye(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "CHAMPIONS", {})
    slow = blind_policy(tmp_path / "slow.safetensors", Action.DECELERATE)
    fast = blind_policy(tmp_path / "fast.safetensors", Action.ACCELERATE)
    command = ["bench-vision", str(slow), str(fast), "--runs", "2", "-o", str(tmp_path / "scores")]
    run = CliRunner().invoke(app, [*command, "--json"])
    assert run.exit_code == 0, run.stderr
    rows = json.loads(run.stdout)["rows"]
    assert [row["eye"] for row in rows] == ["nothing", "blind", "blind", "true cells"]
    assert [row["label"] for row in rows] == ["accelerate", "fast", "slow", "champion-solo"]
    assert rows[1]["gap_closed"] == 0.0 and rows[1]["multiplications"] == 210
    assert "fast.safetensors" in CliRunner().invoke(app, command).stdout
    refused = CliRunner().invoke(app, ["bench-vision", "gap", "-o", str(tmp_path / "none")])
    assert refused.exit_code == 2 and "no eye of the benchmark" in refused.stderr and not (tmp_path / "none").exists()


def test_the_page_has_a_line_for_every_eye_and_policy(tmp_path: Path) -> None:
    speeds = np.array([50.0, 52.0, 54.0])
    ends = speeds, speeds + 20.0
    policies = (("a", "two-frames", 10.0), ("b", "two-frames", 15.0), ("accelerate", "nothing", 0.0))
    rows = in_order(board_row((n, make_builtin("idle")), eye, speeds + more, ends) for n, eye, more in policies)
    lines = board_table(rows).splitlines()[2:]
    assert len(lines) == len(PRESETS) + 3  # nothing, the true cells, and two policies of one eye
    assert [line.split(" | ")[2] for line in lines if "`two-frames`" in line or "| two-frames" in line] == [
        "`b`",
        "`a`",
    ]
    assert "| 67.00 (65.00 to 69.00) | 67.00 | 75% (75% to 75%) | - |" in lines[2]
    assert "none yet" in lines[1]
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    assert page.read_text() != write_page(rows, page).read_text()


def test_the_stored_leaderboard_agrees_with_the_champions_own_scores() -> None:
    """`deeptraffic bench-vision --runs 5000 --page` writes it again after a champion has been shipped."""
    table = VISION_PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shipped()
    for name in shipped():
        (line,) = (line for line in table.splitlines() if f"`{name}`" in line)
        reporting = CHAMPIONS[name].reporting
        if reporting["runs"] == 5000:
            assert f"| {reporting['mean_mph']:.2f} (" in line
