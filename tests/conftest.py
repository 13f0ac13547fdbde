"""Settings and fixtures of all tests: no display, one torch thread, slow tests on request, the command line."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from rich.console import Console

# Set before anything imports pygame, matplotlib or torch; programs which a test starts inherit them.
os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads: the tests run side by side

# A first call compiles for seconds, so no example has a deadline; CI draws the same examples every time.
settings.register_profile("deeptraffic", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("deeptraffic")


def pytest_configure(config: pytest.Config) -> None:
    """Leave out tests marked slow unless -m says which tests to run."""
    if not config.option.markexpr:
        config.option.markexpr = "not slow"


@pytest.fixture
def quiet() -> Console:
    """A console that prints nothing."""
    return Console(quiet=True)


@pytest.fixture
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
