"""A site over a database of its own, people in it, and submissions with the numbers that a test wants."""

import atexit
import hashlib
import itertools
import shutil
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from sqlalchemy import event

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import Competition, Person, Submission
from deeptraffic.competition.sandbox import validation
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import accounts, competitions, evaluations, queue
from deeptraffic.competition.store.competitions import join
from deeptraffic.competition.store.database import FILE, Database
from deeptraffic.competition.store.submissions import accept, get_submission
from deeptraffic.competition.web.app import PARTS, create_app
from deeptraffic.competition.web.connection import PatientConnection
from deeptraffic.competition.web.settings import WebSettings
from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.evaluation.replays import ActionLog
from deeptraffic.evaluation.score import Score
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.rules import Sensor

START = 1_790_000_000_000  # [ms]
SENSOR = Sensor(3, 50, 10)
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a context of httpx's own reads certificates for 50 ms
numbers = itertools.count()


@dataclass
class Clock:
    """A store's clock that a test sets."""

    now: int = START

    def __call__(self) -> int:
        return self.now


def make_upload(other_agents: int = 0, parameters: int = 15_000, **changes: Any) -> Upload:
    content = b"policy %d" % next(numbers)
    upload = Upload(
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        filename="mine.safetensors",
        kind="policy",
        label="a driver",
        rules=2018,
        other_agents=other_agents,
        sensor=SENSOR,
        temporal_window=0,
        layers=("dense", "relu", "dense", "relu"),
        parameters=parameters,
        operations=parameters,
        activations=100,
        state_values=0,
    )
    return replace(upload, **changes)


def fake_score(middle: float, seed: int = 0, runs: int = 500, other_agents: int = 0) -> Score:
    """Runs spread around a speed, with as many different values as real ones have."""
    random = np.random.default_rng(seed)
    scores = np.floor(np.clip(random.normal(middle, 1.6, runs), 20, 80) * 100) / 100
    passed = random.integers(10, 60, runs)
    return Score("a driver", "official", 2018, other_agents, "contest", scores, passed, 2000, 1.0)


@cache
def drive_of(policy: str) -> tuple[Score, bytes]:
    """A built-in policy's official score, and its decisions."""
    log = ActionLog(make_builtin(policy))
    return evaluate_official(log), log.packed()


@dataclass
class World:
    """A database with a competition, and what a test does in it."""

    db: Database
    folder: Path
    clock: Clock
    competition: Competition
    organiser: Person

    def person(self, name: str, competition: Competition | None = None, role: str = "participant") -> Person:
        with self.db.write() as session:
            made = accounts.add_person(session, self.db, name, role)
            join(session, self.db, (competition or self.competition).id, made.id)
            return made

    def submit(self, person: Person, upload: Upload | None = None) -> Submission:
        return accept(self.db, self.competition.id, person.id, upload or make_upload())

    def work(self, score: Score | None, drive: bytes | None = None, at_most: int = 100) -> None:
        """Do what waits as a worker would, with a score made up, or refuse it."""
        for _ in range(at_most):
            job = queue.lease(self.db, "test")
            if job is None:
                return
            if score is None:
                evaluations.refuse(self.db, job, "format", "this is no policy file")
            else:
                evaluations.complete(self.db, job, score, drive)

    def scored(self, person: Person, middle: float = 70.0, upload: Upload | None = None, seed: int = 0) -> Submission:
        made = self.submit(person, upload)
        self.work(fake_score(middle, seed))
        return get_submission(self.db, made.id)

    def driven(self, person: Person, policy: str = "gap", upload: Upload | None = None) -> Submission:
        """A submission whose numbers and replay are those of a built-in policy."""
        made = self.submit(person, upload)
        self.work(*self.drive_of(policy))
        return get_submission(self.db, made.id)

    drive_of = staticmethod(drive_of)
    upload = staticmethod(make_upload)
    fake_score = staticmethod(fake_score)

    def app(self, lab: Any = None, **settings: Any) -> Any:
        return create_app(self.db, WebSettings(data_dir=self.folder, **settings), lab)


