"""Mutated submissions are refused with a line or read: no crash, no hang, at most 250 MB."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")


@pytest.mark.parametrize("count", [250, pytest.param(100_000, marks=pytest.mark.slow)])
def test_mutated_files_are_refused_or_read_within_bounds(count: int) -> None:
    command = [sys.executable, str(FUZZ), str(count), "3"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    result = json.loads(ended.stdout)
    assert result["read"] + result["refused"] == count
    assert result["read"] > 0.03 * count  # the mutations do not break everything
    assert result["peak_mb"] < 250
