"""Answers that are not pages: JSON and tables, compressed where the reader takes it; redirects; notes after an act."""

import gzip
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

SMALL = 1_000  # [bytes] not worth compressing
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


def compressed(request: Request, text: str, media_type: str, filename: str | None = None) -> Response:
    """Return a text without secrets, compressed if the reader takes that."""
    content, headers = text.encode("utf-8"), {"Vary": "Accept-Encoding"}
    if len(content) > SMALL and "gzip" in request.headers.get("accept-encoding", ""):
        content, headers["Content-Encoding"] = gzip.compress(content, 5, mtime=0), "gzip"
    if filename is not None:
        headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return Response(content, headers=headers, media_type=media_type)


def json_answer(request: Request, value: Any, filename: str | None = None) -> Response:
    """Return a value as JSON."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return compressed(request, text, "application/json", filename)


def see(address: str, note: str = "") -> RedirectResponse:
    """Send the browser on to a page after a form, perhaps with one of the notes."""
    return RedirectResponse(f"{address}?note={note}" if note else address, 303)
