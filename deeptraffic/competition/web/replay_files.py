"""Tracks of public runs, made from the decisions that an evaluation kept, and kept on disk once they were asked for."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock

from deeptraffic.competition.store.records import Result, Submission
from deeptraffic.evaluation.replays import NOTABLE, ReplayError, notable_runs, official_traces
from deeptraffic.render.trace import Trace
from deeptraffic.render.track import pack_track
from deeptraffic.sim.rules import Sensor

MAX_FILES = 3_000  # some 100 kB each


class ReplayFiles:
    """Makes and keeps the tracks and traces of submissions' best, median and worst runs.

    folder: where they are kept; what is in it can be deleted at any time
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()

    def track(self, submission: Submission, result: Result, which: str) -> bytes:
        """Return a run's track as gzip over JSON; ReplayError if the result kept no decisions."""
        path = self.folder / f"{file_stem(submission, result)}-{which}.track"
        with suppress(FileNotFoundError):
            return path.read_bytes()
        with self._lock:  # one at a time: whoever waits finds it made
            with suppress(FileNotFoundError):
                return path.read_bytes()
            made = {name: pack_track(trace) for name, trace in self._traces(submission, result, NOTABLE).items()}
            for name, content in made.items():
                self._keep(self.folder / f"{file_stem(submission, result)}-{name}.track", content)
        return made[which]

    def trace(self, submission: Submission, result: Result, which: str) -> Trace:
        """Return a run's trace; ReplayError if the result kept no decisions."""
        return self._traces(submission, result, (which,))[which]

    def _traces(self, submission: Submission, result: Result, names: tuple[str, ...]) -> dict[str, Trace]:
        if result.drive is None:
            raise ReplayError("no replay is kept of this submission")
        rules, sensor = int(submission.facts["rules"]), sensor_of(submission)
        runs = {name: run for name, run in notable_runs(result.run_scores, result.score).items() if name in names}
        traces = official_traces(result.drive, rules, submission.other_agents, runs.values(), "", sensor)
        return {name: traces[run] for name, run in runs.items()}

    def _keep(self, path: Path, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files = sorted(self.folder.glob("*.track"), key=_age)
        for old in files[: max(0, len(files) - MAX_FILES)]:
            old.unlink(missing_ok=True)
        with suppress(OSError):  # a full disk costs the keeping, not the replay
            write_whole(path, lambda handle: os.write(handle, content))


def file_stem(submission: Submission, result: Result) -> str:
    """Return what a result's files are named by: the content, the protocol and its revision."""
    return f"{submission.sha256[:32]}-{result.protocol.replace('/', '-')}-{result.revision}"


def sensor_of(submission: Submission) -> Sensor | None:
    """Return what a submission's driver sees."""
    sensor = submission.facts.get("sensor")
    return None if sensor is None else Sensor(**sensor)


def write_whole(path: Path, write: Callable[[int], object]) -> None:
    """Write a file so that nobody finds half of it."""
    handle, name = tempfile.mkstemp(prefix=".unfinished-", dir=path.parent)
    try:
        try:
            write(handle)
        finally:
            os.close(handle)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
