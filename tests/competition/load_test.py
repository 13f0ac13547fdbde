"""Load test of a competition server: page latency with many readers, submissions per minute with two workers.

    python tests/competition/load_test.py --people 2000 --submissions 10000 --readers 50 --seconds 10

Fills an empty database with people and scored submissions, serves it, reads its pages over many connections at once,
and has two workers score submissions that all differ. As a test it runs small, and checks no measured value.
"""

import hashlib
import http.client
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import uvicorn
from sqlalchemy.orm import Session

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import Competition, Content, EvaluationResult, Member, Person, Submission
from deeptraffic.competition.names import skeleton
from deeptraffic.competition.sandbox.validation import validate
from deeptraffic.competition.store import board, competitions, evaluations, queue, submissions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.evaluations import Evaluated
from deeptraffic.competition.supervisor import Supervisor
from deeptraffic.competition.web.app import create_app
from deeptraffic.competition.web.connection import PatientConnection
from deeptraffic.competition.web.settings import Rate, WebSettings
from deeptraffic.competition.worker import Pace, Worker
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.file import pack_policy, policy_content
from deeptraffic.policies.layers import Dense, Relu
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor

WORKERS = 2
HIDDEN = 24
SENSOR = Sensor(3, 30, 10)
NO_LIMIT = Rate(1e9, 1e9)  # all readers come from one address
PAGES = (
    "/",
    "/c/load",
    "/c/load?page=3",
    "/c/load?q=Driver+77",
    "/c/load/figures.json",
    "/api/v1/competitions/load/board",
)


class Load:
    """Measurements of a server that it starts in this process, with workers in processes of their own.

    url: an empty PostgreSQL database; None for SQLite in a temporary folder
    """

    def __init__(self, members: int, entries: int, readers: int, seconds: float, url: str | None = None) -> None:
        self.members, self.entries, self.readers, self.seconds, self.url = members, entries, readers, seconds, url
        self.random = np.random.default_rng(1)

    def run(self) -> Iterator[tuple[str, float]]:
        """Give measurements, one after another: name with unit, and value."""
        with tempfile.TemporaryDirectory(prefix="deeptraffic-") as name:
            db = (Database.in_folder(Path(name)) if self.url is None else Database(self.url)).migrate()
            config = CompetitionConfig(title="Load", daily_limit=100_000, total_limit=1_000_000, waiting_limit=1000)
            competition = competitions.create(db, "load", config, "load")
            started = time.perf_counter()
            self._fill(db, competition)
            yield (
                f"filling in {self.entries:,} submissions of {self.members:,} people [s]",
                time.perf_counter() - started,
            )
            with serving(db, Path(name)) as port:
                yield from self._read(port)
                yield from self._score(db, competition)
            db.close()

    def _fill(self, db: Database, competition: Competition) -> None:
        """Write people and scored submissions as they would be after a course."""
        now = time.time_ns() // 1_000_000
        names = [f"Driver {number}" for number in range(self.members)]
        with db.write() as session:
            session.add_all(Person(name=name, skeleton=skeleton(name), created_at=now) for name in names)
            session.flush()
            for person in range(1, self.members + 1):
                joined = {"competition_id": competition.id, "person_id": person, "joined_at": now}
                session.add(Member(alias=f"Driver {person:06X}", **joined))
            for number in range(self.entries):
                self._add_entry(session, competition, number, now)
            for person in range(1, self.members + 1):
                competitions.update_best(session, competition.id, person)

    def _add_entry(self, session: Session, competition: Competition, number: int, now: int) -> None:
        """Add a content, its result and a submission of it."""
        content = secrets.token_bytes(1000)
        digest = hashlib.sha256(content).hexdigest()
        middle, others = float(self.random.normal(65.0, 5.0)), int(self.random.integers(0, 11))
        runs = np.floor(self.random.normal(middle, 3.0, 500) * 100) / 100
        score, mean, half = float(np.median(runs)), float(runs.mean()), 0.3
        at = now - int(self.random.integers(0, 30 * 86_400_000))
        session.add(Content(sha256=digest, content=content, created_at=at))
        session.flush()
        result = EvaluationResult(
            sha256=digest,
            protocol=evaluations.official_protocol(2018, others),
            revision=0,
            applied=True,
            score=score,
            score_low=score - half,
            score_high=score + half,
            mean=mean,
            mean_low=mean - half,
            mean_high=mean + half,
            unrounded_mean=mean,
            sd=3.0,
            runs=500,
            frames=2000,
            seconds=2.0,
            cpu_seconds=1.0,
            created_at=at,
            run_scores=runs,
            run_passed=np.full(500, 40),
            decisions=secrets.token_bytes(8000),
        )
        session.add(result)
        session.flush()
        submission = Submission(
            competition_id=competition.id,
            person_id=number % self.members + 1,
            sha256=digest,
            network=digest,
            filename=f"policy-{number}.safetensors",
            label=f"policy {number}",
            facts={"kind": "policy", "sensor": SENSOR._asdict(), "layers": ["dense", "relu", "dense"]},
            other_agents=others,
            parameters=int(self.random.integers(100, 100_000)),
            cells=int(self.random.integers(10, 500)),
            layers=int(self.random.integers(1, 9)),
            state="scored",
            accepted_at=at,
            scored_at=at + 5000,
            result_id=result.id,
        )
        session.add(submission)

    def _read(self, port: int) -> Iterator[tuple[str, float]]:
        """Read each page alone, then all of them with many readers at once."""
        for page in PAGES:
            yield f"{page}, one reader [ms]", 1000 * float(np.median([get(port, page) for _ in range(5)]))
        times: list[float] = []
        end = time.perf_counter() + self.seconds

        def read(number: int) -> None:
            while time.perf_counter() < end:
                times.append(get(port, PAGES[number % len(PAGES)]))

        with ThreadPoolExecutor(self.readers) as pool:
            list(pool.map(read, range(self.readers)))
        for percent in (50, 95, 99):
            value = 1000 * float(np.percentile(times, percent))
            yield f"pages with {self.readers} readers, {percent}% within [ms]", value
        yield f"pages with {self.readers} readers [pages/s]", len(times) / self.seconds

    def _score(self, db: Database, competition: Competition) -> Iterator[tuple[str, float]]:
        """Check policies that are all different as uploads are, accept them, and let two workers score them."""
        checked, accepted, entries = [], [], []
        for number in range(max(4, int(2 * self.seconds))):
            content, started = policy_content(make_policy(number)), time.perf_counter()
            entries.append(validate(content, f"{number}.safetensors"))
            checked.append(time.perf_counter() - started)
        yield "checking an uploaded policy file [ms]", 1000 * float(np.median(checked))
        with Supervisor(db.url, WORKERS):
            while len(queue.seen_workers(db)) < WORKERS + 1:
                time.sleep(0.1)
            begun = time.perf_counter()
            for number, entry in enumerate(entries):
                started = time.perf_counter()
                submissions.accept(db, competition.id, number % self.members + 1, entry)
                accepted.append(time.perf_counter() - started)
            while queue.counts(db):
                time.sleep(0.05)
            minutes = (time.perf_counter() - begun) / 60
        yield "accepting a submission [ms]", 1000 * float(np.median(accepted))
        yield f"submissions scored by {WORKERS} workers [a minute]", len(entries) / minutes