@cache
def empty_tables() -> Path:
    """A database file with tables and nothing in them, made once."""
    folder = Path(tempfile.mkdtemp(prefix="deeptraffic-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Database.in_folder(folder).migrate().close()
    return folder / FILE


def make_world(folder: Path, **config: Any) -> World:
    clock = Clock()
    folder.mkdir()
    shutil.copy(empty_tables(), folder / FILE)
    db = Database.in_folder(folder, clock=clock)
    event.listen(db.engine, "connect", lambda line, _: line.execute("PRAGMA synchronous=OFF").close())  # no power cuts
    settings = {"title": "Deep Traffic at the lab", "waiting_limit": 50, "daily_limit": 50} | config
    made = competitions.create(db, "lab", CompetitionConfig.from_record(settings), "test")
    with db.write() as session:
        organiser = accounts.add_person(session, db, "The Organiser", "organiser")
    return World(db, folder, clock, made, organiser)


@pytest.fixture
def quick_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read uploads without a child process: what starts with "policy" is one, all else is refused."""

    def read(content: bytes, filename: str) -> Upload:
        if not content.startswith(b"policy"):
            raise InvalidSubmission("format", "this is no policy file; export one with deeptraffic export")
        return make_upload(content=content, sha256=hashlib.sha256(content).hexdigest(), filename=filename)

    monkeypatch.setattr(validation, "validate", read)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path / "data")
    yield made
    made.db.close()


class Browser(httpx.Client):
    """A client that keeps cookies and sends forms as our pages do."""

    def form_token(self, page: str = "/about") -> str:
        text = self.get(page).text
        return text.partition('name="form_token" value="')[2].partition('"')[0]

    def fill(self, path: str, page: str | None = None, files: Any = None, **fields: str) -> httpx.Response:
        data = {"form_token": self.form_token(page or path)} | fields
        return self.post(path, data=data, files=files, headers={"Origin": self.origin})

    @property
    def origin(self) -> str:
        return str(self.base_url).rstrip("/")

    def upload(self, content: bytes, filename: str = "mine.safetensors", path: str = "/c/lab/submit") -> httpx.Response:
        return self.fill(path, files={"file": (filename, content)})

    def enter(self, world: World, person: Person) -> "Browser":
        self.cookies.set("deeptraffic-session", accounts.open_session(world.db, person.id))
        return self


class Server:
    """The application under uvicorn on a free port of this machine."""

    def __init__(self, config: uvicorn.Config) -> None:
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def start(self) -> str:
        self.thread.start()
        while not self.server.started:
            self.thread.join(0.01)
            assert self.thread.is_alive(), "the server did not start"
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        """Ask it to end; nobody waits for the tenths of a second that it takes."""
        self.server.should_exit = True


@pytest.fixture(scope="session")
def routes() -> list[tuple[str, str]]:
    """All (method, address) pairs of the application, with names of this world in place of parameters."""
    names = {"{key}": "lab", "{act}": "begin", "{secret}": "none", "{run}": "best"}
    found = []
    for route in (route for part in PARTS for route in part.router.routes):
        address = route.path  # type: ignore[attr-defined]
        for name, value in names.items():
            address = address.replace(name, value)
        found += [(method, address) for method in route.methods]  # type: ignore[attr-defined]
    return sorted(found)


@pytest.fixture
def server_of() -> type[Server]:
    """Give the class of servers that run in a thread of the test."""
    return Server


@pytest.fixture
def serve(world: World) -> Iterator[Callable[..., str]]:
    """Give a function (settings) -> address of a server over the world, which ends with the test."""
    servers: dict[str, tuple[Server, str]] = {}

    def start(**settings: Any) -> str:
        key = repr(sorted((name, id(value) if name == "lab" else value) for name, value in settings.items()))
        if key not in servers:
            kind = {"log_level": "warning", "proxy_headers": False, "http": PatientConnection}
            server = Server(uvicorn.Config(world.app(**settings), port=0, **kind))
            servers[key] = (server, server.start())
        return servers[key][1]

    yield start
    for server, _ in servers.values():
        server.stop()


@pytest.fixture
def browse(world: World, serve: Callable[..., str]) -> Iterator[Callable[..., Browser]]:
    """Give a function (person or None, settings) -> a browser in which the person has entered."""
    browsers: list[Browser] = []

    def make(person: Person | None = None, **settings: Any) -> Browser:
        browsers.append(Browser(base_url=serve(**settings), timeout=30, verify=NO_TLS))
        return browsers[-1] if person is None else browsers[-1].enter(world, person)

    yield make
    for browser in browsers:
        browser.close()
