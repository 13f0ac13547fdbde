"""Figures of the lab, measured in Chromium: `python tests/lab/figures.py [MINUTES]` prints them as a table.

CPU seconds are those of Chromium's renderer processes: what a free machine would need. Seconds are what passed
on this one. MINUTES of training (10 by default) are for the last figure, memory.
"""

import base64
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from deeptraffic.lab import site
from deeptraffic.policies.convnetjs.read import ConvNetJSFile, network_from_json
from deeptraffic.policies.file import pack_convnetjs, policy_content
from deeptraffic.sim.rules import Sensor

HERE = Path(__file__).resolve().parent
SUBMISSIONS = HERE.parent / "golden" / "submission_networks.json"
REPEATS = 3
ASK = """([task, input]) => new Promise((resolve, reject) => {
  window.tasks ??= new Worker("worker.mjs", { type: "module" });
  window.tasks.onmessage = ({ data }) => data.error ? reject(new Error(data.error)) : resolve(data.result);
  window.tasks.postMessage([task, input]);
})"""
FRAME = "() => Number(document.querySelector('#frame').textContent.replace(',', '')) > 0"
TRAINED = "() => document.querySelector('#train-status').textContent.startsWith('Trained for')"
SCORED = "() => document.querySelector('#score-status').textContent.includes('500 runs in')"

Row = tuple[str, str]


def mit_basic() -> bytes:
    """Return MIT's basic network, trained by the original game, as a policy file."""
    records = json.loads(SUBMISSIONS.read_text("utf-8"))
    record = next(each for each in records if each["name"] == "mit_basic_trained")
    sensor = Sensor(record["lanesSide"], record["patchesAhead"], record["patchesBehind"])
    file = ConvNetJSFile("mit-basic", network_from_json(record["net"]), sensor, record["temporal_window"], 0)
    return policy_content(pack_convnetjs(file))


def renderers(browser: Browser) -> dict[int, float]:
    """Return the CPU seconds of each renderer process so far."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return {each["id"]: each["cpuTime"] for each in found if each["type"] == "renderer"}


def memory_mb(browser: Browser) -> float:
    """Return the memory that belongs to renderer processes alone [MB]."""
    total = 0
    for pid in renderers(browser):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))
    return total * 1024 / 1e6


def timed(browser: Browser, work: Callable[[], Any]) -> tuple[float, float]:
    """Return CPU seconds and seconds that something takes."""
    before, started = sum(renderers(browser).values()), time.perf_counter()
    work()
    took = time.perf_counter() - started
    return sum(renderers(browser).values()) - before, took


def engine_rows(browser: Browser, page: Page) -> list[Row]:
    """Measure the engine in a worker, the best of some repeats."""

    def best(task: str, **given: Any) -> tuple[float, float]:
        times = [timed(browser, lambda: page.evaluate(ASK, [task, given])) for _ in range(REPEATS)]
        return min(cpu for cpu, _ in times), min(took for _, took in times)

    page.evaluate(ASK, ["memory", {}])  # load the module
    idle, basic = best("evaluate", policy=0), best("evaluate", policy=base64.b64encode(mit_basic()).decode())
    train = best("train", settings={"seed": 1}, decisions=10_000)
    pqn = best("train", preset="pqn-quick", settings={"seed": 1}, decisions=100_000)
    return [
        ("frames of an idle car a CPU second (original: 138,000)", f"{1 / idle[0]:.1f} million"),
        ("official evaluation of MIT's basic network (original: 7.2 s)", both(*basic)),
        ("10,000 decisions of mit-basic's training (original: 10.6 s)", both(*train)),
        ("100,000 decisions of PQN", both(*pqn)),
    ]


def page_rows(browser: Browser, url: str) -> list[Row]:
    """Measure the page: a visit that trains and evaluates, and the main thread meanwhile."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    started, cpu = time.perf_counter(), sum(renderers(browser).values())
    page.goto(url, wait_until="commit")
    page.wait_for_function(FRAME)
    driving = time.perf_counter() - started
    paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline"])
    page.click("#run")
    page.wait_for_function(TRAINED, timeout=300_000)
    trained, spent = time.perf_counter() - started, sum(renderers(browser).values()) - cpu
    longest = longest_task_ms(json.loads(browser.stop_tracing()))
    page.click("#score")
    page.wait_for_function(SCORED, timeout=300_000)
    score = page.inner_text("#known .yours td:last-child")
    context.close()
    return [
        ("first paint after opening", f"{paint / 1000:.2f} s"),
        ("champion-solo drives after opening", f"{driving:.2f} s"),
        (f"a car of {score} mph after opening, by the preset", both(spent, trained)),
        ("longest task of the main thread while training", f"{longest:.0f} ms of CPU time"),
    ]


def longest_task_ms(trace: dict[str, Any]) -> float:
    """Return the longest task [ms] of the main threads of a trace, by the thread's own CPU time."""
    events = trace["traceEvents"]
    named = [e for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"]
    main = {(e["pid"], e["tid"]) for e in named}
    return (
        max(e["tdur"] for e in events if e["name"] == "RunTask" and (e["pid"], e["tid"]) in main and "tdur" in e) / 1e3
    )


def memory_rows(browser: Browser, url: str, minutes: float) -> list[Row]:
    """Measure the memory at the start, and after minutes of training."""
    page = browser.new_page()
    page.goto(url)
    page.wait_for_function(FRAME)
    before = memory_mb(browser)
    page.fill("[name=total_timesteps]", "100000000")
    page.click("#run")
    page.wait_for_timeout(60_000 * minutes)
    after = memory_mb(browser)
    page.close()
    return [(f"memory after {minutes:g} minutes of training", f"{after:.0f} MB (at the start: {before:.0f} MB)")]


def size_rows(files: dict[str, bytes]) -> list[Row]:
    """Return the sizes of the site."""
    first = len(files[f"champions/{site.FIRST}.safetensors"])
    champions = sum(len(content) for name, content in files.items() if name.startswith("champions/"))
    rest = sum(map(len, files.values())) - champions
    return [
        ("size of engine.wasm", f"{len(files['engine.wasm']) / 1e3:.0f} kB"),
        (f"size of the page without champions, and of {site.FIRST}", f"{rest / 1e3:.0f} kB, {first / 1e3:.0f} kB"),
    ]


def both(cpu: float, took: float) -> str:
    """Return CPU seconds and seconds as text."""
    return f"{cpu:.1f} CPU s ({took:.1f} s)"


def main(minutes: float = 10.0) -> None:
    """Print all figures."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        sys.exit("error: there is no Chromium; install Debian's package chromium")
    files = site.site_files()
    worker = (
        (HERE / "worker.mjs").read_bytes().replace(b"/lab/", b"/").replace(b"/tests/", b"/").replace(b".mjs", b".js")
    )
    tools = {"tasks.js": (HERE / "tasks.mjs").read_bytes()}
    with site.SiteServer(0, lambda: files | tools) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.route("**/worker.mjs", lambda route: route.fulfill(body=worker, content_type="text/javascript"))
        page.route("**/blank", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto(f"{server.url}blank")
        rows = engine_rows(browser, page)
        page.close()
        rows += page_rows(browser, server.url) + size_rows(files) + memory_rows(browser, server.url, minutes)
        print(f"Chromium {browser.version}\n\n| in the lab's page | |\n| --- | ---: |")
        print("\n".join(f"| {name} | {value} |" for name, value in rows))
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
