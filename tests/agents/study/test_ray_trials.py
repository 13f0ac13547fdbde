"""A sweep on a cluster: every trial once, with the result it has anywhere, whichever machines die."""

import asyncio
import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("optuna", reason="needs the extra sweep: optuna")

from agents.study import ray_cluster, ray_trials
from agents.study.config import SweepConfig, build_sweep
from agents.study.ray_trials import Mailbox, RayTrials, trial_call
from agents.study.sweep import run_sweep
from agents.study.table import read_tables
from agents.study.trial import run_trial
from agents.study.workers import Finished, Reported

spec = importlib.util.spec_from_file_location("fake_ray", Path(__file__).with_name("fake_ray.py"))
assert spec and spec.loader
fake_ray: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake_ray)

SPACE = {"gamma": {"float": [0.5, 0.99]}, "lanes_side": {"int": [0, 1]}}
FEW = {"total_timesteps": 60, "start_learn_threshold": 20, "learning_steps_burnin": 10, "learning_steps_total": 50}
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray: ray")


def tiny(**changes: Any) -> SweepConfig:
    told = {"settings": FEW, "space": SPACE, "tuning_runs": 2, "reporting_runs": 3, "evaluation_runs": 2, "trials": 5}
    return build_sweep({**told, **changes})


def outcomes(folder: Path) -> list[tuple[str, ...]]:
    """What each line of a sweep's table says, but for the study's name and the time it took."""
    apart = ("cpu_seconds", "study")
    return [tuple(value for name, value in row.items() if name not in apart) for row in read_tables([folder]).rows]


