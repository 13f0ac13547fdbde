"""`deeptraffic submit`: validate a policy file, score it here, send it to a competition, wait for its score there."""

import json
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import typer

from deeptraffic.cli.terminal import Json, messages, print_json, progress_bar, results

POLL_SECONDS = 1.0
TIMEOUT_SECONDS = 60.0
MAX_ANSWER = 10_000_000  # [bytes]
TRIES = 3  # of reading, where the connection or the server fails; of sending, where the server is busy
BUSY, BUSY_SECONDS = 503, 5.0  # status of what was not accepted and may be sent again, and the pause before


def submit(
    file: Path = typer.Argument(..., help="Policy file (.safetensors), or file of the original game (.js)."),
    server: str = typer.Option(
        ..., envvar="DEEPTRAFFIC_SERVER", help="URL of the server, such as https://traffic.example.org."
    ),
    token: str = typer.Option(
        ..., envvar="DEEPTRAFFIC_TOKEN", help="Token for submissions, from your account page on the server."
    ),
    competition: str | None = typer.Option(None, help="Name of the competition in URLs, if there are several."),
    score: bool = typer.Option(True, help="Compute and print the official score before sending."),
    wait: bool = typer.Option(True, help="Wait for the server's score."),
    json: Json = False,
) -> None:
    """Submit a policy to a competition."""
    from deeptraffic.competition.config import CompetitionConfig
    from deeptraffic.competition.sandbox.validation import validate_unsandboxed

    client = ServerClient(server, token)
    content = _read(file)
    found = client.competition(competition)
    upload = validate_unsandboxed(content, file.name)
    settings = {name: value for name, value in found.items() if name not in ("key", "phase")}
    config = CompetitionConfig.from_record(settings)
    config.check_upload(upload)
    if len(content) > config.max_bytes:
        raise ValueError(f"the file must have at most {config.max_bytes:,} bytes, got {len(content):,}")
    here = _score_here(file, upload.rules, upload.other_agents) if score else None
    if here is not None and not json:
        others = f"{upload.other_agents} other agent{'' if upload.other_agents == 1 else 's'}"
        results.print(
            f"{upload.label}: {here:.2f} mph on this machine, {upload.rules} rules, {others}", highlight=False
        )
    if upload.epsilon > 0.0 and not json:
        messages.print(
            f"{100 * upload.epsilon:g}% of its decisions are random; `deeptraffic export` with --epsilon 0 ends that."
        )
    made = client.submit(found["key"], file.name, content)
    if not json:
        results.print(f"Accepted: {made['page']}", highlight=False, soft_wrap=True)
    if wait:
        made |= _wait(client, made["key"])
    _report(made | {"score_here": here}, json)


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise ValueError(f"there is no file {str(file)!r}; name a policy file or an original game's .js file")
    return file.read_bytes()


def _score_here(file: Path, rules: int, other_agents: int) -> float:
    """Return the official score, as `deeptraffic evaluate` gives it."""
    from agents.loader import load_file
    from deeptraffic.evaluation.protocol import evaluate_official

    policy = load_file(file)
    with progress_bar(f"scoring {policy.label}") as progress:
        return evaluate_official(policy, rules, other_agents, progress).score


def _wait(client: "ServerClient", key: str) -> dict[str, Any]:
    """Show the server's progress until it is done; return the submission."""
    with progress_bar("on the server") as progress:
        while True:
            now = client.submission(key)
            if now["finished"]:
                return now
            if now["state"] == "running":
                progress(now["runs_done"], max(1, now["runs_total"]))
            time.sleep(POLL_SECONDS)


def _report(made: dict[str, Any], json: bool) -> None:
    """Print the result; RuntimeError if the server gave no score, or another one than this machine."""
    if json:
        print_json(made)
    elif made["score"] is not None:
        results.print(f"[bold]{made['score']:.2f} mph[/] on the server", highlight=False)
    if made["state"] in ("refused", "failed"):
        raise RuntimeError(made["reason"] or "the server gave no score")
    if made["score"] is not None and made["score_here"] not in (None, made["score"]):
        messages.print("The scores differ, which is a bug: report it to the organiser, with the file and both scores.")
        raise RuntimeError(f"{made['score_here']} mph here, {made['score']} mph on the server")


# --- the JSON API (competition/web/api.py), with the standard library alone ----------------------------------------


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirect, which would send the token to another server."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""


class ServerClient:
    """Client of a competition's server.

    server: its URL, with or without a path; token: sent with every request
    """

    def __init__(self, server: str, token: str) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--server {server!r} is not a URL; give one such as https://traffic.example.org")
        if not token.isascii() or not token.isprintable() or not token:
            raise ValueError("--token is invalid; copy it from your account page on the server")
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            messages.print("The URL is http://, not https://: the token is sent unencrypted.")
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
        """Return one of the token owner's submissions."""
        return dict(self._ask(f"/submissions/{quote(key, safe='')}"))

    def _ask(self, path: str, content: bytes | None = None) -> Any:
        """Return the answer's JSON; ValueError for what the server rejects, RuntimeError where it fails."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/octet-stream"}
        for left in reversed(range(TRIES)):
            try:
                with self._opener.open(Request(self.base + path, content, headers), timeout=TIMEOUT_SECONDS) as answer:
                    return json.loads(answer.read(MAX_ANSWER))
            except HTTPError as error:
                if error.code < 500 or not left or (content is not None and error.code != BUSY):
                    raise _server_error(error) from None
                time.sleep(BUSY_SECONDS if error.code == BUSY else 0.0)
            except (URLError, OSError, ValueError) as error:
                if not left or content is not None:
                    reason = getattr(error, "reason", error)
                    raise RuntimeError(
                        f"{self.base} does not answer ({reason}); check --server and the connection"
                    ) from None
        raise AssertionError("unreachable")


def _server_error(error: HTTPError) -> Exception:
    """Return the error in a server's answer."""
    try:
        sentence = str(json.loads(error.read(MAX_ANSWER))["error"]["message"])
    except (ValueError, KeyError, TypeError, OSError):
        sentence = f"the server answered {error.code} {error.reason}"
    return ValueError(sentence) if error.code < 500 else RuntimeError(sentence)
