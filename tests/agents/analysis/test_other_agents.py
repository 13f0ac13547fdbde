"""The best number of other agents: every number on the same seeds, the greatest median wins, a plot of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.analysis.other_agents import ScoresByNumber, save_scores, score_numbers
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.builtin import make_builtin


def score(others: int, speeds: list[float]) -> Score:
    values = np.array(speeds)
    return Score("made up", "open", 2018, others, "contest", values, values.astype(np.int64), 2000, 1.0, "tuning")


def test_each_number_is_scored_on_the_same_tuning_seeds() -> None:
    reported: list[int] = []
    found = score_numbers(make_builtin("gap"), [0, 3], runs=5, progress=lambda s: reported.append(s.other_agents))
    assert reported == [0, 3] == [s.other_agents for s in found.scores]
    alone = evaluate_open(make_builtin("gap"), other_agents=3, runs=5, seed_set="tuning")
    np.testing.assert_array_equal(found.scores[1].run_scores, alone.run_scores)
    assert {s.seed_set for s in found.scores} == {"tuning"}


def test_the_greatest_median_is_best_and_the_mean_decides_between_equal_ones() -> None:
    numbers = ScoresByNumber((score(0, [60.0, 90.0, 90.0]), score(1, [91.0, 91.0, 10.0]), score(2, [50.0, 91.0, 92.0])))
    assert numbers.best.other_agents == 2
    listed = numbers.to_json()
    assert [line["epsilon"] for line in listed["scores"]] == [0.0] * 3
    assert listed["best"] == 2 and [line["median_mph"] for line in listed["scores"]] == [90.0, 91.0, 91.0]


@pytest.mark.parametrize("numbers", [[], [0, 11], [-1]])
def test_impossible_numbers_are_refused(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one|must be an integer in .0, 10."):
        score_numbers(make_builtin("idle"), numbers, runs=1)


def test_a_plot_is_drawn(tmp_path: Path) -> None:
    numbers = ScoresByNumber(tuple(score(n, [60.0 + n, 61.0 + n, 65.0 + n]) for n in (3, 0, 10)))
    with Image.open(save_scores(numbers, tmp_path / "best.png")) as picture:
        assert picture.width > 800 and len(picture.getcolors(1 << 20) or []) > 20
