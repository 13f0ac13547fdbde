"""`deeptraffic submit`: check a policy file, score it here, send it to a competition, and wait for its score there."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deeptraffic.cli.terminal import messages, print_json, progress_bar, results

if TYPE_CHECKING:
    from deeptraffic.cli.server_client import ServerClient

POLL_SECONDS = 1.0


def submit(
    file: Path = typer.Argument(..., help="A policy file (.safetensors), or a file of the original game (.js)."),
    server: str = typer.Option(
        ..., envvar="DEEPTRAFFIC_SERVER", help="The server's address, such as https://traffic.example.org."
    ),
    token: str = typer.Option(
        ..., envvar="DEEPTRAFFIC_TOKEN", help="A token to submit with; your page on the server makes one."
    ),
    competition: str | None = typer.Option(None, help="The competition's name in addresses, if there are several."),
    score: bool = typer.Option(True, help="Print the official score, computed here, before sending."),
    wait: bool = typer.Option(True, help="Wait for the server's score."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Submit a policy to a competition."""
    from deeptraffic.cli.server_client import ServerClient
    from deeptraffic.competition.config import CompetitionConfig
    from deeptraffic.competition.sandbox.validation import validate_unsandboxed

    client = ServerClient(server, token)
    content = _read(file)
    found = client.competition(competition)
    upload = validate_unsandboxed(content, file.name)
    settings = {name: value for name, value in found.items() if name not in ("key", "phase")}
    CompetitionConfig.from_record(settings).check_upload(upload)
    here = _score_here(file, upload.rules, upload.other_agents) if score else None
    if here is not None and not json:
        others = f"{upload.other_agents} other agent{'' if upload.other_agents == 1 else 's'}"
        results.print(
            f"{upload.label}: {here:.2f} mph on this machine, {upload.rules} rules, {others}", highlight=False
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
    from deeptraffic.cli.policies import load_policy_file
    from deeptraffic.evaluation.protocol import evaluate_official

    policy = load_policy_file(file)
    with progress_bar(f"scoring {policy.label}") as progress:
        return evaluate_official(policy, rules, other_agents, progress).score


def _wait(client: "ServerClient", key: str) -> dict[str, Any]:
    """Show how far the server is, until it is done; return the submission."""
    with progress_bar("on the server") as progress:
        while True:
            now = client.submission(key)
            if now["finished"]:
                return now
            if now["state"] == "running":
                progress(now["runs_done"], max(1, now["runs_total"]))
            time.sleep(POLL_SECONDS)


def _report(made: dict[str, Any], json: bool) -> None:
    """Say what came of it; RuntimeError if the server gave no score, or another one than this machine."""
    if json:
        print_json(made)
    elif made["score"] is not None:
        results.print(f"[bold]{made['score']:.2f} mph[/] on the server", highlight=False)
    if made["state"] in ("refused", "failed"):
        raise RuntimeError(made["reason"] or "the server gave no score")
    if made["score"] is not None and made["score_here"] not in (None, made["score"]):
        messages.print("The scores differ, which must not be: tell the organiser, with the file and both scores.")
        raise RuntimeError(f"{made['score_here']} mph here, {made['score']} mph on the server")
