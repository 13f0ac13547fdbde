"""A class before its deadline: uploads ever closer together, servers and workers killed, the disk full for a while.

    python tests/competition/deadline_test.py --students 300 --each 10 --seconds 300

The real server, its API and its sandboxed workers, over a clock whose hour is as short as is asked for. At the end each
upload that the server acknowledged is there once and has its score, and none is late. As a test it runs small.
"""

import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import typer
from sqlalchemy import func, select

from deeptraffic.competition.config import to_time
from deeptraffic.competition.evaluation import idle_policy
from deeptraffic.competition.models import Evaluation, EvaluationResult, Submission
from deeptraffic.competition.server import ADDRESS
from deeptraffic.competition.store import accounts, submissions
from deeptraffic.competition.store.competitions import change_config
from deeptraffic.competition.store.database import Database
from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.policies.file import PolicyFile, policy_content
from deeptraffic.policies.network import Network

DISK = 64  # [MB] of the disk that is filled, where this process may mount one
PATIENCE = 1200.0  # [s] for what waits after the deadline


def policy_of(number: int) -> PolicyFile:
    """Policies that all do nothing, each with weights of its own."""
    idle = idle_policy()
    bias = np.array([1.0 + number, 0, 0, 0, 0], np.float32)
    tensors = dict(idle.network.tensors) | {"1.bias": bias}
    return PolicyFile(idle.manifest, Network(idle.network.inputs, idle.network.layers, tensors))


