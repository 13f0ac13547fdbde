"""Fork server: a process that has loaded every compiled kernel and forks the children, each within milliseconds.

It starts with an empty environment, an empty folder and none of the worker's memory, and it never sees a submission.
A process has one for as long as it lives, shared by its threads; when the worker dies, its socket to the fork server
closes, the fork server ends, and the kernel kills the children.

    >>> pid, source, sink = fork_server().fork("evaluate", EVALUATION)
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

from deeptraffic.competition.sandbox.errors import PlatformError, require_linux
from deeptraffic.competition.sandbox.limits import Limits

PROGRAM = """
import json, os, sys
given = json.loads(sys.argv[1])
sys.path += [folder for folder in given["path"] if folder not in sys.path]
os.environ.update(given["environment"])
from deeptraffic.competition.sandbox.child import main
main()
"""
# Numerical libraries would start threads, which a process that enters a user namespace must not have.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
# Where compiled kernels are cached; cleared before any fork.
CACHE_PLACES = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "TMPDIR")
ANSWER_SECONDS = 60.0  # to fork, or to reap a child
MAX_MESSAGE = 4096  # [bytes]


class ForkServer:
    """A client of the fork server's process, which starts with the first child, and again if it has ended."""

    def __init__(self, program: str = PROGRAM) -> None:
        self.program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._owner = 0

    def start(self, seconds: float = 300.0) -> None:
        """Start the process now, if it does not run, so that the first submission need not wait for it."""
        with self._lock, self._restarting():
            self._connect(seconds)

    def fork(self, role: str, limits: Limits) -> tuple[int, int, int]:
        """Return a new child's process id, and the pipes to read its answers from and to write requests to."""
        (its_source, sink), (source, its_sink) = os.pipe(), os.pipe()
        try:
            request = {"role": role, "limits": asdict(limits)}
            pid = self._ask(request, [its_source, its_sink], limits.start_seconds)
            if not isinstance(pid, int):
                raise PlatformError(f"a child process could not be started: {pid}")
        except BaseException:
            os.close(source)
            os.close(sink)
            raise
        finally:
            os.close(its_source)
            os.close(its_sink)
        return pid, source, sink

    def reap(self, pid: int, kill: bool) -> tuple[int, float] | None:
        """Return an ended child's exit status and processor time [s], None if it runs; kill: end its group first."""
        found = self._ask({"kill" if kill else "reap": pid}, [], ANSWER_SECONDS)
        return (int(found[0]), float(found[1])) if found else None

    def close(self) -> None:
        """End the fork server and with it every child."""
        with self._lock:
            self._end()

    def _ask(self, request: dict[str, Any], handles: list[int], start_seconds: float) -> Any:
        with self._lock, self._restarting():
            connection = self._connect(start_seconds)
            socket.send_fds(connection, [json.dumps(request).encode()], handles)
            answer = connection.recv(MAX_MESSAGE)
            if not answer:
                raise OSError("it has ended; the next child starts another")
            return json.loads(answer)

    @contextmanager
    def _restarting(self) -> Iterator[None]:
        """Turn a failure into a PlatformError, after which the next child starts another fork server."""
        try:
            yield
        except OSError as error:
            self._end()
            raise PlatformError(f"the fork server of the sandbox failed: {error}") from error

    def _connect(self, start_seconds: float) -> socket.socket:
        require_linux()
        if self._socket is None or self._owner != os.getpid():  # a fork of the worker starts its own
            self._start(start_seconds)
        assert self._socket
        return self._socket

    def _start(self, start_seconds: float) -> None:
        self._owner = os.getpid()
        self._socket, its_socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        start = {
            "path": [folder for folder in sys.path if folder],
            "environment": ONE_THREAD | {name: os.environ[name] for name in CACHE_PLACES if name in os.environ},
        }
        with tempfile.TemporaryDirectory(prefix="deeptraffic-") as folder:
            with its_socket:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-c", self.program, json.dumps(start)],
                    env={},
                    cwd=folder,  # it stays in it, and nothing can be created in a deleted folder
                    start_new_session=True,
                    stdin=its_socket.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            self._wait_until_ready(start_seconds)

    def _wait_until_ready(self, seconds: float) -> None:
        assert self._socket and self._process and self._process.stderr
        self._socket.settimeout(seconds)
        with self._process.stderr as errors:
            if not self._socket.recv(MAX_MESSAGE):
                lines = errors.read(MAX_MESSAGE).decode("utf-8", "replace").strip().splitlines()
                raise OSError(lines[-1][:300] if lines else "it ended before it was ready")
        self._socket.settimeout(ANSWER_SECONDS)

    def _end(self) -> None:
        if self._socket:
            self._socket.close()
        if self._process and self._owner == os.getpid():
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        self._socket = self._process = None


_FORK_SERVER = ForkServer()


def fork_server() -> ForkServer:
    """Return this process's fork server."""
    return _FORK_SERVER
