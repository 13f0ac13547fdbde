"""The WebAssembly module in Node and in a worker of Chromium, for the tests of the lab."""

import contextlib
import functools
import http.server
import importlib.util
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from deeptraffic.lab import site
from deeptraffic.lab.build import LinkerMissing, find_linker
from deeptraffic.policies.file import read_policy

LAB = Path(__file__).resolve().parents[2] / "deeptraffic" / "lab"
HERE = Path(__file__).resolve().parent
ASK = """([task, input]) => new Promise((resolve, reject) => {
  window.tasks ??= new Worker("/tests/worker.mjs", { type: "module" });
  window.tasks.onmessage = ({ data }) => resolve(data);
  window.tasks.onerror = (event) => reject(new Error(event.message));
  window.tasks.postMessage([task, input]);
})"""

Ask = Callable[..., Any]


def answer(reply: dict[str, Any]) -> Any:
    assert "error" not in reply, reply["error"]
    return reply["result"]


@pytest.fixture(scope="module")
def tools() -> Iterator[dict[str, Ask]]:
    """What was started, by name; ended with the module."""
    with_ends: list[Callable[[], Any]] = []
    started: dict[str, Any] = {"ends": with_ends}
    yield started
    for end in reversed(with_ends):
        end()


@pytest.fixture(params=["node", "chromium"])
def ask(request: pytest.FixtureRequest, tools: dict[str, Any], requires_system: Callable[..., Path]) -> Ask:
    """Give a function (task, **input) -> result that runs a task of `tasks.mjs` in Node or in Chromium."""
    kind = request.param
    if kind not in tools:
        if kind == "node":  # Playwright's own, so that no other is needed
            driver = Path(pytest.importorskip("playwright").__file__).parent / "driver"
            tools[kind] = start_node(driver / "node", tools["ends"])
        else:
            path = requires_system("chromium", "chromium")
            tools[kind] = start_tab(request.getfixturevalue("chromium")(path), tools["ends"])
    return tools[kind]  # type: ignore[no-any-return]


def start_node(path: Path, ends: list[Callable[[], Any]]) -> Ask:
    command = [str(path), str(HERE / "node.mjs"), str(LAB)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ends += [process.wait, process.stdin.close]  # type: ignore[union-attr]

    def ask(task: str, **given: Any) -> Any:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps([task, given]) + "\n")
        process.stdin.flush()
        return answer(json.loads(process.stdout.readline()))

    return ask


class Files(http.server.SimpleHTTPRequestHandler):
    """The lab's folder as /lab, the tests' as /tests."""

    extensions_map = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}

    def translate_path(self, path: str) -> str:
        folder, _, name = path.strip("/").partition("/")
        return str({"lab": LAB, "tests": HERE}.get(folder, HERE / "nothing") / Path(name).name)

    def log_message(self, *_: Any) -> None:
        pass


def start_tab(browser: Any, ends: list[Callable[[], Any]]) -> Ask:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    ends.append(server.shutdown)  # the tab ends with its browser
    page.route("**/blank", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(f"http://127.0.0.1:{server.server_address[1]}/blank")

    def ask(task: str, **given: Any) -> Any:
        return answer(page.evaluate(ASK, [task, given]))

    return ask


@pytest.fixture(scope="session")
def tests_of() -> Callable[[str], ModuleType]:
    """Give a function path -> test module, which is no part of a package, for its data and its functions."""

    def load(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(Path(path).stem + "_of_the_lab", HERE.parent / path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def requires_linker() -> Callable[[], None]:
    """Give a function that skips the test where there is no wasm-ld, or fails if DEEPTRAFFIC_REQUIRE_SYSTEM=1."""

    def require() -> None:
        try:
            find_linker()
        except LinkerMissing as error:
            (pytest.fail if os.environ.get("DEEPTRAFFIC_REQUIRE_SYSTEM") == "1" else pytest.skip)(str(error))

    return require


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return site.site_files()


@pytest.fixture(scope="module")
def url(files: dict[str, bytes]) -> Iterator[str]:
    with site.SiteServer(0, lambda: files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.url
        server.shutdown()


@contextlib.contextmanager
def opened(browser: Any, url: str) -> Iterator[tuple[Any, list[str]]]:
    """The opened page, when a car drives, and its errors and requests to other hosts."""
    expect = pytest.importorskip("playwright.sync_api").expect
    context = browser.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    tab, errors = context.new_page(), []
    tab.on("console", lambda message: message.type in ("error", "warning") and errors.append(message.text))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: request.url.startswith((url, "blob:")) or errors.append(request.url))
    tab.goto(url)
    expect(tab.locator("#frame")).to_have_text(re.compile("[1-9]"), timeout=60_000)
    yield tab, errors
    assert context.cookies() == []
    context.close()


@pytest.fixture
def page(chromium: Any, requires_system: Callable[..., Path], url: str) -> Iterator[Any]:
    """The opened page, when a car drives; at the end it may have met no error and asked no other host."""
    with opened(chromium(requires_system("chromium", "chromium")), url) as (tab, errors):
        yield tab
        assert errors == []


@pytest.fixture(scope="module")
def standing(chromium: Any, requires_system: Callable[..., Path], url: str) -> Iterator[tuple[Any, list[str]]]:
    with opened(chromium(requires_system("chromium", "chromium")), url) as (tab, errors):
        tab.click("#pause")
        yield tab, errors


@pytest.fixture
def still(standing: tuple[Any, list[str]]) -> Iterator[Any]:
    """The opened page without motion, one for all tests of a module that leave it as it is; checked like `page`."""
    tab, errors = standing
    yield tab
    found, errors[:] = [*errors], []
    assert found == []


@pytest.fixture(scope="session")
def eventually() -> Callable[[Any, str, str], str]:
    """Give a function (tab, selector, pattern) -> text that waits until an element's text has a pattern."""

    def wait(tab: Any, selector: str, pattern: str) -> str:
        from playwright.sync_api import expect

        expect(tab.locator(selector)).to_have_text(re.compile(pattern), timeout=120_000)
        return str(tab.inner_text(selector))

    return wait


@pytest.fixture(scope="session")
def until() -> Callable[[Any, Callable[[], bool]], None]:
    """Give a function (tab, is_so) that waits until something is so, while the tab lives on."""

    def wait(tab: Any, is_so: Callable[[], bool]) -> None:
        for _ in range(600):
            if is_so():
                return
            tab.wait_for_timeout(100)
        raise AssertionError("it did not come about")

    return wait


@pytest.fixture(scope="session")
def train() -> Callable[..., None]:
    """Give a function (tab, decisions, preset, seed) that starts a training."""

    def start(tab: Any, decisions: int, preset: str = "mit-basic", seed: int = 3) -> None:
        tab.select_option("#preset", preset)
        tab.fill("[name=total_timesteps]", str(decisions))
        tab.fill("[name=seed]", str(seed))
        tab.click("#run")

    return start


@pytest.fixture(scope="session")
def save() -> Callable[[Any, str, Path], Path]:
    """Give a function (tab, button, path) -> path that saves what a button offers."""

    def download(tab: Any, button: str, path: Path) -> Path:
        with tab.expect_download() as found:
            tab.click(button)
        found.value.save_as(path)
        return path

    return download


@pytest.fixture(scope="session")
def weights_of() -> Callable[[Path], list[np.ndarray]]:
    """Give a function path -> tensors of a policy file."""
    return lambda path: list(read_policy(path).network.tensors.values())
