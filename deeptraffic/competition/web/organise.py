"""Organiser's pages of a competition: create, settings, pause, invitations, queue, audit log, export."""

import json
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import Competition
from deeptraffic.competition.store import accounts, audit, competitions, queue
from deeptraffic.competition.store.archive import export
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.web.board_pages import context_of
from deeptraffic.competition.web.rendering import page, redirect
from deeptraffic.competition.web.site import Form, SentForm, competition_of, organiser_of, site_of

router = APIRouter(prefix="/organise")
LOG_ROWS = 100
EXAMPLE = """title = "DeepTraffic in the autumn course"
description = "Train a driving policy."
rules = 2018
other_agents = [0, 3, 10]
opens_at = "2026-10-01T08:00:00Z"
closes_at = "2026-10-31T23:59:59Z"
daily_limit = 5
total_limit = 100
"""
TEXTS = ("title", "description", "opens_at", "closes_at", "joining")
WHOLES = ("daily_limit", "total_limit", "waiting_limit", "parameter_cap", "cpu_budget", "daily_cpu", "final_runs")


@router.get("")
def overview(request: Request) -> Response:
    """All competitions, the workers, the queue, and the form to create a competition."""
    return _overview(request)


def _overview(request: Request, wrong: str = "", text: str = EXAMPLE, key: str = "") -> Response:
    organiser_of(request)
    site = site_of(request)
    return page(
        request,
        "organise/overview.html",
        422 if wrong else 200,
        competitions=competitions.all_competitions(site.db),
        now=site.now(),
        workers=queue.seen_workers(site.db),
        queue=queue.counts(site.db),
        actions=audit.entries(site.db, limit=12),
        wrong=wrong,
        text=text,
        key=key,
    )


@router.post("/new")
def create(request: Request, form: SentForm) -> Response:
    """Create a competition from the text of a config file, which may hold the `private_seeds` of the final."""
    person, text, key = organiser_of(request), form.fields.get("config", ""), form.text("key")
    try:
        record = read_config(text)
        seeds = record.pop("private_seeds", None)
        made = competitions.create(site_of(request).db, key, CompetitionConfig.from_record(record), person.name, seeds)
    except ValueError as error:  # RequestError is one as well
        return _overview(request, str(error), text, key)
    return redirect(f"/organise/c/{made.key}", "created")


def read_config(text: str) -> dict[str, Any]:
    """Return the settings in TOML or JSON text; ValueError says where it cannot be parsed."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except RecursionError:
        raise ValueError("the settings are nested too deeply; give one setting per line") from None
    except ValueError as error:
        raise ValueError(f"the settings cannot be parsed as TOML or JSON: {error}") from None
    return dict(found)


@router.get("/c/{key}")
def competition(request: Request) -> Response:
    """A competition's state, settings and invitations."""
    return _competition(request)


def _competition(request: Request, wrong: str = "", invite: str = "") -> Response:
    organiser_of(request)
    found, site = competition_of(request), site_of(request)
    return page(
        request,
        "organise/competition.html",
        422 if wrong else 200,
        **context_of(request, found),
        invites=accounts.invites_of(site.db, found.id),
        board=site.boards.board(found),
        queue=queue.counts(site.db),
        workers=queue.seen_workers(site.db),
        wrong=wrong,
        invite=invite,
    )


@router.post("/c/{key}/settings")
def change(request: Request, form: SentForm) -> Response:
    """Change the settings."""
    person, found = organiser_of(request), competition_of(request)
    try:
        changes = changes_of(found, form)
        if changes:
            competitions.change_config(site_of(request).db, found.id, changes, person.name)
    except ValueError as error:
        return _competition(request, str(error))
    return redirect(f"/organise/c/{found.key}", "saved")


def changes_of(found: Competition, form: Form) -> dict[str, Any]:
    """Return the settings of a form that differ from the competition's."""
    given: dict[str, Any] = {name: form.text(name) for name in TEXTS if name in form.fields}
    for name in WHOLES:
        if name in form.fields:
            text = form.text(name)
            if not (text.isascii() and text.isdecimal()):
                raise ValueError(f"{name}={text!r:.40} must be an integer of at least 0")
            given[name] = int(text)
    given["anonymous"] = form.text("anonymous") == "yes"
    return {name: value for name, value in given.items() if getattr(found.config, name) != value}


@router.post("/c/{key}/pause")
def pause(request: Request, form: SentForm) -> Response:
    """Pause submissions."""
    person, found = organiser_of(request), competition_of(request)
    competitions.pause(site_of(request).db, found.id, person.name, form.text("reason")[:300])
    return redirect(f"/organise/c/{found.key}", "paused")


@router.post("/c/{key}/resume")
def resume(request: Request, form: SentForm) -> Response:
    """Accept submissions again."""
    person, found = organiser_of(request), competition_of(request)
    competitions.resume(site_of(request).db, found.id, person.name)
    return redirect(f"/organise/c/{found.key}", "resumed")


@router.post("/c/{key}/invite")
def invite(request: Request, form: SentForm) -> Response:
    """Create an invitation, and show its link this once."""
    person, found, site = organiser_of(request), competition_of(request), site_of(request)
    uses = form.text("uses")
    if uses and not (uses.isascii() and uses.isdecimal() and 1 <= int(uses[:9]) <= 100_000):
        raise RequestError("uses", "the number of people must be an integer in [1, 100,000], or empty for any number")
    secret = accounts.new_invite(site.db, found.id, person.name, int(uses) if uses else None, note=form.text("note"))
    return _competition(request, invite=site.address(request, f"/join/{secret}"))


@router.post("/c/{key}/revoke")
def revoke_invite(request: Request, form: SentForm) -> Response:
    """Revoke an invitation."""
    organiser_of(request)
    found = competition_of(request)
    accounts.revoke(site_of(request).db, form.text("token"), competition_id=found.id)
    return redirect(f"/organise/c/{found.key}", "removed")


@router.get("/c/{key}/log")
def log(request: Request) -> Response:
    """The audit log, the newest entry first."""
    organiser_of(request)
    found, before = competition_of(request), request.query_params.get("before", "")
    last = int(before) if before.isascii() and before.isdecimal() and len(before) < 12 else None
    rows = audit.entries(site_of(request).db, found.id, LOG_ROWS, last)
    more = rows[-1].id if len(rows) == LOG_ROWS else None
    return page(request, "organise/log.html", **context_of(request, found), rows=rows, more=more)


@router.post("/c/{key}/export")
def export_all(request: Request, form: SentForm) -> Response:
    """Everything about a competition as one zip file; the audit log says who downloaded it."""
    person = organiser_of(request)
    found, site = competition_of(request), site_of(request)
    folder = tempfile.TemporaryDirectory(prefix="deeptraffic-export-")
    path = export(site.db, found.id, Path(folder.name) / f"{found.key}.zip", person.name)
    done = BackgroundTask(folder.cleanup)
    return FileResponse(path, media_type="application/zip", filename=f"{found.key}.zip", background=done)
