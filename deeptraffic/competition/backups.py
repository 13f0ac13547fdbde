"""Scheduled backups: into a folder, each whole or not at all, of which the newest are kept.

>>> with Schedule(db, Path("course/backups"), hours=24, keep=14):
...     serve_pages()
"""

import logging
import re
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from deeptraffic.competition.store import archive
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import RequestError, Unavailable

SCHEDULED = re.compile(r"competition-\d{8}T\d{6}Z\.backup")
WATCH_SECONDS = 30.0  # between looks at the clock
RETRY_SECONDS = 600.0  # after a backup that failed

log = logging.getLogger("deeptraffic.backups")


def backup_into(db: Database, folder: Path, keep: int, actor: str) -> Path:
    """Write a backup named by its time into a folder, and delete the oldest of them beyond `keep`; return its path.

    Other files of the folder stay.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"competition-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.backup"
    archive.backup(db, path, actor)
    for old in scheduled(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def scheduled(folder: Path) -> list[Path]:
    """Return the backups of a folder that `backup_into` has written, the oldest first."""
    return sorted(path for path in folder.glob("*.backup") if SCHEDULED.fullmatch(path.name))


class Schedule:
    """A thread that keeps a folder's newest backup younger than `hours`, also over restarts; a context manager.

    keep: number of backups; hours: 0 for none
    """

    def __init__(self, db: Database, folder: Path, hours: float, keep: int) -> None:
        self.db, self.folder, self.hours, self.keep = db, folder, hours, keep
        self._not_before = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="backups", daemon=True)

    def step(self) -> Path | None:
        """Write a backup if one is due; return its path."""
        if not self.is_due() or time.monotonic() < self._not_before:
            return None
        try:
            path = backup_into(self.db, self.folder, self.keep, "the server")
        except (OSError, RequestError, Unavailable) as error:
            self._not_before = time.monotonic() + RETRY_SECONDS
            log.error("no backup was written: %s", error)
            return None
        log.info("backup %s", path)
        return path

    def is_due(self) -> bool:
        """Return whether the newest backup is too old, or from the future of a clock that was set back."""
        newest = scheduled(self.folder)[-1:]
        with suppress(FileNotFoundError):
            if newest:
                return not 0 <= time.time() - newest[0].stat().st_mtime < 3600 * self.hours
        return True

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.step()
            self._stop.wait(WATCH_SECONDS)

    def __enter__(self) -> Self:
        if self.hours > 0:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
