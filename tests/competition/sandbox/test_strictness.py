"""Missing protections: named in one line, and a reason not to run where the organiser is strict."""

import logging

import pytest

from deeptraffic.competition.sandbox import strictness
from deeptraffic.competition.sandbox.errors import PlatformError
from deeptraffic.competition.sandbox.lockdown import Protection
from deeptraffic.competition.sandbox.process import ChildProcess


def lack(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let children report these protections as missing."""
    start = ChildProcess.__init__

    def init(self: ChildProcess, role: str, limits: object) -> None:
        start(self, role, limits)  # type: ignore[arg-type]
        self.protections = [Protection(p.name, p.name not in names, p.detail) for p in self.protections]

    monkeypatch.setattr(ChildProcess, "__init__", init)


def test_missing_protections_are_one_line(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    before = strictness.missing_protections()
    lack(monkeypatch, "memory", "namespaces")
    with caplog.at_level(logging.WARNING):
        strictness.log_missing()
    (line,) = caplog.messages
    assert "\n" not in line and "memory" in line and "namespaces" in line and "deeptraffic doctor --data" in line
    assert "memory," not in before
    with pytest.raises(RuntimeError, match="missing on this machine: memory.*--strict-sandbox"):
        strictness.require_protections()


def test_with_all_protections_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = ChildProcess.__init__

    def init(self: ChildProcess, role: str, limits: object) -> None:
        start(self, role, limits)  # type: ignore[arg-type]
        self.protections = [Protection(p.name, True, p.detail) for p in self.protections]

    monkeypatch.setattr(ChildProcess, "__init__", init)
    strictness.require_protections()
    strictness.log_missing()
    assert caplog.messages == []


def test_a_machine_without_a_sandbox_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PlatformError("no fork")

    monkeypatch.setattr(strictness, "ChildProcess", fail)
    with pytest.raises(RuntimeError, match="does not run on this machine: no fork"):
        strictness.require_protections()
