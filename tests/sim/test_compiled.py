"""The cache of compiled code: it is used as long as nothing changed, and never when an imported file did."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import deeptraffic.sim.compiled as module
from deeptraffic.competition.sandbox.fork_server import CACHE_PLACES
from deeptraffic.sim.compiled import cache_folder, compiled, fingerprint

CALLER = """
from package.other.callee import callee
from package.other import constants as numbers
from package.sim.compiled import compiled

@compiled
def caller(x):
    return callee(x) + numbers.SUMMAND
"""
CALLEE = """
from package.sim.compiled import compiled

@compiled
def callee(x):
    return x * {factor}
"""
CONSTANTS = "SUMMAND = {summand}\n"
RUN = "from package.sim.caller import caller; print(caller({argument}), sum(caller.stats.cache_hits.values()))"
NOTICE = f"{module.NOTICE}\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a caller, its callee and its constants in three files, compiled as this package compiles."""
    sim, other = tmp_path / "package" / "sim", tmp_path / "package" / "other"
    for folder in (sim.parent, sim, other):
        folder.mkdir()
        (folder / "__init__.py").touch()
    shutil.copy(module.__file__, sim / "compiled.py")
    (sim / "caller.py").write_text(CALLER)
    (other / "callee.py").write_text(CALLEE.format(factor=2))
    (other / "constants.py").write_text(CONSTANTS.format(summand=1))
    return tmp_path


def start(package: Path, argument: str = "10", **environment: str) -> "subprocess.Popen[str]":
    """Call the caller in a new process, whose cache is in the package's own folder unless the environment says so."""
    places = environment or {"NUMBA_CACHE_DIR": str(package / "cache")}
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(argument=argument)],
        env={**kept, "PYTHONPATH": str(package), **places},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(package: Path, **environment: str) -> tuple[int, int, str]:
    """Return the caller's value of 10, how often its cache was hit, and standard error."""
    process = start(package, **environment)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    value, hits = out.split()
    return int(value), int(hits), error


def test_compiled_code_is_kept_until_an_imported_file_in_another_folder_changes(package: Path) -> None:
    assert run(package) == (21, 0, NOTICE)
    assert run(package) == (21, 1, "")
    (package / "package" / "other" / "callee.py").write_text(CALLEE.format(factor=3))
    assert run(package) == (31, 0, NOTICE)
    (package / "package" / "other" / "constants.py").write_text(CONSTANTS.format(summand=2))
    assert run(package) == (32, 0, NOTICE)
    assert run(package) == (32, 1, "")


def test_stale_code_is_deleted_and_nothing_is_written_beside_the_sources(package: Path) -> None:
    run(package)
    before = sorted(path.name for path in package.rglob("*.nbc"))
    (package / "package" / "other" / "constants.py").write_text(CONSTANTS.format(summand=2))
    run(package)
    after = sorted(path.name for path in package.rglob("*.nbc"))
    assert (len(before), len(after)) == (2, 2)
    assert len({*before, *after}) == 3  # the callee imports no constants, and its code is kept
    written = [path for path in (package / "package").rglob("*") if path.suffix not in (".py", ".pyc", "")]
    assert written == []


def test_damaged_code_is_compiled_anew(package: Path) -> None:
    run(package)
    for path in package.rglob("*.nbc"):
        path.write_bytes(path.read_bytes()[:100])
    assert run(package) == (21, 0, NOTICE)
    assert run(package) == (21, 1, "")


def test_processes_that_compile_at_once_do_not_mix_up_their_signatures(package: Path) -> None:
    arguments = ("10", "10.5", "10", "10.5")
    for _ in range(2):
        processes = [start(package, argument) for argument in arguments]
        answers = [process.communicate(timeout=120)[0].split() for process in processes]
        assert [answer[0] for answer in answers] == ["21", "22.0", "21", "22.0"]
    assert {answer[1] for answer in answers} == {"1"}


def test_without_a_cache_folder_that_can_be_made_a_private_temporary_one_is_used(package: Path) -> None:
    nowhere, temporary = os.devnull + "/none", package / "temporary"
    temporary.mkdir()
    environment = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "LOCALAPPDATA": nowhere, "TMPDIR": str(temporary)}
    assert run(package, **environment) == (21, 0, NOTICE)
    assert run(package, **environment) == (21, 1, "")
    (folder,) = temporary.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # others could have written into it
    value, hits, error = run(package, **environment)
    assert (value, hits, error) == (21, 0, f"{module.NOTICE_UNCACHED}\n")


def test_the_users_cache_folder_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder.__wrapped__() == tmp_path / ".cache" / "deeptraffic" / "compiled"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder.__wrapped__() == tmp_path / "xdg" / "deeptraffic" / "compiled"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert cache_folder.__wrapped__() == tmp_path / "numba" / "deeptraffic"


def test_a_child_of_the_sandbox_is_told_every_place_that_a_cache_may_be_in() -> None:
    read = set(re.findall(r'environ.get\("(\w+)"\)', Path(module.__file__).read_text(encoding="utf-8")))
    assert read - {"LOCALAPPDATA"} | {"HOME", "TMPDIR"} == set(CACHE_PLACES)


def test_the_stamp_of_the_sandboxs_loop_covers_the_rules() -> None:
    """A module that imports the kernel only by way of others."""
    folder = Path(module.__file__).parents[1]
    found, waiting = set(), [folder / "competition" / "sandbox" / "ipc.py"]
    while waiting:
        found.add(path := waiting.pop())
        waiting += [imported for imported in module._imports(path) if imported not in found]
    assert {folder / "sim" / name for name in ("kernel.py", "rules.py", "random.py", "state.py")} <= found
    assert len(fingerprint(folder / "sim" / "kernel.py")) == 16


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
