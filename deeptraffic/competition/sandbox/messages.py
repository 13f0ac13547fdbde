"""Messages between worker and child process: requests over one pipe, answers over another, one at a time.

A request is five int64 (kind, nonce, rows, columns, size) and `size` bytes. An answer starts with the request's nonce,
which the child cannot know before the request is sent, so that a premature answer is detected; then the number of its
bytes (int64), and the bytes. Actions are one byte each, everything else is JSON. Neither side unpickles.
"""

import json
import os
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

REQUEST = struct.Struct("<5q")
ANSWER = struct.Struct("<2q")
SUBMISSION, ATTACH, RESET, ACT = range(1, 5)  # kinds of requests
MAX_SUBMISSION = 16 * 1024 * 1024  # [bytes]
MAX_REPORT = 64 * 1024  # [bytes] of JSON in an answer
EXIT_MEMORY, EXIT_CRASH = 70, 71  # exit status of a child that ran out of memory, or failed


class Request(NamedTuple):
    """A request as the child receives it; rows, columns: of the array in `content`, as far as it holds one."""

    kind: int
    rows: int
    columns: int
    content: bytearray


class Channel:
    """The child's end of both pipes: receives requests one at a time and answers each.

    source, sink: file descriptors
    """

    def __init__(self, source: int, sink: int) -> None:
        self.source, self.sink, self.nonce = source, sink, 0

    def receive(self, head: bytes | None = None) -> Request:
        """Return the next request, whose head may have been read already; EOFError when the worker is done."""
        head = head or bytes(read_exactly(self.source, REQUEST.size))
        kind, self.nonce, rows, columns, size = REQUEST.unpack(head)
        return Request(kind, rows, columns, read_exactly(self.source, size))

    def answer(self, content: bytes) -> None:
        """Answer the last request."""
        write_all(self.sink, ANSWER.pack(self.nonce, len(content)) + content)

    def report(self, record: dict[str, Any]) -> None:
        """Answer the last request with JSON."""
        self.answer(json.dumps(record).encode("ascii"))


def read_exactly(handle: int, count: int) -> bytearray:
    """Return `count` bytes from a pipe; EOFError if its writer closes it before."""
    content = bytearray(count)
    view, at = memoryview(content), 0
    while at < count:
        got = os.readv(handle, [view[at:]])
        if got == 0:
            raise EOFError("the other side closed the pipe")
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