@contextmanager
def serving(db: Database, data: Path) -> Iterator[int]:
    """Serve the pages from a process, as on a machine apart from its readers; give the port."""
    settings = WebSettings(data, reads=NO_LIMIT, writes=NO_LIMIT, secrets=NO_LIMIT, uploads=NO_LIMIT)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        address = db.url.render_as_string(hide_password=False)
        process = get_context("spawn").Process(target=_serve, args=(address, settings, listening), daemon=True)
        process.start()
        port = listening.getsockname()[1]
        get(port, "/about")  # answered when it has started
        yield port
        process.terminate()
        process.join()


def _serve(address: str, settings: WebSettings, listening: socket.socket) -> None:
    app = create_app(Database(address), settings)
    config = uvicorn.Config(app, http=PatientConnection, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


def get(port: int, page: str) -> float:
    """Read a page; return the seconds it took. RuntimeError for any answer but success."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", page, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status >= 400:
        raise RuntimeError(f"{page} answered {answer.status}")
    return time.perf_counter() - started


def make_policy(seed: int) -> Any:
    """Return a small network of its own."""
    random = np.random.default_rng(seed + int.from_bytes(os.urandom(4)))
    shapes = {"1.weight": (HIDDEN, SENSOR.size), "1.bias": (HIDDEN,), "3.weight": (5, HIDDEN), "3.bias": (5,)}
    tensors = {name: random.normal(0.0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    network = Network(SENSOR.size, (Dense(outputs=HIDDEN), Relu(), Dense(outputs=5)), tensors)
    return pack_policy(network, SENSOR, f"load {seed}")


# --- tests --------------------------------------------------------------------------------------------------------


def test_a_crowd_has_its_people_submissions_and_ranks(tmp_path: Path) -> None:
    db = Database.in_folder(tmp_path).migrate()
    competition = competitions.create(db, "load", CompetitionConfig(), "test")
    Load(members=7, entries=20, readers=1, seconds=1.0)._fill(db, competition)
    found = board.read_board(db, competition.id)
    assert found.ranked == 7 and sum(row.submissions for row in found.rows) == 20
    made, total = submissions.history(db, competition.id, limit=100)
    assert total == 20 and {one.state for one in made} == {"scored"}
    best = {row.person_id: row.score for row in found.rows}
    assert all(best[one.person_id] >= one.score for one in made)
    db.close()


class Helpers:
    """Replaces the supervisor: workers in threads, which score at once."""

    def __init__(self, url: Any, count: int) -> None:
        lanes = ["all"] * count + ["validation"]
        self.workers = [Worker(Database(url), lane, self.evaluate, pace=Pace(poll=0.01)) for lane in lanes]
        self.threads = [threading.Thread(target=worker.run) for worker in self.workers]

    def evaluate(self, job: Any, progress: Any) -> Any:
        return Evaluated(Score("x", "official", 2018, 0, "contest", np.ones(5), np.ones(5), 2000, 0.1))

    def __enter__(self) -> None:
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        for worker, thread in zip(self.workers, self.threads, strict=True):
            worker.stop()
            thread.join()
            worker.db.close()


def test_everything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Supervisor", Helpers)
    measured = dict(Load(members=4, entries=12, readers=3, seconds=0.2).run())
    assert all(value > 0 for value in measured.values())
    assert all("[" in name for name in measured)
    assert {"pages with 3 readers, 95% within [ms]", "submissions scored by 2 workers [a minute]"} <= set(measured)


def test_a_page_that_fails_raises(tmp_path: Path) -> None:
    db = Database.in_folder(tmp_path).migrate()
    with serving(db, tmp_path) as port, pytest.raises(RuntimeError, match="answered 404"):
        get(port, "/c/none")
    db.close()


def main(
    people: int = 2000,
    submissions: int = 10_000,
    readers: int = 50,
    seconds: float = 10.0,
    database_url: str | None = None,
) -> None:
    """Print the measurements."""
    for name, value in Load(people, submissions, readers, seconds, database_url).run():
        print(f"{name}: {value:,.1f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
