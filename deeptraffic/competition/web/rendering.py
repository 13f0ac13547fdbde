"""Pages from templates: how numbers, times and states are written, and the address of static files."""

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from deeptraffic.competition.web.answers import NOTES
from deeptraffic.competition.web.forms import TOKEN_FIELD
from deeptraffic.competition.web.site import VISITOR_SECONDS, site_of, viewer_of

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
PHASES = {  # of a competition: word, look
    "upcoming": ("not open yet", "busy"),
    "open": ("open", "good"),
    "paused": ("paused", "bad"),
    "closed": ("closed", ""),
    "final": ("final is being scored", "busy"),
    "revealed": ("final ranking", "star"),
}
STATES = {  # of a submission: word, look
    "waiting": ("waiting", "busy"),
    "validating": ("quick check", "busy"),
    "validated": ("waiting for its score", "busy"),
    "running": ("being scored", "busy"),
    "scored": ("scored", "good"),
    "refused": ("refused", "bad"),
    "failed": ("failed on our side", "bad"),
}


@cache
def static_version() -> str:
    """Return a name for the present static files, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(STATIC).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def static(path: str) -> str:
    """Return the address of a static file."""
    return f"/static/{static_version()}/{path}"


def mph(value: float | None, digits: int = 2) -> str:
    """Return a speed with its digits, a dash if there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def whole(value: float | None) -> str:
    """Return a whole number with its thousands set apart."""
    return "–" if value is None else f"{value:,.0f}"


def moment(milliseconds: int | None) -> Markup:
    """Return a time as an element; the page's script writes it in the reader's own zone."""
    return _time(milliseconds, "%Y-%m-%d %H:%M UTC", "moment")


def day(milliseconds: int | None) -> Markup:
    """Return the day of a time, as an element alike."""
    return _time(milliseconds, "%Y-%m-%d", "day")


def _time(milliseconds: int | None, form: str, kind: str) -> Markup:
    if milliseconds is None:
        return Markup("–")
    then = datetime.fromtimestamp(milliseconds / 1000, UTC)  # its texts hold nothing to escape
    iso, words = then.isoformat(timespec="seconds"), then.strftime(form)
    return Markup(f'<time datetime="{iso}" data-kind="{kind}">{words}</time>')


def state_tag(state: str) -> Markup:
    """Return a submission's state as a tag."""
    return _tag(*STATES.get(state, (state, "")))


def phase_tag(phase: str) -> Markup:
    """Return a competition's phase as a tag."""
    return _tag(*PHASES.get(phase, (phase, "")))


def _tag(word: str, look: str) -> Markup:
    return Markup('<span class="tag {}">{}</span>').format(look, word)


def named(name: str) -> Markup:
    """Return somebody's name, kept from turning the direction of what stands beside it."""
    return Markup(f"<bdi>{escape(name)}</bdi>")


def count(number: int, noun: str) -> str:
    """Return "1 entry", "2,000 entries"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


@cache
def environment() -> Environment:
    """Return the templates; what they write is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"mph": mph, "whole": whole, "moment": moment, "day": day, "named": named, "state_tag": state_tag}
    made.filters |= {"phase_tag": phase_tag}
    made.globals |= {"static": static, "count": count, "token_field": TOKEN_FIELD}
    return made


def page(request: Request, template: str, status: int = 200, /, **context: Any) -> HTMLResponse:
    """Return a page made from a template for whoever looks at it."""
    viewer = viewer_of(request)
    shared = {"viewer": viewer, "path": request.url.path, "told": NOTES.get(request.query_params.get("note", ""), "")}
    answer = HTMLResponse(environment().get_template(template).render(shared | context), status)
    if viewer.is_new:
        site_of(request).set_cookie(answer, "visitor", viewer.key, VISITOR_SECONDS)
    return answer
