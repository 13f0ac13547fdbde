"""The lab in the site: the files of its page, given by name, and the account for which the page submits."""

import hashlib
import re
from collections.abc import Mapping
from mimetypes import guess_type

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from deeptraffic.competition.store.competitions import competitions_of
from deeptraffic.competition.web.rendering import json_answer, redirect
from deeptraffic.competition.web.site import not_found, site_of, user_of

router = APIRouter()
POLICY = "Content-Security-Policy"
POLICY_ELEMENT = re.compile(rf'<meta http-equiv="{POLICY}" content="([^"]+)">')
ACCOUNT = "account.js"  # of the page's files the one that names the account's address; the site has its own
ACCOUNT_SCRIPT = b'export const ACCOUNT = "account.json";\n'
MIME_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".safetensors": "application/octet-stream"}


def files_of_site(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the page's files as this site has them; ValueError if the page states no Content-Security-Policy."""
    if POLICY_ELEMENT.search(files["index.html"].decode()) is None:
        raise ValueError("the lab's index.html states no Content-Security-Policy; state one in a meta element")
    return {**files, ACCOUNT: ACCOUNT_SCRIPT}


@router.get("/lab")
def lab(request: Request) -> Response:
    """Redirect to where relative addresses are right."""
    return redirect("/lab/")


@router.get("/lab/account.json")
def account(request: Request) -> Response:
    """The current account's name, trail colour, form token and competitions; a visitor has no name and no colour."""
    user, site = user_of(request), site_of(request)
    _files(request)
    now, joined = site.now(), [] if user.person is None else competitions_of(site.db, user.person.id)
    name, trail = (user.person.name, user.person.trail) if user.person else (None, None)
    record = {"name": name, "trail": trail, "form_token": user.form_token, "sign_in": "/enter"}
    return json_answer(
        record
        | {
            "competitions": [
                {
                    **{"title": each.config.title, "submit": f"/c/{each.key}/submit", "limit": each.config.max_bytes},
                    **{"open": each.phase(now) == "open", "rules": each.config.rules},
                }
                for each in joined
            ]
        }
    )


@router.get("/lab/{name:path}")
def file(request: Request, name: str) -> Response:
    """A file of the page; browsers ask each time whether it has changed."""
    files, name = _files(request), name or "index.html"
    content = files.get(name)
    if content is None:
        raise not_found()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {POLICY: _policy(files), "ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    kind = MIME_TYPES.get(f".{name.rpartition('.')[2]}") or guess_type(name)[0]
    return Response(content, headers=headers, media_type=kind)


def _files(request: Request) -> Mapping[str, bytes]:
    found = site_of(request).lab
    if found is None:
        raise not_found()
    return found


def _policy(files: Mapping[str, bytes]) -> str:
    """Return the policy that the page states, with what a meta element cannot state."""
    stated = POLICY_ELEMENT.search(files["index.html"].decode())
    assert stated is not None
    return f"{stated.group(1)}; frame-ancestors 'none'"
