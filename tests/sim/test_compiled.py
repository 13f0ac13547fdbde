"""Cache of compiled code: used as long as the machine code would be the same, and never when it would not."""

import gc
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba.core.compiler import Flags

import deeptraffic
import deeptraffic.sim.code_cache as cache
import deeptraffic.sim.compiled as module
from deeptraffic.competition.sandbox.fork_server import CACHE_PLACES
from deeptraffic.sim.code_cache import cache_folder
from deeptraffic.sim.code_digest import digest
from deeptraffic.sim.compiled import CompiledFunction, compiled, learner_compiled

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
    'A docstring.'
    return x * {factor}
"""
CALLER_OF_AN_ARGUMENT = """
from typing import Any, NamedTuple
from package.other.callee import callee
from package.sim.compiled import compiled

class Step(NamedTuple):
    function: Any
    repeats: int

@compiled
def repeat(step, x):
    for _ in range(step.repeats):
        x = step.function(x)
    return x

class caller:
    stats = repeat.stats

    def __new__(cls, x):
        return repeat(Step(callee, 2), x)
"""
CONSTANTS = "SUMMAND = {summand}\n"
SOURCES = ("code_cache.py", "code_digest.py", "compiled.py")
RUN = "from package.sim.caller import caller; print(caller({argument}), sum(caller.stats.cache_hits.values()))"
ROOT = Path(__file__).resolve().parents[2]
NOTICE = f"{module.NOTICE}\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with a caller, its callee and its constants in three files, compiled as this package compiles."""
    sim, other = tmp_path / "package" / "sim", tmp_path / "package" / "other"
    for folder in (sim.parent, sim, other):
        folder.mkdir()
        (folder / "__init__.py").touch()
    for name in SOURCES:
        text = Path(module.__file__).with_name(name).read_text(encoding="utf-8")
        (sim / name).write_text(text.replace("from deeptraffic.", "from package."), encoding="utf-8")
    (sim / "caller.py").write_text(CALLER)
    (other / "callee.py").write_text(CALLEE.format(factor=2))
    (other / "constants.py").write_text(CONSTANTS.format(summand=1))
    return tmp_path


