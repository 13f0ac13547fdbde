"""The worker's end of a child process: starts it, asks it, watches the clock, and kills its whole group.

>>> with ChildProcess("drive", DRIVING) as child:
...     child.layers                                    # which protections are in force
...     child.ask(wire.SUBMISSION, content)             # bytes of its answer
"""

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from deeptraffic.competition.sandbox import wire
from deeptraffic.competition.sandbox.faults import PlatformFault, SubmissionFault
from deeptraffic.competition.sandbox.ipc import GONE, LATE, WRONG, line_to
from deeptraffic.competition.sandbox.limits import Limits
from deeptraffic.competition.sandbox.lock import Layer
from deeptraffic.competition.sandbox.nursery import nursery
from deeptraffic.sim.state import I64

LAST_BREATHS = 100  # times 10 ms until a child that closed its pipes is killed


class ChildProcess:
    """One locked child; a context manager that leaves nothing behind.

    role: what it does, of `child.py`
    layers: its report about its protections
    """

    def __init__(self, role: str, limits: Limits) -> None:
        self.limits, self.fed = limits, False
        self.layers: list[Layer] = []
        self.nonces = _nonces()
        self.home, self.ended = nursery(), False
        self.failure: Exception | None = None
        self.pid, self.source, self.sink = self.home.fork(role, limits)
        os.set_blocking(self.sink, False)
        self.answered, self.writable = select.poll(), select.poll()
        self.answered.register(self.source, select.POLLIN)
        self.writable.register(self.sink, select.POLLOUT)
        try:
            self._wait_until_locked()
        except BaseException:
            self.close()
            raise

    def _wait_until_locked(self) -> None:
        self.deadline = time.monotonic() + self.limits.start_seconds
        self.patience = self.limits.start_seconds
        record = json.loads(self._answer(0, wire.MAX_REPORT))  # it has read nothing of a stranger's yet
        self.layers = [Layer(**layer) for layer in record["layers"]]
        self.deadline = time.monotonic() + self.limits.wall_seconds
        self.patience = self.limits.answer_seconds

    def hold_line(self) -> I64:
        """Return the line by which compiled code asks (`ipc.py`); `hang_up` says how that ended."""
        self._check_open()
        return line_to(self.source, self.sink, self.patience, self.deadline)

    def hang_up(self, ended: int) -> None:
        """Raise what a call of compiled code found out."""
        if ended == LATE:
            raise self._late("answer")
        if ended == GONE:
            raise self._ended()
        if ended == WRONG:
            raise self.wrong_answer()

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
        self._check_open()
        nonce = next(self.nonces)
        try:
            head = wire.REQUEST.pack(kind, nonce, count, columns, len(content))
            wire.write_all(self.sink, head + content if len(content) < 65536 else head, self._wait_to_write)
            if len(content) >= 65536:
                wire.write_all(self.sink, content, self._wait_to_write)
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer(nonce, most)

    def _check_open(self) -> None:
        """Raise again what ended the child."""
        if self.failure or self.ended:
            raise self.failure or PlatformFault("the child process was closed before this question")
        self.fed = True

    def _answer(self, nonce: int, most: int) -> bytes | bytearray:
        try:
            given, size = wire.ANSWER.unpack(self._read(wire.ANSWER.size))
            if given != nonce or not 0 <= size <= most:
                raise self.wrong_answer()
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

    def wrong_answer(self) -> Exception:
        """End a child that answered what it should not, and return what to raise."""
        return self._fault("answer", "the policy's process answered something that is no action, or was not asked for")

    def _fault(self, code: Any, sentence: str) -> Exception:
        """Kill the child and return what to raise."""
        self.close()
        if self.fed:
            self.failure = SubmissionFault(code, sentence)
        else:
            self.failure = PlatformFault(f"a child process was not ready after {self.patience:g} s: {sentence}")
        return self.failure

    def _ended(self) -> Exception:
        """Return what to raise for a child that ended by itself."""
        self.failure = self._blame(*self._bury())
        self.close()
        return self.failure

    def _blame(self, status: int, used: float) -> Exception:
        if not self.fed:
            return PlatformFault(f"a child process ended with status {status} before it was ready")
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

    def _bury(self) -> tuple[int, float]:
        """Return exit status and processor time [s] of a child that closed its pipes, which is its end."""
        self.ended = True
        for _ in range(LAST_BREATHS):
            if found := self.home.reap(self.pid, kill=False):
                return found
            time.sleep(0.01)
        self.home.reap(self.pid, kill=True)
        return 0, 0.0

    def close(self) -> None:
        """Kill the child's whole group, unless it ended, and close the pipes."""
        if not self.ended:
            self.ended = True
            with suppress(PlatformFault):  # without a nursery there is no child either
                self.home.reap(self.pid, kill=True)
        for pipe in {self.source, self.sink} - {-1}:
            os.close(pipe)
        self.source = self.sink = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _nonces() -> Iterator[int]:
    """Numbers that the child cannot guess."""
    while True:
        yield from memoryview(os.urandom(8192)).cast("q")
