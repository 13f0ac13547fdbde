"""Forecast of the queue: the place of every evaluation that waits, and how long until its submission has a score.

List scheduling: evaluations start in the fair order, each on the worker that is free first, and take as long as the
last ones of their kind did. A validation is followed by its official evaluation, behind those that wait already.
"""

import heapq
from collections import defaultdict
from statistics import fmean
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from deeptraffic.competition.models import Evaluation, SeenWorker
from deeptraffic.competition.store import queue
from deeptraffic.competition.store.database import Database

MEASURED = 60  # evaluations whose durations are averaged


class Waiting(NamedTuple):
    """Place of an evaluation in the queue, from 1, and the time until its submission has a score [ms], if known."""

    place: int
    wait: int | None


def forecast(session: Session, db: Database) -> dict[int, Waiting]:
    """Return the forecast of every evaluation that waits, by its id."""
    now = db.now(session)
    order = session.execute(queue.fair_order(now, queue.PRIORITY)).scalars().all()
    queued = select(Evaluation.id, Evaluation.kind).where(Evaluation.state == "queued")
    kinds = {found: kind for found, kind in session.execute(queued)}
    durations = _durations(session)
    free = _free_workers(session, now, durations)
    waits = _waits([(found, kinds[found]) for found in order], free, durations)
    return {found: Waiting(place, waits.get(found)) for place, found in enumerate(order, 1)}


def _durations(session: Session) -> dict[str, float]:
    """Return the mean duration [ms] of the last evaluations of each kind."""
    ended = (Evaluation.state == "done", Evaluation.started_at.is_not(None))
    query = select(Evaluation.kind, Evaluation.started_at, Evaluation.finished_at).where(*ended)
    found: dict[str, list[int]] = defaultdict(list)
    for kind, started, finished in session.execute(query.order_by(Evaluation.id.desc()).limit(MEASURED)):
        found[kind].append((finished or 0) - (started or 0))
    return {kind: fmean(durations) for kind, durations in found.items()}


def _free_workers(session: Session, now: int, durations: dict[str, float]) -> dict[str, list[float]]:
    """Return, by lane, when each worker is free [ms from now]."""
    running = select(Evaluation.worker, Evaluation.kind, Evaluation.started_at).where(Evaluation.state == "running")
    busy = {
        worker: max(0.0, started + durations.get(kind, 0.0) - now)
        for worker, kind, started in session.execute(running)
        if started is not None
    }
    seen = select(SeenWorker.name, SeenWorker.lane).where(SeenWorker.seen_at > now - queue.WORKER_GONE)
    free: dict[str, list[float]] = defaultdict(list)
    for name, lane in session.execute(seen):
        free[lane].append(busy.get(name, 0.0))
    return free


def _waits(waiting: list[tuple[int, str]], free: dict[str, list[float]], durations: dict[str, float]) -> dict[int, int]:
    """Return when the submissions of these evaluations, in order, have their scores [ms from now], if known."""
    every, quick = sorted(free["all"]), sorted(free["validation"])
    if not every or not {"validation", "official"} <= durations.keys():
        return {}
    waits: dict[int, int] = {}
    official = [(found, 0.0) for found, kind in waiting if kind == "official"]
    for found, kind in waiting:
        if kind == "validation":
            lane = quick if quick and quick[0] <= every[0] else every
            end = lane[0] + durations[kind]
            heapq.heapreplace(lane, end)
            official.append((found, end))
    for found, ready in official:
        end = max(every[0], ready) + durations["official"]
        heapq.heapreplace(every, end)
        waits[found] = round(end)
    return waits
