"""The worker's end of a child process: starts it, asks it, enforces timeouts, and kills its process group.

>>> with ChildProcess("evaluate", EVALUATION) as child:
...     child.protections                               # which protections are in force
...     child.ask(messages.SUBMISSION, content)         # bytes of its answer
"""

import json
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from deeptraffic.competition.sandbox import messages
from deeptraffic.competition.sandbox.errors import ErrorCode, InvalidSubmission, PlatformError
from deeptraffic.competition.sandbox.fork_server import fork_server
from deeptraffic.competition.sandbox.ipc import CLOSED, INVALID, TIMED_OUT, make_endpoint
from deeptraffic.competition.sandbox.limits import Limits
from deeptraffic.competition.sandbox.lockdown import Protection
from deeptraffic.sim.state import I64

REAP_TRIES, REAP_SECONDS = 100, 0.01  # for a child that closed its pipes to end, until it is killed
CORE_SECONDS = 0.5  # between two choices of a processor core
MOSTLY_IDLE = 0.5  # fraction of the time since the last choice


class ChildProcess:
    """One locked-down child; a context manager that leaves nothing behind.

    role: what it serves, of `child.py`
    protections: its report of the lockdown
    """

    def __init__(self, role: str, limits: Limits) -> None:
        self.limits, self.asked, self.ended = limits, False, False
        self.protections: list[Protection] = []
        self.failure: Exception | None = None
        self._used = 0.0  # [s] of processor time, once it ended
        self._nonces = _random_nonces()
        self.server = fork_server()
        self.pid, self.source, self.sink = self.server.fork(role, limits)
        os.set_blocking(self.sink, False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(self.source, select.POLLIN)
        self._writable.register(self.sink, select.POLLOUT)
        try:
            self._wait_until_locked()
        except BaseException:
            self.close()
            raise

    def _wait_until_locked(self) -> None:
        self.deadline = time.monotonic() + self.limits.start_seconds
        self.timeout = self.limits.start_seconds
        report = json.loads(self._answer(0, messages.MAX_REPORT))  # trusted: it has read nothing untrusted yet
        self.protections = [Protection(**protection) for protection in report["protections"]]
        self.deadline = time.monotonic() + self.limits.wall_seconds
        self.timeout = self.limits.answer_seconds

    # --- asking ---------------------------------------------------------------------------------------------------

    def ask(
        self,
        kind: int,
        content: bytes | memoryview = b"",
        rows: int = 0,
        columns: int = 0,
        most: int = messages.MAX_REPORT,
    ) -> bytes | bytearray:
        """Return the child's answer to a request, of at most `most` bytes.

        Raises InvalidSubmission for whatever the submission did instead, PlatformError if it is not the cause.
        """
        self._check_open()
        nonce = next(self._nonces)
        try:
            head = messages.REQUEST.pack(kind, nonce, rows, columns, len(content))
            messages.write_all(self.sink, head + content if len(content) < 65536 else head, self._wait_to_write)
            if len(content) >= 65536:
                messages.write_all(self.sink, content, self._wait_to_write)
        except BrokenPipeError:
            raise self._end_of_child() from None
        return self._answer(nonce, most)

    def endpoint(self) -> I64:
        """Return the endpoint for compiled code (`ipc.py`); pass the status that it returns to `check`."""
        self._check_open()
        return make_endpoint(self.source, self.sink, self.timeout, self.deadline)

    def check(self, status: int) -> None:
        """Raise the error of a status of compiled code."""
        if status == TIMED_OUT:
            raise self._late("answer")
        if status == CLOSED:
            raise self._end_of_child()
        if status == INVALID:
            raise self.wrong_answer()

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the child so far [s]."""
        if self.ended:
            return self._used
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3), as Linux computes it

    def _check_open(self) -> None:
        """Raise again what ended the child."""
        if self.failure or self.ended:
            raise self.failure or PlatformError("the child process is closed")
        self.asked = True

    def _answer(self, nonce: int, most: int) -> bytes | bytearray:
        try:
            given, size = messages.ANSWER.unpack(self._read(messages.ANSWER.size))
            if given != nonce or not 0 <= size <= most:
                raise self.wrong_answer()
            return self._read(size) if size else b""
        except EOFError:
            raise self._end_of_child() from None

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            self._wait(self._readable, "answer")
            got = os.read(self.source, count - len(content))
            if not got:
                raise EOFError
            content = content + got if content else got
        return content

    def _wait_to_write(self) -> None:
        self._wait(self._writable, "read")

    def _wait(self, poll: "select.poll", what: str) -> None:
        """Wait until a pipe is ready, or raise at the timeout."""
        timeout = min(self.timeout, self.deadline - time.monotonic())
        if timeout <= 0 or not poll.poll(1000 * timeout):
            raise self._late(what)

    # --- failures and the end -------------------------------------------------------------------------------------

    def _late(self, what: str) -> Exception:
        over = time.monotonic() >= self.deadline
        limit = f"{self.limits.wall_seconds:g} s in all" if over else f"{self.timeout:g} s"
        return self._fail("time", f"the policy's process did not {what} within {limit}; make its layers smaller")

    def wrong_answer(self) -> Exception:
        """Kill a child that gave an invalid answer, and return what to raise."""
        return self._fail("answer", "the policy's process gave an invalid answer: not an action, or not asked for")

    def _fail(self, code: ErrorCode, message: str) -> Exception:
        """Kill the child and return what to raise."""
        self.close()
        if self.asked:
            self.failure = InvalidSubmission(code, message)
        else:
            self.failure = PlatformError(f"a child process was not ready after {self.timeout:g} s: {message}")
        return self.failure

    def _end_of_child(self) -> Exception:
        """Return what to raise for a child that closed its pipes."""
        self.failure = self._error_of(*self._reap())
        self.close()
        return self.failure

    def _error_of(self, status: int, cpu_seconds: float) -> Exception:
        if not self.asked:
            return PlatformError(f"a child process ended with status {status} before it was ready")
        allowed = self.limits.cpu_seconds
        if status == -signal.SIGXCPU or (status == -signal.SIGKILL and cpu_seconds > allowed):
            message = f"the policy used {allowed} s of processor time; make its layers smaller"
            return InvalidSubmission("time", message)
        if status == messages.EXIT_MEMORY:
            megabytes = self.limits.memory >> 20
            message = f"the policy needs more than {megabytes} MB of memory; make its layers or its state smaller"
            return InvalidSubmission("memory", message)
        if status == -signal.SIGKILL:
            return PlatformError(
                "a child process was killed from outside the sandbox, or because this machine ran out of memory"
            )
        return InvalidSubmission("crash", f"the policy's process ended early, with status {status}")

    def _reap(self) -> tuple[int, float]:
        """Return exit status and processor time [s] of a child that closed its pipes."""
        self.ended = True
        for _ in range(REAP_TRIES):
            if found := self.server.reap(self.pid, kill=False):
                self._used = found[1]
                return found
            time.sleep(REAP_SECONDS)
        self._kill()
        return 0, 0.0

    def _kill(self) -> None:
        found = self.server.reap(self.pid, kill=True)
        self._used = found[1] if found else 0.0

    def close(self) -> None:
        """Kill the child's process group, unless it ended, and close the pipes."""
        if not self.ended:
            self.ended = True
            with suppress(PlatformError):  # without a fork server there is no child either
                self._kill()
        for pipe in {self.source, self.sink} - {-1}:
            os.close(pipe)
        self.source = self.sink = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _random_nonces() -> Iterator[int]:
    """Integers that the child cannot guess."""
    while True:
        yield from memoryview(os.urandom(8192)).cast("q")


# --- processor cores ----------------------------------------------------------------------------------------------


class SharedCore:
    """One processor core for this thread and a child while they alternate: a round trip costs 4 us instead of 75.

    Only one of the two ever has work; on two cores each would wake the other from idle at every decision. The core is
    chosen anew now and then, by idle time.

    child: its process id
    """

    def __init__(self, child: int) -> None:
        self.child = child
        self.core = -1
        self.chosen, self.idle = time.monotonic(), idle_seconds()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep both on one core inside the block; where that is not allowed, let them run on any."""
        allowed = os.sched_getaffinity(0)
        if len(allowed) == 1:
            yield
            return
        try:
            with suppress(OSError):
                core = self._choose(allowed)
                os.sched_setaffinity(self.child, {core})
                os.sched_setaffinity(0, {core})
            yield
        finally:
            for process in (0, self.child):
                with suppress(OSError):
                    os.sched_setaffinity(process, allowed)

    def _choose(self, allowed: set[int]) -> int:
        """Return the present core, or the idlest one, if it was mostly idle."""
        now = time.monotonic()
        if self.core in allowed and now - self.chosen < CORE_SECONDS:
            return self.core
        before, self.idle = self.idle, idle_seconds()
        fractions = {core: (self.idle[core] - before[core]) / (now - self.chosen) for core in allowed if core in before}
        self.chosen = now
        idlest = max(fractions, key=lambda core: fractions[core], default=min(allowed))
        # Two workers that share a core choose at the same time: each stays with probability 1/2.
        stays = self.core in allowed and (fractions.get(idlest, 0.0) < MOSTLY_IDLE or os.urandom(1)[0] < 128)
        self.core = self.core if stays else idlest
        return self.core


def idle_seconds() -> dict[int, float]:
    """Return how long each core has been idle since the machine started; empty where the kernel does not say."""
    ticks = os.sysconf("SC_CLK_TCK")
    with suppress(OSError, ValueError, IndexError), open("/proc/stat", encoding="ascii") as file:
        rows = [line.split() for line in file if line.startswith("cpu") and line[3].isdigit()]
        return {int(row[0][3:]): int(row[4]) / ticks for row in rows}
    return {}