class Site:
    """A server process that is started again after each death."""

    def __init__(self, data: Path, url: str | None = None) -> None:
        self.data, self.url, self.port = data, url, 0
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        (self.data / ADDRESS).unlink(missing_ok=True)
        words = ["serve", "--data", str(self.data), "--port", "0", "--workers", "2"]
        words += [] if self.url is None else ["--database-url", self.url]
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

    def kill_worker(self, rng: random.Random) -> None:
        if victims := list(children_of(self.process.pid)):
            os.kill(rng.choice(victims), signal.SIGKILL)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def children_of(pid: int) -> Iterator[int]:
    """Processes that a process has started."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            yield int(path.parent.name)


@dataclass
class Upload:
    """What became of an upload: accepted, closed, or "" while there is no answer.

    begun, sent: when the last try's first and last byte were written [ms since 1970 UTC]; tries: how many there were
    """

    number: int
    outcome: str = ""
    begun: float = 0.0
    sent: float = 0.0
    tries: int = 0


@dataclass
class Student:
    """A participant who does not give up before the deadline."""

    id: int
    token: str
    uploads: list[Upload] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)

    def send(self, site: Site, upload: Upload, content: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        address = "/api/v1/competitions/deeptraffic/submissions?filename=a.safetensors"
        upload.tries += 1
        upload.begun = 1000 * time.time()
        try:
            connection.request("POST", address, content, {"Authorization": f"Bearer {self.token}"})
            upload.sent = 1000 * time.time()
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.answers[type(error).__name__] += 1
            return
        finally:
            connection.close()
        code = json.loads(text).get("error", {}).get("code", "")
        self.answers[f"{answer.status} {code}".strip()] += 1
        assert answer.status in (200, 201, 409, 422, 429, 503), text
        if answer.status < 300 or code == "duplicate":  # the server has had it since before it was killed
            upload.outcome = "accepted"
        elif answer.status == 422:
            upload.outcome = code


@dataclass
class Deadline:
    """A class of students, and what happens to its server.

    each: uploads of a student; policies: how many different files they take them from, which are evaluated once each
    seconds: from the first upload to the deadline
    """

    data: Path
    students: int
    each: int
    policies: int
    seconds: float
    server_kills: int
    worker_kills: int
    full_seconds: float
    url: str | None = None
    seed: int = 7

    def run(self) -> dict[str, float]:
        """Let it happen; return what was counted, and assert that nothing is lost, doubled or late."""
        self.contents = [policy_content(policy_of(number)) for number in range(self.policies)]
        site = Site(self.data, self.url)
        self.db = Database.in_folder(self.data) if self.url is None else Database(self.url)
        try:
            waiting = {"waiting_limit": 1000, "daily_limit": self.each + 1, "daily_cpu": 86_400}
            change_config(self.db, 1, waiting, "test")
            people = self._people()
            first = self._warm_up(site)
            self.closes = 1000 * int(time.time() + self.seconds)
            change_config(self.db, 1, {"closes_at": to_time(self.closes)}, "test")
            self._play(site, people)
            self._wait(site)
            return self._check([first, *people])
        finally:
            site.stop()
            self.db.close()

    def _people(self) -> list[Student]:
        rng = random.Random(self.seed)
        secret = accounts.new_invite(self.db, 1, "test")
        found = []
        for number in range(self.students):
            files = rng.sample(range(self.policies), self.each + 1)
            found.append(self._join(secret, f"Driver {number}", files))
        return found

    def _join(self, secret: str, name: str, files: list[int]) -> Student:
        person = accounts.join_by_invite(self.db, secret, name)[0]
        return Student(person.id, accounts.new_submit_token(self.db, person.id), [*map(Upload, files)])

    def _warm_up(self, site: Site) -> Student:
        """Hand in and score one file, by which everything is compiled; return who did."""
        student = self._join(accounts.new_invite(self.db, 1, "test"), "The first", [0])
        while not student.uploads[0].outcome:
            student.send(site, student.uploads[0], self.contents[0])
        self._wait(site)
        return student

    def _play(self, site: Site, people: list[Student]) -> None:
        begin = time.time()

        def play(student: Student) -> None:
            rng = random.Random(student.id)
            span = self.closes / 1000 - begin
            times = sorted(begin + span * rng.random() ** 0.4 for _ in range(self.each))
            for at, upload in zip([*times, self.closes / 1000], student.uploads, strict=True):  # the last is late
                time.sleep(max(0.0, at - time.time()))
                while not upload.outcome:
                    student.send(site, upload, self.contents[upload.number])
                    if not upload.outcome:
                        time.sleep(rng.uniform(0.2, 1.5))

        threads = [threading.Thread(target=play, args=[student], daemon=True) for student in people]
        for thread in threads:
            thread.start()
        self._disturb(site, begin)
        for thread in threads:
            thread.join()

    def _disturb(self, site: Site, begin: float) -> None:
        """Kill and fill the disk in the middle: between a tenth and eight tenths of the time."""
        rng = random.Random(self.seed)
        span = self.closes / 1000 - begin
        acts = ["server"] * self.server_kills + ["worker"] * self.worker_kills + ["disk"] * (self.full_seconds > 0)
        rng.shuffle(acts)
        for number, act in enumerate(acts):
            time.sleep(max(0.0, begin + span * (0.1 + 0.7 * number / len(acts)) - time.time()))
            if act == "server":
                site.kill()
            elif act == "worker":
                site.kill_worker(rng)
            else:
                with full_disk(self.data):
                    time.sleep(self.full_seconds)

    def _wait(self, site: Site) -> None:
        end = time.monotonic() + PATIENCE
        while unfinished := self._unfinished():
            assert time.monotonic() < end, f"{unfinished} submissions wait"
            time.sleep(1.0)

    def _unfinished(self) -> int:
        with self.db.read() as session:
            waiting = Submission.state.in_(submissions.UNFINISHED)
            return session.execute(select(func.count()).select_from(Submission).where(waiting)).scalar_one()

    def _check(self, people: list[Student]) -> dict[str, float]:
        made, total = submissions.history(self.db, 1, limit=100_000)
        stored = Counter((one.person_id, one.sha256) for one in made)
        digest = [hashlib.sha256(content).hexdigest() for content in self.contents]
        accepted = {(one.id, digest[u.number]) for one in people for u in one.uploads if u.outcome == "accepted"}
        assert set(stored.values()) == {1} and total == len(made), "a submission is there twice"
        assert accepted <= set(stored), f"acknowledged and lost: {sorted(accepted - set(stored))}"
        closes = self.closes
        assert all(one.accepted_at < closes for one in made), "a late submission was accepted"
        uploads = [upload for student in people for upload in student.uploads]
        assert all(upload.begun < closes for upload in uploads if upload.outcome == "accepted" and upload.tries == 1)
        refused = [u for u in uploads if u.outcome == "closed"]
        early = [u for u in refused if u.tries == 1 and u.sent < closes]
        with self.db.read() as session:
            results = [(row.sha256, row.protocol, row.revision) for row in session.query(EvaluationResult).all()]
            kills = sum(row.tries > 1 for row in session.query(Evaluation).all())
        assert len(set(results)) == len(results), "a result is there twice"
        states = Counter(one.state for one in made)
        assert set(states) <= {"scored", "failed"}, states
        expected = evaluate_official(policy_of(0).policy()).score
        assert {one.score for one in made if one.state == "scored"} == {expected}
        for student in people:
            counted = sum(one.person_id == student.id and one.state == "scored" for one in made)
            assert submissions.quota(self.db, 1, student.id)["total"] == counted
        answers = sum((student.answers for student in people), Counter())
        return {f"answers {name}": count for name, count in sorted(answers.items())} | {
            "uploads": len(uploads),
            "accepted": len(accepted),
            "stored": total,
            "stored, whose answer a kill cut off": len(set(stored) - accepted),
            "refused as late": len(refused),
            "refused as late, but sent before the deadline": len(early),
            "refused as late, but sent a second before the deadline": sum(u.sent < closes - 1000 for u in early),
            "tries": sum(upload.tries for upload in uploads),
            "evaluations tried again": kills,
            "scored": states["scored"],
            "failed for the platform": states["failed"],
            "in the last second": sum(one.accepted_at >= closes - 1000 for one in made),
        }


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Fill the disk of a folder."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """Yield a folder on a small disk of its own, None where this process may not mount one."""
    folder = Path(tempfile.mkdtemp(prefix="deeptraffic-disk-"))
    options = ["-t", "tmpfs", "-o", f"size={DISK}M,mode=700", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(["mount", *options], check=False).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)
        folder.rmdir()


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_late(tmp_path: Path) -> None:
    with small_disk() as disk:
        counted = Deadline(disk or tmp_path, 6, 4, 10, 60.0, 1, 3, 3.0 if disk else 0.0).run()
    assert counted["accepted"] >= 6 * 4 - 2 and counted["refused as late"] >= 6
    assert counted["failed for the platform"] <= 2
    assert counted["refused as late, but sent a second before the deadline"] == 0


def main(
    students: int = 300,
    each: int = 10,
    policies: int = 60,
    seconds: float = 300.0,
    server_kills: int = 5,
    worker_kills: int = 20,
    full_seconds: float = 10.0,
    database_url: str | None = None,
) -> None:
    """Print what was counted."""
    with small_disk() as disk, tempfile.TemporaryDirectory(prefix="deeptraffic-") as name:
        if disk is None:
            print("no disk of its own can be mounted: it is not filled")
        full = full_seconds if disk is not None else 0.0
        args = (students, each, policies, seconds, server_kills, worker_kills, full, database_url)
        for what, value in Deadline(disk or Path(name), *args).run().items():
            print(f"{what}: {value:,.0f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
