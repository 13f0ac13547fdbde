"""`deeptraffic evaluate` of many policies: arguments, kept scores, reported errors."""

import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deeptraffic.cli import main
from deeptraffic.cli.evaluate import content_hash, find_policies, is_many
from deeptraffic.evaluation.scores_file import ScoresFile, from_csv
from deeptraffic.policies.file import pack_policy, policy_content
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor

OPEN = ("--protocol", "open", "--runs", "4")
Run = Callable[..., SimpleNamespace]


def small_policy(number: int, epsilon: float = 0.0) -> bytes:
    weight = np.random.default_rng(number).normal(size=(5, 30)).astype(np.float32)
    network = Network(30, (Dense(outputs=5, bias=False),), {"1.weight": weight})
    return policy_content(pack_policy(network, Sensor(1, 10, 0), f"number {number}", epsilon=epsilon))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["deeptraffic", "evaluate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return SimpleNamespace(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three policies, one of them twice, and a file that is none."""
    nets = tmp_path / "nets"
    nets.mkdir()
    for number in range(3):
        (nets / f"net{number}.safetensors").write_bytes(small_policy(number))
    shutil.copy(nets / "net1.safetensors", nets / "twin.safetensors")
    (nets / "torn.safetensors").write_bytes(small_policy(9)[:100])
    (nets / "notes.txt").write_text("not a policy")
    return nets


def test_scores_equal_those_of_single_files_and_come_best_first(run: Run, folder: Path) -> None:
    outcome = run(folder, "gap", *OPEN, "--json")
    found = json.loads(outcome.out)
    scores = [line["score"] for line in found["results"]]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    for line in found["results"]:
        alone = json.loads(run(line["file"], *OPEN, "--json").out)
        assert {name: line[name] for name in ("score", "mean_mph", "passed", "policy")} == {
            name: alone[name] for name in ("score", "mean_mph", "passed", "policy")
        }
        assert [line["low"], line["high"]] == alone["median_interval"]


def test_broken_files_are_named_and_do_not_stop_the_others(run: Run, folder: Path) -> None:
    outcome = run(folder, *OPEN, "--json")
    found = json.loads(outcome.out)
    assert outcome.code == 1
    assert [error["file"] for error in found["errors"]] == [str(folder / "torn.safetensors")]
    assert "breaks off" in found["errors"][0]["error"]
    assert "1 of 5 could not be evaluated" in outcome.err
    assert "twin.safetensors has the content of" in outcome.err
    assert len(found["results"]) == 3


def test_table_names_files_and_intervals(run: Run, folder: Path) -> None:
    outcome = run(folder / "net0.safetensors", folder / "net1.safetensors", *OPEN)
    assert outcome.code == 0
    for part in ("scores of 4 runs on tuning seeds, 2018 rules", "net0.safetensors", "number 1", "95% of the score"):
        assert part in outcome.out


def test_rerun_evaluates_what_the_file_lacks(run: Run, folder: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    first = run(folder / "net0.safetensors", *OPEN, "-o", scores)
    assert first.code == 0
    kept = from_csv(scores.read_text(), scores)[0]
    shutil.move(folder / "net0.safetensors", folder / "renamed.safetensors")
    outcome = run(folder, *OPEN, "-o", scores, "--json")
    assert "1 of 4 are already scored" in outcome.err.replace("\n", " ")
    lines = from_csv(scores.read_text(), scores)
    assert kept in lines  # its seconds included: it was not evaluated again
    assert len(lines) == len(json.loads(outcome.out)["results"]) == 3


def test_interrupted_evaluation_keeps_its_scores_and_resumes(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = tmp_path / "scores.csv"
    with monkeypatch.context() as patch:
        add = ScoresFile.add

        def add_and_interrupt(self: ScoresFile, line: Any) -> None:
            add(self, line)
            signal.raise_signal(signal.SIGINT)

        patch.setattr(ScoresFile, "add", add_and_interrupt)
        outcome = run(folder, *OPEN, "-o", scores)
    assert (outcome.code, outcome.out) == (128 + signal.SIGINT, "")
    [kept] = from_csv(scores.read_text(), scores)
    assert "1 scores are kept" in outcome.err.replace("\n", " ") and "Traceback" not in outcome.err
    assert "1 of 4 are already scored" in run(folder, *OPEN, "-o", scores).err.replace("\n", " ")
    lines = from_csv(scores.read_text(), scores)
    assert kept in lines and len(lines) == 3


def test_arguments_stand_for_files_folders_patterns_and_names(folder: Path, tmp_path: Path) -> None:
    run_folder = tmp_path / "nets" / "a-run"
    run_folder.mkdir()
    (run_folder / "config.json").write_text("{}")
    found = find_policies([str(folder), "gap", str(folder / "net*.safetensors"), "gap"])
    assert [Path(name).name for name in found] == [
        "a-run",
        "net0.safetensors",
        "net1.safetensors",
        "net2.safetensors",
        "torn.safetensors",
        "twin.safetensors",
        "gap",
    ]
    assert is_many([str(folder)]) and is_many(["x*.js"]) and is_many(["idle", "gap"])
    assert not is_many(["gap"]) and not is_many([str(run_folder)]) and not is_many([str(folder / "net0.safetensors")])


def test_file_with_a_patterns_name_is_a_file(tmp_path: Path) -> None:
    odd = tmp_path / "net[1].safetensors"
    odd.write_bytes(small_policy(0))
    assert find_policies([str(odd)]) == [str(odd)]
    assert not is_many([str(odd)])


def test_content_is_what_a_policy_does(folder: Path) -> None:
    file, twin = str(folder / "net1.safetensors"), str(folder / "twin.safetensors")
    assert content_hash(file, 0) == content_hash(twin, 0)
    hashes = {content_hash(file, 0), content_hash(file, 1), content_hash(file, 0, 0.0), content_hash(file, 0, 0.1)}
    assert len(hashes) == 4
    assert content_hash("random", 0) != content_hash("random", 1)
    assert content_hash("idle", 0) != content_hash("gap", 0)


def test_random_actions_are_said_and_turned_off(run: Run, tmp_path: Path) -> None:
    plain, random, csv = tmp_path / "plain.safetensors", tmp_path / "random.safetensors", tmp_path / "scores.csv"
    plain.write_bytes(small_policy(0))
    random.write_bytes(small_policy(0, 0.5))
    outcome = run(plain, random, *OPEN, "-o", csv)
    assert "(epsilon" in outcome.out and "0.5)" in outcome.out and "--epsilon 0" in outcome.err
    lines = {line.epsilon: line.mean_mph for line in from_csv(csv.read_text(), csv)}
    assert set(lines) == {0.0, 0.5} and lines[0.0] != lines[0.5]
    refused = run(plain, random, *OPEN, "-o", csv, "--epsilon", "0")
    assert refused.code == 2 and "scores of another evaluation" in refused.err
    single = json.loads(run(random, *OPEN, "--epsilon", "0", "--json").out)
    assert (single["epsilon"], single["mean_mph"]) == (0.0, lines[0.0])
    many = json.loads(run(plain, random, *OPEN, "--epsilon", "0", "--json").out)["results"]
    assert [(line["epsilon"], line["mean_mph"]) for line in many] == 2 * [(0.0, lines[0.0])]
    other = json.loads(run(random, *OPEN, "--seed", "1", "--json").out)
    assert other["epsilon"] == 0.5 and other["mean_mph"] != lines[0.5]
    table = run(random, *OPEN)
    assert "50% of all" in table.out and "--epsilon 0 turns that off" in table.err
    assert "50%" not in run(random, *OPEN, "--epsilon", "0").out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["idle", "--epsilon", "1.5"], "epsilon must be a number in [0, 1], got 1.5"),
        (["idle", "gap", "--epsilon", "1.5"], "epsilon must be a number in [0, 1], got 1.5"),
        (["gap", "--epsilon", "0.5"], "only a network over the sensor's cells can act at random"),
        (["idle", "nobody"], "no policy 'nobody'"),
        (["no-such-*.safetensors"], "pattern"),
        (["idle", "gap", "--rules", "2019"], "one of 2017, 2018"),
        (["idle", "gap", "--other-agents", "11"], "[0, 10]"),
        (["idle", "gap", "--runs", "20"], "--protocol open"),
        (["idle", "-o", "no/such/folder/x.csv"], "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_before_anything_is_evaluated(run: Run, arguments: list[str], reason: str) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert reason in outcome.err
