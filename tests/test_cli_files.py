"""The command line's way of policies into and out of files."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.loader import POLICY_NAMES, load_policy
from deeptraffic.policies.convnetjs.read import network_from_json
from deeptraffic.policies.convnetjs.write import write_convnetjs
from deeptraffic.policies.file import read_policy, write_policy
from deeptraffic.policies.manifest import ActionRecord
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.sim.rules import Sensor
from representation.paradigms.convolutional.detection import GridDetector

GOLDEN = Path(__file__).parent / "golden" / "submission_networks.json"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    """MIT's basic network, trained in the original game: 67.81 mph alone, 71.77 with four others."""
    record = next(r for r in json.loads(GOLDEN.read_text()) if r["name"] == "mit_basic_trained")
    path = tmp_path / "basic.js"
    path.write_text(write_convnetjs(network_from_json(record["net"]), Sensor(1, 10, 0), other_agents=4))
    return path


def test_submission_keeps_its_score_through_both_kinds_of_file(run: Run, submission: Path, tmp_path: Path) -> None:
    policy, again = tmp_path / "basic.safetensors", tmp_path / "again.js"
    assert run("import", submission, "-o", policy)[0] == 0
    code, out, _ = run("export", policy, "--original", again, "--json")
    facts = json.loads(out)
    assert (code, facts["score"], facts["score_of_file"], facts["other_agents"]) == (0, 71.77, 71.77, 4)
    assert json.loads(run("evaluate", again, "--other-agents", "0", "--json")[1])["score"] == 67.81


def test_random_actions_come_through_both_kinds_of_file(run: Run, submission: Path, tmp_path: Path) -> None:
    text = submission.read_text()
    assert text.count("opt.epsilon_test_time = 0.0;") == 1
    policy, again, off = tmp_path / "r.safetensors", tmp_path / "again.js", tmp_path / "off.js"
    for line, epsilon in (("opt.epsilon_test_time = 0.25;", 0.25), ("", 0.01)):
        submission.write_text(text.replace("opt.epsilon_test_time = 0.0;", line))
        assert json.loads(run("import", submission, "-o", policy, "--json")[1])["epsilon"] == epsilon
        assert run("export", policy, "--original", again, "--no-check")[0] == 0
        assert f"opt.epsilon_test_time = {epsilon};" in again.read_text()
        assert run("export", submission, "--original", off, "--no-check", "--epsilon", "0")[0] == 0
        assert "opt.epsilon_test_time = 0.0;" in off.read_text()
        scores = [json.loads(run("evaluate", path, "--json")[1]) for path in (submission, policy, again, off)]
        assert [score["epsilon"] for score in scores] == [epsilon] * 3 + [0.0]
        assert scores[0]["score"] == scores[1]["score"] == scores[2]["score"] != scores[3]["score"] == 71.77
        assert json.loads(run("inspect", policy, "--json")[1])["epsilon"] == epsilon
        assert f"{100 * epsilon:g}% at random (epsilon {epsilon})" in " ".join(run("inspect", policy)[1].split())


def test_drawn_actions_survive_an_export(run: Run, submission: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert run("import", submission, "-o", first)[0] == 0
    packed = read_policy(first)
    sampled = replace(packed, manifest=replace(packed.manifest, action=ActionRecord(rule="sample", seed=7)))
    write_policy(first, sampled)
    assert run("export", first, "-o", second)[0] == 0
    assert read_policy(second).manifest.action == sampled.manifest.action


def test_submission_is_driven_by_its_own_file_name(run: Run, submission: Path) -> None:
    score = json.loads(run("evaluate", submission, "--json")[1])
    assert (score["score"], score["other_agents"], score["policy"]) == (71.77, 4, "basic")


def test_inspect_shows_and_draws_a_policy(run: Run, submission: Path, tmp_path: Path) -> None:
    plot = tmp_path / "first.png"
    code, out, _ = run("inspect", submission, "--plot", plot)
    assert code == 0
    assert "365" in out
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_inspect_takes_every_name_of_a_policy(run: Run, name: str) -> None:
    code, out, error = run("inspect", name)
    assert (code, error) == (0, "")
    assert name in out
    facts = json.loads(run("inspect", name, "--json")[1])
    policy = load_policy(name)
    assert (facts["label"], facts["rules"], facts["other_agents"]) == (policy.label, policy.rules, policy.other_agents)
    assert ("parameters" in facts) == isinstance(policy, NetworkPolicy)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("inspect", "gap", "--plot", "x.png"), "no policy file"),
        (("export", "gap", "-o", "x.safetensors"), "no network"),
        (("export", "gap"), "give one of"),
        (("import", __file__, "-o", "x.safetensors"), "line 1: this is not JavaScript"),
        (("import", __file__, "-o", "x.zip"), "does not end in .safetensors"),
        (("inspect", __file__), ""),
        (("evaluate", __file__), ""),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(run: Run, arguments: tuple[str, ...], reason: str) -> None:
    code, out, error = run(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith("error: ")
    assert reason in error
    assert not Path("x.safetensors").exists()


def test_the_originals_own_learner_trains_drives_and_is_written_for_its_game(run: Run, tmp_path: Path) -> None:
    folder, original = tmp_path / "run", tmp_path / "learned.js"
    short = ("--set", "total_timesteps=1200", "--set", "evaluation_runs=2", "-o", folder)
    code, out, _ = run("train", "deepqlearn", "--preset", "mit-default", *short, "--json")
    assert (code, json.loads(out)["decisions"]) == (0, 1200)
    assert run("evaluate", folder, "--protocol", "open", "--runs", "3")[0] == 0
    assert run("export", folder, "--original", original, "--no-check")[0] == 0
    assert "temporal_window = 3" in original.read_text()
    assert run("train", "deepqlearn", "--obs", "pixels", "-o", tmp_path / "other")[0] == 2


def test_a_perception_model_and_a_policy_become_one_file(run: Run, tmp_path: Path) -> None:
    weights, joined = tmp_path / "detector.safetensors", tmp_path / "eye.safetensors"
    GridDetector().save(weights)
    code, out, _ = run("join", weights, "champion-solo", "-o", joined, "--obs", "unseen-styles", "--json")
    facts = json.loads(out)
    assert (code, facts["label"], facts["observation"]["kind"]) == (0, "champion-solo, perceived cells", "pixels")
    assert facts["observation"]["options"]["style"] == "unseen"
    code, out, _ = run("evaluate", joined, "--protocol", "open", "--runs", 2, "--json")
    assert (code, json.loads(out)["runs"]) == (0, 2)
    code, _, error = run("join", weights, "gap", "-o", joined)
    assert code == 2 and "is no network over the cells" in error
    code, _, error = run("join", joined, "champion-solo", "-o", tmp_path / "other.safetensors")
    assert code == 2 and "is no weights file of this package" in error
