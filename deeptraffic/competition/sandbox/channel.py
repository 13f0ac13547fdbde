"""The child's end of the two pipes."""

import json
from typing import Any, NamedTuple

from deeptraffic.competition.sandbox import wire


class Request(NamedTuple):
    """kind, rows, columns: whole numbers; content: bytes."""

    kind: int
    rows: int
    columns: int
    content: bytearray


class Channel:
    """Takes requests one at a time, and answers each.

    source, sink: the pipes' file descriptors
    """

    def __init__(self, source: int, sink: int) -> None:
        self.source, self.sink, self.nonce = source, sink, 0

    def receive(self, head: bytes | None = None) -> Request:
        """Return the next request, whose head may have been read; EOFError when the worker has no more."""
        head = head or bytes(wire.read_exactly(self.source, wire.REQUEST.size))
        kind, self.nonce, rows, columns, size = wire.REQUEST.unpack(head)
        return Request(kind, rows, columns, wire.read_exactly(self.source, size))

    def answer(self, content: bytes) -> None:
        """Answer the last request."""
        wire.write_all(self.sink, wire.ANSWER.pack(self.nonce, len(content)) + content)

    def report(self, record: dict[str, Any]) -> None:
        """Answer the last request with JSON."""
        self.answer(json.dumps(record).encode("ascii"))
