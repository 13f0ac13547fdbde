"""Settings and fixtures of all tests: no display, one torch thread, slow tests on request, the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from numba.core.dispatcher import Dispatcher
from rich.console import Console

from deeptraffic.sim.code_cache import cache_folder

ROOT = Path(__file__).resolve().parent.parent

# Set before anything imports pygame, matplotlib or torch; programs which a test starts inherit them.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads: the tests run side by side

# A first call compiles for seconds, so no example has a deadline; CI draws the same examples every time.
settings.register_profile("deeptraffic", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("deeptraffic")


def untraced(compile: Callable[..., Any]) -> Callable[..., Any]:
    """Return a compilation by Numba without coverage's tracing, with which it takes more than twice as long."""

    def call(*args: Any) -> Any:
        trace = sys.gettrace()
        sys.settrace(None)
        try:
            return compile(*args)
        finally:
            sys.settrace(trace)

    return call


Dispatcher.compile = untraced(Dispatcher.compile)  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    """Leave out tests marked slow unless -m says which tests to run, and let interrupts come through.

    A shell that starts a job in the background has it ignore interrupts, and all its children inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.option.markexpr:
        config.option.markexpr = "not slow"


@pytest.fixture
def quiet() -> Console:
    """A console that prints nothing."""
    return Console(quiet=True)


@pytest.fixture(scope="session")
def requires_system() -> Callable[[str, str], Path]:
    """Give a function (Debian package, executable) -> path of the executable, for tests which need a system program.

    Where the program is missing the test is skipped, or fails if DEEPTRAFFIC_REQUIRE_SYSTEM=1, as in CI.
    """

    def find(package: str, executable: str) -> Path:
        path = shutil.which(executable)
        if path is not None:
            return Path(path)
        reason = f"needs {executable}: install Debian's package {package}"
        if os.environ.get("DEEPTRAFFIC_REQUIRE_SYSTEM") == "1":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return find


class Outcome(NamedTuple):
    """What a command left: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Give a function that runs `deeptraffic` in this process with the given arguments."""
    from deeptraffic.cli import main

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["deeptraffic", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(int(ended.value.code or 0), *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def chromium() -> Iterator[Callable[[Path], Any]]:
    """Give a function path -> browser; ended with the module, since no second Playwright starts in its event loop."""
    playwright_api = pytest.importorskip("playwright.sync_api")
    started: list[Any] = []
    with playwright_api.sync_playwright() as playwright:

        def start(path: Path) -> Any:
            if not started:
                arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
                started.append(playwright.chromium.launch(executable_path=str(path), args=arguments))
            return started[0]

        yield start
        for browser in started:
            browser.close()


@pytest.fixture
def same_games() -> Callable[[Any, Any], bool]:
    """Return a function that compares the games of two simulators field by field: padding in between is arbitrary."""

    def compare(one: Any, other: Any) -> bool:
        return all(one.games[name].tobytes() == other.games[name].tobytes() for name in one.games.dtype.names)

    return compare


COMMANDS = """
import contextlib, importlib, io, json, pkgutil, sys, traceback

failed = {}
for package in ("deeptraffic", "agents", "representation"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        last = module.name.rpartition(".")[2]
        if last not in ("env", "__main__") and not any(part in module.name for part in ("migrations", ".examples.")):
            try:
                importlib.import_module(module.name)
            except (ImportError, AttributeError, TypeError) as error:
                failed[module.name] = str(error)

from deeptraffic.cli import main
outcomes = {}
for line in json.loads(sys.stdin.read()):
    sys.argv, out, err = ["deeptraffic", *line.split()], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        except Exception:
            traceback.print_exc(file=err)
            code = -1
    outcomes[line] = [code, out.getvalue(), err.getvalue()]
print(json.dumps([failed, outcomes]))
"""


@pytest.fixture(scope="session")
def run_prepared() -> Callable[[str, Path, Sequence[str]], tuple[dict[str, str], dict[str, Any]]]:
    """Import every module and run commands in a process that a program prepares, in a folder.

    Returns errors of imports by module, and exit code, output and errors by command.
    """

    def call(preparation: str, folder: Path, commands: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
        words, environment = [sys.executable, "-c", preparation + COMMANDS], os.environ | {"PYTHONPATH": str(ROOT)}
        if (cached := cache_folder()) is not None:
            environment["LOCALAPPDATA"] = str(cached.parents[1])  # what Linux compiled serves a stand-in for Windows
        given: dict[str, Any] = {"input": json.dumps(commands), "cwd": folder, "env": environment}
        ended = subprocess.run(words, capture_output=True, text=True, check=False, **given)
        assert ended.returncode == 0, ended.stderr
        failed, outcomes = json.loads(ended.stdout)
        return failed, outcomes

    return call
