"""The real server, its pages' API and its sandboxed workers, killed in the middle of their work."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deeptraffic.competition.evaluation import idle_policy
from deeptraffic.competition.server import ADDRESS
from deeptraffic.competition.store import accounts, submissions
from deeptraffic.competition.store.database import Database
from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.policies.file import PolicyFile, policy_content
from deeptraffic.policies.network import Network

POLICIES, SERVER_KILLS, WORKER_KILLS, PATIENCE = 16, 4, 6, 400.0


def policy_of(number: int) -> PolicyFile:
    """Policies that all do nothing, each with weights of its own."""
    idle = idle_policy()
    bias = np.array([1.0 + number, 0, 0, 0, 0], np.float32)
    tensors = dict(idle.network.tensors) | {"1.bias": bias}
    return PolicyFile(idle.manifest, Network(idle.network.inputs, idle.network.layers, tensors))


class Site:
    """A server process that is started again after each death, and a client that does not give up."""

    def __init__(self, data: Path) -> None:
        self.data, self.port = data, 0
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        (self.data / ADDRESS).unlink(missing_ok=True)
        words = ["serve", "--data", str(self.data), "--port", "0", "--workers", "2"]
        program = "from deeptraffic.cli import main; main()"
        process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.DEVNULL)
        while not (self.data / ADDRESS).exists():
            assert process.poll() is None, "the server did not start"
            time.sleep(0.05)
        self.port = int(json.loads((self.data / ADDRESS).read_text())["url"].rpartition(":")[2])
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = self.start()

    def workers(self) -> list[int]:
        return list(children_of(self.process.pid))

    def upload(self, token: str, content: bytes) -> bool:
        """Whether the server has the file now, by its own word."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        address = "/api/v1/competitions/deeptraffic/submissions?filename=a.safetensors"
        try:
            connection.request("POST", address, content, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        assert answer.status in (200, 201, 202, 409, 429, 503), text
        return answer.status < 300 or answer.status == 409  # 409: it has had it since before it was killed


def children_of(pid: int) -> Iterator[int]:
    """Processes that a process has started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            yield int(path.parent.name)


@pytest.mark.slow
def test_a_killed_server_loses_and_doubles_nothing(tmp_path: Path) -> None:
    rng, site = random.Random(7), Site(tmp_path)
    db = Database.in_folder(tmp_path)
    secret = accounts.new_invite(db, 1, "test")
    person = accounts.join_by_invite(db, secret, "Ana")[0]
    from deeptraffic.competition.store.competitions import change_config

    change_config(db, 1, {"waiting_limit": 1000, "daily_limit": 1000}, "test")
    token = accounts.new_submit_token(db, person.id)
    waiting = [policy_content(policy_of(number)) for number in range(POLICIES)]
    acts = ["server"] * SERVER_KILLS + ["worker"] * WORKER_KILLS
    rng.shuffle(acts)
    end = time.monotonic() + PATIENCE
    try:
        while waiting or acts or submissions.quota(db, 1, person.id)["waiting"]:
            assert time.monotonic() < end, submissions.quota(db, 1, person.id)
            if waiting and site.upload(token, waiting[-1]):
                waiting.pop()
            time.sleep(rng.uniform(0.0, 1.5))
            if acts and rng.random() < 0.6:
                if acts.pop() == "server":
                    site.kill()
                elif victims := site.workers():
                    os.kill(rng.choice(victims), signal.SIGKILL)
    finally:
        site.process.terminate()
        site.process.wait()
    found, total = submissions.history(db, 1, limit=1000)
    states = [one.state for one in found]
    assert total == POLICIES and len({one.sha256 for one in found}) == POLICIES
    assert set(states) <= {"scored", "failed"} and states.count("scored") >= POLICIES - 2
    expected = evaluate_official(policy_of(0).policy()).score
    assert {one.score for one in found if one.state == "scored"} == {expected}
    assert submissions.quota(db, 1, person.id)["total"] == states.count("scored")
    db.close()
