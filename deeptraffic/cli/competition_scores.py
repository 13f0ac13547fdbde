"""`deeptraffic competition reevaluate` and `finalize`: scores that count once the organiser applies or reveals them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deeptraffic.cli.competition import COMPETITION, DATA, DATABASE_URL, actor, open_competition
from deeptraffic.cli.terminal import Json, messages, print_json, print_table, progress_bar, report, results

if TYPE_CHECKING:
    from deeptraffic.competition.store.board import Board
    from deeptraffic.competition.store.database import Database
    from deeptraffic.competition.store.organise import Reevaluation

POLL_SECONDS = 1.0


def finalize(
    reveal: bool = typer.Option(False, "--reveal", help="Publish the final ranking."),
    retry: bool = typer.Option(False, "--retry", help="Retry evaluations that failed for a platform error."),
    cancel: bool = typer.Option(False, "--cancel", help="Cancel an unrevealed final, and accept submissions again."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Evaluate all chosen submissions on the private seeds, hidden; --reveal publishes the final ranking."""
    from deeptraffic.competition.store import board, finals

    db, found = open_competition(data, database_url, competition)
    if cancel:
        finals.cancel(db, found.id, actor())
        report(json, {"state": "cancelled"}, f"{found.key}: the final is cancelled; submissions are accepted again")
        return
    if retry:
        finals.retry(db, found.id, actor())
    elif found.final == "none":
        finals.begin(db, found.id, actor())
    _wait(db, f"final of {found.key}", lambda: _final_progress(db, found.id))
    if reveal and finals.preview(db, found.id).state == "scored":
        finals.reveal(db, found.id, actor())
    revealed = finals.preview(db, found.id).state == "revealed"
    final = board.read_board(db, found.id, final=True) if revealed else finals.hidden_board(db, found.id, actor())
    _print_final(db, found.id, final, revealed, json)


def _print_final(db: "Database", competition_id: int, final: "Board", revealed: bool, json: bool) -> None:
    from deeptraffic.competition.store import finals
    from deeptraffic.competition.store.board import record, score_text

    failed = finals.preview(db, competition_id).failed
    if json:
        rows = [record(row, label=True) for row in final.rows]
        print_json({"state": "revealed" if revealed else "scored", "failed": failed, "final": rows})
        return
    lines = []
    for row in final.rows:
        interval = f"{row.score_low:.2f} to {row.score_high:.2f}"
        rank = "" if row.rank is None else str(row.rank)
        lines.append((rank, row.name, score_text(row.score), interval, f"{row.mean:.2f}"))
    title = "final, revealed" if revealed else "final, still hidden"
    print_table(title, ("rank", "name", "score", "95% interval", "mean"), lines, left=2)
    if failed:
        messages.print(
            f"{failed} entries of the final have no score; --retry evaluates again what failed for a platform error"
        )
    if not revealed:
        messages.print("`deeptraffic competition finalize --reveal` publishes it.")


def reevaluate(
    submissions: list[str] = typer.Argument(None, help="Keys of submissions; --all for all."),
    every: bool = typer.Option(False, "--all", help="Re-evaluate all scored submissions."),
    apply: bool = typer.Option(False, "--apply", help="Apply the new scores."),
    discard: bool = typer.Option(False, "--discard", help="Discard the new scores."),
    data: Path = DATA,
    database_url: str | None = DATABASE_URL,
    competition: str | None = COMPETITION,
    json: Json = False,
) -> None:
    """Re-evaluate submissions and show what would change, until --apply or --discard."""
    from deeptraffic.competition.store import organise

    db, found = open_competition(data, database_url, competition)
    batches = organise.open_reevaluations(db, found.id)
    if discard and batches:
        organise.discard_reevaluation(db, batches[0], actor())
        report(json, {"discarded": True}, "the re-evaluation is discarded; the scores stay as they are")
        return
    if not batches and (apply or discard or not (submissions or every)):
        raise ValueError("no re-evaluation is open; name submissions, or give --all")
    batch = (
        batches[0] if batches else organise.begin_reevaluation(db, found.id, None if every else submissions, actor())
    )
    _wait(db, f"re-evaluation of {found.key}", lambda: _batch_progress(db, batch))
    seen = organise.preview_reevaluation(db, batch)
    if apply:
        organise.apply_reevaluation(db, batch, actor())
    _print_changes(seen, apply, json)


def _print_changes(seen: "Reevaluation", applied: bool, json: bool) -> None:
    if json:
        changes = [vars(change) for change in seen.changes]
        print_json({"total": seen.total, "failed": seen.failed, "applied": applied, "changes": changes})
        return
    from deeptraffic.competition.store.board import score_text

    rows = []
    for change in seen.changes:
        after = "refused" if change.after is None else score_text(change.after)
        ranks = ["" if rank is None else str(rank) for rank in (change.rank_before, change.rank_after)]
        reason = change.reason or "" if change.after is None else ""
        rows.append((change.name, change.label, reason, score_text(change.before), after, *ranks))
    if rows:
        headings = ("name", "label", "refused because", "before", "after", "rank before", "rank after")
        print_table("", headings, rows, left=3)
    results.print(f"{len(seen.changes)} of {seen.total} scores differ, {seen.failed} evaluations failed")
    if not applied:
        messages.print("`deeptraffic competition reevaluate --apply` applies them, --discard discards them.")


def _final_progress(db: "Database", competition_id: int) -> tuple[int, int]:
    from deeptraffic.competition.store.finals import preview

    seen = preview(db, competition_id)
    return seen.done + seen.failed, seen.done + seen.failed + seen.queued


def _batch_progress(db: "Database", batch: str) -> tuple[int, int]:
    from deeptraffic.competition.store.organise import preview_reevaluation

    seen = preview_reevaluation(db, batch)
    return seen.done + seen.failed, seen.total


def _wait(db: "Database", title: str, progress: Callable[[], tuple[int, int]]) -> None:
    """Wait until everything is evaluated; if no worker runs, evaluate it here."""
    from deeptraffic.competition.evaluation import evaluate_job
    from deeptraffic.competition.store import queue
    from deeptraffic.competition.worker import Worker

    own = None
    with progress_bar(title) as bar:
        while True:
            done, total = progress()
            bar(done, total)
            if done == total:
                return
            if own is None and not queue.seen_workers(db):
                messages.print("No worker runs; evaluating here.")
                own = Worker(db, "all", evaluate_job)
            if own is None or not own.step():
                time.sleep(POLL_SECONDS)
