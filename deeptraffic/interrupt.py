"""Ctrl-C and kill as a request: training goes on to where it can be saved, and stops there.

    >>> with stop_requests() as stop:
    ...     while not stop.requested: ...

A second request stops at once; then the newest checkpoint is what is left.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether to stop: `requested` becomes True on the first signal."""

    def __init__(self) -> None:
        self.requested = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; raise KeyboardInterrupt on the second."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into requests, in the main thread; elsewhere signals are left as they are."""
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
