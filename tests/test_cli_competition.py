"""`deeptraffic competition ...`: an organiser's way from the first folder to the revealed final, without a browser."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deeptraffic.cli.app import app
from deeptraffic.competition import evaluation
from deeptraffic.competition.evaluation import idle_policy
from deeptraffic.competition.sandbox.validation import Upload
from deeptraffic.competition.store import accounts, audit, board, competitions, submissions
from deeptraffic.competition.store.database import Database
from deeptraffic.competition.store.evaluations import Evaluated
from deeptraffic.policies.file import policy_content
from deeptraffic.sim.rules import Sensor


class Shell:
    """Runs commands on one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"

    def __call__(self, *words: str, code: int = 0) -> str:
        group = [] if words[0] == "doctor" else ["competition"]
        answer = CliRunner().invoke(app, [*group, *words, "--data", str(self.data)])
        assert answer.exit_code == code, answer.output
        return answer.stdout if "--json" in words else answer.output

    def json(self, *words: str) -> dict[str, Any]:
        return dict(json.loads(self(*words, "--json")))

    @property
    def db(self) -> Database:
        return Database.in_folder(self.data)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    (tmp_path / "lab.toml").write_text('title = "Lab"\nfinal_runs = 10\nother_agents = [0]\n')
    made("create", "lab", "--config", str(tmp_path / "lab.toml"))
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an evaluation be a few open runs, whatever it should be."""

    def evaluate(job: Any, progress: Any) -> Any:
        from deeptraffic.evaluation.protocol import evaluate_open
        from deeptraffic.policies.file import read_policy

        progress(1, 2)
        return Evaluated(evaluate_open(read_policy(job.content).policy(), runs=3, frames=60))

    monkeypatch.setattr(evaluation, "evaluate_job", evaluate)


def enter(shell: Shell, name: str) -> str:
    """Somebody who joined and submitted; the submission's key."""
    db = shell.db
    person = next(found for found in accounts.search_people(db, name)[0])
    content = policy_content(idle_policy())
    facts = ("policy", name, 2018, 0, Sensor(0, 1, 0), 0, ("dense",), 10, 10, 10, 0)
    upload = Upload(content, name, "a.safetensors", *facts)
    return submissions.accept(db, 1, person.id, upload).key


