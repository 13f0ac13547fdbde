"""Talking to a competition's server through its JSON API (competition/web/api.py), with the standard library alone."""

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from deeptraffic.cli.terminal import messages

SECONDS = 60.0
MAX_ANSWER = 10_000_000  # [bytes]
TRIES = 3  # of reading, where the line or the server fails


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect: it would carry the token to another place."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""


class ServerClient:
    """A server and the token that is shown to it.

    server: its address, with or without a path at its end
    """

    def __init__(self, server: str, token: str) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--server {server!r} is no address; give one such as https://traffic.example.org")
        if not token.isascii() or not token.isprintable() or not token:
            raise ValueError("--token is no token; copy it from your page on the server")
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            messages.print("The address is http://: whoever listens on the way reads the token.")
        self.base, self._token = f"{parts.scheme}://{parts.netloc}/api/v1", token
        self._opener = build_opener(_NoRedirect)

    def competition(self, key: str | None) -> dict[str, Any]:
        """Return a competition's settings and phase; the only one if no key is given."""
        if key is not None:
            return dict(self._ask(f"/competitions/{quote(key, safe='')}"))
        found = self._ask("/competitions")
        if len(found) != 1:
            names = ", ".join(one["key"] for one in found) or "none"
            raise ValueError(f"the server has {len(found)} competitions ({names}); name one with --competition")
        return dict(found[0])

    def submit(self, competition: str, filename: str, content: bytes) -> dict[str, Any]:
        """Send a file; return the submission."""
        path = f"/competitions/{quote(competition, safe='')}/submissions?filename={quote(filename, safe='')}"
        return dict(self._ask(path, content))

    def submission(self, key: str) -> dict[str, Any]:
        """Return one of one's own submissions."""
        return dict(self._ask(f"/submissions/{quote(key, safe='')}"))

    def _ask(self, path: str, content: bytes | None = None) -> Any:
        """Return the answer's JSON; ValueError for what the server refuses, RuntimeError where it fails."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/octet-stream"}
        for left in reversed(range(TRIES if content is None else 1)):
            try:
                with self._opener.open(Request(self.base + path, content, headers), timeout=SECONDS) as answer:
                    return json.loads(answer.read(MAX_ANSWER))
            except HTTPError as error:
                if error.code < 500 or not left:
                    raise _refusal(error) from None
            except (URLError, OSError, ValueError) as error:
                if not left:
                    reason = getattr(error, "reason", error)
                    raise RuntimeError(f"{self.base} does not answer ({reason}); check --server and the line") from None
        raise AssertionError("unreachable")


def _refusal(error: HTTPError) -> Exception:
    """Return what a server's refusal says."""
    try:
        sentence = str(json.loads(error.read(MAX_ANSWER))["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        sentence = f"the server answered {error.code} {error.reason}"
    return ValueError(sentence) if error.code < 500 else RuntimeError(sentence)
