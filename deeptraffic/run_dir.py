"""Run directories: files written whole or not at all, one process at a time, stop requests, and provenance.

    >>> with lock_folder(folder, folder / "lock"), stop_requests() as stop:
    ...     while not stop.requested: ...
    ...     write_json(folder / "result.json", result)

Ctrl-C or SIGTERM is a request: the work goes on to where it can be saved, saves, and raises `Interrupted`. A second
request raises KeyboardInterrupt at once; then the newest checkpoint is what is left.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from multiprocessing import connection, parent_process
from pathlib import Path
from types import FrameType
from typing import Any

UNFINISHED = ".unfinished-"  # begins the name of a file that is being written
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Work was asked to stop and has saved its state; the message says how to resume."""


# --- files ----------------------------------------------------------------------------------------------------------


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new, never a part."""
    handle, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


class WriteError(RuntimeError):
    """A file could not be written; the message gives the reason and a remedy."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` on success, else remove it.

    Turns any OSError of the writer into a WriteError.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise WriteError(f"{path.parent} cannot be written to ({error.strerror}); choose another folder") from error
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        os.chmod(unfinished, 0o666 & ~_umask())
        os.replace(unfinished, path)
    except OSError as error:
        reason = error.strerror or error
        raise WriteError(f"{path} was not written ({reason}); free some space or choose another folder") from error
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
    """Lock an open file until it is closed."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RuntimeError(
            f"another process is working in {str(path)!r}; wait for it or name another folder"
        ) from error


# --- stop requests --------------------------------------------------------------------------------------------------


class Stop:
    """Whether to stop: `requested` becomes True on the first signal."""

    def __init__(self) -> None:
        self.requested = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; raise KeyboardInterrupt on the second."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def check(self, message: str) -> None:
        """Raise Interrupted with this message if a stop was requested; to be called where all is saved."""
        if self.requested:
            raise Interrupted(message)


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into requests, in the main thread; elsewhere signals are left as they are.

    Of nested contexts the inner one takes the signals, and at its end hands its request on to the outer one: a request
    that comes when a part of the work is all but done stops what would follow it.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.on_signal) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
            outer = getattr(handler, "__self__", None)
            if stop.requested and isinstance(outer, Stop):
                outer.requested = True


# --- worker processes -----------------------------------------------------------------------------------------------


def use_one_thread() -> None:
    """Limit this process to one thread: other processes use the other cores."""
    import torch

    os.environ["DEEPTRAFFIC_THREADS"] = "1"
    torch.set_num_threads(1)


def end_with_parent() -> None:
    """End this process when the one that started it is gone."""

    def wait() -> None:
        parent = parent_process()
        assert parent is not None, "this is no process of multiprocessing"
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


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
