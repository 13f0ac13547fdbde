"""Showcase films of replays, made on request, one at a time, in a process of their own.

python -m deeptraffic.competition.web.films TRACE OUTPUT CARD    (CARD: JSON of name, best_mph, rank, of)
"""

import json
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from deeptraffic.render.trace import Trace

MAX_WAITING = 20
MAX_FILMS = 200  # some 5 MB each
SECONDS = 600
NICE = 10


class Films:
    """Keeps films in a folder, and makes those that were asked for in the order of asking."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: deque[tuple[str, Trace, dict[str, Any]]] = deque()
        self._known: dict[str, str] = {}  # name -> working or failed
        self._lock = Lock()

    def path(self, name: str) -> Path:
        """Return where a film of this name is, or will be."""
        return self.folder / f"{name}.mp4"

    def state(self, name: str) -> str:
        """Return ready, working, failed, or none for a film nobody asked for."""
        if self.path(name).is_file():
            return "ready"
        with self._lock:
            return self._known.get(name, "none")

    def ask(self, name: str, trace: Trace, card: dict[str, Any]) -> bool:
        """Have a film made; False if too many wait already."""
        if self.state(name) in ("ready", "working"):
            return True
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._known[name] = "working"
            self._waiting.append((name, trace, card))
            if len(self._waiting) == 1:
                Thread(target=self._work, name="films", daemon=True).start()
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
            self._make_room()
            trace.save(source)
            command = [sys.executable, "-m", __name__, str(source), str(self.path(name)), json.dumps(card)]
            done = subprocess.run(command, timeout=SECONDS, capture_output=True, check=False)
            return done.returncode == 0
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            return False
        finally:
            source.unlink(missing_ok=True)

    def _make_room(self) -> None:
        films = sorted(self.folder.glob("*.mp4"), key=lambda path: path.stat().st_mtime)
        for old in films[: max(0, len(films) - MAX_FILMS)]:
            old.unlink(missing_ok=True)


def make_film(trace: Path, output: Path, card: dict[str, Any]) -> None:
    """Film a trace in showcase style."""
    from deeptraffic.render.episode import Episode
    from deeptraffic.render.recorder import record_frames
    from deeptraffic.render.showcase import SECONDS as LONGEST
    from deeptraffic.render.showcase import SHOWCASE_FPS, Showcase, showcase_frames

    episode = Episode.replay(Trace.load(trace))
    seconds = min(LONGEST, episode.frames / (2 * SHOWCASE_FPS))
    record_frames(showcase_frames(episode, Showcase(**card), seconds), output, SHOWCASE_FPS)


if __name__ == "__main__":
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.nice(NICE)
    make_film(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
