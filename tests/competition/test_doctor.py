"""Doctor: findings are good where all is well, and each fault is found."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from deeptraffic.competition import doctor
from deeptraffic.competition.sandbox import process
from deeptraffic.competition.sandbox.errors import PlatformError
from deeptraffic.competition.sandbox.escape_attempts import ATTEMPTS, PROTECTION_TESTS, refusal_of
from deeptraffic.competition.sandbox.fork_server import PROGRAM, ForkServer
from deeptraffic.competition.sandbox.lockdown import Protection
from deeptraffic.competition.sandbox.process import ChildProcess
from deeptraffic.competition.store import queue

# Protections that do nothing, in a fork server of its own; one that cannot be applied.
WEAKENED = PROGRAM.replace(
    "main()",
    """
from deeptraffic.competition.sandbox import lockdown
limits, others = ("limit_files", "limit_memory", "limit_processes"), ("change_root", "leave_namespaces", "drop_user")
for name in (*limits, *others, "restrict", "filter_system_calls"):
    setattr(lockdown, name, lambda *_: None)
def refuse(*_):
    raise OSError("this machine has none")
lockdown.make_undumpable = refuse
main()
""",
)
WEAK = {"open files", "memory", "processes", "root folder", "namespaces", "user", "landlock", "seccomp"}


@pytest.fixture(scope="module")
def weak_server() -> Iterator[ForkServer]:
    server = ForkServer(WEAKENED)
    yield server
    server.close()


def test_every_escape_attempt_is_refused_on_this_machine() -> None:
    found = doctor.check_sandbox()
    tried = [p for p in found if p.name.startswith("cannot")]
    assert len(tried) == len(ATTEMPTS) + 2
    in_force = {p.name for p in found if p.in_force}
    # Shared memory that everybody may read is kept away by these two alone, which a container may not have.
    open_by_nature = set() if in_force & {"namespaces", "seccomp"} else {"cannot look into shared memory"}
    assert {p.name for p in tried if not p.in_force} <= open_by_nature
    assert {p.name for p in found} >= set(PROTECTION_TESTS)
    assert all(p.detail for p in found)


def test_protections_that_do_nothing_or_are_missing_are_found(
    weak_server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "fork_server", lambda: weak_server)
    with doctor.attack_targets() as targets, ChildProcess("attempt escapes", doctor.SANDBOX_LIMITS) as child:
        protections = {p.name: p for p in doctor.check_protections(child, targets)}
        succeeded = {p.name for p in doctor.check_attempts(child, targets) if not p.in_force}
    assert {name for name in WEAK if protections[name].in_force} == set()
    assert protections["landlock"].detail == "in force, but it did not prevent what it is for"
    assert protections["memory of others"].detail.startswith("not in force")
    assert not protections["memory of others"].in_force
    assert protections["core files"].in_force
    assert {"cannot read a file", "cannot start a process", "cannot take too much memory"} <= succeeded


def test_attempts_succeed_where_nothing_is_locked_down() -> None:
    with doctor.attack_targets() as targets:
        for name in (
            "read a file",
            "see names of files",
            "connect to a server",
            "send a datagram",
            "signal the worker",
        ):
            assert refusal_of(ATTEMPTS[name], targets) is None, name


@pytest.fixture
def folder(lab: Any) -> Path:
    return Path(lab.db.url.database).parent


def quick(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, doctor.Finding]:
    """Findings about everything but the sandbox, whose tests take their time."""
    protections = [
        Protection("one", True, "holds"),
        Protection("two", False, "no"),
        Protection("cannot fork", False, "IT SUCCEEDED"),
    ]
    monkeypatch.setattr(doctor, "check_sandbox", lambda: protections)
    return {finding.name: finding for finding in doctor.examine(lab.db, folder)}


def test_a_healthy_server_is_found_so(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = quick(lab, folder, monkeypatch)
    names = ("disk", "database", "tables", "queue", "data folder")
    assert {found[name].state for name in names} == {"good"}
    assert "differs" in found["clock"].detail  # the test's clock is another than this machine's


def test_a_missing_protection_is_weak_and_an_escape_is_bad(
    lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = quick(lab, folder, monkeypatch)
    states = [found[f"sandbox: {name}"].state for name in ("one", "two", "cannot fork")]
    assert states == ["good", "weak", "bad"]


def test_a_sandbox_that_cannot_start_is_bad(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Protection]:
        raise PlatformError("no processes left")

    monkeypatch.setattr(doctor, "check_sandbox", fail)
    first = next(doctor.examine(lab.db, folder))
    assert (first.state, "no processes left" in first.detail) == ("bad", True)


def test_a_clock_that_was_set_back_is_found(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.submit(lab.member("Ana"), "a")
    lab.times.append(lab.times[-1] - 3_600_000)
    assert "set back" in quick(lab, folder, monkeypatch)["clock"].detail


def test_tables_of_another_version_and_open_folders_are_found(
    lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab.db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'x'"))
    folder.chmod(0o755)
    found = quick(lab, folder, monkeypatch)
    assert (found["tables"].state, found["data folder"].state) == ("bad", "weak")


def test_a_queue_without_workers_is_found(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.submit(lab.member("Ana"), "a")
    assert quick(lab, folder, monkeypatch)["queue"].state == "weak"
    lab.times.append(lab.times[-1] + doctor.LATE + 1)
    assert quick(lab, folder, monkeypatch)["queue"].state == "bad"
    queue.report_worker(lab.db, "one", "all", 0)
    assert quick(lab, folder, monkeypatch)["queue"].state == "good"


def test_a_disk_without_room_is_found(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NO_DISK", 10**18)
    assert quick(lab, folder, monkeypatch)["disk"].state == "bad"
    monkeypatch.setattr(doctor, "NO_DISK", 0)
    monkeypatch.setattr(doctor, "LITTLE_DISK", 10**18)
    assert quick(lab, folder, monkeypatch)["disk"].state == "weak"


def test_a_missing_folder_is_a_finding_not_an_error(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = quick(lab, tmp_path / "none", monkeypatch)
    assert {found[name].state for name in ("disk", "disk writes", "data folder")} == {"bad"}
