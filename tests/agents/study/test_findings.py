from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.study.findings import adjusted_scores, check_claims, claims_table, estimate, mean_difference, verdict
from agents.study.table import StudyTable, read_tables
from deeptraffic.evaluation.comparison import Estimate

ROOT = Path(__file__).resolve().parents[3]
PAGE, SHIPPED = ROOT / "agents" / "study" / "STUDY.md", ROOT / "agents" / "study" / "study.csv"


def made_up(trials: int = 120, **effects: float) -> StudyTable:
    """A study in which a setting moves the score by so many mph over its range, beside noise of 1 mph."""
    random = np.random.default_rng(1)
    rows = []
    for number in range(trials):
        row: dict[str, Any] = {"study": "made up", "number": number, "state": "complete"}
        row |= {"gamma": random.uniform(0.5, 0.99), "temporal_window": random.integers(0, 4)}
        row |= {"lanes_side": random.integers(0, 4), "patches_ahead": random.integers(1, 51)}
        row |= {"parameters": random.integers(100, 9000), "units": random.integers(5, 50)}
        row |= {"layers": random.integers(1, 4), "other_agents": random.integers(0, 2)}
        span = {"gamma": 0.49, "temporal_window": 3, "lanes_side": 3, "patches_ahead": 49, "other_agents": 1}
        truth = 60 + random.normal() + sum(size * row[name] / span[name] for name, size in effects.items())
        row["score"] = truth
        row |= {f"first_{count}": truth + random.normal() * 5 / np.sqrt(count) for count in (10, 100, 1000)}
        rows.append({name: str(value) for name, value in row.items()})
    return StudyTable(tuple(rows))


def verdicts(table: StudyTable) -> dict[str, str]:
    return {check.contrast.partition(":")[0]: check.verdict for check in check_claims(table)}


def test_effects_that_are_there_are_found_and_others_are_not() -> None:
    found = verdicts(made_up(gamma=4.0, temporal_window=-4.0, lanes_side=-4.0))
    assert found["gamma"] == "holds" and found["temporal_window"] == "holds"
    assert found["lanes_side"] == "the opposite"
    assert found["units of a layer"] == found["hidden layers"] == found["patches_ahead"] == "open"


def test_an_effect_is_the_difference_of_the_groups_means() -> None:
    check = next(check for check in check_claims(made_up(400, gamma=6.0)) if check.contrast.startswith("gamma"))
    low, high = check.effect.interval
    # a third's middle lies 2/3 of the range from the other's: 4 mph
    assert low < 4.0 < high
    assert high - low < 1.0 and sum(check.trials) > 260


def test_other_agents_are_taken_out_of_the_scores() -> None:
    table = made_up(other_agents=20.0)
    scores, others = adjusted_scores(table), table.numbers("other_agents")
    assert scores[others == 0].mean() == pytest.approx(0, abs=1e-9) == pytest.approx(scores[others == 1].mean())
    assert abs(scores).max() < 5


def test_few_runs_are_found_to_confuse_trials() -> None:
    check = check_claims(made_up(240, gamma=3.0))[-1]
    assert check.claim.startswith("5") and check.verdict == "holds" and 5 < check.effect.value < 40


def test_too_few_trials_say_nothing() -> None:
    assert check_claims(made_up(4)) == []
    assert check_claims(StudyTable(())) == []


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        groups = [random.normal(1.0, 1.0, 40), random.normal(0.0, 1.0, 40)]
        low, high = estimate(groups, mean_difference).interval
        covered += low < 1.0 < high
    assert 88 <= covered <= 99


def test_a_verdict_needs_an_interval_without_0() -> None:
    assert verdict(Estimate(1, (0.1, 2))) == "holds"
    assert verdict(Estimate(-1, (-2, -0.1))) == "the opposite"
    assert verdict(Estimate(1, (-0.1, 2))) == "open"


def test_the_page_shows_what_the_table_gives() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = read_tables([SHIPPED])
    assert claims_table(check_claims(table)) in page
    counts = [f"{len(study):,} trials of `{name}`" for name, study in table.studies().items()]
    assert [text for text in counts if text not in page] == []
