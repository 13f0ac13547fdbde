"""The command line: what it prints where, its exit codes, and how it names policies."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.loader import load_policy
from deeptraffic.cli import main
from deeptraffic.sim.compiled import NOTICE


def test_version_is_printed(run) -> None:
    outcome = run("--version")
    assert (outcome.code, outcome.out.split()[0]) == (0, "deeptraffic")


@pytest.mark.parametrize("command", ["demo", "train", "evaluate", "record", "bench"])
def test_every_command_explains_itself(run, command: str) -> None:
    outcome = run(command, "--help")
    assert outcome.code == 0
    assert command in outcome.out


def test_evaluate_prints_one_json_object_to_standard_output(run) -> None:
    outcome = run("evaluate", "accelerate", "--other-agents", "10", "--json")
    score = json.loads(outcome.out)
    assert outcome.code == 0
    expected = {"score": 62.74, "runs": 500, "frames": 2000, "rules": 2018, "other_agents": 10, "passed": 3598}
    assert {name: score[name] for name in expected} == expected
    assert score["mean_mph"] == pytest.approx(62.97524)
    assert score["seconds"] >= 0


def test_evaluate_prints_a_table(run) -> None:
    outcome = run("evaluate", "idle")
    assert outcome.code == 0
    assert "51.57 mph" in outcome.out
    assert outcome.err in ("", f"{NOTICE}\n")


def test_evaluate_open_names_its_seeds(run) -> None:
    outcome = run(
        "evaluate",
        "gap",
        "--protocol",
        "open",
        "--runs",
        "20",
        "--seed-set",
        "reporting",
        "--other-agents",
        "1",
        "--json",
    )
    score = json.loads(outcome.out)
    assert (score["protocol"], score["seed_set"], score["runs"]) == ("open", "reporting", 20)
    assert score["median_interval"][0] <= score["score"] <= score["median_interval"][1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["evaluate", "nobody"], "no policy 'nobody'"),
        (["evaluate", "idle", "--rules", "2019"], "one of 2017, 2018"),
        (["evaluate", "idle", "--rules", "2017", "--other-agents", "3"], "2017"),
        (["evaluate", "idle", "--other-agents", "11"], "[0, 10]"),
        (["evaluate", "idle", "--runs", "20"], "--protocol open"),
        (["evaluate", "idle", "--protocol", "open", "--runs", "0"], "runs=0"),
        (["evaluate", "idle", "--protocol", "open", "--seed-set", "test"], "tuning, reporting"),
        (["evaluate", "random", "--seed", "-1"], "seed must be an integer in [0, 2**63 - 1], got -1"),
        (["evaluate", "idle", "--protocol", "secret"], "secret"),
        (["evaluate"], "olicy"),
        (["evaluate", "tests"], "no training run"),
        (["record", "idle", "-o", "x.avi"], ".mp4"),
        (["record", "idle", "-o", "no/such/folder/x.mp4"], "does not exist"),
        (["record", "idle", "-o", "x.mp4", "--fps", "7"], "does not divide 60"),
        (["record", "idle", "-o", "x.mp4", "--seconds", "0"], "above 0"),
        (["train", "sarsa"], "sarsa"),
        (["train", "ppo", "--set", "gama=0.9", "-o", "no-such-run"], "gama"),
        (["bench", "--seconds", "0"], "above 0"),
        (["drive"], "drive"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_exit_code_2(run, arguments: list[str], reason: str) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert reason in outcome.err
    assert "Traceback" not in outcome.err


def test_failure_has_exit_code_1(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("another process trains in this folder")

    monkeypatch.setattr("deeptraffic.evaluation.protocol.evaluate_official", fail)
    outcome = run("evaluate", "idle")
    assert outcome.code == 1
    assert outcome.err.split("\n")[0] == "error: another process trains in this folder"


def test_traceback_is_shown_on_request(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPTRAFFIC_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["deeptraffic", "evaluate", "nobody"])
    with pytest.raises(ValueError, match="nobody"):
        main()


def test_interruption_has_exit_code_130(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeptraffic.evaluation.protocol.play_together", lambda *_: signal.raise_signal(signal.SIGINT))
    outcome = run("evaluate", "random", "--protocol", "open", "--json")
    assert (outcome.code, outcome.out) == (128 + signal.SIGINT, "")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".png"])
def test_record_writes_every_kind_of_file(run, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"gap{suffix}"
    outcome = run("record", "gap", "-o", str(path), "--seconds", "1", "--other-agents", "2", "--seed", "3", "--json")
    facts = json.loads(outcome.out)
    assert outcome.code == 0
    assert path.stat().st_size > 1000
    assert (facts["frames"], facts["other_agents"], facts["seed"]) == (60, 2, 3)


def test_train_evaluate_and_record_go_through_one_run_folder(run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = ["num_envs=16", "n_steps=8", "batch_size=64", "total_timesteps=512", "evaluate_every=256"]
    small += ["evaluation_runs=8", "hidden=[8]"]
    settings = [part for setting in small for part in ("--set", setting)]
    trained = run("train", "ppo", "--other-agents", "1", "-o", str(folder), *settings, "--score", "--json")
    assert trained.code == 0, trained.err
    assert json.loads(trained.out)["folder"] == str(folder)
    score = json.loads(run("evaluate", str(folder), "--json").out)
    assert (score["rules"], score["other_agents"], score["runs"]) == (2018, 1, 500)
    assert json.loads(trained.out)["official"]["run_scores"] == score["run_scores"]
    assert json.loads(run("inspect", str(folder), "--json").out)["other_agents"] == 1
    assert run("record", str(folder), "-o", str(tmp_path / "x.png"), "--seconds", "0.5").code == 0


def test_builtin_drives_by_the_rules_it_is_asked_for() -> None:
    assert load_policy("gap", 2017).empty == 7.0  # type: ignore[attr-defined]
    assert load_policy("gap").empty == 100.0  # type: ignore[attr-defined]


def test_a_reader_that_has_enough_ends_a_command_silently() -> None:
    """As in `deeptraffic inspect champion | head -1`; there is no reader at all, so that every write fails."""
    reader, writer = os.pipe()
    os.close(reader)
    for words in ("inspect champion", "inspect champion --json", "--help"):
        program = f"import sys; sys.argv[1:] = {words.split()}; from deeptraffic.cli import main; main()"
        run = subprocess.run(
            [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
        assert (run.returncode, run.stderr) == (1, ""), words
    os.close(writer)


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        ("rep", {"report"}),
        ("evaluate champion-p", {"champion-ppo", "champion-pqn", "champion-planner"}),
        ("train ppo --pre", {"--preset"}),
        ("train p", {"ppo", "pqn"}),
        ("competition res", {"resume", "restore"}),
    ],
)
def test_the_shell_completes_commands_options_and_policies(words: str, choices: set[str]) -> None:
    complete = {"_DEEPTRAFFIC_COMPLETE": "complete_bash", "COMP_WORDS": f"deeptraffic {words}"}
    complete["COMP_CWORD"] = str(len(words.split()))
    program = "import sys; sys.argv = ['deeptraffic']; from deeptraffic.cli import main; main()"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | complete, check=False)
    assert set(run.stdout.split()) == choices


def test_no_color_is_printed_where_it_is_not_wanted() -> None:
    program = "import sys; sys.argv[1:] = ['evaluate', 'gap', '--protocol', 'open', '--runs', '2']"
    command = [sys.executable, "-c", f"{program}; from deeptraffic.cli import main; main()"]
    forced = os.environ | {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=forced, check=False)
    assert run.returncode == 0 and re.findall(r"\x1b\[[0-9;]*[34][0-7]m", run.stdout) == []
