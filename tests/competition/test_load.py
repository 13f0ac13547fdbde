"""The load figures: a crowd that looks like one, pages that answer, and every figure with its unit."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptraffic.competition import load
from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.load import Load
from deeptraffic.competition.store import board, competitions, submissions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.worker import Pace, Worker
from deeptraffic.evaluation.score import Score


def test_a_crowd_has_its_people_submissions_and_ranks(tmp_path: Path) -> None:
    db = Database.in_folder(tmp_path).migrate()
    competition = competitions.create(db, "load", CompetitionConfig(), "test")
    Load(members=7, entries=20, readers=1, seconds=1.0)._fill(db, competition)
    found = board.read_board(db, competition.id)
    assert found.ranked == 7 and sum(row.submissions for row in found.rows) == 20
    made, total = submissions.history(db, competition.id, limit=100)
    assert total == 20 and {one.state for one in made} == {"scored"}
    best = {row.person_id: row.score for row in found.rows}
    assert all(best[one.person_id] >= one.score for one in made)
    db.close()


class Helpers:
    """Stands in for the supervisor: workers in threads, which score at once."""

    def __init__(self, url: Any, count: int) -> None:
        lanes = ["all"] * count + ["validation"]
        self.workers = [Worker(Database(url), lane, self.evaluate, pace=Pace(poll=0.01)) for lane in lanes]
        self.threads = [threading.Thread(target=worker.run) for worker in self.workers]

    def evaluate(self, job: Any, progress: Any) -> Any:
        return Score("x", "official", 2018, 0, "contest", np.ones(5), np.ones(5), 2000, 0.1), None

    def __enter__(self) -> None:
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        for worker, thread in zip(self.workers, self.threads, strict=True):
            worker.stop()
            thread.join()
            worker.db.close()


def test_all_figures_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "Supervisor", Helpers)
    figures = dict(Load(members=4, entries=12, readers=3, seconds=0.2).run())
    assert all(value > 0 for value in figures.values())
    assert all("[" in name for name in figures)
    assert {"pages with 3 readers, 95% within [ms]", "submissions scored by 2 workers [a minute]"} <= set(figures)


def test_a_page_that_fails_is_no_figure(tmp_path: Path) -> None:
    db = Database.in_folder(tmp_path).migrate()
    with load.serving(db, tmp_path) as port, pytest.raises(RuntimeError, match="answered 404"):
        load.get(port, "/c/none")
    db.close()
