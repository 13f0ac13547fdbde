"""Organiser's pages of a competition: create, settings, pause, invitations, queue, audit log, export."""

import itertools
import json
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from deeptraffic.competition.config import EVERY_NUMBER, CompetitionConfig, to_milliseconds, to_time
from deeptraffic.competition.models import Competition
from deeptraffic.competition.store import accounts, audit, co_organisers, competitions, deadlines, queue
from deeptraffic.competition.store.archive import export
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.competition.web.board_pages import context_of
from deeptraffic.competition.web.rendering import page, redirect
from deeptraffic.competition.web.site import Form, SentForm, chief_of, competition_of, organiser_of, site_of, user_of

router = APIRouter(prefix="/organise")
LOG_ROWS, LAST = 100, 12  # entries of the log
EXAMPLE = """title = "DeepTraffic in the autumn course"
description = "Train a driving policy."
rules = 2018
other_agents = [0, 3, 10]
opens_at = "2026-10-01T08:00:00Z"
closes_at = "2026-10-31T23:59:59Z"
daily_limit = 5
total_limit = 100
"""
TEXTS, DATES = ("title", "description", "access", "joining"), ("opens_at", "closes_at")
WHOLES = (
    "rules",
    "daily_limit",
    "total_limit",
    "waiting_limit",
    "team_size",
    "parameter_cap",
    "cpu_budget",
    "daily_cpu",
    "max_bytes",
    "validation_runs",
    "final_runs",
)


@router.get("")
def overview(request: Request) -> Response:
    """The competitions, the workers, the queue, and the last actions."""
    organiser_of(request)
    site, user = site_of(request), user_of(request)
    mine = [found for found in competitions.all_competitions(site.db) if user.may_organise(found.id)]
    log = [audit.entries(site.db, None, LAST)] if user.is_chief else []
    log += [] if user.is_chief else [audit.entries(site.db, found.id, LAST, server=False) for found in mine]
    return page(
        request,
        "organise/overview.html",
        competitions=mine,
        now=site.now(),
        workers=queue.seen_workers(site.db),
        queue=queue.counts(site.db),
        actions=sorted(itertools.chain(*log), key=lambda entry: -entry.id)[:LAST],
    )


@router.get("/new")
def new(request: Request) -> Response:
    """The form of a new competition."""
    return _new(request)


def _new(request: Request, wrong: str = "", form: Form | None = None) -> Response:
    chief_of(request)
    sent = {} if form is None else form.fields
    text = sent.get("config", EXAMPLE)
    return page(
        request, "organise/new.html", 422 if wrong else 200, wrong=wrong, values=values_of(sent), text=text, sent=sent
    )


@router.post("/new")
def create(request: Request, form: SentForm) -> Response:
    """Create a competition from the form, or from the text of a config file, which may hold `private_seeds`."""
    person, key = chief_of(request), form.text("key")
    try:
        record = read_config(form.fields["config"]) if "config" in form.fields else settings_of(form)
        seeds = record.pop("private_seeds", None)
        made = competitions.create(site_of(request).db, key, CompetitionConfig.from_record(record), person.name, seeds)
    except ValueError as error:  # RequestError is one as well
        return _new(request, str(error), form)
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
    return competition_page(request)


def competition_page(request: Request, wrong: str = "", invite: str = "", link: str = "") -> Response:
    """Return the page; invite, link: a new invitation or a co-organiser's one-time link, shown this once."""
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
        values=values_of({}, found.config),
        co_organisers=co_organisers.of_competition(site.db, found.id),
        link=link,
    )


@router.post("/c/{key}/settings")
def change(request: Request, form: SentForm) -> Response:
    """Change the settings; another deadline is previewed first, where it would change anything."""
    person, found, db = organiser_of(request), competition_of(request), site_of(request).db
    try:
        changes = changes_of(found, form)
        if "closes_at" in changes and form.text("sure") != "yes":
            config = CompetitionConfig.from_record(found.config.to_record() | changes)
            preview = deadlines.preview(db, found.id, config.closes)
            if preview.entries or preview.phase_before != preview.phase_after:
                return _deadline_page(request, found, form, config, preview)
        if changes:
            competitions.change_config(db, found.id, changes, person.name)
    except ValueError as error:
        return competition_page(request, str(error))
    return redirect(f"/organise/c/{found.key}", "saved")


def _deadline_page(
    request: Request, found: Competition, form: Form, config: CompetitionConfig, preview: deadlines.DeadlineChange
) -> Response:
    context = context_of(request, found)
    return page(request, "organise/deadline.html", **context, sent=form.fields, after=config.closes, preview=preview)


def changes_of(found: Competition, form: Form) -> dict[str, Any]:
    """Return the settings of a form that differ from the competition's; equal times may be written differently."""
    given = settings_of(form)
    same = {"opens_at": found.config.opens, "closes_at": found.config.closes}
    return {
        name: value
        for name, value in given.items()
        if (to_milliseconds(name, value) != same[name] if name in DATES else getattr(found.config, name) != value)
    }


def settings_of(form: Form) -> dict[str, Any]:
    """Return the settings that a form gives; ValueError for a number that is none."""
    given: dict[str, Any] = {name: form.text(name) for name in TEXTS if name in form.fields}
    for name in WHOLES:
        if name in form.fields:
            text = form.text(name)
            if not (text.isascii() and text.isdecimal()):
                raise ValueError(f"{name}={text!r:.40} must be an integer of at least 0")
            given[name] = int(text)
    for name in DATES:
        if name in form.fields:
            moment = to_milliseconds(name, form.text(name))
            given[name] = "" if moment is None else to_time(moment).replace(".000Z", "Z")
    if "others" in form.fields:
        given["other_agents"] = tuple(number for number in EVERY_NUMBER if f"others_{number}" in form.fields)
    return given | {"anonymous": form.text("anonymous") == "yes"}


def values_of(sent: Mapping[str, str], config: CompetitionConfig | None = None) -> dict[str, Any]:
    """Return what the fields of a form of settings show: what was sent, or the settings of a competition."""
    config = config or CompetitionConfig()
    values: dict[str, Any] = {name: sent.get(name, getattr(config, name)) for name in (*TEXTS, *WHOLES)}
    for name, moment in (("opens_at", config.opens), ("closes_at", config.closes)):
        values[name] = sent.get(name, "" if moment is None else to_time(moment)[:19])
    ticked = [number for number in EVERY_NUMBER if f"others_{number}" in sent] if sent else config.other_agents
    return values | {"others": ticked, "anonymous": "anonymous" in sent if sent else config.anonymous}


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
    return competition_page(request, invite=site.address(request, f"/join/{secret}"))


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
    rows = audit.entries(site_of(request).db, found.id, LOG_ROWS, last, server=user_of(request).is_chief)
    more = rows[-1].id if len(rows) == LOG_ROWS else None
    return page(request, "organise/log.html", **context_of(request, found), rows=rows, more=more)


@router.post("/c/{key}/export")
def export_all(request: Request, form: SentForm) -> Response:
    """Everything about a competition as one zip file; the audit log says who downloaded it."""
    person = organiser_of(request)
    found, site = competition_of(request), site_of(request)
    folder = tempfile.TemporaryDirectory(prefix="deeptraffic-export-")
    path = Path(folder.name) / f"{found.key}.zip"
    export(site.db, found.id, path, person.name, server=person.is_organiser)
    done = BackgroundTask(folder.cleanup)
    return FileResponse(path, media_type="application/zip", filename=f"{found.key}.zip", background=done)
