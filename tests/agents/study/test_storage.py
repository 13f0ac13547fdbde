"""Storage of trials: journal and database, and what a kill may leave in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.study.config import SweepConfig, build_sweep
from agents.study.storage import TrialStorage, repair_journal
from agents.study.trial import TrialResult


def config(storage: str = "journal", **given: Any) -> SweepConfig:
    space = {"gamma": {"float": [0.5, 0.9]}, "batch_size": {"choices": [16, 32]}}
    return build_sweep({"space": space, "storage": storage, "trials": 5, "name": "study", **given})


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "journal" if request.param == "journal" else f"sqlite:///{tmp_path / 'trials.db'}"


def folder(path: Path, name: str = "here") -> Path:
    (path / name).mkdir(exist_ok=True)
    return path / name


def test_a_trial_that_was_left_running_runs_again_under_its_number(tmp_path: Path, storage: str) -> None:
    here = folder(tmp_path)
    first = TrialStorage(config(storage), here)
    first.finish(first.propose()[0], TrialResult(60.0, facts={"mean": 61.5}))  # type: ignore[index]
    left = first.propose()
    again = TrialStorage(config(storage), here)  # as if the first had been killed
    assert again.reclaim() == [1] and again.propose() == left
    again.finish(1, TrialResult(62.0))
    assert [(trial.number, trial.value) for trial in again.finished()] == [(0, 60.0), (1, 62.0)]
    assert again.finished()[0].user_attrs["facts"] == {"mean": 61.5}
    assert again.best().number == 1  # type: ignore[union-attr]


def test_a_trial_that_was_killed_in_the_middle_of_being_drawn_is_drawn_to_its_end(tmp_path: Path) -> None:
    trials = TrialStorage(config(), folder(tmp_path))
    expected = TrialStorage(config(), folder(tmp_path, "undisturbed")).propose()
    trials.propose()
    journal = tmp_path / "here" / "journal.log"
    lines = journal.read_text().splitlines(keepends=True)
    drawn = next(k for k, line in enumerate(lines) if '"param_name":"gamma"' in line)
    for cut in range(drawn, len(lines)):  # every instant from the trial's creation on
        journal.write_text("".join(lines[:cut]))
        resumed = TrialStorage(config(), tmp_path / "here")
        assert resumed.reclaim() == [0]
        number, params = resumed.propose() or (None, {})
        assert number == 0 and set(params) == {"gamma", "batch_size"}
        assert params == expected[1] or cut == drawn + 1  # type: ignore[index]


def test_trials_that_are_killed_with_the_sweep_three_times_are_given_up(tmp_path: Path, storage: str) -> None:
    for _ in range(3):
        trials = TrialStorage(config(storage), folder(tmp_path))
        trials.reclaim()
        assert trials.propose()[0] == 0  # type: ignore[index]
    trials = TrialStorage(config(storage), folder(tmp_path))
    trials.reclaim()
    assert trials.propose()[0] == 1  # type: ignore[index]
    assert trials.finished()[0].user_attrs["failure"] == "3 attempts: the sweep was killed each time"


def test_drivers_that_share_a_database_leave_each_others_trials_alone(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'trials.db'}"
    here = TrialStorage(config(storage), folder(tmp_path, "here"))
    there = TrialStorage(config(storage), folder(tmp_path, "there"))
    assert [here.propose()[0], there.propose()[0], here.propose()[0]] == [0, 1, 2]  # type: ignore[index]
    assert TrialStorage(config(storage), tmp_path / "there").reclaim() == [1]
    assert TrialStorage(config(storage), tmp_path / "here").reclaim() == [0, 2]


@pytest.mark.parametrize("torn", ['{"op_code":4,"work', '{"op_code":', "{"])
def test_a_journal_whose_last_line_a_kill_cut_is_mended(tmp_path: Path, torn: str) -> None:
    trials = TrialStorage(config(), folder(tmp_path))
    trials.finish(trials.propose()[0], TrialResult(60.0))  # type: ignore[index]
    journal = tmp_path / "here" / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn.encode())
    journal.with_name("journal.log.lock").symlink_to(journal)  # the lock of a writer that was killed
    again = TrialStorage(config(), tmp_path / "here")
    assert again.propose()[0] == 1  # type: ignore[index]
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    assert len(TrialStorage(config(), tmp_path / "here").finished()) == 1


def test_a_whole_journal_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"{}\n{}\n")
    repair_journal(tmp_path / "j")
    repair_journal(tmp_path / "none")
    assert (tmp_path / "j").read_bytes() == b"{}\n{}\n"


def test_tpe_learns_from_what_is_finished(tmp_path: Path) -> None:
    trials = TrialStorage(config(sampler="tpe", trials=60), folder(tmp_path))
    drawn = []
    while proposal := trials.propose():
        number, params = proposal
        drawn.append(params["gamma"])
        trials.finish(number, TrialResult(100.0 * params["gamma"]))
    assert sum(drawn[-20:]) / 20 > 0.8 > sum(drawn[:10]) / 10  # uniform draws have a mean of 0.7


def test_an_address_that_leads_nowhere_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be opened .*; check the address"):
        TrialStorage(config(f"sqlite:///{tmp_path}/no/such/folder.db"), folder(tmp_path))
