"""The cache of compiled code: it is used as long as nothing changed, and never when a callee in another file did."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import deeptraffic.sim.compiled as module
from deeptraffic.sim.compiled import compiled

CALLER = """
from package.sim.callee import callee
from package.sim.compiled import compiled

@compiled
def caller(x):
    return callee(x) + 1
"""
CALLEE = """
from package.sim.compiled import compiled

@compiled
def callee(x):
    return x * {factor}
"""
RUN = "from package.sim.caller import caller; print(caller(10), sum(caller.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a caller and its callee in two files, compiled as this package compiles."""
    sim = tmp_path / "package" / "sim"
    sim.mkdir(parents=True)
    for folder in (sim.parent, sim):
        (folder / "__init__.py").touch()
    shutil.copy(module.__file__, sim / "compiled.py")
    (sim / "caller.py").write_text(CALLER)
    (sim / "callee.py").write_text(CALLEE.format(factor=2))
    return tmp_path


def run(package: Path) -> tuple[int, int]:
    """Call the caller with 10 in a new process; returns its value and how often its cache was hit."""
    environment = {**os.environ, "PYTHONPATH": str(package), "NUMBA_CACHE_DIR": str(package / "cache")}
    result = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    value, hits = result.stdout.split()
    return int(value), int(hits)


def test_compiled_code_is_kept_until_a_callee_in_another_file_changes(package: Path) -> None:
    assert run(package) == (21, 0)
    assert run(package) == (21, 1)
    (package / "package" / "sim" / "callee.py").write_text(CALLEE.format(factor=3))
    assert run(package) == (31, 0)


def test_arithmetic_is_that_of_ieee() -> None:
    divide = compiled(lambda p, q: p / q)
    assert divide(1.0, 0.0) == float("inf")
    assert divide(0.0, 0.0) != divide(0.0, 0.0)


def test_sums_are_not_reordered() -> None:
    left_to_right = compiled(lambda a, b, c: a + b + c)
    assert left_to_right(1e16, 1.0, 1.0) == 1e16 + 1.0 + 1.0 != 1e16 + (1.0 + 1.0)


def test_products_are_not_contracted_into_sums() -> None:
    multiply_add = compiled(lambda a, b, c: a * b + c)
    a = 1.0 + 2.0**-30
    assert multiply_add(a, a, -1.0) == a * a - 1.0  # a fused multiply-add keeps the 2**-60 that rounding drops
