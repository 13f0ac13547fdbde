"""The lab's page by axe-core, whose rules find what people who cannot see it, or use no mouse, would stumble over."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 860}
VIOLATIONS = """async () => (await axe.run(document)).violations.map(
  ({ id, nodes }) => `${id}: ${nodes.map(({ html, any, all, none }) => `${html.slice(0, 120)}: ${
    [...any, ...all, ...none].map(({ message }) => message).join(", ")}`).join("; ")}`)"""


def violations(tab: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python")
    tab.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    return list(tab.evaluate(VIOLATIONS))


@pytest.mark.parametrize(("viewport", "theme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_axe_finds_nothing(
    viewport: dict[str, int], theme: str, chromium: Any, requires_system: Callable[..., Path], url: str
) -> None:
    from playwright.sync_api import expect

    pytest.importorskip("axe_playwright_python")
    browser = chromium(requires_system("chromium", "chromium"))
    context = browser.new_context(viewport=viewport, color_scheme=theme, reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(url)
    expect(tab.locator("#more")).to_be_disabled()
    tab.wait_for_function("() => document.querySelector('#code').value !== ''")
    assert violations(tab) == []
    tab.fill("[name=total_timesteps]", "300")
    tab.click("#run")
    expect(tab.locator("#train-status")).to_contain_text("Trained for", timeout=60_000)
    tab.click("#code-details summary")
    tab.click("text=All settings")
    tab.fill("#code", "lanesSide = ;")
    expect(tab.locator("#code-status")).to_contain_text("Unexpected token", timeout=60_000)
    tab.click("#score")
    expect(tab.locator("#score-status")).to_contain_text("500 runs in", timeout=120_000)
    assert violations(tab) == []
    tab.click("#tour-start")
    tab.wait_for_selector("#tour:not([hidden])")
    assert violations(tab) == []
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= viewport["width"]
    context.close()
