"""Competition server: pages and API in this process, workers under a supervisor, one folder for all data.

>>> with open_server(ServerSettings(data=Path("competition"))) as server:
...     print(server.url)
...     server.run()                       # until SIGTERM or Ctrl-C
"""

import json
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from deeptraffic.competition.backups import Schedule
from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.sandbox.strictness import log_missing
from deeptraffic.competition.store import accounts, competitions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.queue import end_leases
from deeptraffic.competition.supervisor import Supervisor
from deeptraffic.competition.web.app import create_app
from deeptraffic.competition.web.connection import TOTAL, connections
from deeptraffic.competition.web.settings import WebSettings
from deeptraffic.competition.worker import process_name
from deeptraffic.run_dir import write_json

DEFAULT_KEY = "deeptraffic"
FIRST = "first start"  # actor in the audit log
ADDRESS = "address.json"  # in the data folder: the URL of the last server
BACKUPS = "backups"  # folder of scheduled backups, in the data folder
GRACE_SECONDS = 5  # for open responses when the server stops


@dataclass(frozen=True)
class ServerSettings:
    """Settings of `deeptraffic serve`.

    data: folder of the database and of videos; host, port: to listen at, port 0 for any free one
    public_url: if it is not http://host:port; proxies: whose X-Forwarded-* headers are trusted
    database_url: PostgreSQL or another SQLite file; None: in the data folder
    workers: parallel evaluations; 0 leaves them to `deeptraffic worker`
    lab: files of the lab's page by their path; None: the site has no lab
    backup_hours: between scheduled backups, 0 for none; backups: how many of them are kept
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    public_url: str | None = None
    proxies: tuple[str, ...] = ()
    database_url: str | None = None
    workers: int = 2
    lab: Mapping[str, bytes] | None = field(default=None, repr=False)
    backup_hours: float = 0.0
    backups: int = 14


def open_database(data: Path, url: str | None) -> Database:
    """Return the database of a folder or at a URL, its tables up to date."""
    return (Database.in_folder(data) if url is None else Database(url)).migrate()


@dataclass(frozen=True)
class FirstStart:
    """Secrets of the first start: of the organiser's one-time link and of an invitation."""

    link: str
    invite: str


def first_start(db: Database) -> FirstStart | None:
    """Create an organiser and a default competition in an empty database; None if there is a competition already."""
    if competitions.all_competitions(db):
        return None
    made = competitions.create(db, DEFAULT_KEY, CompetitionConfig(), FIRST)
    link = accounts.organiser_link(db, FIRST)
    return FirstStart(link, accounts.new_invite(db, made.id, FIRST, note="from the first start"))


class Server:
    """Pages and API on a bound socket."""

    def __init__(self, db: Database, settings: ServerSettings, listening: socket.socket) -> None:
        self.db, self.settings, self.listening = db, settings, listening
        self.url = (settings.public_url or address_of(listening, settings.host)).rstrip("/")
        self.first_start = first_start(db)
        write_address(settings.data, self.url)

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        # In a thread, since pages need not wait; it starts the fork server, for which the first upload need not wait.
        threading.Thread(target=log_missing, daemon=True).start()
        web = WebSettings(self.settings.data, self.settings.public_url, self.settings.proxies)
        config = uvicorn.Config(
            create_app(self.db, web, self.settings.lab),
            http=connections(web.proxies),
            ws="none",
            log_level="error",  # anybody can cause a warning: by a broken request, or by a WebSocket's
            access_log=False,  # URLs of links hold their secrets
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=5,
            h11_max_incomplete_event_size=65_536,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        allow_files(2 * TOTAL)
        with ignored_signals():
            uvicorn.Server(config).run(sockets=[self.listening])


def allow_files(count: int) -> None:
    """Allow this process so many open files, as far as the system lets it: each connection is one."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < count:
            most = count if hard == resource.RLIM_INFINITY else min(count, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def address_of(listening: socket.socket, host: str) -> str:
    """Return the URL of a socket; the machine's name stands for all of its addresses."""
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listening.getsockname()[1]}"


@contextmanager
def ignored_signals() -> Iterator[None]:
    """Ignore SIGTERM and Ctrl-C, which uvicorn raises again after its shutdown: workers must be stopped yet."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: None) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def open_server(settings: ServerSettings) -> Iterator[Server]:
    """Yield a server with tables created, socket bound and workers running."""
    listening = _bind(settings.host, settings.port)
    with listening:
        db = open_database(settings.data, settings.database_url)
        server = Server(db, settings, listening)
        schedule = Schedule(db, settings.data / BACKUPS, settings.backup_hours, settings.backups)
        with Supervisor(db.url, settings.workers, lambda pid: end_leases(db, process_name(pid))), schedule:
            yield server
        db.close()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, OverflowError) as error:
        raise ValueError(f"the server cannot listen at {host}, port {port}: {error}") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ValueError(
            f"the server cannot listen at {host}, port {port}: {error}; give another --host or --port"
        ) from None
    return listening


def write_address(data: Path, url: str) -> None:
    """Write the URL of the server, so that `admin-link` prints whole links."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_json(data / ADDRESS, {"url": url})


def last_address(data: Path) -> str:
    """Return the URL of the last server of a data folder."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((data / ADDRESS).read_text(encoding="utf-8"))["url"])
    return "http://127.0.0.1:8000"
