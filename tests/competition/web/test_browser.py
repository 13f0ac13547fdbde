"""The pages in a real browser, which reaches nothing but this server and reports every error.

The long test drives the whole program, `deeptraffic serve` with its workers; the short one the pages over a database.
"""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from deeptraffic.competition.store import accounts, queue
from deeptraffic.competition.store.submissions import history
from deeptraffic.lab.site import site_files
from deeptraffic.policies.file import pack_policy, write_policy
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor

CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
# What is wrong with a page for people who cannot see it, or use a narrow screen.
DEFECTS = """() => {
  const defects = [];
  const named = (node) => node.getAttribute("aria-label") || node.textContent.trim() || node.title
    || (node.labels && node.labels.length) || node.type === "hidden";
  for (const node of document.querySelectorAll("input, select, textarea, button, a, canvas, svg[role]"))
    if (!named(node) && !node.closest("[aria-hidden]")) defects.push("no name: " + node.outerHTML.slice(0, 120));
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of ids) if (ids.filter((other) => other === id).length > 1) defects.push("twice: #" + id);
  if (document.querySelectorAll("h1").length !== 1) defects.push("h1");
  if (!document.documentElement.lang || !document.title) defects.push("lang or title");
  if (document.documentElement.scrollWidth > innerWidth + 1) defects.push("wider than the screen");
  return defects;
}"""

NOTIFICATIONS = """() => {
  window.Notification = class {
    static permission = "granted";
    static async requestPermission() { return "granted"; }
    constructor(words) { sessionStorage.told = words; }
  };
}"""


def write_net(path: Path, seed: int = 0) -> Path:
    """A policy file that drives somehow."""
    sensor, random = Sensor(1, 10, 2), np.random.default_rng(seed)
    tensors = {"1.weight": random.normal(size=(5, sensor.size)), "1.bias": np.array([0.0, 2.0, -2.0, 0.0, 0.0])}
    write_policy(path, pack_policy(Network(sensor.size, (Dense(outputs=5),), tensors), sensor, "a little net"))
    return path


class Tab:
    """A page of a browser that keeps what went wrong in it."""

    def __init__(self, chromium: Any, address: str, viewport: dict[str, int], theme: str) -> None:
        self.context = chromium.new_context(viewport=viewport, color_scheme=theme, reduced_motion="reduce")
        self.context.route("**/*", self._route)
        self.page, self.address = self.context.new_page(), address
        self.errors: list[str] = []
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.errors.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _route(self, route: Any) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            self.errors.append(f"asked for {route.request.url}")
            route.abort()

    def visit(self, path: str) -> Any:
        """Go to a page and look for defects."""
        answer = self.page.goto(self.address + path)
        assert answer.status == 200, path
        assert self.page.evaluate(DEFECTS) == [], path
        return self.page


@pytest.fixture
def tab(requires_system: Callable[[str, str], Path]) -> Iterator[Callable[..., Tab]]:
    """Give a function (address, viewport, theme) -> a new tab; at the end no tab may have met an error."""
    from playwright.sync_api import sync_playwright

    path, tabs = requires_system("chromium", "chromium"), []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(path), args=CHROMIUM_ARGUMENTS)

        def make(address: str, viewport: dict[str, int] = DESKTOP, theme: str = "dark") -> Tab:
            tabs.append(Tab(chromium, address, viewport, theme))
            return tabs[-1]

        yield make
        chromium.close()
    assert [error for tab in tabs for error in tab.errors] == []


def pixels_differ(page: Any, act: Callable[[], Any]) -> bool:
    """Whether an act changes what the canvas shows."""
    read = "() => document.querySelector('canvas').toDataURL()"
    before = page.evaluate(read)
    act()
    return bool(page.evaluate(read) != before)


