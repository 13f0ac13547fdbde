"""`deeptraffic submit` against a server: the score computed here first, the same there, and every refusal said."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptraffic.cli import main, submit
from deeptraffic.competition.store import accounts, competitions, evaluations, queue
from deeptraffic.competition.web import bodies
from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.policies.file import pack_policy, read_policy, write_policy
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `deeptraffic submit` in this process; give its exit code and what it printed."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deeptraffic", "submit", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def net(tmp_path: Path) -> Path:
    sensor, path = Sensor(1, 10, 2), tmp_path / "net.safetensors"
    weight = np.random.default_rng(0).normal(size=(5, sensor.size))
    layers = (Dense(outputs=5, bias=False),)
    write_policy(path, pack_policy(Network(sensor.size, layers, {"1.weight": weight}), sensor, "a little net"))
    return path


@pytest.fixture
def server(world: Any, serve: Callable[..., str]) -> tuple[str, ...]:
    token = accounts.new_submit_token(world.db, world.person("Ada").id)
    return "--server", serve(), "--token", token


@pytest.fixture
def worker(world: Any) -> Iterator[dict[str, Any]]:
    """Do what a worker does, from a thread; "says": a score to report in place of the true one."""
    orders: dict[str, Any] = {"says": None}
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.2):
            job = queue.lease(world.db, "test")
            if job is not None:
                truth = evaluate_official(read_policy(job.content).policy(), job.rules, job.other_agents)
                evaluations.complete(world.db, job, orders["says"] or truth)

    thread = threading.Thread(target=work)
    thread.start()
    yield orders
    over.set()
    thread.join()


@pytest.mark.usefixtures("worker")
def test_a_policy_gets_the_same_score_here_and_on_the_server(net: Path, server: Any, run: Callable) -> None:
    code, out, err = run(str(net), *server)
    here, there = (
        out.partition(" mph on this machine")[0].split()[-1],
        out.partition(" mph on the server")[0].split()[-1],
    )
    assert (code, here) == (0, there), err
    assert "/s/" in out


def test_another_score_on_the_server_is_an_alarm(
    world: Any, net: Path, server: Any, worker: dict[str, Any], run: Callable
) -> None:
    worker["says"] = world.fake_score(79.0)
    code, _, err = run(str(net), *server)
    assert code == 1 and "report it to the organiser" in err


def test_one_json_object_is_printed(net: Path, server: Any, run: Callable) -> None:
    code, out, _ = run(str(net), *server, "--json", "--no-wait", "--no-score")
    record = json.loads(out)
    assert (code, record["state"], record["filename"], record["score_here"]) == (0, "waiting", "net.safetensors", None)
    code, _, err = run(str(net), *server, "--no-score")
    assert code == 2 and "very policy before" in err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--token": "none"}, "invalid"),
        ({"--server": "traffic.example.org"}, "is not a URL"),
        ({"--server": "http://127.0.0.1:9"}, "does not answer"),
        ({"--competition": "none"}, "no such page"),
    ],
)
def test_what_cannot_be_is_said(net: Path, server: Any, run: Callable, changes: dict[str, str], words: str) -> None:
    options = dict(zip(server[::2], server[1::2], strict=True)) | changes
    code, _, err = run(str(net), "--no-score", *(word for option in options.items() for word in option))
    assert code in (1, 2) and words in err


def test_a_file_is_checked_before_anything_is_sent(
    world: Any, net: Path, server: Any, run: Callable, tmp_path: Path
) -> None:
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    code, _, err = run(str(tmp_path / "net.pt"), *server)
    assert code == 2 and "export" in err
    competitions.change_config(world.db, world.competition.id, {"parameter_cap": 10}, "test")
    code, _, err = run(str(net), *server)
    assert code == 2 and "at most 10 are allowed" in err
    assert run(str(tmp_path / "none.js"), *server)[0] == 2


def test_a_file_too_large_for_the_competition_is_not_sent(
    world: Any, net: Path, server: Any, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    competitions.change_config(world.db, world.competition.id, {"max_bytes": 1000}, "test")
    monkeypatch.setattr(submit.ServerClient, "submit", lambda *_: 1 / 0)
    code, _, err = run(str(net), *server, "--no-score")
    assert code == 2 and "at most 1,000 bytes" in err


def test_it_sends_again_where_the_server_is_busy(
    world: Any, net: Path, server: Any, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "BUSY_SECONDS", 0.01)
    asked: list[int] = []
    permit = bodies.UploadRoom.permit

    def busy(self: Any, person_id: int, size: int) -> Any:
        asked.append(size)
        return permit(self, person_id, size if len(asked) > 2 else self.total + 1)

    monkeypatch.setattr(bodies.UploadRoom, "permit", busy)
    assert run(str(net), *server, "--no-score", "--no-wait")[0] == 0 and len(asked) == 3
    asked.clear()
    monkeypatch.setattr(submit, "TRIES", 2)
    code, _, err = run(str(net), *server, "--no-score", "--no-wait")
    assert code == 1 and "Many uploads are in progress" in err


def test_its_own_file_is_read_without_a_sandbox(
    world: Any, net: Path, server: Any, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a child process, which needs Linux")

    monkeypatch.setattr("deeptraffic.competition.sandbox.process.ChildProcess", refuse)
    competitions.change_config(world.db, world.competition.id, {"parameter_cap": 10}, "test")
    code, _, err = run(str(net), *server)
    assert code == 2 and "at most 10 are allowed" in err


def test_several_competitions_have_to_be_named(world: Any, net: Path, server: Any, run: Callable) -> None:
    competitions.create(world.db, "spring", world.competition.config, "test")
    code, _, err = run(str(net), *server, "--no-score")
    assert code == 2 and "lab, spring" in err
    assert run(str(net), *server, "--no-score", "--no-wait", "--competition", "lab")[0] == 0


def test_a_participant_needs_no_library_of_the_servers() -> None:
    program = "import sys, deeptraffic.cli.submit;"
    program += "import deeptraffic.competition.sandbox.validation;"
    program += "print([name for name in ('sqlalchemy', 'fastapi', 'jinja2', 'uvicorn') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
