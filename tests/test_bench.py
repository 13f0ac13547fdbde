"""The benchmark measures all that it should, in the format that it promises, and only work that was done."""

import importlib.util
import json
import sys
import time
from functools import partial
from itertools import groupby
from pathlib import Path

import pytest

from deeptraffic import bench
from deeptraffic.bench import BASIC, Bench, BenchRow, one_by_one, policy_files, random_policy, side_by_side
from deeptraffic.cli import main
from deeptraffic.cli.measure import rows_of
from deeptraffic.evaluation.batch import Plan
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol
from deeptraffic.policies.file import read_policy


@pytest.fixture(scope="module")
def measured() -> list[BenchRow]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OFFICIAL, 2018, Protocol(runs=5, frames=2000, block=5))
        for name in ("FILES", "FILES_ALONE", "FILES_OFFICIAL"):
            patch.setattr(bench, name, 3)
        return list(Bench(seconds=0.001, opponent=False).run())


def test_every_measurement_is_positive_and_named_once(measured: list[BenchRow]) -> None:
    assert all(result.value > 0 for result in measured)
    keys = [(r.name, r.rules, r.other_agents, r.threads, r.num_envs) for r in measured]
    assert len(set(keys)) == len(keys)


def test_frames_are_measured_for_all_roads_batches_and_threads(measured: list[BenchRow]) -> None:
    frames = {(r.rules, r.other_agents, r.num_envs) for r in measured if r.name == "frames" and r.threads == 1}
    assert frames == {(rules, others, b) for rules, others in ((2018, 0), (2018, 10), (2017, 0)) for b in (1, 64, 4096)}
    threads = {r.threads for r in measured if r.name == "frames"}
    assert threads == set(Bench().threads)


def test_environments_evaluations_images_and_memory_are_measured(measured: list[BenchRow]) -> None:
    names = " ".join(result.name for result in measured)
    parts = ["decisions", "gymnasium.make", "unwrapped", "VectorEnv", "SB3", "idle", "MLP", "grey", "RGB", "memory"]
    parts += ["overlay input, still", "overlay none, a step between", "VectorEnv.render"]
    for part in (*parts, "files one by one, 10 open runs", "files side by side, official", "their decisions"):
        assert part in names


def test_rate_is_the_best_of_three() -> None:
    calls: list[int] = []
    assert Bench(seconds=0.0).rate(lambda: calls.append(1), 10.0) > 0
    assert len(calls) == 4  # one untimed, three measurements of one call


def test_what_is_done_between_two_calls_is_not_timed() -> None:
    order: list[str] = []
    rate = Bench(seconds=0.0).rate(
        partial(order.append, "timed"), 1.0, lambda: order.append("step") or time.sleep(0.02)
    )
    assert order == ["timed", *["step", "timed"] * 3] and rate > 500


def test_table_has_a_line_per_result_and_writes_a_name_once(measured: list[BenchRow]) -> None:
    rows = rows_of(measured)
    assert len(rows) == len(measured)
    assert [row[0] for row in rows if row[0]] == [name for name, _ in groupby(result.name for result in measured)]


@pytest.mark.skipif(importlib.util.find_spec("highway_env") is None, reason="needs the extra bench: highway-env")
def test_highway_env_is_measured_in_the_same_run() -> None:
    results = {result.name: result for result in Bench(seconds=0.001).highway_env()}
    theirs = results["highway-env: frames"].value
    assert theirs == pytest.approx(30 * results["highway-env: env.step"].value)
    assert results["frames per frame of highway-env"].value > 1


def test_json_has_the_promised_shape(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], measured: list[BenchRow]
) -> None:
    monkeypatch.setattr(Bench, "run", lambda self: iter(measured))
    monkeypatch.setattr(sys, "argv", ["deeptraffic", "bench", "--json"])
    with pytest.raises(SystemExit):
        main()
    results = json.loads(capsys.readouterr().out)["results"]
    assert len(results) == len(measured)
    assert {"name", "rules", "other_agents", "threads", "num_envs", "value", "unit"} <= set(results[0])


# --- policy files -------------------------------------------------------------------------------------------------


def test_files_hold_networks_of_the_basic_size_all_different() -> None:
    with policy_files(4) as files:
        found = [read_policy(file) for file in files]
        assert len({file.read_bytes() for file in files}) == 4
    assert not files[0].exists()
    assert {one.network.parameters for one in found} == {30 * 10 + 10 + 10 * 5 + 5}
    assert (
        found[0].network.tensors["1.weight"].tobytes()
        == random_policy(BASIC, (10,), 0).network.tensors["1.weight"].tobytes()
    )


@pytest.mark.parametrize("plan", [Plan("open", runs=3), Plan()], ids=["open", "official"])
def test_seconds_are_those_that_passed(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=5, frames=2000, block=5))
    with policy_files(3) as files:
        for measure in (lambda: one_by_one(files, plan), lambda: side_by_side(files, plan, 2)):
            started = time.perf_counter()
            seconds = measure()
            assert 0 < seconds <= time.perf_counter() - started


def test_file_that_cannot_be_evaluated_spoils_the_measurement(tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no policy")
    with pytest.raises(RuntimeError, match=r"1 of 1 files were not evaluated, .*broken"):
        side_by_side([broken], Plan("open", runs=1), 1)
