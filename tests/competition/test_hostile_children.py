"""Hostile code inside a locked-down child reaches nothing, stops nothing, and is reported by the right code."""

import ctypes
import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from deeptraffic.competition.sandbox import messages, process
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.fork_server import PROGRAM, ForkServer, fork_server
from deeptraffic.competition.sandbox.limits import EVALUATION, MEGABYTE, Limits
from deeptraffic.competition.sandbox.lockdown import FIRST_CHILD_USER
from deeptraffic.competition.sandbox.policy import SandboxedPolicy
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol, evaluate_official
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import pack_policy, policy_content, read_policy
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor

SHORT = replace(EVALUATION, memory=128 * MEGABYTE, cpu_seconds=1, answer_seconds=20.0)
IMPATIENT = replace(SHORT, answer_seconds=0.5)
NETWORK = Network(27, (Dense(outputs=5),), {"1.weight": np.eye(5, 27), "1.bias": np.arange(5) / 9})
HONEST = policy_content(pack_policy(NETWORK, Sensor(1, 7, 2), "honest"))

CASES = [
    *[
        (name, SHORT, "crash")
        for name in ("fork", "fork_bomb", "threads", "raw_clone", "execute", "shell", "daemonise")
    ],
    *[(name, SHORT, "crash") for name in ("kill_worker", "kill_fork_server", "kill_group_of_worker")],
    *[(name, SHORT, "crash") for name in ("trace_worker", "read_worker_memory")],
    *[(name, SHORT, "time") for name in ("spin", "stop_watchdog_signal")],
    *[(name, IMPATIENT, "time") for name in ("sleep", "partial")],
    *[(name, SHORT, "memory") for name in ("balloon", "balloon_slowly")],
    ("balloon_in_maps", SHORT, "crash"),
    *[(name, SHORT, "crash") for name in ("raise_limits", "be_root", "write_here", "write_temporary", "fill_disk")],
    *[(name, SHORT, "crash") for name in ("tcp", "udp", "name_lookup", "unix_socket", "io_uring")],
    *[(name, SHORT, "answer") for name in ("action 5", "action 255", "no action", "two actions", "text")],
    *[(name, SHORT, "answer") for name in ("huge length", "negative length", "wrong nonce", "early", "flood")],
    *[(name, SHORT, "crash") for name in ("close pipes", "exit", "segmentation fault")],
    ("exit as if out of memory", SHORT, "memory"),
    *[(f"facts: {name}", SHORT, "answer") for name in ("no JSON", "60,000 deep", "a list", "no label", "endless road")],
    *[(f"facts: {name}", SHORT, "answer") for name in ("negative sensor", "a third contest", "no cost", "too long")],
    *[(f"facts: {name}", SHORT, "answer") for name in ("no layers", "no digest", "no kind")],
    ("facts: a false error", SHORT, "answer"),
]


class Watched(ForkServer):
    """A fork server that remembers its children."""

    def __init__(self, program: str) -> None:
        super().__init__(program)
        self.children: list[int] = []

    def fork(self, role: str, limits: Limits) -> tuple[int, int, int]:
        forked = super().fork(role, limits)
        self.children.append(forked[0])
        return forked

    @property
    def number(self) -> int:
        assert self._process
        return self._process.pid


@pytest.fixture(scope="module")
def evil_server() -> Iterator[Watched]:
    folder = str(Path(__file__).parent)
    program = PROGRAM.replace("main()", f"sys.path.append({folder!r}); import malice; malice.enrol(); main()")
    evil = Watched(program)
    yield evil
    evil.close()


@pytest.fixture
def evil(evil_server: Watched, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Children run malice instead of policies while this is in force."""
    monkeypatch.setattr(process, "fork_server", lambda: evil_server)
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=2, frames=600, block=1))
    return evil_server


@pytest.fixture(scope="module")
def targets() -> Iterator[dict[str, object]]:
    """What attacks are aimed at: this process, a piece of its memory, servers of its own."""
    secret = ctypes.create_string_buffer(b"a secret in the worker's memory" * 2)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        name = f"\0deeptraffic-{os.getpid()}"
        abstract.bind(name)
        abstract.listen()
        yield {
            "worker": os.getpid(),
            "group": os.getpgrp(),
            "address": ctypes.addressof(secret),
            "port": server.getsockname()[1],
            "abstract": name,
        }


@pytest.mark.parametrize(("attack", "limits", "code"), CASES, ids=[case[0] for case in CASES])
def test_attack_is_contained_and_the_next_honest_policy_is_scored(
    attack: str, limits: Limits, code: str, evil: Watched, targets: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = json.dumps(targets | {"attack": attack}).encode()
    with pytest.raises(InvalidSubmission) as error, SandboxedPolicy(content, limits) as policy:
        evaluate_official(policy)
    assert error.value.code == code
    assert leftovers(evil) == []
    monkeypatch.setattr(process, "fork_server", fork_server)
    with SandboxedPolicy(HONEST) as honest:
        scored = evaluate_official(honest)
    assert np.array_equal(scored.run_scores, evaluate_official(read_policy(HONEST).policy()).run_scores)


def test_printed_scores_go_nowhere(evil: Watched, capfd: pytest.CaptureFixture[str]) -> None:
    with SandboxedPolicy(json.dumps({"attack": "print a score"}).encode(), SHORT) as policy:
        scored = evaluate_official(policy)
    assert np.array_equal(scored.run_scores, evaluate_official(make_builtin("accelerate")).run_scores)
    assert "99.9" not in "".join(capfd.readouterr())


def test_attack_that_succeeds_would_be_noticed(evil: Watched) -> None:
    with SandboxedPolicy(json.dumps({"attack": "nothing"}).encode(), SHORT) as policy:
        assert evaluate_official(policy).policy == "evil"


def test_seeds_database_tokens_and_other_submissions_are_out_of_reach(
    evil: Watched, targets: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["seed-7391", "token-5582", "database-1177", "weights-4410"]
    monkeypatch.setenv("DEEPTRAFFIC_TOKEN", words[1])
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("seeds.json", "config.toml", "competition.db", "other.safetensors")]
        for file, word in zip(files, words, strict=True):
            file.write_text(word)
            file.chmod(0o644)  # as carelessly as can be: anybody on the machine may read them
        Path(folder).chmod(0o755)
        asked = {"attack": "search", "paths": [str(file) for file in files], "words": [word[::-1] for word in words]}
        with SandboxedPolicy(json.dumps(targets | asked).encode(), SHORT) as policy:
            policy.reset(np.arange(1))
            policy.act(np.zeros((1, policy.observation.size)), np.arange(1))
            report = json.loads(policy.child.ask(messages.ATTACH))
    assert report["hits"] == {}
    refused = {way for way, found in report["found"].items() if found.startswith("refused")}
    assert set(report["found"]) - refused == {"environment", "arguments", "own memory", "handles"}
    assert report["found"]["environment"] == "{}"
    assert report["found"]["own memory"] == "knows its program: True"  # where it looked, there was something to find
    assert len(report["found"]["handles"].split()) == 5  # three that lead nowhere, and the two pipes


def leftovers(server: "Watched") -> list[int]:
    """Processes that are a fork server's children, or of a user that only its children had."""
    users, found = {FIRST_CHILD_USER + child for child in server.children}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server.number or folder.stat().st_uid in users:
                found.append(int(folder.name))
    return found