def test_joining_submitting_watching_and_organising(world: Any, serve: Callable, tab: Callable, tmp_path: Path) -> None:
    leader = world.driven(world.person("The Leader"), "gap")
    invite, address = accounts.new_invite(world.db, world.competition.id, "test"), serve()
    own = tab(address)
    page = own.visit(f"/join/{invite}")
    page.fill("#name", "Ada Lovelace")
    page.click("main button")
    page.wait_for_url("**/c/lab?note=joined")
    page.wait_for_selector("[data-strip][data-ready=yes]")

    page = own.visit("/c/lab/submit")
    page.set_input_files("#file", write_net(tmp_path / "net.safetensors"))
    assert "kB" in page.inner_text("[data-part=message]")
    page.fill("#note", "first try")
    page.click("main form button")
    page.wait_for_url("**/s/*")
    assert "place 1" in page.inner_text("[data-part=words]") and page.input_value("#note") == "first try"
    assert page.title().startswith("In the queue · ")
    page.evaluate(NOTIFICATIONS)
    page.click("[data-part=notify]")
    page.wait_for_selector("text=You will be told")
    job = queue.lease(world.db, "worker")
    assert job is not None
    queue.renew(world.db, job, 7, 20)
    page.wait_for_selector("text=7 of 20")
    assert page.title().startswith("Being scored 35% · ")
    world.clock.now += 40_000
    threading.Timer(0.2, world.work, [world.fake_score(70.0)]).start()
    world.clock.now += 40_000
    page.wait_for_selector("text=Official score")
    score = page.inner_text(".lead dd").split()[0]
    assert page.title().startswith(f"{score} mph · ") and page.evaluate("sessionStorage.told") == f"Scored {score} mph."

    page = own.visit(f"/e/{leader.key}/replay?frame=300")
    page.wait_for_selector("[data-player][data-ready=yes]")
    assert page.inner_text("[data-part=time]") == "frame 300 of 2,000"
    assert pixels_differ(page, lambda: page.keyboard.press("ArrowRight"))
    assert page.inner_text("[data-part=time]") == "frame 330 of 2,000"
    assert pixels_differ(page, lambda: page.select_option("[data-part=overlay]", "input"))
    assert pixels_differ(page, lambda: page.click("[data-theme-button]"))
    page.click("[data-part=play]")
    page.wait_for_selector("text=frame 330 of", state="detached")

    page = own.visit("/c/lab/figures")
    assert page.locator("svg.drawing").count() == 6
    for path in ("/c/lab", "/c/lab/rules", "/c/lab/mine", "/me", f"/e/{leader.key}", "/about"):
        own.visit(path)

    chief = tab(address, PHONE, "light")
    chief.context.add_cookies(
        [{"name": "deeptraffic-session", "value": accounts.open_session(world.db, world.organiser.id), "url": address}]
    )
    base, ada = "/organise/c/lab", accounts.find_named(world.db, "Ada Lovelace")
    for path in (
        "/organise",
        "/organise/new",
        base,
        f"{base}/people",
        f"{base}/people/{ada.key}",
        f"{base}/people/{ada.key}/remove",
        f"{base}/class",
        f"{base}/grades",
        f"{base}/submissions",
        f"{base}/reevaluate",
        f"{base}/final",
        f"{base}/log",
    ):
        chief.visit(path)
    page = chief.visit(base)
    page.fill("#reason", "Back at noon.")
    page.click("text=Pause submissions")
    page.wait_for_selector("text=Accept submissions again")
    for path in ("/c/lab", "/c/lab/figures", f"/e/{leader.key}/replay?beside={leader.key}", f"/e/{leader.key}"):
        page = chief.visit(path)
    assert page.get_attribute("html", "data-theme") is None


