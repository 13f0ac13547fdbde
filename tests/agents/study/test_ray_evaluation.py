"""Policies that are evaluated on a cluster: they travel as data, and score what they score here."""

import importlib.util
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.study import ray_cluster
from agents.study.ray_evaluation import evaluate_on_ray, evaluate_pack, policy_as_data, policy_from_data
from deeptraffic.bench import BASIC, random_policy
from deeptraffic.evaluation.batch import Plan, score_policy
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import policy_content, read_policy
from deeptraffic.policies.network_policy import NetworkPolicy

spec = importlib.util.spec_from_file_location("fake_ray", Path(__file__).with_name("fake_ray.py"))
assert spec and spec.loader
fake_ray: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake_ray)

PLAN = Plan("open", runs=3)


@pytest.fixture
def on_fake_ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that makes a cluster in this process answer at every address."""
    monkeypatch.setenv("DEEPTRAFFIC_THREADS", "1")  # so that what a call sets ends with the test

    def connect(**options: Any) -> Any:
        ray = fake_ray.FakeRay(**options)
        monkeypatch.setattr(ray_cluster, "connect", lambda address: ray)
        return ray

    return connect


def write_files(folder: Path, count: int) -> list[str]:
    paths = [folder / f"{number}.safetensors" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(policy_content(random_policy(BASIC, (10,), number)))
    return [str(path) for path in paths]


def load(name: str) -> Policy:
    raise AssertionError(f"{name} needs no loading")


def test_policies_score_there_what_they_score_here(on_fake_ray: Any, tmp_path: Path) -> None:
    ray = on_fake_ray(cores=2)
    names = [*write_files(tmp_path, 20), "random"]
    outcomes = {outcome.name: outcome for outcome in evaluate_on_ray(names, load, PLAN, "here", seed=4)}
    assert sorted(outcomes) == sorted(names)
    assert 2 < ray.started < 20  # some policies in each call
    for name in names:
        here = make_builtin(name, seed=4) if name == "random" else read_policy(name).policy()
        score = outcomes[name].score
        assert score is not None
        assert np.array_equal(score.run_scores, score_policy(here, PLAN).run_scores)


def test_what_is_no_policy_or_lost_with_its_machines_is_a_fault_by_name(on_fake_ray: Any, tmp_path: Path) -> None:
    on_fake_ray(cores=20, lost=(1,))
    names = write_files(tmp_path, 3)
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    names += [str(tmp_path / "torn.safetensors"), str(tmp_path / "gone.safetensors")]

    def find(name: str) -> Policy:
        raise ValueError("there is no such policy")

    outcomes = {Path(outcome.name).stem: outcome for outcome in evaluate_on_ray(names, find, PLAN, "here")}
    assert {stem for stem, outcome in outcomes.items() if outcome.score} == {"0", "2"}
    assert "lost with the machines that evaluated it (node died)" in (outcomes["1"].error or "")
    assert "breaks off" in (outcomes["torn"].error or "")
    assert outcomes["gone"].error == "there is no such policy"


def test_few_calls_are_under_way_at_once(on_fake_ray: Any, tmp_path: Path) -> None:
    ray = on_fake_ray(cores=1)
    outcomes = evaluate_on_ray(write_files(tmp_path, 12), load, PLAN, "here")
    next(outcomes)
    assert ray.started == 2  # one that is made, one that waits
    outcomes.close()  # type: ignore[attr-defined]
    assert not ray.is_up


def test_network_policy_of_any_kind_is_the_same_driver_after_its_journey() -> None:
    packed = random_policy(BASIC, (10,), 5)
    drawn = NetworkPolicy("draws", packed.network, packed.manifest.observation.sensor, 0, 2018, 2, seed=9)
    content = policy_as_data("a-run", lambda name: drawn)
    back = policy_from_data(content, None, 0)
    assert isinstance(back, NetworkPolicy)
    assert (back.label, back.rules, back.other_agents, back.seed) == ("draws", 2018, 2, 9)
    assert np.array_equal(score_policy(back, PLAN).run_scores, score_policy(drawn, PLAN).run_scores)


def test_policy_that_is_more_than_data_stays_here() -> None:
    with pytest.raises(ValueError, match="cannot be sent to a cluster"):
        policy_as_data("a-run", lambda name: make_builtin("gap"))


def test_pack_is_evaluated_with_faults_in_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPTRAFFIC_THREADS", "2")
    outcomes = evaluate_pack([("good", policy_content(random_policy(BASIC, (10,), 1))), ("bad", b"bad")], PLAN, 0)
    assert {outcome.name: outcome.score is None for outcome in outcomes} == {"good": False, "bad": True}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray: ray")
def test_command_evaluates_on_a_cluster_and_prints_one_json_object(tmp_path: Path) -> None:
    names = write_files(tmp_path, 6)
    program = "from deeptraffic.cli import main; main()"
    command = [sys.executable, "-c", program, "evaluate", *names, "gap", "--protocol", "open", "--runs", "3", "--json"]
    there = subprocess.run([*command, "--ray", "local"], capture_output=True, text=True, check=True)
    here = subprocess.run(command, capture_output=True, text=True, check=True)
    apart = partial(map, lambda line: {**line, "seconds": 0})
    assert list(apart(json.loads(there.stdout)["results"])) == list(apart(json.loads(here.stdout)["results"]))
