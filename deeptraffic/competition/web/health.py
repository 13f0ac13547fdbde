"""Health of the server, for monitors: whether an upload could be stored now."""

import shutil
import time
from pathlib import Path
from threading import Lock

from sqlalchemy import update

from deeptraffic.competition.config import MAX_FILE
from deeptraffic.competition.models import Competition
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.errors import Unavailable

KEPT_SECONDS = 2.0  # of an answer, so that many questions cost no more writes


class Health:
    """Tests of the database and the disk of a data folder."""

    def __init__(self, db: Database, data_dir: Path) -> None:
        self.db, self.data_dir = db, data_dir
        self._lock = Lock()
        self._at, self._wrong = -KEPT_SECONDS, ""

    def wrong(self) -> str:
        """Return what keeps the server from storing an upload, "" for nothing."""
        with self._lock:
            if time.monotonic() - self._at >= KEPT_SECONDS:
                self._wrong, self._at = self._test(), time.monotonic()
            return self._wrong

    def _test(self) -> str:
        try:
            free = shutil.disk_usage(self.data_dir).free
            if free < MAX_FILE:
                return f"the disk of the data folder is full: {free:,} bytes are free"
            with self.db.write() as session:  # changes nothing, but is written
                session.execute(update(Competition).values(version=Competition.version))
        except (OSError, Unavailable) as error:
            return str(error)
        return ""
