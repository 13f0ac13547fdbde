"""`deeptraffic doctor`: each part of a machine is tested, and what is wrong comes with its remedy."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

from deeptraffic import doctor
from deeptraffic.sim import code_cache


def test_the_machine_of_the_tests_is_diagnosed(run: Callable[..., Any]) -> None:
    outcome = run("doctor", "--json")
    findings = {each["name"]: each for each in json.loads(outcome.out)["findings"]}
    assert (outcome.code, outcome.err) == (0, "")
    assert {"python", "pygame", "threads", "compiled code", "display", "environment"} <= findings.keys()
    assert {name for name, each in findings.items() if each["state"] == "bad"} == set()
    assert findings["display"]["state"] == "weak"  # SDL's dummy driver
    table = run("doctor").out
    assert "what" in table and "pygame-ce" in table


def versions_with_pygame(name: str) -> str | None:
    return "2.6.1"


def no_imageio(name: str) -> Any:
    return None if name == "imageio_ffmpeg" else object()


def failing() -> None:
    raise ImportError("the import name 'agents' is openai-agents'")


BROKEN: list[tuple[Callable[[], tuple[str, str]], Any, str, Any, str, str]] = [
    (doctor.pygame_state, doctor, "_version", versions_with_pygame, "bad", "pip uninstall -y pygame pygame-ce"),
    (doctor.encoder_state, doctor, "find_spec", no_imageio, "weak", "pip install 'deeptraffic[video]'"),
    (doctor.compiled_state, numba.config, "DISABLE_JIT", 1, "bad", "unset it"),
    (doctor.compiled_state, code_cache, "cache_folder", lambda: None, "weak", "NUMBA_CACHE_DIR"),
    (doctor.python_state, doctor, "NEWEST", (3, 10), "weak", "not tested"),
    (doctor.disk_state, doctor, "LITTLE_DISK", 10**18, "weak", "GB free here"),
    (doctor.python_state, sys, "maxsize", 2**31 - 1, "bad", "64-bit Python"),
]


@pytest.mark.parametrize(("check", "place", "name", "value", "state", "words"), BROKEN)
def test_what_is_wrong_is_found(
    check: Any, place: Any, name: str, value: Any, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, value)
    found, detail = check()
    assert found == state and words in detail


def test_threads_beyond_a_containers_share_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPTRAFFIC_THREADS", "3")
    monkeypatch.setattr(doctor, "CPU_QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text("max 100000")
    assert doctor.threads_state()[0] == "good"
    (tmp_path / "cpu.max").write_text("150000 100000")
    state, detail = doctor.threads_state()
    assert state == "weak" and detail.endswith("set DEEPTRAFFIC_THREADS=1")


def test_a_check_that_fails_is_a_finding(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "check_import_names", failing)
    outcome = run("doctor", "--json")
    (found,) = [each for each in json.loads(outcome.out)["findings"] if each["state"] == "bad"]
    assert outcome.code == 1
    assert found["detail"] == "ImportError: the import name 'agents' is openai-agents'"
