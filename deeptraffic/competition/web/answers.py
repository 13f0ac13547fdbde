"""Answers that are not pages: JSON, tables that are kept compressed, redirects with a note about what was done."""

import gzip
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

NOTES = {  # what a page says after an act, by a word in its address
    "joined": "Welcome: you take part.",
    "name": "Your name is changed.",
    "revoked": "The token is revoked.",
    "chosen": "Your choice for the final is saved.",
    "left": "This browser has forgotten your account.",
    "film": "The film is being made: reload this page in a minute.",
    "saved": "Saved.",
    "paused": "Submissions are paused.",
    "resumed": "Submissions are taken again.",
    "disqualified": "Disqualified; the reason is in the log.",
    "requalified": "Taken back: it counts again.",
    "blocked": "The account is closed.",
    "unblocked": "The account is open again.",
    "started": "The re-evaluation runs. Nothing changes before you apply it.",
    "applied": "The new scores are applied.",
    "discarded": "The re-evaluation is discarded.",
    "final": "The final runs on the private seeds. Its results stay hidden until you reveal them.",
    "revealed": "The final ranking is public.",
    "created": "The competition is created.",
    "removed": "Removed.",
}


class KeptTexts:
    """Long texts that many ask for, compressed once; a key says all that a text depends on."""

    def __init__(self, most: int = 32) -> None:
        self.most = most
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._lock = Lock()

    def answer(self, request: Request, key: Hashable, make: Callable[[], str], kind: str, name: str = "") -> Response:
        """Return the text of a key, made if it is not kept; with a name, as a file to keep."""
        with self._lock:
            packed = self._kept.get(key)
        if packed is None:
            packed = gzip.compress(make().encode("utf-8"), 6, mtime=0)
            with self._lock:
                self._kept[key] = packed
                while len(self._kept) > self.most:
                    self._kept.popitem(last=False)
        headers = {"Vary": "Accept-Encoding"}
        if name:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=kind)
        return Response(gzip.decompress(packed), headers=headers, media_type=kind)


def to_json(value: Any) -> str:
    """Return a value as compact JSON."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def json_answer(value: Any) -> Response:
    """Return a value as JSON."""
    return Response(to_json(value), media_type="application/json")


def see(address: str, note: str = "") -> RedirectResponse:
    """Send the browser on to a page after a form, perhaps with one of the notes."""
    return RedirectResponse(f"{address}?note={note}" if note else address, 303)