@pytest.fixture
def on_fake_ray(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that connects `RayTrials` to a cluster in this process."""
    monkeypatch.setenv("DEEPTRAFFIC_THREADS", "1")  # so that what a call sets ends with the test

    def connect(**options: Any) -> Any:
        ray = fake_ray.FakeRay(**options)
        monkeypatch.setattr(ray_cluster, "connect", lambda address: ray)
        return ray

    return connect


# --- without a cluster ------------------------------------------------------------------------------------------------


def test_trials_come_out_as_in_this_process_and_those_of_dead_machines_run_again(
    on_fake_ray: Any, tmp_path: Path, quiet: Console
) -> None:
    ray = on_fake_ray(cores=2, lost=(1, 3))
    config = tiny(trials=3)
    result = run_sweep(config, tmp_path / "s", make_backend=lambda told: RayTrials(told, "here"), console=quiet)
    table = read_tables([tmp_path / "s"])
    assert (result.trials, result.failed) == (3, 0)
    assert table.numbers("number").tolist() == [0, 1, 2]
    assert ray.started == 3 + 2
    assert not ray.is_up
    for row in table.rows:
        params = {"gamma": float(row["gamma"]), "lanes_side": int(row["lanes_side"])}
        score = run_trial(config, int(row["number"]), params).score
        assert float(row["score"]) == pytest.approx(score, abs=1e-3)


def test_as_many_trials_start_as_there_are_cores_or_workers(on_fake_ray: Any) -> None:
    ray = on_fake_ray(cores=3)
    backend = RayTrials(tiny(), "here")
    assert (backend.free(), RayTrials(tiny(), "here", workers=2).free()) == (3, 2)
    backend.start(0, {"gamma": 0.9, "lanes_side": 0})
    assert backend.free() == 2
    ray.cores = 0  # all machines are gone
    assert backend.free() == 0


def test_call_hands_a_trials_reports_to_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPTRAFFIC_THREADS", "2")
    asked: list[tuple[int, int]] = []

    def answer(mailbox: str, number: int, step: int, score: float) -> bool:
        asked.append((number, step))
        return step == 2

    monkeypatch.setattr(ray_trials, "ask_driver", answer)
    rounds = FEW | {"total_timesteps": 2_500}  # a round is 1,000 decisions: it reports after the first and the second
    config = tiny(pruner="median", evaluations=3, settings=rounds)
    params = {"gamma": 0.9, "lanes_side": 0}
    assert trial_call(config, 7, params, "a mailbox").stopped
    assert asked == [(7, 1), (7, 2)]
    assert trial_call(config, 7, params, None).score is not None
    assert os.environ["DEEPTRAFFIC_THREADS"] == "1"


def test_mailbox_brings_reports_to_the_driver_and_its_answer_back() -> None:
    async def talk() -> tuple[list, bool, list, bool]:
        mailbox = Mailbox()
        first = asyncio.create_task(mailbox.report(4, 1, 55.0))
        reports = await mailbox.collect()
        await mailbox.answer(3, False)  # nobody asked
        await mailbox.answer(4, True)
        again = asyncio.create_task(mailbox.report(4, 1, 55.0))
        more = await asyncio.wait_for(mailbox.collect(), 1.0)
        await mailbox.answer(4, False)
        return reports, await first, more, await again

    assert asyncio.run(asyncio.wait_for(talk(), 10)) == ([(4, 1, 55.0)], True, [(4, 1, 55.0)], False)


def test_trial_that_began_anew_gets_the_answer_in_place_of_the_dead_one() -> None:
    async def talk() -> bool:
        mailbox = Mailbox()
        dead = asyncio.create_task(mailbox.report(4, 2, 55.0))
        await mailbox.collect()
        alive = asyncio.create_task(mailbox.report(4, 1, 50.0))
        await mailbox.collect()
        await mailbox.answer(4, True)
        dead.cancel()
        return await alive

    assert asyncio.run(asyncio.wait_for(talk(), 10))


# --- on a cluster -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of three machines, as processes here: a head without cores, and two of one core each."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 80_000_000}
    cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    cluster.machines = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
    yield cluster
    cluster.shutdown()


def kill_machine(machine: Any, while_it_runs: str) -> list[str]:
    """Wait for a machine to be in the midst of a call, kill every process of it, and return what they ran."""
    import psutil

    raylet = psutil.Process(machine.all_processes["raylet"][0].process.pid)
    while True:
        workers = raylet.children(recursive=True)
        running = [" ".join(worker.cmdline()).strip() for worker in workers]
        if any(while_it_runs in command for command in running):
            break
        time.sleep(0.02)
    for process in (raylet, *workers):
        process.send_signal(signal.SIGKILL)
    return [command for command in running if while_it_runs in command]


@needs_ray
@pytest.mark.slow
def test_machine_killed_in_the_midst_of_a_trial_loses_none_and_none_counts_twice(
    cluster: Any, tmp_path: Path, quiet: Console
) -> None:
    config = tiny(settings={**FEW, "total_timesteps": 30_000}, tuning_runs=100, trials=6)
    killed: list[str] = []
    events: list[Any] = []

    class Watched(RayTrials):
        def wait(self, seconds: float) -> list[Any]:
            some = super().wait(seconds)
            events.extend(some)
            if any(isinstance(event, Finished) for event in some) and not killer.ident:
                killer.start()
            return some

    killer = threading.Thread(target=lambda: killed.extend(kill_machine(cluster.machines[0], "ray::trial_call")))
    make = lambda told: Watched(told, cluster.address)  # noqa: E731
    result = run_sweep(config, tmp_path / "ray", make_backend=make, console=quiet)
    killer.join(60)
    undisturbed = run_sweep(config, tmp_path / "here", console=quiet)
    assert killed == ["ray::trial_call"]  # one core, one trial
    assert sorted(event.number for event in events) == [0, 1, 2, 3, 4, 5]  # each finished, once
    assert (result.trials, result.failed) == (6, 0)
    assert outcomes(tmp_path / "ray") == outcomes(tmp_path / "here")
    assert result.score == undisturbed.score


@needs_ray
@pytest.mark.slow
def test_trials_on_a_cluster_are_asked_whether_to_go_on(cluster: Any) -> None:
    config = tiny(pruner="median", evaluations=3)
    backend = RayTrials(config, cluster.address, workers=2)
    try:
        backend.start(0, {"gamma": 0.9, "lanes_side": 0})
        backend.start(1, {"gamma": 0.8, "lanes_side": 1})
        seen: list[Any] = []
        while sum(isinstance(event, Finished) for event in seen) < 2:
            for event in backend.wait(1.0):
                seen.append(event)
                if isinstance(event, Reported):
                    backend.answer(event.number, stop=event.number == 1)
    finally:
        backend.close()
    reported = sorted((event.number, event.step) for event in seen if isinstance(event, Reported))
    finished = {event.number: event.result for event in seen if isinstance(event, Finished)}
    assert reported == [(0, 1), (0, 2), (1, 1)]
    assert finished[1].stopped
    assert finished[0].score == run_trial(config, 0, {"gamma": 0.9, "lanes_side": 0}).score
