"""The worker's end of a child process: starts it, asks it, watches the clock, and kills its whole group.

>>> with ChildProcess("drive", DRIVING) as child:
...     child.layers                                    # which protections are in force
...     child.ask(wire.SUBMISSION, content)             # bytes of its answer
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from deeptraffic.competition.sandbox import wire
from deeptraffic.competition.sandbox.faults import PlatformFault, SubmissionFault
from deeptraffic.competition.sandbox.limits import Limits
from deeptraffic.competition.sandbox.lock import Layer
from deeptraffic.competition.sandbox.trips import GONE, LATE, WRONG, line_to
from deeptraffic.sim.state import I64

PROGRAM = """
import json, os, sys
given = json.loads(sys.argv[1])
sys.path += [folder for folder in given["path"] if folder not in sys.path]
os.environ.update(given["environment"])
from deeptraffic.competition.sandbox.child import main
from deeptraffic.competition.sandbox.limits import Limits
main(given["role"], Limits(**given["limits"]), given["parent"])
"""
# Numerical libraries would start threads, which a process that enters a namespace of its own must not have.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
CACHE_PLACES = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME")  # where compiled kernels lie; forgotten before the lock


class ChildProcess:
    """One locked child; a context manager that leaves nothing behind.

    role: what it does, of `child.py`
    layers: its report about its protections
    """

    def __init__(self, role: str, limits: Limits) -> None:
        self.limits, self.fed = limits, False
        self.layers: list[Layer] = []
        self.nonces = _nonces()
        self.folder = tempfile.mkdtemp(prefix="deeptraffic-")
        try:
            self.process = self._start(role)
        except OSError as error:
            os.rmdir(self.folder)
            raise PlatformFault(f"a child process could not be started: {error}") from error
        assert self.process.stdin and self.process.stdout
        self.source, self.sink = self.process.stdout.fileno(), self.process.stdin.fileno()
        os.set_blocking(self.sink, False)
        self.answered, self.writable = select.poll(), select.poll()
        self.answered.register(self.source, select.POLLIN)
        self.writable.register(self.sink, select.POLLOUT)
        try:
            self._wait_until_locked()
        except BaseException:
            self.close()
            raise

    def _start(self, role: str) -> subprocess.Popen[bytes]:
        start = {
            "path": [folder for folder in sys.path if folder],
            "environment": ONE_THREAD | {name: os.environ[name] for name in CACHE_PLACES if name in os.environ},
            "role": role,
            "limits": asdict(self.limits),
            "parent": os.getpid(),
        }
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, "-I", "-c", PROGRAM, json.dumps(start)],
            bufsize=0,
            env={},
            cwd=self.folder,
            start_new_session=True,
            **pipes,
        )

    def _wait_until_locked(self) -> None:
        self.deadline = time.monotonic() + self.limits.start_seconds
        self.patience = self.limits.start_seconds
        record = json.loads(self._answer(0, wire.MAX_REPORT))  # it has read nothing of a stranger's yet
        self.layers = [Layer(**layer) for layer in record["layers"]]
        os.rmdir(self.folder)  # the child is in it, and it stays empty: nothing can be made in a folder that is gone
        self.deadline = time.monotonic() + self.limits.wall_seconds
        self.patience = self.limits.answer_seconds

    def hold_line(self) -> I64:
        """Return the line by which compiled code asks (`trips.py`); `hang_up` says how that ended."""
        self.fed = True
        return line_to(self.source, self.sink, self.patience, self.deadline)

    def hang_up(self, ended: int) -> None:
        """Raise what a call of compiled code found out."""
        if ended == LATE:
            raise self._late("answer")
        if ended == GONE:
            raise self._ended()
        if ended == WRONG:
            raise self._wrong()

    def ask(
        self,
        kind: int,
        content: bytes | memoryview = b"",
        count: int = 0,
        columns: int = 0,
        most: int = wire.MAX_REPORT,
    ) -> bytes | bytearray:
        """Return the child's answer to a request, of at most `most` bytes.

        Raises SubmissionFault for whatever the submission did instead, PlatformFault if it is not to blame.
        """
        nonce = next(self.nonces)
        self.fed = True
        try:
            head = wire.REQUEST.pack(kind, nonce, count, columns, len(content))
            wire.write_all(self.sink, head + content if len(content) < 65536 else head, self._wait_to_write)
            if len(content) >= 65536:
                wire.write_all(self.sink, content, self._wait_to_write)
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer(nonce, most)

    def _answer(self, nonce: int, most: int) -> bytes | bytearray:
        try:
            given, size = wire.ANSWER.unpack(self._read(wire.ANSWER.size))
            if given != nonce or not 0 <= size <= most:
                raise self._wrong()
            return self._read(size) if size else b""
        except EOFError:
            raise self._ended() from None

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            self._wait(self.answered, "answer")
            got = os.read(self.source, count - len(content))
            if not got:
                raise EOFError
            content = content + got if content else got
        return content

    def _wait_to_write(self) -> None:
        self._wait(self.writable, "read")

    def _wait(self, poll: select.poll, what: str) -> None:
        """Wait until a pipe is ready, or no longer."""
        patience = min(self.patience, self.deadline - time.monotonic())
        if patience <= 0 or not poll.poll(1000 * patience):
            raise self._late(what)

    def _late(self, what: str) -> Exception:
        over = time.monotonic() >= self.deadline
        limit = f"{self.limits.wall_seconds:g} s in all" if over else f"{self.patience:g} s"
        return self._fault("time", f"the policy's process did not {what} within {limit}; make its layers smaller")

    def _wrong(self) -> Exception:
        return self._fault("answer", "the policy's process answered something that is no action, or was not asked for")

    def _fault(self, code: Any, sentence: str) -> Exception:
        """Kill the child and return what to raise."""
        self.kill()
        if self.fed:
            return SubmissionFault(code, sentence)
        return PlatformFault(f"a child process was not ready after {self.patience:g} s: {sentence}{self._complaint()}")

    def _ended(self) -> Exception:
        """Return what to raise for a child that ended by itself."""
        status, used = self._reap()
        if not self.fed:
            return PlatformFault(f"a child process ended with status {status} before it was ready{self._complaint()}")
        allowed = self.limits.cpu_seconds
        if status == -signal.SIGXCPU or (status == -signal.SIGKILL and used > allowed):
            return SubmissionFault("time", f"the policy used {allowed} s of processor time; make its layers smaller")
        if status == wire.EXIT_MEMORY:
            megabytes = self.limits.memory >> 20
            sentence = f"the policy needs more than {megabytes} MB of memory; make its layers or memories smaller"
            return SubmissionFault("memory", sentence)
        if status == -signal.SIGKILL:
            return PlatformFault(
                "a child process was killed by somebody else, or because this machine ran out of memory"
            )
        return SubmissionFault("crash", f"the policy's process ended in the middle, with status {status}")

    def _reap(self) -> tuple[int, float]:
        """Exit status of the ended child (as subprocess has it), and seconds of processor time that it used."""
        if self.process.returncode is None:
            # it closed its pipes, which is the end of it even if it lives on
            with suppress(ProcessLookupError):
                for _ in range(100):
                    found = os.wait4(self.process.pid, os.WNOHANG)
                    if found[0]:
                        break
                    time.sleep(0.01)
                else:
                    os.killpg(self.process.pid, signal.SIGKILL)
                    found = os.wait4(self.process.pid, 0)
                self.process.returncode = os.waitstatus_to_exitcode(found[1])
                return self.process.returncode, found[2].ru_utime + found[2].ru_stime
        return self.process.returncode or 0, 0.0

    def _complaint(self) -> str:
        """The last line that the child wrote to standard error before it was locked in."""
        assert self.process.stderr
        os.set_blocking(self.process.stderr.fileno(), False)
        lines = (self.process.stderr.read() or b"").decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1][:300]}" if lines else ""

    def kill(self) -> None:
        """Kill the child's whole group and wait for its end."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def close(self) -> None:
        """End the child, close the pipes, remove its folder."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        with suppress(FileNotFoundError):
            os.rmdir(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _nonces() -> Iterator[int]:
    """Numbers that the child cannot guess."""
    while True:
        yield from memoryview(os.urandom(8192)).cast("q")
