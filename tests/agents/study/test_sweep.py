"""The sweep's driver: every trial once, whatever is killed. Trials here are real ones of a few hundred decisions."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.numpy import load

from agents.loader import load_policy
from agents.run import configure
from agents.study import workers as trial_workers
from agents.study.config import SweepConfig, build_sweep
from agents.study.storage import TrialStorage
from agents.study.sweep import run_sweep
from agents.study.table import read_tables
from agents.study.trial import TrialResult, run_trial
from agents.study.workers import Died, Event, Finished, Reported
from agents.trainer import train
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.run_dir import Interrupted

SPACE = {"gamma": {"float": [0.5, 0.99]}, "lanes_side": {"int": [0, 1]}}
FEW = {"total_timesteps": 60, "start_learn_threshold": 20, "learning_steps_burnin": 10, "learning_steps_total": 50}
TINY: dict[str, Any] = {"settings": FEW, "space": SPACE, "tuning_runs": 2, "reporting_runs": 3, "evaluation_runs": 2}


def tiny(**changes: Any) -> SweepConfig:
    return build_sweep({**TINY, "trials": 4, **changes})


class Inline:
    """Runs each trial in this process, when it is waited for; what `kill` names dies as often as it says."""

    def __init__(self, config: SweepConfig, room: int = 2, kill: Mapping[int, int] | None = None) -> None:
        self.config, self.room = config, room
        self.kill = dict(kill or {})
        self.waiting: list[tuple[int, dict[str, Any]]] = []
        self.ran: list[int] = []
        self.answers: list[tuple[int, bool]] = []

    def free(self) -> int:
        return self.room - len(self.waiting)

    def start(self, number: int, params: Mapping[str, Any]) -> None:
        self.waiting.append((number, dict(params)))

    def wait(self, seconds: float) -> list[Event]:
        number, params = self.waiting.pop(0)
        if self.kill.get(number, 0) > 0:
            self.kill[number] -= 1
            return [Died(number, "a test killed it")]
        self.ran.append(number)
        return [Finished(number, run_trial(self.config, number, params))]

    def answer(self, number: int, stop: bool) -> None:
        self.answers.append((number, stop))

    def close(self) -> None:
        self.waiting = []


def outcomes(folder: Path) -> list[tuple[str, ...]]:
    """What each line of the table says, but for the time it took."""
    return [tuple(value for name, value in row.items() if name != "cpu_seconds") for row in read_tables([folder]).rows]


def sweep_inline(config: SweepConfig, folder: Path, quiet: Console, **options: Any) -> Any:
    backend = Inline(config, **options)
    return run_sweep(config, folder, make_backend=lambda _: backend, console=quiet), backend


def test_a_sweep_leaves_a_table_the_winners_settings_and_its_score(tmp_path: Path, quiet: Console) -> None:
    result, backend = sweep_inline(tiny(), tmp_path / "s", quiet)
    table = read_tables([tmp_path / "s"])
    assert table.numbers("number").tolist() == [0, 1, 2, 3] == sorted(backend.ran)
    assert set(table.texts("study")) == {"s"} and set(table.texts("state")) == {"complete"}
    assert result.score == pytest.approx(table.numbers("score").max(), abs=1e-3)
    winner = json.loads((tmp_path / "s" / "winner.json").read_text())
    assert winner["trial"] == result.best and winner["seeds"][0]["seed_set"] == "reporting"
    assert len(winner["seeds"][0]["run_scores"]) == 3
    assert [path.name for path in (tmp_path / "s" / "networks").iterdir()] == [f"trial-{result.best}-0.safetensors"]


def test_the_winners_settings_train_the_network_that_was_scored(tmp_path: Path, quiet: Console) -> None:
    result, _ = sweep_inline(tiny(), tmp_path / "s", quiet)
    config = configure("deepqlearn", tmp_path / "run", config_file=tmp_path / "s" / "best.toml")
    trained = train(config, tmp_path / "run", quiet)
    policy = load_policy(trained.folder)
    again = evaluate_open(policy, 2018, 0, runs=3, seed_set="reporting")
    assert again.median_mph == result.winner.score
    assert evaluate_open(policy, 2018, 0, runs=2).median_mph == pytest.approx(result.score, abs=1e-3)


def test_a_finished_sweep_runs_nothing_again_and_may_be_made_longer(tmp_path: Path, quiet: Console) -> None:
    first, _ = sweep_inline(tiny(), tmp_path, quiet)
    before = outcomes(tmp_path)
    again, backend = sweep_inline(tiny(), tmp_path, quiet)
    assert backend.ran == [] and again == first
    longer, backend = sweep_inline(tiny(trials=6), tmp_path, quiet)
    assert sorted(backend.ran) == [4, 5] and longer.trials == 6
    assert outcomes(tmp_path)[:4] == before


def test_a_sweep_of_other_settings_is_refused(tmp_path: Path, quiet: Console) -> None:
    sweep_inline(tiny(trials=1), tmp_path, quiet)
    with pytest.raises(ValueError, match="started with other settings .seed was 0, now 1.; resume it with those"):
        sweep_inline(tiny(seed=1), tmp_path, quiet)


def test_what_a_resumed_sweep_draws_is_what_an_undisturbed_one_draws(tmp_path: Path, quiet: Console) -> None:
    sweep_inline(tiny(), tmp_path / "whole", quiet, room=1)
    sweep_inline(tiny(trials=2), tmp_path / "parts", quiet, room=1)
    sweep_inline(tiny(), tmp_path / "parts", quiet, room=2)
    parts = [line[1:] for line in outcomes(tmp_path / "parts")]
    assert parts == [line[1:] for line in outcomes(tmp_path / "whole")]
    assert len(set(read_tables([tmp_path / "parts"]).texts("gamma"))) == 4


def test_a_trial_whose_process_died_runs_again_as_it_was(tmp_path: Path, quiet: Console) -> None:
    sweep_inline(tiny(), tmp_path / "whole", quiet)
    _, backend = sweep_inline(tiny(), tmp_path / "died", quiet, kill={1: 2})
    assert sorted(backend.ran) == [0, 1, 2, 3]
    assert [line[1:] for line in outcomes(tmp_path / "died")] == [line[1:] for line in outcomes(tmp_path / "whole")]


def test_a_trial_that_kills_every_process_is_given_up(tmp_path: Path, quiet: Console) -> None:
    result, backend = sweep_inline(tiny(), tmp_path, quiet, kill={1: 99})
    assert sorted(backend.ran) == [0, 2, 3] and backend.kill[1] == 96
    assert (result.trials, result.failed) == (4, 1)
    assert read_tables([tmp_path]).texts("failure")[1] == "3 attempts: a test killed it"


def test_settings_that_diverge_are_a_failed_trial_not_an_error(tmp_path: Path, quiet: Console) -> None:
    space = {"learning_rate": {"choices": [10.0]}}
    config = tiny(space=space, settings={**FEW, "total_timesteps": 400}, trials=2)
    result, _ = sweep_inline(config, tmp_path, quiet)
    assert (result.trials, result.failed, result.best, result.winner) == (2, 2, None, None)
    assert "lower learning_rate=10" in read_tables([tmp_path]).texts("failure")[0]
    assert read_tables([tmp_path]).texts("gamma") == ["0.5", "0.5"]


def test_a_grid_tries_every_combination_once(tmp_path: Path, quiet: Console) -> None:
    space = {"lanes_side": {"int": [0, 1]}, "batch_size": {"choices": [8, 16]}}
    sweep_inline(tiny(space=space, sampler="grid", trials=99), tmp_path, quiet)
    table = read_tables([tmp_path])
    pairs = list(zip(table.texts("lanes_side"), table.texts("batch_size"), strict=True))
    assert pairs == [("0", "8"), ("0", "16"), ("1", "8"), ("1", "16")]


def test_seeds_of_a_trial_are_averaged(tmp_path: Path, quiet: Console) -> None:
    config = tiny(seeds_per_trial=2, trials=1)
    result, _ = sweep_inline(config, tmp_path, quiet)
    single = []
    for seed in config.seeds(0):
        folder = tmp_path / f"run-{seed}"
        run = configure("deepqlearn", folder, config_file=tmp_path / "best.toml", settings={"seed": seed})
        train(run, folder, quiet)
        single.append(evaluate_open(load_policy(folder), runs=2).median_mph)
    assert result.score == pytest.approx(sum(single) / 2, abs=1e-3) and single[0] != single[1]


def test_the_pruner_sees_evaluations_on_the_way_and_stops_trials(tmp_path: Path, quiet: Console) -> None:
    config = tiny(pruner="median", evaluations=2, trials=8)

    class Reporting(Inline):
        """Trial n reports 50 - n mph, and stops if asked to."""

        def wait(self, seconds: float) -> list[Event]:
            number, _ = self.waiting[0]
            if number not in dict(self.answers):
                return [Reported(number, 1, 50.0 - number)]
            self.waiting.pop(0)
            stopped = dict(self.answers)[number]
            return [Finished(number, TrialResult(None if stopped else 50.0 - number, stopped=stopped))]

    backend = Reporting(config, room=1)
    run_sweep(tiny(pruner="median", evaluations=2, trials=7), tmp_path, make_backend=lambda _: backend, console=quiet)
    # five trials are never stopped; those after them are worse than the median of the five
    assert backend.answers == [(n, n >= 5) for n in range(7)]
    assert read_tables([tmp_path]).texts("state") == ["complete"] * 5 + ["pruned"] * 2


def test_a_report_stops_a_training_where_it_is() -> None:
    config = tiny(evaluations=3, settings={**FEW, "total_timesteps": 3000})
    steps: list[int] = []

    def stop_second(step: int, score: float) -> bool:
        steps.append(step)
        return step == 2

    result = run_trial(config, 0, {"gamma": 0.9, "lanes_side": 1}, stop_second)
    assert result.stopped and result.score is None and steps == [1, 2]


def test_a_signal_stops_a_sweep_and_uses_up_no_attempt(
    tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Inline):
        def wait(self, seconds: float) -> list[Event]:
            events = super().wait(seconds)
            if len(self.ran) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return events

    config = tiny()
    for _ in range(2):  # the second time it finishes two more before it stops
        with pytest.raises(Interrupted, match="of 4 trials; the same command resumes"):
            run_sweep(config, tmp_path, make_backend=Interrupting, console=quiet)
    result, backend = sweep_inline(config, tmp_path, quiet)
    assert backend.ran == [] and result.trials == 4
    assert {trial.user_attrs["attempts"] for trial in TrialStorage(config, tmp_path).trials()} == {1}


def test_workers_that_die_are_replaced(tmp_path: Path, quiet: Console) -> None:
    """A trial kills its process the first time: a real one, by SIGKILL."""
    workers = trial_workers.LocalWorkers(tiny(), 1)
    try:
        workers.start(0, {"gamma": 0.9, "lanes_side": 1})
        os.kill(workers.workers[0].process.pid or 0, signal.SIGKILL)
        assert workers.wait(60) == [Died(0, "its process ended with exit code -9")]
        assert workers.free() == 1
        workers.start(0, {"gamma": 0.9, "lanes_side": 1})
        (event,) = workers.wait(60)
        assert isinstance(event, Finished)
        expected = run_trial(tiny(), 0, {"gamma": 0.9, "lanes_side": 1})
        assert event.result.score == expected.score
        for network, other in zip(
            event.result.networks, expected.networks, strict=True
        ):  # files also tell their minute
            assert {name: w.tolist() for name, w in load(network).items()} == {
                name: w.tolist() for name, w in load(other).items()
            }
    finally:
        workers.close()


PROGRAM = """
import json, sys
from agents.study.sweep import run_sweep
from agents.study.config import build_sweep
if __name__ == "__main__":
    run_sweep(build_sweep(json.loads(sys.argv[1])), sys.argv[2], workers=2)
"""


def running_children(parent: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def test_a_killed_sweep_resumes_without_losing_or_repeating_a_trial(tmp_path: Path, quiet: Console) -> None:
    given = {**TINY, "settings": {**FEW, "total_timesteps": 4000}, "trials": 8}
    config, folder = build_sweep(given), tmp_path / "killed"
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), json.dumps(given), str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).resolve().parents[3])
    journal = folder / "journal.log"
    while not (journal.exists() and journal.read_text().count('"state":1') >= 2):  # Optuna's TrialState.COMPLETE
        assert process.poll() is None
        time.sleep(0.005)
    children = running_children(process.pid)
    process.kill()
    process.wait()
    finished = [trial.number for trial in TrialStorage(config, folder).finished()]
    assert 2 <= len(finished) < 8
    result, backend = sweep_inline(config, folder, quiet)
    assert result.trials == 8 and sorted([*finished, *backend.ran]) == list(range(8))
    sweep_inline(config, tmp_path / "whole", quiet)
    assert [line[1:] for line in outcomes(folder)] == [line[1:] for line in outcomes(tmp_path / "whole")]
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}/cmdline").exists() and _is_alive(pid) for pid in children):
        assert time.monotonic() < deadline, "workers outlive their driver"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
