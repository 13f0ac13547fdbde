"""What passes between worker and child, over two pipes: requests one way, answers the other, one at a time.

A request is five whole numbers (kind, nonce, count, columns, bytes) and that many bytes. An answer begins with the
request's nonce, which nobody can know before the request was sent, so that an answer given early is found out; then the
number of its bytes, and the bytes. Actions are one byte each, everything else is JSON. Neither side ever unpickles.
"""

import os
import struct
from collections.abc import Callable

REQUEST = struct.Struct("<5q")
ANSWER = struct.Struct("<2q")
SUBMISSION, ATTACH, RESET, ACT = range(1, 5)  # kinds of requests
MAX_SUBMISSION = 16 * 1024 * 1024  # [bytes]
MAX_REPORT = 64 * 1024  # [bytes] of JSON in an answer
EXIT_MEMORY, EXIT_CRASH = 70, 71  # how a child ends that ran out of memory, or failed


def read_exactly(handle: int, count: int) -> bytearray:
    """Return `count` bytes from a pipe; EOFError if its writer is gone before."""
    content = bytearray(count)
    view, at = memoryview(content), 0
    while at < count:
        got = os.readv(handle, [view[at:]])
        if got == 0:
            raise EOFError("the other side is gone")
        at += got
    return content


def write_all(handle: int, content: bytes | memoryview, wait: Callable[[], None] = lambda: None) -> None:
    """Write all bytes to a pipe; `wait` is called before each piece."""
    view = memoryview(content).cast("B")
    while len(view):
        wait()
        try:
            view = view[os.write(handle, view) :]
        except BlockingIOError:
            continue
