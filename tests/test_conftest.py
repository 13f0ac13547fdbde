"""The test settings: what happens when a system program is missing, and which tests run by default."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

FindProgram = Callable[[str, str], Path]


def test_system_program_is_found(requires_system: FindProgram) -> None:
    assert requires_system("dash", "sh").name == "sh"


def test_missing_system_program_skips_and_names_the_package(
    requires_system: FindProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPTRAFFIC_REQUIRE_SYSTEM", raising=False)
    with pytest.raises(pytest.skip.Exception, match="Debian's package no-such-package"):
        requires_system("no-such-package", "no-such-program")


def test_missing_system_program_fails_where_it_is_required(
    requires_system: FindProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPTRAFFIC_REQUIRE_SYSTEM", "1")
    with pytest.raises(pytest.fail.Exception, match="Debian's package no-such-package"):
        requires_system("no-such-package", "no-such-program")


def test_slow_tests_run_only_when_asked_for(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.option.markexpr != ""


def test_no_display_is_needed() -> None:
    assert os.environ["SDL_VIDEODRIVER"]
