"""The benchmark against peers: alternating, on one core, and the table of the first page."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.analysis import peers
from agents.analysis.peers import (
    BEGIN,
    END,
    QUOTED,
    Peer,
    PeerReport,
    PeerSpeed,
    measure_calls,
    measure_peers,
    one_core,
    peer_cells,
    peers_table,
    step_single,
    step_vector,
    stored_report,
    train_cleanrl,
    train_cleanrl_vector,
    write_page,
)
from agents.analysis.train_bench import TrainingSpeed, measure_compiled

Measure = Callable[[float], TrainingSpeed]


def peer(name: str, order: list[str], package: str = "") -> Peer:
    def measure(seconds: float) -> TrainingSpeed:
        order.append(name)
        return TrainingSpeed(name, "", 4, 0, 100 * len(order), seconds, 2.0)

    return Peer(name, measure, package)


def test_every_second_repeat_runs_in_reverse_order() -> None:
    order: list[str] = []
    report = measure_peers(1.0, 3, [peer("a", order), peer("b", order)])
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [(speed.name, speed.num_envs, speed.rates) for speed in report.speeds] == [
        ("a", 4, (50.0, 200.0, 250.0)),
        ("b", 4, (100.0, 150.0, 300.0)),
    ]
    assert report.speeds[0].median == 200.0 and len(report.load) == 2


def test_a_package_that_cannot_be_imported_is_skipped_and_named() -> None:
    report = measure_peers(1.0, 1, [peer("a", []), peer("b", [], "no_such_package.vector")])
    assert [speed.name for speed in report.speeds] == ["a"]
    assert report.missing == {"no_such_package.vector": "No module named 'no_such_package'"}
    assert peers_table(report).rstrip().endswith("Not installed: no_such_package.vector.")


def test_the_first_call_does_not_count() -> None:
    calls: list[int] = []

    def call() -> int:
        calls.append(1)
        return 7

    assert measure_calls("a", 1, call, 0.0).decisions == 7 and len(calls) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity")
def test_one_core_is_left_as_it_was() -> None:
    before = os.sched_getaffinity(0)
    with one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("measure", [step_single, step_vector, train_cleanrl, train_cleanrl_vector])
def test_steps_and_trainings_are_counted(measure: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "VECTOR_ENVS", 8)
    monkeypatch.setattr(peers, "LEARNER_ENVS", 8)
    speed = measure(0.01)
    assert speed.decisions >= speed.num_envs > 0 and speed.cpu_seconds > 0


def test_the_original_games_learner_is_measured_compiled() -> None:
    assert measure_compiled("deepqlearn", 0.01).decisions >= 1000


def test_the_page_and_the_stored_report_hold_the_rates(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "peers.json"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    speeds = (PeerSpeed("a", 1, (9.26, 9.1, 9.3)), PeerSpeed("b", 1024, (150_000.0, 140_000.0, 160_000.0)))
    report = PeerReport(speeds, {"processor": "a processor"}, (0.1, 0.2), 1.0, "1234")
    text = write_page(report, page, results).read_text()
    assert "| a | 9.3 (9.1–9.3) |\n| b | 150,000 (140,000–160,000) |" in text
    assert "Median of 3 (lowest–highest), a processor, load 0.1, " in text and "old" not in text
    assert peer_cells(stored_report(results)) == peer_cells(report)
    assert peer_cells(report)[-1] == [QUOTED.name, "1", "940"]
