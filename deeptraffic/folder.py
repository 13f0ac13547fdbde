"""What every folder of results has: whole JSON files, one process at a time, and where the results came from."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from deeptraffic.policies.file import write_atomically


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


@contextmanager
def lock_folder(folder: Path, lock_file: Path) -> Iterator[None]:
    """Keep other processes from working in a folder meanwhile; RuntimeError if one does."""
    with lock_file.open("a") as file:
        _lock(file.fileno(), folder)
        yield


def _lock(handle: int, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RuntimeError(
            f"another process is working in {str(path)!r}; wait for it or name another folder"
        ) from error


# --- where results came from ----------------------------------------------------------------------------------------


def versions() -> dict[str, Any]:
    """Versions, commit and command of this session."""
    names = ("deeptraffic", "numpy", "numba", "gymnasium", "torch", "stable-baselines3")
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "commit": source_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in names},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def source_commit() -> str | None:
    """The commit of the source checkout this runs from, "+changes" behind it if files differ; None without one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    answers = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            command = ["git", "-C", str(root), *arguments]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        answers.append(answer.stdout.strip())
    return answers[0] + ("+changes" if answers[1] else "")
