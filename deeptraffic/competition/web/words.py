"""How a submission's progress is said, on its page and in the JSON API."""

from typing import Any

from deeptraffic.competition.config import to_time
from deeptraffic.competition.store.records import Submission

GROUPS = {"waiting": "waiting", "validated": "waiting", "validating": "running", "running": "running"}
SHOWN = (
    *("key", "state", "filename", "label", "sha256", "other_agents", "parameters", "cells", "layers", "code", "reason"),
    *("counted", "tries", "validation", "score", "mean", "mean_low", "mean_high", "best", "chosen"),
)


def group_of(submission: Submission) -> str:
    """Return waiting, running or finished."""
    return GROUPS.get(submission.state, "finished")


def progress_words(submission: Submission) -> str:
    """Return where a submission is, in a sentence."""
    if submission.state in ("waiting", "validated"):
        what = "its quick check" if submission.state == "waiting" else "its score"
        place = "" if submission.place is None else f", place {submission.place:,} in the queue"
        return f"Waits for {what}{place}."
    if submission.state in ("validating", "running"):
        what = "Quick check" if submission.state == "validating" else "Official evaluation"
        again = f" (try {submission.tries})" if submission.tries > 1 else ""
        return f"{what}: {submission.done:,} of {submission.total:,} runs done{again}."
    if submission.state == "scored":
        return f"Scored {submission.score:.2f} mph."
    return submission.reason or "It did not get a score."


def submission_record(submission: Submission) -> dict[str, Any]:
    """Return a submission as its owner may see it, as JSON values."""
    record: dict[str, Any] = {name: getattr(submission, name) for name in SHOWN}
    group = group_of(submission)
    record |= {"state_group": group, "finished": group == "finished", "words": progress_words(submission)}
    record |= {"queue_place": submission.place, "runs_done": submission.done, "runs_total": submission.total}
    for name in ("accepted_at", "started_at", "scored_at"):
        value = getattr(submission, name)
        record[name] = None if value is None else to_time(value)
    return record | {"disqualified": submission.disqualified_reason if submission.disqualified_at else None}
