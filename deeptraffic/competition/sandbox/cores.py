"""Worker and child on one processor core while they take turns: a round trip then costs 4 microseconds instead of 75.

Only one of the two ever has anything to do. On two cores each would wake the other from idleness at every decision.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOOK_AGAIN = 0.5  # [s] between two choices of a core
MOSTLY_IDLE = 0.5  # share of the time since the last look


class SharedCore:
    """A core for this thread and a child, moved now and then to where the machine has time.

    child: number of its process
    """

    def __init__(self, child: int) -> None:
        self.child = child
        self.core = -1
        self.looked, self.idle = time.monotonic(), idle_seconds()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep both on one core inside the block; where that is not allowed, let them run anywhere."""
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
        """The core so far, or the idlest one, if it was mostly idle."""
        now = time.monotonic()
        if self.core in allowed and now - self.looked < LOOK_AGAIN:
            return self.core
        before, self.idle = self.idle, idle_seconds()
        shares = {core: (self.idle[core] - before[core]) / (now - self.looked) for core in allowed if core in before}
        self.looked = now
        idlest = max(shares, key=lambda core: shares[core], default=min(allowed))
        # Two workers that share a core look at the same time: of the two, one in two stays.
        settled = self.core in allowed and (shares.get(idlest, 0.0) < MOSTLY_IDLE or os.urandom(1)[0] < 128)
        self.core = self.core if settled else idlest
        return self.core


def idle_seconds() -> dict[int, float]:
    """Return how long each core has been idle since the machine started; empty where the kernel does not say."""
    ticks = os.sysconf("SC_CLK_TCK")
    with suppress(OSError, ValueError, IndexError), open("/proc/stat", encoding="ascii") as file:
        rows = [line.split() for line in file if line.startswith("cpu") and line[3].isdigit()]
        return {int(row[0][3:]): int(row[4]) / ticks for row in rows}
    return {}
