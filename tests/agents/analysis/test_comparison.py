"""Comparisons of trained runs: seeds of one configuration are one group, and every file it names is there."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from agents.analysis.comparison import group_policies, write_comparison
from agents.analysis.comparison_figures import save_figures
from agents.config import TrainConfig
from agents.loader import load_policy
from agents.trainer import train
from deeptraffic.cli.app import app
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.builtin import make_builtin


@pytest.fixture(scope="module")
def gap_score() -> Score:
    return evaluate_open(make_builtin("gap"), runs=12)


def test_runs_that_differ_in_the_seed_alone_are_one_group_with_a_curve(
    small_config: Callable[..., TrainConfig], tmp_path: Path, quiet: Console, gap_score: Score
) -> None:
    drivers = []
    for name, settings in {"a-0": {"seed": 0}, "a-1": {"seed": 1}, "b": {"seed": 0, "gamma": 0.5}}.items():
        train(small_config("ppo", **settings), tmp_path / name, quiet)
        drivers.append((str(tmp_path / name), evaluate_open(load_policy(tmp_path / name), runs=12)))
    groups = group_policies([*drivers, ("gap", gap_score)])
    assert [(group.name, len(group.scores)) for group in groups] == [("a-0", 2), ("b", 1), ("gap", 1)]
    comparison = write_comparison(groups, tmp_path / "out", save_figures)
    assert [file.name for file in comparison.files] == ["intervals.png", "scores.png", "curves.png", "comparison.json"]
    assert all(file.stat().st_size > 500 for file in comparison.files)
    assert comparison.pairs[0].first == "gap"
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    mean = np.mean([score.run_scores for _, score in drivers[:2]])
    assert content["groups"][0]["mean"]["value"] == pytest.approx(mean)


def test_the_command_compares_built_in_policies(tmp_path: Path) -> None:
    arguments = ["compare", "gap", "idle", "--runs", "12", "-o", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content == json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["epsilon"] == {"gap": 0.0, "idle": 0.0} and content["access"]["gap"] == "contest"
    pair = content["pairs"][0]
    assert (pair["first"], pair["second"]) == ("gap", "idle")
    assert pair["difference"]["interval"][0] > 5.0


def test_the_epsilon_of_a_policy_is_reported(tmp_path: Path, gap_score: Score) -> None:
    groups = group_policies([("gap", gap_score), ("random", replace(gap_score, epsilon=0.05))])
    assert write_comparison(groups, tmp_path).epsilon == {"gap": 0.0, "random": 0.05}
    assert json.loads((tmp_path / "comparison.json").read_text())["epsilon"]["random"] == 0.05


def test_a_policy_named_twice_is_two_lines_and_one_alone_is_refused(tmp_path: Path, gap_score: Score) -> None:
    groups = group_policies([("gap", gap_score), ("gap", gap_score)])
    assert [group.name for group in groups] == ["gap", "gap (2)"]
    alone = CliRunner().invoke(app, ["compare", "gap"])
    assert alone.exit_code == 2
    assert "alone cannot be compared" in alone.output