def test_a_course_from_create_to_the_revealed_final(shell: Shell, quick: None, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("name,contact\nAna,ana@example.org\nBo,\n")
    (tmp_path / "wrong.csv").write_text("name\nAna\nana\n")
    shell("accounts", str(tmp_path / "wrong.csv"), "-o", str(tmp_path / "links.csv"), code=2)
    assert not (tmp_path / "links.csv").exists()
    shell("accounts", str(people), "-o", str(tmp_path / "links.csv"))
    links = (tmp_path / "links.csv").read_text().splitlines()
    assert links[0] == "name,contact,link" and "/link/" in links[1]
    assert (tmp_path / "links.csv").stat().st_mode & 0o077 == 0
    enter(shell, "Ana")
    key = enter(shell, "Bo")
    shell("finalize", code=2)  # their scores are not there yet
    from deeptraffic.competition.worker import Worker

    worker = Worker(shell.db, "all", evaluation.evaluate_job)
    while worker.step():
        pass
    assert shell.json("show")["competitions"][0]["submissions"] == 2
    shell("reevaluate", "--apply", code=2)  # nothing to apply
    again = shell.json("reevaluate", "--all")
    assert (again["total"], again["failed"], again["applied"]) == (2, 0, False)
    assert shell.json("reevaluate", "--apply")["applied"]
    shell("disqualify", key, "--reason", "copied")
    shell("disqualify", key, "--reason", "a mistake", "--undo")
    hidden = shell.json("finalize")
    assert (hidden["state"], len(hidden["final"])) == ("scored", 2)
    assert board.read_board(shell.db, 1, final=True).rows == ()
    assert shell.json("finalize", "--reveal")["state"] == "revealed"
    assert [row.rank for row in board.read_board(shell.db, 1, final=True).rows] == [1, 1]
    acts = {entry.action for entry in audit.entries(shell.db)}
    assert {"accounts", "apply", "disqualify", "requalify", "begin final", "reveal final"} <= acts


def test_backup_and_restore_bring_the_folder_back(shell: Shell, tmp_path: Path) -> None:
    shell("change", "daily_limit=7")
    shell("backup", "-o", str(tmp_path / "backup.sqlite3"))
    shell("restore", str(tmp_path / "backup.sqlite3"), code=2)  # the folder is not empty
    other = Shell(tmp_path / "other")
    other("restore", str(tmp_path / "backup.sqlite3"))
    assert competitions.all_competitions(other.db)[0].config.daily_limit == 7


def test_links_pause_export_and_the_log_name_who_acted(shell: Shell, tmp_path: Path) -> None:
    link = shell.json("admin-link")["link"]
    assert accounts.follow_link(shell.db, link.rpartition("/")[2])[0].is_organiser
    invite = shell.json("invite", "--uses", "1")["invite"]
    accounts.join_by_invite(shell.db, invite.rpartition("/")[2], "Ana")
    shell("pause", "--reason", "lunch")
    assert shell.json("show")["competitions"][0]["phase"] == "paused"
    shell("resume")
    shell("export", "-o", str(tmp_path / "lab.zip"))
    assert (tmp_path / "lab.zip").stat().st_size > 0
    assert all(entry.actor.endswith("at the command line") for entry in audit.entries(shell.db))


def test_a_baseline_comes_from_a_file(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "idle.safetensors").write_bytes(policy_content(idle_policy()))
    shell("baseline", "Idle", str(tmp_path / "idle.safetensors"))
    (found,), _ = submissions.history(shell.db, 1)
    assert (found.label, found.state) == ("idle", "waiting")
    (tmp_path / "bad.safetensors").write_bytes(b"no policy")
    shell("baseline", "Bad", str(tmp_path / "bad.safetensors"), code=2)


def test_the_doctor_prints_findings_and_fails_for_a_bad_one(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from deeptraffic.competition import doctor

    monkeypatch.setattr(doctor, "check_sandbox", list)
    assert {found["name"] for found in shell.json("doctor")["findings"]} >= {"disk", "clock", "database", "queue"}
    monkeypatch.setattr(doctor, "NO_DISK", 10**18)
    assert "bad" in shell("doctor", code=1)


def test_which_competition_is_meant_must_be_clear(shell: Shell, tmp_path: Path) -> None:
    shell("create", "other")
    assert "there are: lab, other" in shell("pause", code=2)
    shell("pause", "-c", "other")
    assert "holds no competition" in Shell(tmp_path / "none")("show", code=2)
    shell("reevaluate", "-c", "lab", code=2)


def test_a_class_is_run_from_the_command_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("name,contact\nAna,ana@x.org\nBo,=bo@x.org\nCy,\n")
    shell("accounts", str(tmp_path / "people.csv"), "-o", str(tmp_path / "links.csv"))
    (tmp_path / "class.txt").write_text("ana@x.org\nzoe@x.org\n")
    contacts = shell.json("class-list", str(tmp_path / "class.txt"))["contacts"]
    assert contacts == [{"contact": "ana@x.org", "joined": True}, {"contact": "zoe@x.org", "joined": False}]
    assert "zoe@x.org" in shell("class-list")
    shell("class-list", str(tmp_path / "class.txt"), "--clear", code=2)
    shell("change", "team_size=2")
    shell("teams", "--put", "Ana", "--into", "Pair")
    assert shell.json("teams", "--put", "bo", "--into", "Pair")["teams"] == [{"name": "Pair", "members": ["Ana", "Bo"]}]
    assert "Pair" in shell("teams")
    assert shell.json("extend", "Ana", "--closes-at", "2030-01-01", "--daily-limit", "3")["daily_limit"] == 3
    shell("extend", "Nobody", code=2)
    made = shell.json("co-organisers", "--add", "Cy", "--new", "Tutor")
    assert made["co_organisers"] == ["Cy", "Tutor"] and "/link/" in made["link"]
    assert shell("co-organisers", "--remove", "Cy") == "Tutor\n"
    shell("grades", "-o", str(tmp_path / "grades.csv"))
    sheet = (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")
    assert sheet.count("\n") == 5 and "'=bo@x.org" in sheet and (tmp_path / "grades.csv").stat().st_mode & 0o077 == 0
    shell("grades", "-o", str(tmp_path / "grades.csv"), code=1)  # the file exists
    (key,) = {enter(shell, name) for name in ("Ana",)}
    assert shell.json("same-networks") == {"groups": []}
    late = shell.json("change", "closes_at=2020-01-01", "--preview")
    assert [one["submission_key"] for one in late["entries"]] == [] and late["phase_after"] == "closed"
    assert competitions.all_competitions(shell.db)[0].config.closes is None
    assert "closed then" in shell("change", "closes_at=2020-01-01", "--preview")
    assert "would remove the account, 1 submissions" in shell("forget", "Ana")
    assert shell.json("forget", "Ana", "--yes") == {"removed": True, "entries": 1, "files": 1}
    assert submissions.find_submission(shell.db, key) is None
    shell("forget", "Ana", code=2)


def test_a_timer_backs_up_into_a_folder_that_keeps_so_many(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "competition-20200101T000000Z.backup").write_text("old")
    path = shell.json("backup", "--folder", str(folder), "--keep", "1")["file"]
    assert [str(one) for one in folder.iterdir()] == [path]
    shell("backup", code=2)
    other = Shell(tmp_path / "other")
    other("restore", path)
    assert [one.key for one in competitions.all_competitions(other.db)] == ["lab"]
