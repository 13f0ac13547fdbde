"""The throughput of evaluations is that of work which was done."""

import time
from pathlib import Path

import pytest

from deeptraffic.evaluation.batch import Plan
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol
from deeptraffic.evaluation.throughput import basic_network, one_by_one, policy_files, side_by_side
from deeptraffic.policies.file import read_policy


def test_files_hold_networks_of_the_basic_size_all_different() -> None:
    with policy_files(4) as files:
        found = [read_policy(file) for file in files]
        assert len({file.read_bytes() for file in files}) == 4
    assert not files[0].exists()
    assert {one.network.parameters for one in found} == {30 * 10 + 10 + 10 * 5 + 5}
    assert found[0].network.tensors["1.weight"].tobytes() == basic_network(0).network.tensors["1.weight"].tobytes()


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
