"""Child processes and their fork server leave nothing behind, and errors name the cause of an end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from deeptraffic.competition.sandbox import messages, process
from deeptraffic.competition.sandbox.errors import PlatformError
from deeptraffic.competition.sandbox.fork_server import ForkServer, fork_server
from deeptraffic.competition.sandbox.limits import EVALUATION, Limits
from deeptraffic.competition.sandbox.process import ChildProcess, SharedCore
from deeptraffic.policies.file import pack_policy, policy_content
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor

NETWORK = Network(1, (Dense(outputs=5),), {"1.weight": np.ones((5, 1)), "1.bias": np.ones(5)})
POLICY = policy_content(pack_policy(NETWORK, Sensor(0, 1, 0), "tiny"))
DYING = "main.__globals__['lock_down'] = lambda *_: os._exit(3); main()"
WORKER = """
import sys, time
from deeptraffic.competition.sandbox.limits import EVALUATION
from deeptraffic.competition.sandbox.process import ChildProcess
children = [ChildProcess("evaluate", EVALUATION) for _ in range(2)]
print(children[0].server._process.pid, *(child.pid for child in children), flush=True)
time.sleep(600)
"""


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    own = ForkServer()
    monkeypatch.setattr(process, "fork_server", lambda: own)
    yield own
    own.close()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(*pids: int) -> list[int]:
    """Those that live on after a while."""
    for _ in range(600):
        if not any(map(lives, pids)):
            break
        time.sleep(0.05)
    return [pid for pid in pids if lives(pid)]


def test_closed_child_is_gone_with_its_pipes() -> None:
    with ChildProcess("evaluate", EVALUATION) as child:
        assert lives(child.pid)
        before = set(os.listdir("/proc/self/fd"))
    assert not lives(child.pid)
    assert len(before - set(os.listdir("/proc/self/fd"))) >= 2
    with pytest.raises(PlatformError, match="closed"):
        child.ask(messages.SUBMISSION, b"x")


def test_processor_time_is_known_while_a_child_runs_and_after_it_ended() -> None:
    with ChildProcess("evaluate", EVALUATION) as child:
        before = child.cpu_seconds
        child.ask(messages.SUBMISSION, POLICY)
        assert 0.0 < before < child.cpu_seconds < 10.0
        last = child.cpu_seconds
    assert last <= child.cpu_seconds + 0.01 and child.cpu_seconds > 0.0  # the kernel rounds the whole differently


def test_child_killed_from_outside_is_a_platform_error() -> None:
    with ChildProcess("evaluate", EVALUATION) as child:
        child.ask(messages.SUBMISSION, POLICY)
        os.kill(child.pid, signal.SIGKILL)
        for _ in range(2):  # and the cause is raised again at every later call
            with pytest.raises(PlatformError, match="killed from outside"):
                child.ask(messages.ATTACH)


def test_child_that_ends_before_it_was_asked_is_a_platform_error(own_server: ForkServer) -> None:
    own_server.program = own_server.program.replace("main()", DYING)
    with pytest.raises(PlatformError, match="before it was ready"):
        ChildProcess("evaluate", EVALUATION)


def test_fork_server_that_cannot_start_says_why(own_server: ForkServer) -> None:
    own_server.program = "raise ValueError('no such thing')"
    with pytest.raises(PlatformError, match="ValueError: no such thing"):
        own_server.start()


def test_fork_server_that_was_killed_is_replaced(own_server: ForkServer) -> None:
    first = ChildProcess("evaluate", EVALUATION)
    assert own_server._process
    own_server._process.kill()
    own_server._process.wait()
    assert wait_until_gone(first.pid) == []
    with pytest.raises(PlatformError, match="fork server"):
        ChildProcess("evaluate", EVALUATION)
    with ChildProcess("evaluate", EVALUATION) as second:
        assert lives(second.pid)
    first.close()


def test_killed_worker_takes_fork_server_and_children_with_it() -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    assert worker.stdout
    pids = [int(pid) for pid in worker.stdout.readline().split()]
    assert len(pids) == 3 and all(map(lives, pids))
    worker.kill()
    worker.wait()
    worker.stdout.close()
    assert wait_until_gone(*pids) == []


def test_threads_share_a_fork_server() -> None:
    def answer(_: int) -> str:
        with ChildProcess("evaluate", EVALUATION) as child:
            return bytes(child.ask(messages.SUBMISSION, b"no policy file")).decode()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, range(24)))
    assert len(set(answers)) == 1
    assert "broken" in answers[0]


def test_shared_core_gives_back_what_it_took() -> None:
    allowed = os.sched_getaffinity(0)
    with ChildProcess("evaluate", EVALUATION) as child:
        core = SharedCore(child.pid)
        with core.held():
            held = os.sched_getaffinity(0)
            assert os.sched_getaffinity(child.pid) == held
            assert len(held) == 1
        assert os.sched_getaffinity(0) == os.sched_getaffinity(child.pid) == allowed


def test_shared_core_moves_to_a_core_that_idles_and_stays_on_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = {0: 10.0, 1: 10.0}
    monkeypatch.setattr("deeptraffic.competition.sandbox.process.idle_seconds", lambda: dict(idle))
    monkeypatch.setattr("deeptraffic.competition.sandbox.process.time.monotonic", lambda: clock)
    monkeypatch.setattr("deeptraffic.competition.sandbox.process.os.urandom", lambda _: b"\xff")
    clock = 100.0
    core = SharedCore(0)
    chosen = []
    for idle_0, idle_1 in ((0.1, 0.9), (0.4, 0.3), (1.0, 0.0), (0.0, 0.4)):
        clock += 1.0
        idle[0] += idle_0
        idle[1] += idle_1
        chosen.append(core._choose({0, 1}))
    assert chosen == [1, 1, 0, 0]


@pytest.mark.parametrize("name", ["memory", "cpu_seconds", "answer_seconds"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), True, "1"])
def test_impossible_limit_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_this_process_has_one_fork_server() -> None:
    assert fork_server() is fork_server()