PREPARED = """
import json, os, sys
import numba, numba.core.compiler, numpy
numba.njit(lambda x: x + 1)(1)  # loads what every compilation needs
for line in sys.stdin:
    program, environments, output = json.loads(line)
    children = []
    for number, environment in enumerate(environments):
        children.append(os.fork())
        if children[-1] == 0:
            for stream in (1, 2):
                os.dup2(os.open(f"{output}/{number}.{stream}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), stream)
            os.environ.clear()
            os.environ.update(environment)
            sys.path[:0] = environment["PYTHONPATH"].split(":")
            exec(program, {"__name__": "__main__", "__file__": environment.get("PROGRAM", "")})
            sys.stdout.flush()
            os._exit(0)
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], flush=True)
"""


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[tuple[str, str]]]]:
    """Give a function that runs programs at once, each in a process that has imported Numba and nothing of ours.

    It returns standard output and standard error of each. No bytecode is written: Python takes that of a file for
    fresh if another text of equal length replaces it within a second.
    """
    output = tmp_path_factory.mktemp("output")
    with subprocess.Popen(
        [sys.executable, "-B", "-c", PREPARED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as prepared:
        assert prepared.stdin is not None and prepared.stdout is not None

        def run_all(program: str, *environments: dict[str, str]) -> list[tuple[str, str]]:
            kept = {name: value for name, value in os.environ.items() if name not in CACHE_PLACES or name == "HOME"}
            given = [{**kept, "PYTHONPATH": str(ROOT), **environment} for environment in environments]
            print(json.dumps([program, given, str(output)]), file=prepared.stdin, flush=True)
            codes = json.loads(prepared.stdout.readline())
            texts = [
                ((output / f"{number}.1").read_text(), (output / f"{number}.2").read_text())
                for number in range(len(codes))
            ]
            assert not any(codes), texts
            return texts

        yield run_all
        prepared.stdin.close()


@pytest.fixture
def run(package: Path, processes: Callable[..., list[tuple[str, str]]]) -> Callable[..., tuple[int, int, str]]:
    """Give a function that calls the caller in a new process, whose cache is where the environment says.

    It returns the caller's value of 10, how often its cache was hit, and standard error.
    """

    def call(**environment: str) -> tuple[int, int, str]:
        places = environment or {"NUMBA_CACHE_DIR": str(package / "cache")}
        [(out, error)] = processes(RUN.format(argument=10), {"PYTHONPATH": str(package), **places})
        value, hits = out.split()
        return int(value), int(hits), error

    return call


def test_compiled_code_is_kept_until_an_imported_file_in_another_folder_changes(run: Any, package: Path) -> None:
    assert run() == (21, 0, NOTICE)
    assert run() == (21, 1, "")
    (package / "package" / "other" / "callee.py").write_text(CALLEE.format(factor=3))
    assert run() == (31, 0, NOTICE)
    (package / "package" / "other" / "constants.py").write_text(CONSTANTS.format(summand=2))
    assert run() == (32, 0, NOTICE)
    assert run() == (32, 1, "")


def test_compiled_code_is_kept_until_a_function_in_a_tuple_of_its_arguments_changes(run: Any, package: Path) -> None:
    (package / "package" / "sim" / "caller.py").write_text(CALLER_OF_AN_ARGUMENT)
    assert run() == (40, 0, NOTICE)
    assert run() == (40, 1, "")
    (package / "package" / "other" / "callee.py").write_text(CALLEE.format(factor=3))
    assert run() == (90, 0, NOTICE)
    assert run() == (90, 1, "")


def test_compiled_code_is_kept_when_files_change_but_not_what_the_machine_code_is_made_of(
    run: Any, package: Path
) -> None:
    run()
    for path in (package / "package" / "sim" / "caller.py", package / "package" / "other" / "callee.py"):
        body = path.read_text().replace("def ", "def unused():\n    return 1\n\n@compiled\ndef ")
        path.write_text("# a comment\n" + body.replace("A docstring", "Another docstring"))
    (package / "package" / "other" / "constants.py").write_text("OTHER = 5\n" + CONSTANTS.format(summand=1))
    assert run() == (21, 1, "")


def test_a_change_of_how_functions_are_compiled_discards_the_code(run: Any, package: Path) -> None:
    run()
    with (package / "package" / "sim" / "compiled.py").open("a") as file:
        file.write("# another pass of the compiler\n")
    assert run() == (21, 0, NOTICE)


def test_stale_code_is_deleted_and_nothing_is_written_beside_the_sources(run: Any, package: Path) -> None:
    run()
    before = sorted(path.name for path in package.rglob("*.nbc"))
    (package / "package" / "other" / "constants.py").write_text(CONSTANTS.format(summand=2))
    run()
    after = sorted(path.name for path in package.rglob("*.nbc"))
    assert (len(before), len(after)) == (3, 3)  # machine code and body of the caller, and the callee's body
    assert len({*before, *after}) == 5  # the callee uses no constants, and its body is kept
    written = [path for path in (package / "package").rglob("*") if path.suffix not in (".py", ".pyc", "")]
    assert written == []


def test_damaged_code_is_compiled_anew(run: Any, package: Path) -> None:
    run()
    for path in package.rglob("*.nbc"):
        path.write_bytes(path.read_bytes()[:100])
    assert run() == (21, 0, NOTICE)
    assert run() == (21, 1, "")


def test_processes_that_compile_at_once_do_not_mix_up_their_signatures(processes: Any, package: Path) -> None:
    place = {"PYTHONPATH": str(package), "NUMBA_CACHE_DIR": str(package / "cache")}
    program = "import os\n" + RUN.format(argument="float(os.environ['X']) if '.' in os.environ['X'] else 10")
    for _ in range(2):
        found = processes(program, *[{**place, "X": argument} for argument in ("10", "10.5", "10", "10.5")])
        answers = [out.split() for out, _ in found]
        assert [answer[0] for answer in answers] == ["21", "22.0", "21", "22.0"]
    assert {answer[1] for answer in answers} == {"1"}


def test_functions_of_two_processes_have_different_symbols(processes: Any) -> None:
    code = (
        "from deeptraffic.sim.compiled import FunctionIdentity as f; import os; print(next(f._unique_ids), flush=True)"
    )
    code += "\nif os.fork() == 0: print(next(f._unique_ids), flush=True); os._exit(0)\nos.wait()"
    numbers = {int(line) for output, _ in processes(code, {}, {}) for line in output.split()}
    assert len(numbers) == 4
    assert max(numbers) - min(numbers) > 1_000_000  # of which no process uses up as many


ARRAYS = """
import os
import numpy as np
from deeptraffic.sim.compiled import compiled

@compiled
def make(n):
    return np.zeros(n), np.ones(n, np.float32)

@compiled
def use(n):
    return make(n)[0].size

for name in os.environ["NAMES"].split():
    print(globals()[name](2))
"""


@pytest.fixture
def run_file(processes: Any, tmp_path: Path) -> Callable[..., str]:
    """Give a function that runs a program, from a file, in a new process; it returns standard output."""

    def call(program: str, **environment: str) -> str:
        path = tmp_path / "program.py"
        path.write_text(program)
        places = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PROGRAM": str(path)}
        start = "import os; name = os.environ['PROGRAM']; exec(compile(open(name).read(), name, 'exec'))"
        [(out, _)] = processes(start, {**places, **environment})
        return str(out)

    return call


def test_arrays_are_returned_whoever_compiled_or_loaded_their_function_before(run_file: Any, tmp_path: Path) -> None:
    arrays = "(array([0., 0.]), array([1., 1.], dtype=float32))\n"
    for names, output in (("use make", "2\n" + arrays), ("make", arrays), ("use make", "2\n" + arrays)):
        assert run_file(ARRAYS, NAMES=names) == output
    for file in (tmp_path / "cache").rglob("program.use-*"):
        file.unlink()
    assert run_file(ARRAYS, NAMES=names) == output


ROADS = """
import itertools, os
import numpy as np
from deeptraffic.sim.compiled import FunctionIdentity, compiled

FunctionIdentity._unique_ids = itertools.count()  # as if all processes had drawn the same number

@compiled
def last(games, number):
    return games[number].end

@compiled
def ends(games):
    return last(games, 0) + last(games, 1)

for road in os.environ["ROADS"].split():
    games = np.zeros(2, [("vehicles", np.int64, int(road)), ("end", np.int64)])
    games["end"] = 7, 8
    games["vehicles"] = 1000
    print(ends(games))
"""


def test_cached_code_of_two_roads_does_not_mix(run_file: Any) -> None:
    for roads in ("3", "25", "3 25"):
        assert run_file(ROADS, ROADS=roads) == "15\n" * len(roads.split())


def test_without_a_cache_folder_that_can_be_made_a_private_temporary_one_is_used(run: Any, package: Path) -> None:
    nowhere, temporary = os.devnull + "/none", package / "temporary"
    temporary.mkdir()
    environment = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "LOCALAPPDATA": nowhere, "TMPDIR": str(temporary)}
    assert run(**environment) == (21, 0, NOTICE)
    assert run(**environment) == (21, 1, "")
    (folder,) = temporary.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # others could have written into it
    value, hits, error = run(**environment)
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
    read = set(re.findall(r'environ.get\("(\w+)"\)', Path(cache.__file__).read_text(encoding="utf-8")))
    assert read - {"LOCALAPPDATA"} | {"HOME", "TMPDIR"} == set(CACHE_PLACES)


# --- digests --------------------------------------------------------------------------------------------------------

SCALE, TABLE = 2.0, np.arange(3.0)


class Pair(NamedTuple):
    """Two numbers."""

    first: float
    second: float = 1.0


@compiled
def inner(x: float) -> float:
    return SCALE * x


@compiled
def outer(x: float, factor: float = 3.0) -> float:
    pair = Pair(inner(x))
    return pair.first * factor + np.floor(TABLE[0]) + pair.second


class OtherPair(NamedTuple):
    """Two numbers, of which the second has another default."""

    first: float
    second: float = 2.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCALE", 2.5),
        ("SCALE", 2),
        ("SCALE", np.float32(2.0)),
        ("TABLE", np.array([0.0, 1.0, 3.0])),
        ("TABLE", np.arange(3)),
        ("Pair", OtherPair),
        ("inner", compiled(lambda x: x * SCALE)),
        ("inner", learner_compiled(inner.py_func)),
    ],
)
def test_a_digest_changes_with_what_a_function_or_its_callees_refer_to(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    before = digest(outer)
    monkeypatch.setitem(globals(), name, value)
    assert digest(outer) != before
    monkeypatch.undo()
    assert digest(outer) == before


def test_a_digest_changes_with_a_default_and_with_an_option_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(outer)
    assert digest(learner_compiled(outer.py_func)) != before
    monkeypatch.setattr(outer.py_func, "__defaults__", (4.0,))
    assert digest(outer) != before


def test_a_digest_changes_with_the_cell_of_a_closure() -> None:
    def make(summand: int) -> CompiledFunction:
        return compiled(lambda x: x + summand)

    assert digest(make(1)) == digest(make(1)) != digest(make(2))


def test_what_cannot_be_digested_is_never_taken_for_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SCALE", object())
    assert digest(outer) != digest(outer)


def test_every_compiled_function_of_the_simulator_has_a_digest() -> None:
    packages = [deeptraffic, importlib.import_module("agents"), importlib.import_module("representation")]
    found = set()
    for package in packages:
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" not in each.name and ".examples." not in each.name:  # which are of others' libraries
                found |= {
                    value
                    for value in vars(importlib.import_module(each.name)).values()
                    if isinstance(value, CompiledFunction)
                }
    assert len(found) > 200
    assert [function for function in found if digest(function) != digest(function)] == []


# --- calls ----------------------------------------------------------------------------------------------------------


def test_a_callee_has_one_body_for_all_integers_and_no_machine_code() -> None:
    twice = compiled(lambda x: 2 * x)
    all_twice = compiled(lambda a, b, c: twice(a) + twice(b) + twice(c) + twice(7))
    assert all_twice(np.int32(-3), np.uint8(255), 1) == 2 * (-3 + 255 + 1 + 7)
    assert [str(kinds) for kinds in twice.bodies] == ["(int64,)"]
    assert not twice.overloads
    big = compiled(lambda x: twice(x))
    assert big(np.uint64(2**63)) == 0  # 2**64 modulo 2**64: unsigned arithmetic stays unsigned
    assert len(twice.bodies) == 2


def test_functions_of_numba_itself_may_call_compiled_ones() -> None:
    compiled_sum = compiled(lambda x: max(x, 1) + np.zeros(3).size)
    theirs = numba.njit(lambda x: compiled_sum(x) + 1)
    assert theirs(5) == 9
    assert compiled_sum(0) == 4


def test_a_function_may_be_an_argument() -> None:
    apply = compiled(lambda function, x: function(x))
    assert (apply(compiled(lambda x: x + 1), 3), apply(compiled(lambda x: x * 5), 3)) == (4, 15)


def test_arrays_and_records_are_returned_to_python() -> None:
    doubled = compiled(lambda x: 2 * x)
    assert (doubled(np.arange(3)) == [0, 2, 4]).all()
    first = compiled(lambda records: records[0])
    assert first(np.array([(1, 2.5)], [("a", np.int64), ("b", np.float64)])).b == 2.5


def test_an_exception_of_a_callee_reaches_python() -> None:
    def check(x: int) -> int:
        if x < 0:
            raise ValueError("x is negative")
        return x

    checked = compiled(check)
    caller = compiled(lambda x: checked(x) + 1)
    assert caller(1) == 2
    with pytest.raises(ValueError, match="x is negative"):
        caller(-1)


# --- arithmetic -----------------------------------------------------------------------------------------------------


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


def test_functions_of_others_that_belong_to_no_module_compile_beside_ours() -> None:
    names: dict = {}
    exec("def double(x): return 2 * x", names)
    names["double"].__module__ = None
    assert numba.njit(names["double"])(21) == 42


def test_options_of_compilation_are_numbas_own_and_garbage_is_collected_again() -> None:
    options, other = Flags(), Flags()
    options.nrt = True
    assert options.values() == {name: getattr(options, name) for name in options.options} != other.values()
    assert options != other and hash(options) == hash(other)
    other.nrt = True
    assert options == other
    assert compiled(lambda x: x + 1)(1) == 2 and gc.isenabled()
