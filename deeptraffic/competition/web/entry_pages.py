"""Public pages of a scored submission: its result, its runs on a canvas, and a video of one.

Anybody with a submission's key, 128 random bits that the board publishes, may see its public result: a shared link
stays valid when its owner has a better one. The runs of a final are on no page.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from deeptraffic.competition.models import EvaluationResult, Submission
from deeptraffic.competition.store.board import score_text
from deeptraffic.competition.store.submissions import find_scored
from deeptraffic.competition.web.board_pages import context_of
from deeptraffic.competition.web.charts import histogram
from deeptraffic.competition.web.rendering import page, redirect
from deeptraffic.competition.web.replays import file_stem, official_result, sensor_of
from deeptraffic.competition.web.site import SentForm, not_found, person_of, run_limited, site_of, trail_of
from deeptraffic.evaluation.replays import NOTABLE, ReplayError, notable_runs

router = APIRouter()
OTHERS_TO_CHOOSE = 25


@dataclass(frozen=True)
class PublicEntry:
    """A scored submission as everybody may see it."""

    submission: Submission

    @property
    def result(self) -> EvaluationResult:
        """The official result."""
        return official_result(self.submission)

    @property
    def baseline(self) -> bool:
        """Whether it is a baseline."""
        return self.submission.owner.role == "baseline"

    @property
    def name(self) -> str:
        """The name of the owner or the team; the alias where the board is anonymous."""
        hidden = self.submission.competition.config.anonymous and not self.baseline
        shown = self.submission.member.team
        if shown is None:
            return self.submission.member.alias if hidden else self.submission.owner.name
        return shown.alias if hidden else shown.name

    @property
    def runs(self) -> dict[str, int]:
        """Indices of the best, the median and the worst run."""
        return notable_runs(self.result.run_scores, self.result.score)


def public_entry(request: Request, key: str) -> PublicEntry:
    """Return the scored submission with this key; 404 for all others."""
    found = find_scored(site_of(request).db, key)
    if found is None:
        raise not_found()
    return PublicEntry(found)


@router.get("/e/{key}")
def entry(request: Request, key: str) -> Response:
    """A submission's result and the distribution of its runs."""
    found = public_entry(request, key)
    board = site_of(request).boards.board(found.submission.competition)
    return page(
        request,
        "entry.html",
        **context_of(request, found.submission.competition),
        name=found.name,
        baseline=found.baseline,
        runs=found.runs,
        submission=found.submission,
        result=found.result,
        row=next((row for row in board.rows if row.submission == key), None),
        ranked=board.ranked,
        bars=histogram(found.result.run_scores, found.result.score),
    )


@router.get("/e/{key}/replay")
def replay(request: Request, key: str, run: str = "median", beside: str = "") -> Response:
    """A run on a canvas, or two side by side; beside: another run of the entry, or the key of another entry."""
    found = [public_entry(request, key)]
    _check_run(run)
    shown = [_shown(found[0], run)]
    if beside in NOTABLE:
        shown.append(_shown(found[0], beside))
    elif beside:
        found.append(public_entry(request, beside))
        shown.append(_shown(found[1], run))

    def address(which: str) -> str:
        return f"/e/{key}/replay?{urlencode({'run': which} | ({'beside': beside} if beside else {}))}"

    board = site_of(request).boards.board(found[0].submission.competition)
    others = [{"key": name, "words": f"its own {name} run"} for name in NOTABLE if name != run]
    others += [
        {"key": row.submission, "words": f"{row.rank or '–'}. {row.name}, {score_text(row.score)} mph"}
        for row in board.rows[:OTHERS_TO_CHOOSE]
        if row.submission != key
    ]
    if len(found) > 1 and beside not in {other["key"] for other in others}:
        others.append({"key": beside, "words": f"{found[1].name}, {score_text(found[1].result.score)} mph"})
    return page(
        request,
        "replay.html",
        **context_of(request, found[0].submission.competition),
        shown=shown,
        beside=beside,
        run=run,
        notable=NOTABLE,
        others=others,
        video=site_of(request).videos.state(_video_name(found[0], run)),
        address=address,
    )


def _shown(entry: PublicEntry, run: str) -> dict[str, Any]:
    sensor, number = sensor_of(entry.submission), entry.runs[run]
    return {
        "key": entry.submission.key,
        "run": run,
        "name": entry.name,
        "trail": trail_of(entry.submission.owner, entry.submission.competition),
        "sensor": None if sensor is None else json.dumps(sensor._asdict()),
        "number": number + 1,
        "run_score": float(entry.result.run_scores[number]),
    }


@router.get("/e/{key}/track/{run}")
async def track(request: Request, key: str, run: str) -> Response:
    """A run's positions, which the browser draws."""
    return await run_limited(site_of(request).replay_threads, _track, request, key, run)


def _track(request: Request, key: str, run: str) -> Response:
    found = public_entry(request, key)
    _check_run(run)
    try:
        content = site_of(request).tracks.track(found.submission, run)
    except ReplayError:
        raise HTTPException(404, "No replay of this submission is kept.") from None
    headers = {"Content-Encoding": "gzip", "Cache-Control": "private, max-age=300"}
    return Response(content, headers=headers, media_type="application/json")


@router.post("/e/{key}/video/{run}")
async def request_video(request: Request, key: str, run: str, form: SentForm) -> Response:
    """Have a showcase video made."""
    return await run_limited(site_of(request).replay_threads, _request_video, request, key, run)


def _request_video(request: Request, key: str, run: str) -> Response:
    person_of(request)
    found, site = public_entry(request, key), site_of(request)
    _check_run(run)
    board = site.boards.board(found.submission.competition)
    row = next((row for row in board.rows if row.submission == key), None)
    trail = trail_of(found.submission.owner, found.submission.competition)
    card: dict[str, Any] = {"name": found.name, "best_mph": found.result.score, "trail": trail}
    if row is not None and row.rank is not None:
        card |= {"rank": row.rank, "of": board.ranked}
    try:
        trace = site.tracks.trace(found.submission, run)
    except ReplayError:
        raise HTTPException(404, "No replay of this submission is kept.") from None
    if not site.videos.request(_video_name(found, run), trace, card):
        raise HTTPException(429, "Too many videos are being made; try again later.")
    return redirect(f"/e/{key}/replay?run={run}")


@router.get("/e/{key}/video/{run}.mp4")
def video(request: Request, key: str, run: str) -> Response:
    """A video that was made."""
    found, videos = public_entry(request, key), site_of(request).videos
    _check_run(run)
    name = _video_name(found, run)
    if videos.state(name) != "ready":
        raise not_found()
    return FileResponse(videos.path(name), media_type="video/mp4", filename=f"deeptraffic-{run}-{key[:8]}.mp4")


def _video_name(entry: PublicEntry, run: str) -> str:
    """Return the name of a video: of this entry with the name in it, which is an alias once the board is anonymous."""
    shown = hashlib.sha256(entry.name.encode()).hexdigest()[:16]
    return f"{file_stem(entry.submission)}-{entry.submission.key}-{shown}-{run}"


def _check_run(run: str) -> None:
    if run not in NOTABLE:
        raise not_found()
