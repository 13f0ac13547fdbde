"""Recording of the lab's tour for README: `python tests/lab/tour.py` writes deeptraffic/lab/tour.webp.

Needs Chromium and Playwright. What takes longer than `LONGEST` seconds, training and evaluation, is played faster.
"""

import base64
import io
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from deeptraffic.lab import site

TARGET = Path(site.__file__).parent / "tour.webp"
WINDOW, SIZE = (1180, 740), (660, 414)  # [pixels]
RATE = 3  # [images/s]
LOOK, LONGEST = 2.2, 3.5  # [s] that a step is shown, and that the machine computes
QUALITY = 36

Shot = tuple[float, bytes]


def record(page: Any) -> list[Shot]:
    """Take the tour; return its pictures, each with its time [s]."""
    shots: list[Shot] = []
    session = page.context.new_cdp_session(page)

    def keep(event: dict[str, Any]) -> None:
        shots.append((event["metadata"]["timestamp"], base64.b64decode(event["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "jpeg", "quality": 95, "everyNthFrame": 1})
    film: list[Shot] = []

    def cut(longest: float | None = None) -> None:
        """Add what was seen since the last cut to the film, faster if it took longer than that."""
        seen = shots[:]
        shots.clear()
        if not seen:
            return
        first, start = seen[0][0], film[-1][0] + 1 / RATE if film else 0.0
        pace = min(1.0, longest / max(seen[-1][0] - first, 0.1)) if longest else 1.0
        film.extend((start + pace * (at - first), picture) for at, picture in seen)

    page.wait_for_timeout(1500)
    shots.clear()
    page.click("#tour-start")
    for step in range(1, 6):
        page.wait_for_timeout(1000 * LOOK)
        if step > 3:
            cut()
            page.click("#tour-act")
            page.wait_for_function("() => document.activeElement.id === 'tour-next'", timeout=120_000)
            cut(LONGEST)
            page.wait_for_timeout(1000 * LOOK)
        page.click("#tour-next")
    page.evaluate("() => scrollTo({ top: 0, behavior: 'smooth' })")
    page.wait_for_timeout(1000 * LOOK)
    cut()
    session.remove_listener("Page.screencastFrame", keep)
    session.send("Page.stopScreencast")
    return film


def images(film: list[Shot]) -> list[Image.Image]:
    """Return the picture that is shown at each 1/RATE s."""
    found, k = [], 0
    for n in range(round(film[-1][0] * RATE)):
        while k + 1 < len(film) and film[k + 1][0] <= n / RATE:
            k += 1
        found.append(Image.open(io.BytesIO(film[k][1])).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS))
    return found


def main() -> None:
    """Record the tour."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        sys.exit("error: there is no Chromium; install Debian's package chromium")
    with site.SiteServer(0) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WINDOW[0], "height": WINDOW[1]}, color_scheme="dark")
        page.goto(server.url)
        page.wait_for_function("() => Number(document.querySelector('#frame').textContent) > 20")
        shown = images(record(page))
        browser.close()
        server.shutdown()
    options: dict[str, Any] = {"duration": round(1000 / RATE), "loop": 0, "quality": QUALITY, "method": 6}
    shown[0].save(TARGET, save_all=True, append_images=shown[1:], minimize_size=False, **options)
    print(f"{TARGET}: {len(shown)} images, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
