"""Workers and servers killed at random instants: nothing is lost, nothing doubled, and every quota is right."""

import multiprocessing
import random
import runpy
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, func, select

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.models import Content, Evaluation, EvaluationResult, Submission
from deeptraffic.competition.store import accounts, competitions, queue, submissions
from deeptraffic.competition.store.database import Database

PROGRAM = str(Path(__file__).with_name("kill_program.py"))
PEOPLE, SERVERS, WORKERS = 4, 2, 2
TOO_MANY = 3  # that each person tries beyond the quota
MODULES = ["deeptraffic.competition.worker", "deeptraffic.competition.store.submissions"]


class Massacre:
    """Servers and workers that are killed now and then, and started again at once."""

    def __init__(self, db: Database, plan: list[tuple[int, str]], folder: Path, seed: int) -> None:
        self.db, self.folder, self.random = db, folder, random.Random(seed)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(MODULES)
        self.plans = [plan[number::SERVERS] for number in range(SERVERS)]
        self.kills: Counter[str] = Counter()
        self.jobs = 2 * (len(plan) - TOO_MANY * PEOPLE)  # a validation and an official evaluation for each
        self.places: list[tuple[str, int]] = [("server", n) for n in range(SERVERS)]
        self.places += [("worker", n) for n in range(WORKERS)]
        self.processes = {place: self.start(*place) for place in self.places}

    def start(self, role: str, number: int) -> Any:
        url = self.db.url.render_as_string(hide_password=False)
        given: dict[str, Any] = {"DATABASE": url, "ROLE": role, "PLAN": self.plans[number % SERVERS]}
        given["ACKNOWLEDGED"] = str(self.acknowledged(number))
        process = self.context.Process(target=runpy.run_path, args=(PROGRAM, given, "__main__"), daemon=True)
        process.start()
        return process

    def acknowledged(self, server: int) -> Path:
        return self.folder / f"acknowledged-{server}"

    def run(self, kills: int, patience: float) -> None:
        """Kill so often, all along the work, and let what is left end it; RuntimeError if it does not."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            time.sleep(self.random.uniform(0.02, 0.25))
            if self.kills.total() < kills and self.kills.total() <= kills * self.share_done():
                self.kill(self.random.choice(self.places))
            for place, process in self.processes.items():
                if not process.is_alive() and not (place[0] == "server" and process.exitcode == 0):
                    self.processes[place] = self.start(*place)
            if self.kills.total() >= kills and self.is_done():
                return
        raise RuntimeError(f"not done after {patience} s: {queue.counts(self.db)}")

    def share_done(self) -> float:
        """Of the servers' and the workers' work, half and half."""
        with self.db.read() as session:
            done = select(func.count()).select_from(Evaluation).where(Evaluation.state == "done")
            taken = select(func.count()).select_from(Submission)
            counts = [session.execute(query).scalar_one() for query in (done, taken)]
        return counts[0] / self.jobs / 2 + counts[1] / self.jobs

    def kill(self, place: tuple[str, int]) -> None:
        process = self.processes[place]
        if process.is_alive():
            process.kill()
            process.join()
            self.kills[place[0]] += 1

    def is_done(self) -> bool:
        served = all(self.processes["server", n].exitcode == 0 for n in range(SERVERS))
        return served and not queue.counts(self.db)

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.join()


def survive(db: Database, folder: Path, each: int, kills: int, patience: float) -> Counter[str]:
    """Let people send `each` submissions and some too many; return counts of what happened."""
    config = CompetitionConfig(daily_limit=100_000, total_limit=each, waiting_limit=1000)
    competition = competitions.create(db, "kill", config, "test")
    secret = accounts.new_invite(db, competition.id, "test")
    people = [accounts.join_by_invite(db, secret, f"Driver {n}")[0].id for n in range(PEOPLE)]
    plan = [(person, f"policy {n} of {person}") for n in range(each + TOO_MANY) for person in people]
    massacre = Massacre(db, plan, folder, seed=each)
    try:
        massacre.run(kills, patience)
    finally:
        massacre.close()
    answers = Counter(
        line.partition(" ")[0]
        for server in range(SERVERS)
        for line in massacre.acknowledged(server).read_text().splitlines()
    )
    counts = check(db, competition.id, people, each)
    counts.update({f"{role}s killed": number for role, number in massacre.kills.items()})
    counts.update({f"answered {answer}": number for answer, number in answers.items()})
    return counts


def check(db: Database, competition_id: int, people: list[int], each: int) -> Counter[str]:
    """Assert that the database tells one consistent story; return how many submissions ended how."""
    found, total = submissions.history(db, competition_id, limit=100_000)
    states = Counter(made.state for made in found)
    assert set(states) <= {"scored", "failed"}, states
    assert len({(made.person_id, made.sha256) for made in found}) == total, "a submission was doubled"
    program = runpy.run_path(PROGRAM, {"DATABASE": "", "PLAN": [], "ROLE": ""})
    with db.read() as session:
        for made in found:
            if made.state == "scored":
                content = session.execute(select(Content.content).where(Content.sha256 == made.sha256))
                assert made.score == program["score_of"](bytes(content.scalar_one()))
        for kind in ("validation", "official"):
            query = select(Evaluation.submission_id, func.count()).where(Evaluation.kind == kind)
            per_submission = dict(session.execute(query.group_by(Evaluation.submission_id)).all())
            assert set(per_submission.values()) <= {1}, "an evaluation was doubled"
        assert session.execute(select(func.count()).select_from(EvaluationResult)).scalar_one() >= 2 * states["scored"]
        fences = session.execute(select(func.sum(Evaluation.tries), func.count())).one()
    for person in people:
        mine = [made for made in found if made.person_id == person]
        counted = sum(made.counted for made in mine)
        assert counted == sum(made.state == "scored" for made in mine) <= each
        assert submissions.quota(db, competition_id, person)["total"] == counted
    return Counter({"submissions": total, **states, "tries": fences[0], "evaluations": fences[1]})


def test_a_few_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    counts = survive(Database.in_folder(tmp_path / "data").migrate(), tmp_path, each=6, kills=12, patience=90)
    assert counts["answered accepted"] == counts["submissions"] >= PEOPLE * 6
    assert counts["answered accepted"] + counts["answered quota_total"] == PEOPLE * (6 + TOO_MANY)
    assert counts["servers killed"] + counts["workers killed"] == 12


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_hundreds_of_jobs_survive_a_hundred_kills(
    database: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    if database == "sqlite":
        db = Database.in_folder(tmp_path / "data").migrate()
    else:
        make: Callable[[], URL] = request.getfixturevalue("postgres_url")
        db = Database(make()).migrate()
    counts = survive(db, tmp_path, each=75, kills=100, patience=600)
    with capsys.disabled():
        print(f"\n{database}: {dict(counts)}")
    assert counts["answered accepted"] == counts["submissions"] >= PEOPLE * 75
    assert counts["servers killed"] + counts["workers killed"] == 100
    with db.read() as session:
        assert session.execute(select(func.count()).select_from(Submission)).scalar_one() == counts["submissions"]
    db.close()
