"""The benchmark measures everything that it should, in the shape that it promises."""

import importlib.util
import json
import sys

import pytest

from deeptraffic import bench
from deeptraffic.bench import Bench, Result
from deeptraffic.cli import main
from deeptraffic.cli.measure import table_of
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol


@pytest.fixture(scope="module")
def measured() -> list[Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OFFICIAL, 2018, Protocol(runs=5, frames=2000, block=5))
        for name in ("FILES", "FILES_ALONE", "FILES_OFFICIAL"):
            patch.setattr(bench, name, 3)
        return list(Bench(seconds=0.001, opponent=False).run())


def test_every_measurement_is_positive_and_named_once(measured: list[Result]) -> None:
    assert all(result.value > 0 for result in measured)
    keys = [(r.name, r.rules, r.other_agents, r.threads, r.num_envs) for r in measured]
    assert len(set(keys)) == len(keys)


def test_frames_are_measured_for_all_games_batches_and_threads(measured: list[Result]) -> None:
    frames = {(r.rules, r.other_agents, r.num_envs) for r in measured if r.name == "frames" and r.threads == 1}
    assert frames == {(rules, others, b) for rules, others in ((2018, 0), (2018, 10), (2017, 0)) for b in (1, 64, 4096)}
    threads = {r.threads for r in measured if r.name == "frames"}
    assert threads == set(Bench().threads)


def test_environments_evaluations_pictures_and_memory_are_measured(measured: list[Result]) -> None:
    names = " ".join(result.name for result in measured)
    parts = ("decisions", "gymnasium.make", "unwrapped", "VectorEnv", "SB3", "idle", "MLP", "pixels", "memory")
    for part in (*parts, "files one by one, 10 open runs", "files side by side, official", "their decisions"):
        assert part in names


def test_rate_is_the_best_of_three() -> None:
    calls: list[int] = []
    assert Bench(seconds=0.0).rate(lambda: calls.append(1), 10.0) > 0
    assert len(calls) == 4  # one untimed, three measurements of one call


def test_table_has_a_line_per_result(measured: list[Result]) -> None:
    assert table_of(measured, "here").row_count == len(measured)


@pytest.mark.skipif(importlib.util.find_spec("highway_env") is None, reason="needs the extra bench: highway-env")
def test_highway_env_is_measured_in_the_same_run() -> None:
    results = {result.name: result for result in Bench(seconds=0.001).highway_env()}
    theirs = results["highway-env: frames"].value
    assert theirs == pytest.approx(30 * results["highway-env: env.step"].value)
    assert results["frames per frame of highway-env"].value > 1


def test_json_has_the_promised_shape(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], measured: list[Result]
) -> None:
    monkeypatch.setattr(Bench, "run", lambda self: iter(measured))
    monkeypatch.setattr(sys, "argv", ["deeptraffic", "bench", "--json"])
    with pytest.raises(SystemExit):
        main()
    results = json.loads(capsys.readouterr().out)["results"]
    assert len(results) == len(measured)
    assert {"name", "rules", "other_agents", "threads", "num_envs", "value", "unit"} <= set(results[0])
