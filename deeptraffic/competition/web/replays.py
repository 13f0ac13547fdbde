"""Replays of public runs, made from the decisions that an evaluation kept: tracks for the browser, and videos.

Both are cached on disk. Videos are made on request, one at a time, in a process of their own:

    python -m deeptraffic.competition.web.replays TRACE OUTPUT CARD    (CARD: JSON of name, best_mph, rank, of)
"""

import json
import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from deeptraffic.competition.models import EvaluationResult, Submission
from deeptraffic.episodes.trace import Trace
from deeptraffic.episodes.track import pack_track
from deeptraffic.evaluation.replays import NOTABLE, ReplayError, notable_runs, official_traces
from deeptraffic.run_dir import write_atomically
from deeptraffic.sim.rules import Sensor

MAX_TRACKS = 3_000  # some 100 kB each
MAX_VIDEOS = 200  # some 5 MB each
MAX_WAITING = 20  # videos
VIDEO_SECONDS = 600  # for making one
NICE = 10
TRACKS, VIDEOS = "tracks", "videos"  # in the data folder


class Tracks:
    """Tracks and traces of submissions' best, median and worst runs.

    folder: where tracks are cached; its content can be deleted at any time
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = Lock()

    def track(self, submission: Submission, which: str) -> bytes:
        """Return a run's track as gzip over JSON; ReplayError if its result has no decisions."""
        stem = file_stem(submission)
        path = self.folder / f"{stem}-{which}.track"
        with suppress(FileNotFoundError):
            return path.read_bytes()
        with self._lock:  # one at a time: those who wait find it made
            with suppress(FileNotFoundError):
                return path.read_bytes()
            made = {name: pack_track(trace) for name, trace in self._traces(submission, NOTABLE).items()}
            for name, content in made.items():
                self._keep(self.folder / f"{stem}-{name}.track", content)
        return made[which]

    def trace(self, submission: Submission, which: str) -> Trace:
        """Return a run's trace; ReplayError if its result has no decisions."""
        return self._traces(submission, (which,))[which]

    def _traces(self, submission: Submission, names: tuple[str, ...]) -> dict[str, Trace]:
        result = official_result(submission)
        if result.decisions is None:
            raise ReplayError("the decisions of this submission were not kept; there is no replay")
        rules, sensor = int(submission.facts["rules"]), sensor_of(submission)
        runs = {name: run for name, run in notable_runs(result.run_scores, result.score).items() if name in names}
        traces = official_traces(result.decisions, rules, submission.other_agents, runs.values(), "", sensor)
        return {name: traces[run] for name, run in runs.items()}

    def _keep(self, path: Path, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _delete_oldest(self.folder, "*.track", MAX_TRACKS)
        with suppress(OSError):  # a full disk prevents the caching, not the replay
            write_atomically(path, content)


class Videos:
    """Videos in a folder, made in the order of the requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: deque[tuple[str, Trace, dict[str, Any]]] = deque()
        self._known: dict[str, str] = {}  # name -> working or failed
        self._lock = Lock()

    def path(self, name: str) -> Path:
        """Return where a video of this name is, or will be."""
        return self.folder / f"{name}.mp4"

    def state(self, name: str) -> str:
        """Return ready, working, failed, or none for a video that was not requested."""
        if self.path(name).is_file():
            return "ready"
        with self._lock:
            return self._known.get(name, "none")

    def request(self, name: str, trace: Trace, card: dict[str, Any]) -> bool:
        """Have a video made; return False if too many wait already."""
        if self.state(name) in ("ready", "working"):
            return True
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._known[name] = "working"
            self._waiting.append((name, trace, card))
            if len(self._waiting) == 1:
                Thread(target=self._work, name="videos", daemon=True).start()
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    return
                name, trace, card = self._waiting[0]
            made = self._make(name, trace, card)
            with self._lock:
                self._waiting.popleft()
                if made:
                    self._known.pop(name, None)
                else:
                    self._known[name] = "failed"
                if not self._waiting:
                    return

    def _make(self, name: str, trace: Trace, card: dict[str, Any]) -> bool:
        source = self.folder / f".{name}.trace"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _delete_oldest(self.folder, "*.mp4", MAX_VIDEOS)
            trace.save(source)
            command = [sys.executable, "-m", __name__, str(source), str(self.path(name)), json.dumps(card)]
            done = subprocess.run(command, timeout=VIDEO_SECONDS, capture_output=True, check=False)
            return done.returncode == 0
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            return False
        finally:
            source.unlink(missing_ok=True)


def make_video(trace: Path, output: Path, card: dict[str, Any]) -> None:
    """Render a trace as a showcase video."""
    from deeptraffic.episodes.episode import Episode
    from deeptraffic.render.recorder import record_frames
    from deeptraffic.render.showcase import SECONDS as LONGEST
    from deeptraffic.render.showcase import SHOWCASE_FPS, Showcase, showcase_frames

    episode = Episode.replay(Trace.load(trace))
    seconds = min(LONGEST, episode.frames / (2 * SHOWCASE_FPS))
    record_frames(showcase_frames(episode, Showcase(**card), seconds), output, SHOWCASE_FPS)


def official_result(submission: Submission) -> EvaluationResult:
    """Return the result of a scored submission."""
    assert submission.result is not None
    return submission.result


def delete_cached(folder: Path, parts: list[str]) -> None:
    """Delete the tracks and videos in a data folder whose names contain one of these parts."""
    for path in (*(folder / TRACKS).glob("*.track"), *(folder / VIDEOS).glob("*.mp4")):
        if any(part in path.name for part in parts):
            path.unlink(missing_ok=True)


def file_stem(submission: Submission) -> str:
    """Return the name of a result's files: the content, the protocol and its revision."""
    result = official_result(submission)
    return f"{submission.sha256[:32]}-{result.protocol.replace('/', '-')}-{result.revision}"


def sensor_of(submission: Submission) -> Sensor | None:
    """Return the sensor of a submission's policy; None if it observes something else."""
    sensor = submission.facts.get("sensor")
    return None if sensor is None or submission.facts.get("asked") else Sensor(**sensor)


def _delete_oldest(folder: Path, pattern: str, most: int) -> None:
    files = sorted(folder.glob(pattern), key=_modified)
    for old in files[: max(0, len(files) - most)]:
        old.unlink(missing_ok=True)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


if __name__ == "__main__":
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.nice(NICE)
    make_video(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
