"""A sweep's trials in PostgreSQL; it stands here because the server of the tests does."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL

from agents.study.config import build_sweep
from agents.study.storage import TrialStorage
from agents.study.trial import TrialResult


def test_a_sweep_resumes_from_postgresql(tmp_path: Path, postgres_url: Callable[[], URL]) -> None:
    storage = postgres_url().render_as_string(hide_password=False).replace("+psycopg", "")
    config = build_sweep({"space": {"gamma": {"float": [0.5, 0.9]}}, "storage": storage, "trials": 3, "name": "s"})
    trials = TrialStorage(config, tmp_path)
    number, _ = trials.propose() or (None, {})
    assert number == 0
    trials.finish(0, TrialResult(60.0, facts={"settings": {"gamma": 0.7}}))
    left = trials.propose()
    again = TrialStorage(config, tmp_path)
    assert again.reclaim() == [1] and again.propose() == left
    assert [trial.value for trial in again.finished()] == [60.0]
    for one in (trials, again):
        one.close()
