"""The nursery: a process that has every kernel ready and forks the children, so that a child costs milliseconds.

It is started afresh, with an empty environment, an empty folder and nothing of the worker's memory, and it never sees a
submission. One serves a process for as long as that lives, whatever its threads; when the worker dies, its line to the
nursery breaks, the nursery ends, and the kernel kills the children.

    >>> pid, source, sink = nursery().fork("drive", DRIVING)
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from deeptraffic.competition.sandbox.faults import PlatformFault
from deeptraffic.competition.sandbox.limits import Limits

PROGRAM = """
import json, os, sys
given = json.loads(sys.argv[1])
sys.path += [folder for folder in given["path"] if folder not in sys.path]
os.environ.update(given["environment"])
from deeptraffic.competition.sandbox.child import main
main()
"""
# Numerical libraries would start threads, which a process that enters a namespace of its own must not have.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
CACHE_PLACES = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "TMPDIR")  # where compiled kernels lie; forgotten later
ANSWER_SECONDS = 60.0  # to fork, or to bury a child
MAX_MESSAGE = 4096  # [bytes]


class Nursery:
    """A nursery's parent; the process is started by the first child that is wanted, and again if it is gone."""

    def __init__(self, program: str = PROGRAM) -> None:
        self.program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._owner = 0

    def warm(self, seconds: float = 300.0) -> None:
        """Start the process now, if it is not there, so that the first submission does not wait for it."""
        with self._lock, self._failing():
            self._connect(seconds)

    def fork(self, role: str, limits: Limits) -> tuple[int, int, int]:
        """Return the number of a new child's process, and the pipes to read its answers from and to write to it."""
        (its_source, sink), (source, its_sink) = os.pipe(), os.pipe()
        try:
            request = {"role": role, "limits": asdict(limits)}
            pid = self._ask(request, [its_source, its_sink], limits.start_seconds)
            if not isinstance(pid, int):
                raise PlatformFault(f"a child process could not be started: {pid}")
        except BaseException:
            os.close(source)
            os.close(sink)
            raise
        finally:
            os.close(its_source)
            os.close(its_sink)
        return pid, source, sink

    def reap(self, pid: int, kill: bool) -> tuple[int, float] | None:
        """Return an ended child's exit status and processor time [s], None if it lives; kill: its whole group first."""
        found = self._ask({"kill" if kill else "reap": pid}, [], ANSWER_SECONDS)
        return (int(found[0]), float(found[1])) if found else None

    def close(self) -> None:
        """End the nursery and with it every child."""
        with self._lock:
            self._end()

    def _ask(self, request: dict[str, Any], handles: list[int], start_seconds: float) -> Any:
        with self._lock, self._failing():
            line = self._connect(start_seconds)
            socket.send_fds(line, [json.dumps(request).encode()], handles)
            answer = line.recv(MAX_MESSAGE)
            if not answer:
                raise OSError("it is gone; the next child starts another")
            return json.loads(answer)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn a failure into a PlatformFault, after which the next child starts another nursery."""
        try:
            yield
        except OSError as error:
            self._end()
            raise PlatformFault(f"the nursery of child processes failed: {error}") from error

    def _connect(self, start_seconds: float) -> socket.socket:
        if self._line is None or self._owner != os.getpid():  # a fork of the worker starts its own
            self._start(start_seconds)
        assert self._line
        return self._line

    def _start(self, start_seconds: float) -> None:
        self._owner = os.getpid()
        line, its_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        start = {
            "path": [folder for folder in sys.path if folder],
            "environment": ONE_THREAD | {name: os.environ[name] for name in CACHE_PLACES if name in os.environ},
        }
        self._line = line
        with tempfile.TemporaryDirectory(prefix="deeptraffic-") as folder:
            with its_line:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", self.program, json.dumps(start)],
                    env={},
                    cwd=folder,  # it stays in it, and nothing can be made in a folder that is gone
                    start_new_session=True,
                    stdin=its_line.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            self._wait_until_ready(start_seconds)

    def _wait_until_ready(self, seconds: float) -> None:
        assert self._line and self._process and self._process.stderr
        self._line.settimeout(seconds)
        with self._process.stderr as errors:
            if not self._line.recv(MAX_MESSAGE):
                complaint = errors.read(MAX_MESSAGE).decode("utf-8", "replace").strip().splitlines()
                raise OSError(complaint[-1][:300] if complaint else "it ended before it was ready")
        self._line.settimeout(ANSWER_SECONDS)

    def _end(self) -> None:
        if self._line:
            self._line.close()
        if self._process and self._owner == os.getpid():
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        self._line = self._process = None


_NURSERY = Nursery()


def nursery() -> Nursery:
    """Return this process's nursery."""
    return _NURSERY
