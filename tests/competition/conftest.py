"""A small competition whose clock the test sets, in SQLite or, for what databases may do differently, in both."""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL, create_engine, text

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import Competition, Person, Submission
from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import accounts, competitions, database, evaluations, queue, submissions
from deeptraffic.competition.store.database import FILE, Database
from deeptraffic.competition.store.evaluations import Job
from deeptraffic.evaluation.score import Score
from deeptraffic.sim.rules import Sensor

NOON = 1_800_000_000_000 - 1_800_000_000_000 % 86_400_000 + 43_200_000  # [ms since 1970 UTC] of a day in 2027


@dataclass
class Lab:
    """A competition with a clock that stands still; `score_of` says what a content scores."""

    db: Database
    times: list[int]
    competition: Competition
    score_of: dict[str, float] = field(default_factory=dict)

    def upload(self, name: str, **changes: Any) -> Upload:
        content = name.encode()
        given: dict[str, Any] = {
            "content": content,
            "sha256": hashlib.sha256(content).hexdigest(),
            "filename": f"{name}.safetensors",
            "kind": "policy",
            "label": name,
            "rules": 2018,
            "other_agents": 0,
            "sensor": Sensor(3, 50, 10),
            "temporal_window": 0,
            "layers": ("dense", "relu", "dense"),
            "parameters": 1000,
            "operations": 1000,
            "activations": 100,
            "state_values": 0,
        }
        return Upload(**(given | changes))

    def member(self, name: str) -> Person:
        secret = accounts.new_invite(self.db, self.competition.id, "test")
        return accounts.join_by_invite(self.db, secret, name)[0]

    def submit(self, person: Person, name: str, **changes: Any) -> Submission:
        return submissions.accept(self.db, self.competition.id, person.id, self.upload(name, **changes))

    def score(self, job: Job) -> Score:
        """A score of 20 runs of what the test says, 60 by default; in the final the last become the first."""
        middle = self.score_of.get(bytes(job.content).decode(), 60.0)
        runs = np.full(20, middle if job.kind != "final" else 100.0 - middle)
        speeds = runs + 0.001
        passed = np.arange(20)
        return Score(
            "x", "official", job.rules, job.other_agents, "contest", runs, passed, 2000, 1.5, run_speeds=speeds
        )

    def work(self, lane: str = "all") -> list[str]:
        """Do what waits; return the kinds of the jobs that were evaluated."""
        kinds = []
        while (job := queue.lease(self.db, "test", lane)) is not None:
            evaluations.complete(self.db, job, self.score(job), b"decisions" if job.kind == "official" else None)
            kinds.append(job.kind)
        return kinds

    def scored(self, person: Person, name: str, score: float, **changes: Any) -> Submission:
        """A submission with its score."""
        self.score_of[name] = score
        made = self.submit(person, name, **changes)
        self.work()
        return submissions.get_submission(self.db, made.id)

    def change(self, **settings: Any) -> Competition:
        self.competition = competitions.change_config(self.db, self.competition.id, settings, "test")
        return self.competition


def make_lab(db: Database, times: list[int]) -> Lab:
    config = CompetitionConfig(title="Lab", final_runs=10)
    return Lab(db, times, competitions.create(db, "lab", config, "test"))


@pytest.fixture(scope="session", autouse=True)
def shared_statements() -> Iterator[None]:
    """Compile each SQL statement for SQLite once, not for each test's database: a quarter of their time."""
    first = create_engine("sqlite://")
    first.connect().close()

    def create(url: URL, **named: Any) -> Any:
        engine = create_engine(url, **named)
        if engine.name == first.name:
            engine.dialect = engine.pool._dialect = first.dialect
            engine._compiled_cache = first._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "create_engine", create)
        yield


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to copy: making them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("tables")
    Database.in_folder(folder).migrate().close()
    return folder / FILE


@pytest.fixture
def lab(tmp_path: Path, empty_tables: Path) -> Iterator[Lab]:
    times = [NOON]
    db = in_folder(tmp_path / "data", empty_tables, times)
    yield make_lab(db, times)
    db.close()


def in_folder(folder: Path, empty_tables: Path, times: list[int]) -> Database:
    folder.mkdir(mode=0o700)
    shutil.copy(empty_tables, folder / FILE)
    return Database.in_folder(folder, clock=lambda: times[-1])


@pytest.fixture(params=["sqlite", "postgresql"])
def any_lab(request: pytest.FixtureRequest, tmp_path: Path, empty_tables: Path) -> Iterator[Lab]:
    """A lab in each of the two databases."""
    times = [NOON]
    if request.param == "sqlite":
        db = in_folder(tmp_path / "data", empty_tables, times)
    else:
        db = Database(request.getfixturevalue("postgres_url")(), clock=lambda: times[-1]).migrate()
    yield make_lab(db, times)
    db.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL | None]:
    """The address of a PostgreSQL server of this test run's own; None where the programs are missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    programs = found[-1].parent if found else Path(shutil.which("initdb") or "/").resolve().parent
    if not (programs / "initdb").is_file():
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="deeptraffic-postgresql-"))
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        user = "postgres"
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)

    def run(*command: str) -> None:
        subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120)

    data, control = str(folder / "data"), str(programs / "pg_ctl")
    try:
        run(str(programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=50"
        run(control, "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
        yield URL.create("postgresql+psycopg", "postgres", database="postgres", query={"host": str(folder)})
        run(control, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(
    postgres_server: URL | None, requires_system: Callable[[str, str], Path]
) -> Iterator[Callable[[], URL]]:
    """Give a function that makes an empty database and returns its address."""
    if postgres_server is None:
        requires_system("postgresql", "initdb")
    assert postgres_server is not None
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make() -> URL:
        name = f"test_{os.urandom(6).hex()}"
        with engine.connect() as session:
            session.execute(text(f"CREATE DATABASE {name}"))
        made.append(name)
        return postgres_server.set(database=name)

    yield make
    with engine.connect() as session:
        for name in made:
            session.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()
