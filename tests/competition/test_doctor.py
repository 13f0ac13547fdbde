"""The doctor: good where all is well, and each thing that is wrong is found."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from deeptraffic.competition import doctor
from deeptraffic.competition.sandbox.faults import PlatformFault
from deeptraffic.competition.sandbox.lock import Layer
from deeptraffic.competition.store import workers


@pytest.fixture
def folder(lab: Any) -> Path:
    return Path(lab.db.url.database).parent


def quick(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, doctor.Finding]:
    """Findings about everything but the sandbox, whose probes take their time."""
    layers = [Layer("one", True, "holds"), Layer("two", False, "no"), Layer("cannot fork", False, "IT SUCCEEDED")]
    monkeypatch.setattr(doctor, "check_protections", lambda: layers)
    return {finding.name: finding for finding in doctor.examine(lab.db, folder)}


def test_a_healthy_server_is_found_so(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = quick(lab, folder, monkeypatch)
    names = ("disk", "database", "tables", "queue", "data folder")
    assert {found[name].state for name in names} == {"good"}
    assert "differs" in found["clock"].sentence  # the test's clock is another than this machine's


def test_a_missing_layer_is_weak_and_a_way_out_is_bad(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = quick(lab, folder, monkeypatch)
    states = [found[f"sandbox: {name}"].state for name in ("one", "two", "cannot fork")]
    assert states == ["good", "weak", "bad"]


def test_a_sandbox_that_cannot_start_is_bad(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[Layer]:
        raise PlatformFault("no processes left")

    monkeypatch.setattr(doctor, "check_protections", fail)
    first = next(doctor.examine(lab.db, folder))
    assert (first.state, "no processes left" in first.sentence) == ("bad", True)


def test_a_clock_that_was_set_back_is_found(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.submit(lab.member("Ana"), "a")
    lab.times.append(lab.times[-1] - 3_600_000)
    assert "set back" in quick(lab, folder, monkeypatch)["clock"].sentence


def test_tables_of_another_version_and_open_folders_are_found(
    lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab.db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'x'"))
    folder.chmod(0o755)
    found = quick(lab, folder, monkeypatch)
    assert (found["tables"].state, found["data folder"].state) == ("bad", "weak")


def test_a_queue_that_nobody_works_off_is_found(lab: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.submit(lab.member("Ana"), "a")
    assert quick(lab, folder, monkeypatch)["queue"].state == "weak"
    lab.times.append(lab.times[-1] + doctor.LATE + 1)
    assert quick(lab, folder, monkeypatch)["queue"].state == "bad"
    workers.report(lab.db, "one", "all", 0)
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