def test_the_keyboard_alone_leads_through_a_page(world: Any, serve: Callable, tab: Callable) -> None:
    page = tab(serve()).visit("/enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").startswith("Skip")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "secret"
    page.keyboard.type(accounts.new_link(world.db, world.person("Ada").id, "test"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/me")


def reach(page: Any, selector: str) -> None:
    """Go to an element by the Tab key alone."""
    for _ in range(100):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


def test_an_organiser_makes_a_competition_and_moves_its_deadline_without_a_mouse(
    world: Any, serve: Callable, tab: Callable
) -> None:
    world.scored(world.person("Ada"))
    address, chief = serve(), tab(serve())
    secret = accounts.open_session(world.db, world.organiser.id)
    chief.context.add_cookies([{"name": "deeptraffic-session", "value": secret, "url": address}])
    page = chief.visit("/organise/new")
    reach(page, "#key")
    page.keyboard.type("spring")
    reach(page, "#closes_at")
    for part in ("01312099", "115900PM"):  # the fields of Chromium's date picker
        page.keyboard.type(part)
        page.keyboard.press("Tab")
    assert page.input_value("#closes_at") == "2099-01-31T23:59"
    reach(page, "form button.primary")
    page.keyboard.press("Enter")
    page.wait_for_url("**/organise/c/spring?note=created")
    page = chief.visit("/organise/c/lab")
    reach(page, "#closes_at")
    for part in ("01012001", "120000AM"):
        page.keyboard.type(part)
        page.keyboard.press("Tab")
    reach(page, "form[action$=settings] button.primary")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 entry would become late")
    reach(page, "form button.primary")
    page.keyboard.press("Enter")
    page.wait_for_url("**/organise/c/lab?note=saved")
    assert history(world.db, world.competition.id)[0][0].late


def test_the_lab_submits_its_network_under_the_account(world: Any, serve: Callable, tab: Callable) -> None:
    address, ada = serve(lab=site_files()), world.person("Ada Lovelace")
    visitor = tab(address)
    visitor.visit("/c/lab").click("nav >> text=Lab")
    visitor.page.wait_for_url("**/lab/")
    assert visitor.page.inner_text("#submit-status") == "Sign in to submit your network."
    own = tab(address, PHONE, "light")
    secret = accounts.open_session(world.db, ada.id)
    accounts.change_trail(world.db, ada.id, "aqua")
    own.context.add_cookies([{"name": "deeptraffic-session", "value": secret, "url": address}])
    page = own.visit("/lab/")
    page.wait_for_selector("text=Submit as Ada Lovelace")
    assert page.input_value("#trail") == "aqua"
    page.click("#submit-button")
    assert page.inner_text("#submit-status") == "Train a network first, or open one, and let it drive."
    page.set_input_files("#file", Path(__file__).parents[2] / "golden" / "submissions" / "plain.js")
    page.wait_for_function("() => document.querySelector('#driver').selectedOptions[0].text === 'plain.js'")
    page.select_option("#driver", "champion-solo")
    page.fill("[name=total_timesteps]", "300")
    page.click("#run")
    page.wait_for_selector("text=Trained for 300 decisions")
    page.click("#submit-button")
    page.wait_for_selector("#submit-status:not(:text('Sending'))", timeout=60_000)
    assert page.inner_text("#submit-status") == "Submitted. Watch its evaluation."
    assert [made.filename for made in history(world.db, world.competition.id, ada.id, 10)[0]] == ["network.safetensors"]
    page.click("#submit-button")
    page.wait_for_selector("text=Not accepted: you have submitted this very policy", timeout=60_000)
    own.errors.clear()  # Chromium reports the refusal's status
    page.click("#home")
    page.wait_for_url("**/c/lab")


@pytest.mark.slow
def test_the_whole_program_scores_a_submission_as_this_machine_does(tab: Callable, tmp_path: Path) -> None:
    net, log = write_net(tmp_path / "net.safetensors"), tmp_path / "log.txt"
    program = [sys.executable, "-c", "from deeptraffic.cli import main; main()"]
    with log.open("w") as file:
        server = subprocess.Popen([*program, "serve", "--data", str(tmp_path / "data"), "--port", "0"], stdout=file)
    try:
        links: dict[str, str] = {}
        while len(links) < 2:
            time.sleep(0.2)
            links = dict(re.findall(r"http://[^/\s]+/(link|join)/(\S+)", log.read_text()))
        address = re.search(r"http://[^/\s]+", log.read_text()).group()  # type: ignore[union-attr]
        own = tab(address)
        page = own.visit(f"/join/{links['join']}")
        page.fill("#name", "Ada Lovelace")
        page.click("main button")
        page = own.visit("/c/deeptraffic/submit")
        page.set_input_files("#file", net)
        page.click("main form button")
        page.wait_for_selector("text=Official score", timeout=120_000)
        shown = page.inner_text(".lead dd").split()[0]
        told = subprocess.run([*program, "evaluate", str(net), "--json"], capture_output=True, text=True, check=True)
        assert f"{json.loads(told.stdout)['score']:.2f}" == shown
        page.click("text=Replay")
        page.wait_for_selector("[data-player][data-ready=yes]", timeout=60_000)
        page.click("text=Make the video")
        for _ in range(150):
            page.wait_for_timeout(2000)
            page.reload()
            if page.locator("text=Download the mp4").count():
                break
        with page.expect_download() as download:
            page.click("text=Download the mp4")
        assert download.value.path().stat().st_size > 100_000
        chief = tab(address, PHONE, "light")
        page = chief.visit(f"/link/{links['link']}")
        page.click("main button")
        page.wait_for_url("**/organise")
        assert "3 workers" in page.inner_text("main")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
