"""Responses: pages from templates, with formatted values, times and states; JSON; redirects with a notice."""

import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from deeptraffic.competition.store.board import score_text
from deeptraffic.competition.web.site import TOKEN_FIELD, VISITOR_SECONDS, site_of, user_of
from deeptraffic.render.theme import TRAIL_COLOURS

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
PHASES = {  # of a competition: word, style
    "upcoming": ("not open yet", "busy"),
    "open": ("open", "good"),
    "paused": ("paused", "bad"),
    "closed": ("closed", ""),
    "final": ("final in progress", "busy"),
    "revealed": ("final ranking", "star"),
}
STATES = {  # of a submission: word, style
    "waiting": ("waiting", "busy"),
    "validating": ("quick check", "busy"),
    "validated": ("waiting for its score", "busy"),
    "running": ("being scored", "busy"),
    "scored": ("scored", "good"),
    "refused": ("refused", "bad"),
    "failed": ("platform failure", "bad"),
}


NOTES = {  # shown on a page after an action, by a word in its URL
    "joined": "Welcome: you take part.",
    "name": "Your name is changed.",
    "trail": "Your trail has this colour now.",
    "revoked": "The token is revoked.",
    "chosen": "Your choice for the final is saved.",
    "left": "This browser has forgotten your account.",
    "video": "The video is being made: reload this page in a minute.",
    "noted": "Your note is saved.",
    "saved": "Saved.",
    "paused": "Submissions are paused.",
    "resumed": "Submissions are open again.",
    "disqualified": "Disqualified; the reason is in the log.",
    "requalified": "The disqualification is revoked: it counts again.",
    "blocked": "The account is closed.",
    "unblocked": "The account is open again.",
    "started": "The re-evaluation runs. Nothing changes before you apply it.",
    "applied": "The new scores are applied.",
    "discarded": "The re-evaluation is discarded.",
    "final": "The final runs on the private seeds. Its results stay hidden until you reveal them.",
    "revealed": "The final ranking is public.",
    "created": "The competition is created.",
    "removed": "Removed.",
    "team": "Your team is changed.",
    "listed": "The class list is saved.",
    "forgotten": "The person's data are removed.",
    "co-organiser": "The co-organisers are changed.",
}


@cache
def static_version() -> str:
    """Return a name for the current static files, so that browsers may cache them for good."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(STATIC).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def static(path: str) -> str:
    """Return the URL of a static file."""
    return f"/static/{static_version()}/{path}"


def mph(value: float | None, digits: int = 2) -> str:
    """Return a speed with its digits, a dash if there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def whole(value: float | None) -> str:
    """Return an integer with thousands separators, a dash if there is none."""
    return "–" if value is None else f"{value:,.0f}"


def moment(milliseconds: int | None) -> Markup:
    """Return a time as an element; the page's script shows it in the reader's time zone."""
    return _time(milliseconds, "%Y-%m-%d %H:%M UTC", "moment")


def duration(milliseconds: int) -> str:
    """Return a duration in its two largest units, "2 d 3 h", as page.js does."""
    units: list[str] = []
    left = max(0, milliseconds // 1000)
    for seconds, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= seconds or units:
            units.append(f"{left // seconds} {unit}")
            left %= seconds
    return " ".join(units[:2]) or "0 s"


def about(milliseconds: int) -> str:
    """Return a duration that is only estimated, "40 s" or "3 min": rounded up, since waiting less does no harm."""
    seconds = max(5, -(-milliseconds // 5000) * 5)
    return f"{seconds} s" if seconds < 60 else duration(-(-milliseconds // 60_000) * 60_000).removesuffix(" 0 s")


def day(milliseconds: int | None) -> Markup:
    """Return the day of a time, as such an element."""
    return _time(milliseconds, "%Y-%m-%d", "day")


def _time(milliseconds: int | None, pattern: str, kind: str) -> Markup:
    if milliseconds is None:
        return Markup("–")
    then = datetime.fromtimestamp(milliseconds / 1000, UTC)  # nothing in it needs escaping
    iso, words = then.isoformat(timespec="seconds"), then.strftime(pattern)
    return Markup(f'<time datetime="{iso}" data-kind="{kind}">{words}</time>')


def state_tag(state: str) -> Markup:
    """Return a submission's state as a tag."""
    return _tag(*STATES.get(state, (state, "")))


def phase_tag(phase: str) -> Markup:
    """Return a competition's phase as a tag."""
    return _tag(*PHASES.get(phase, (phase, "")))


def _tag(word: str, style: str) -> Markup:
    return Markup('<span class="tag {}">{}</span>').format(style, word)


def named(name: str) -> Markup:
    """Return a name, isolated so that it cannot change the direction of the text beside it."""
    return Markup(f"<bdi>{escape(name)}</bdi>")


def rgb(trail: str) -> str:
    """Return a trail's colour, given by name, as "red,green,blue"."""
    return ",".join(map(str, TRAIL_COLOURS[trail]))


def count(number: int, noun: str) -> str:
    """Return "1 entry", "2,000 entries"."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


@cache
def environment() -> Environment:
    """Return the templates; their values are escaped, and a missing name is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"mph": mph, "whole": whole, "moment": moment, "day": day, "named": named, "state_tag": state_tag}
    made.filters |= {"score": score_text, "duration": duration, "phase_tag": phase_tag, "rgb": rgb}
    made.filters |= {"percent": "{:.2f}%".format, "about": about}
    made.globals |= {"static": static, "count": count, "token_field": TOKEN_FIELD}
    return made


def page(request: Request, template: str, status: int = 200, /, **context: Any) -> HTMLResponse:
    """Return a page made from a template for the current user."""
    user = user_of(request)
    shared = {"user": user, "path": request.url.path, "note": NOTES.get(request.query_params.get("note", ""), "")}
    shared |= {"has_lab": site_of(request).lab is not None}
    answer = HTMLResponse(environment().get_template(template).render(shared | context), status)
    if user.is_new:
        site_of(request).set_cookie(answer, "visitor", user.key, VISITOR_SECONDS)
    return answer


def fragment(template: str, /, **context: Any) -> Markup:
    """Return a part of a page, which is the same for many users."""
    return Markup(environment().get_template(template).render(context))


def to_json(value: Any) -> str:
    """Return a value as compact JSON."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)


def wants_json(request: Request) -> bool:
    """Return whether a script sent the request, and reads the response as JSON."""
    return request.headers.get("accept", "") == "application/json"


def json_answer(value: Any) -> Response:
    """Return a value as JSON."""
    return Response(to_json(value), media_type="application/json")


def redirect(address: str, note: str = "") -> RedirectResponse:
    """Redirect the browser to a page after a form, optionally with one of the notes."""
    return RedirectResponse(f"{address}?note={note}" if note else address, 303)
