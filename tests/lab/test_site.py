"""The lab's page: its files, its server, and what a visitor does with it in Chromium."""

import base64
import io
import itertools
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agents.champions.registry import CHAMPIONS
from deeptraffic.evaluation.protocol import KNOWN_SCORES, evaluate_official, evaluate_seeds
from deeptraffic.lab import site
from deeptraffic.lab.atlas import draw_parts
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import read_policy
from deeptraffic.render.theme import DARK, LIGHT
from deeptraffic.sim.rules import RoadConfig

TOUR = ("input", "action", "reward", "exploration", "How good")


# --- files and server -------------------------------------------------------------------------------------------------


def test_colours_are_those_of_the_themes() -> None:
    css = site.theme_css()
    for theme in (DARK, LIGHT):
        assert "--edge-mark: rgb({} {} {});".format(*theme.edge_mark) in css


def test_the_page_names_only_files_that_the_site_has(files: dict[str, bytes]) -> None:
    sources = {name: content.decode() for name, content in files.items() if name.endswith((".html", ".js", ".css"))}
    named = {
        match
        for text in sources.values()
        for match in re.findall(r'(?:src|href)="([^"#]+)"|from "\./([^"]+)"|worker\("([^"]+)"\)', text)
        for match in match
        if match and match != "../"  # the site around it, where there is one
    }
    assert {"style.css", "theme.css", "engine.js", "drive.js", "facts.js"} <= named
    assert named <= files.keys()
    assert not [name for name, text in sources.items() if re.search(r"https?://(?!www\.w3\.org/)", text)]


def test_the_site_is_smaller_than_600_kb_without_the_champions(files: dict[str, bytes]) -> None:
    assert sum(len(content) for name, content in files.items() if not name.startswith("champions/")) < 600_000


def test_known_scores_are_those_of_the_package(files: dict[str, bytes]) -> None:
    facts = json.loads(files["facts.js"].decode().partition("=")[2].strip().rstrip(";"))
    known = {(name, other_agents): score for name, other_agents, score in facts["known"]}
    assert known.items() >= {(name, other_agents): score for name, other_agents, score in KNOWN_SCORES}.items()
    assert known["champion", 10] == CHAMPIONS["champion"].official_mph
    assert facts["champions"][0]["name"] == "champion-solo"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html; charset=utf-8"),
        ("main.js?x=1", "text/javascript; charset=utf-8"),
        ("engine.wasm", "application/wasm"),
        ("atlas-dark.png", "image/png"),
    ],
)
def test_files_are_served_with_their_types(path: str, kind: str, url: str, files: dict[str, bytes]) -> None:
    with urllib.request.urlopen(url + path) as answer:
        assert answer.headers["Content-Type"] == kind
        assert answer.read() == files[path.partition("?")[0] or "index.html"]


@pytest.mark.parametrize("path", ["none.js", "../site.py", "champions/../../build.py", "%2e%2e/site.py"])
def test_nothing_else_is_served(path: str, url: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(url + path)


def test_a_taken_port_is_an_error_that_names_the_option(run: Callable[..., Any], url: str) -> None:
    port = url.rstrip("/").rpartition(":")[2]
    answer = run("lab", "--no-browser", "--port", port)
    assert answer.code == 2
    assert re.search(rf"cannot listen at 127\.0\.0\.1, port {port}: .*; give another --port", answer.err)


def test_the_command_opens_the_browser_unless_told_not_to(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(site, "site_files", dict)
    monkeypatch.setattr(site.SiteServer, "serve_forever", lambda self: None)
    assert run("lab", "--port", "0", "--no-browser").code == 0 and opened == []
    answer = run("lab", "--port", "0")
    assert answer.code == 0 and len(opened) == 1 and opened[0] in answer.out


def test_a_folder_holds_the_whole_site_and_is_written_again(
    run: Callable[..., Any], tmp_path: Path, files: dict[str, bytes]
) -> None:
    for _ in range(2):
        assert run("lab", "-o", tmp_path / "site").code == 0
    written = {path for path in (tmp_path / "site").rglob("*") if path.is_file()}
    assert {path.relative_to(tmp_path / "site").as_posix(): path.read_bytes() for path in written} == files


def test_a_folder_of_something_else_is_left_alone(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    answer = run("lab", "-o", tmp_path)
    assert answer.code == 2 and "holds no lab; give a new folder" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# --- what a visitor does ----------------------------------------------------------------------------------------------


def canvas(tab: Any) -> str:
    return str(tab.evaluate("() => document.querySelector('canvas').toDataURL()"))


def test_a_champion_drives_at_once_and_can_be_stopped(page: Any, eventually: Any) -> None:
    eventually(page, "#frame", r"[1-9]\d+")
    assert page.input_value("#driver") == "champion-solo"
    eventually(page, "#speed", r"[678]\d")
    page.click("#pause")
    page.wait_for_timeout(200)
    frame, shown = int(page.inner_text("#frame").replace(",", "")), canvas(page)
    page.click("#step")
    eventually(page, "#frame", f"^{frame + 1:,}$")
    assert canvas(page) != shown
    page.fill("#seed", "7")
    page.click("#restart button")
    eventually(page, "#frame", "^0$")
    before = canvas(page)
    pictures = [before]
    for overlay in ("input", "safety", "map"):
        page.select_option("#overlay", overlay)
        page.wait_for_timeout(200)
        pictures.append(canvas(page))
    assert len(set(pictures)) == 4
    page.select_option("#overlay", "attention")
    page.fill("#seed", "3")
    page.click("#restart button")
    page.click("#pause")
    eventually(page, "#frame", r"[4-9]\d|\d\d\d")
    page.click("#pause")
    page.wait_for_timeout(200)
    lines = canvas(page)
    page.select_option("#overlay", "none")
    page.wait_for_timeout(200)
    assert canvas(page) != lines


def test_the_network_shows_its_values_and_what_a_unit_listens_to(page: Any, eventually: Any, until: Any) -> None:
    values = page.locator("#outputs .value")
    eventually(page, "#outputs .chosen .value", r"\d")
    assert page.locator("#outputs .chosen").count() == 1
    assert any(text != "ruled out" for text in values.all_inner_texts())
    page.click("#pause")
    eventually(page, "#unit", "^Point at a unit")
    page.hover("#outputs li:nth-child(2)")
    eventually(page, "#unit", r"^output “accelerate”: -?[\d.]+\. Largest weights: dense layer 4, unit \d+ \(")
    page.mouse.move(0, 0)
    page.focus("#layers-view")
    for key in ("ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    eventually(page, "#unit", r"^filter 2, 3 lanes left, row 1: .*Largest weights: 3 lanes left, 50 ahead ")
    page.select_option("#driver", "champion-ppo")  # the old values are not those of the new network
    until(page, lambda: values.all_inner_texts() == [""] * 5 and page.locator("#outputs .chosen").count() == 0)
    page.select_option("#driver", "idle")
    page.wait_for_selector("#network-none")
    assert page.is_hidden("#network-view")


def test_the_arrow_keys_drive(page: Any, eventually: Any) -> None:
    page.select_option("#driver", "keys")
    page.fill("#seed", "3")
    page.click("#restart button")
    page.focus("#road")
    page.select_option("#pace", "fast")
    page.focus("#road")
    page.keyboard.down("ArrowDown")
    eventually(page, "#speed", r"^[0-3]?\d$")
    assert page.is_disabled("#score")


def test_a_network_is_trained_saved_evaluated_and_opened(page: Any, tmp_path: Path, eventually: Any) -> None:
    page.select_option("#preset", "mit-basic")
    page.fill("[name=total_timesteps]", "2000")
    page.fill("[name=seed]", "1")
    page.click("#run")
    eventually(page, "#train-status", "^Trained for 2,000 decisions")
    assert page.input_value("#driver") == "trained"
    with page.expect_download() as download:
        page.click("#save")
    path = tmp_path / "network.safetensors"
    download.value.save_as(path)
    page.click("#score")
    status = eventually(page, "#score-status", "500 runs in")
    native = evaluate_official(read_policy(path).policy())
    assert f"score {native.score:.2f} mph, mean {native.mean_mph:.2f} mph" in status
    assert page.locator("#histogram rect").count() > 5
    assert page.inner_text("#known .yours td:last-child") == f"{native.score:.2f}"
    page.set_input_files("#file", path)
    eventually(page, "#driver option:checked", "^network.safetensors$")
    page.select_option("#driver", "champion-ppo")
    page.select_option("#rival", label="network.safetensors")
    eventually(page, "#gap-side", "network.safetensors$")
    page.select_option("#rival", "")
    page.click("#more")
    eventually(page, "#train-status", "^Trained for 4,000 decisions")


def test_idle_scores_its_official_score(page: Any, eventually: Any) -> None:
    page.select_option("#driver", "idle")
    page.click("#score")
    assert "idle, evaluated here: score 51.57 mph" in eventually(page, "#score-status", "500 runs in")


def test_impossible_settings_and_files_are_refused(page: Any, tmp_path: Path, eventually: Any) -> None:
    page.click("#settings summary")
    page.fill("[name=learning_steps_burnin]", "15000")
    page.click("#run")
    message = page.evaluate("() => document.querySelector('[name=learning_steps_burnin]').validationMessage")
    assert message == "This must be less than “exploration ends at”, 15000."
    assert page.inner_text("#train-status") == "Not trained yet."
    (tmp_path / "notes.safetensors").write_text("no policy file, but longer than eight bytes")
    page.set_input_files("#file", tmp_path / "notes.safetensors")
    eventually(page, "#message", "not a policy file")
    assert page.input_value("#driver") == "champion-solo"


def test_nothing_is_wider_than_the_window_and_every_control_has_a_name(page: Any) -> None:
    for summary in page.locator("summary").all():
        summary.click()
    page.select_option("#driver", "keys")
    page.click("#tour-start")
    nameless = """() => [...document.querySelectorAll("button, select, input, textarea")].filter((each) => {
      const named = each.getAttribute("aria-label") || each.textContent.trim() && each.tagName === "BUTTON";
      const labels = [...(each.labels ?? [])].filter((label) => label.getClientRects().length);
      return each.checkVisibility() && !named && labels.length === 0;
    }).map((each) => each.outerHTML)"""
    for width in (360, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        assert page.evaluate(nameless) == []


def test_no_task_of_the_main_thread_takes_50_ms_while_training(page: Any, eventually: Any) -> None:
    browser = page.context.browser
    page.fill("[name=total_timesteps]", "5000")
    browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline"])
    page.click("#run")
    eventually(page, "#train-status", "^Trained for 5,000 decisions")
    events = json.loads(browser.stop_tracing())["traceEvents"]
    named = [e for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"]
    main = {(e["pid"], e["tid"]) for e in named}
    ended = [e for e in events if e["name"] == "RunTask" and (e["pid"], e["tid"]) in main and "tdur" in e]
    # CPU time of this thread [us], whatever else the machine does
    assert len(ended) > 50 and max(e["tdur"] for e in ended) < 50_000


def test_it_opens_again_without_a_network(page: Any, eventually: Any) -> None:
    page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    page.context.set_offline(True)
    page.reload()
    eventually(page, "#frame", r"[1-9]\d+")
    page.context.set_offline(False)


@pytest.mark.slow
def test_a_drive_by_hand_is_counted_down_scored_and_ranked_and_then_a_ghost(page: Any, eventually: Any) -> None:
    page.select_option("#pace", "fast")
    page.select_option("#driver", "keys")
    counting = "['count', 'frame'].map((id) => document.getElementById(id).textContent)"
    page.wait_for_function(f"() => /^[123],0$/.test(String({counting}))")
    page.wait_for_selector("#card:not([hidden])", timeout=60_000)
    eventually(page, "#frame", "^2,000$")
    card, score = page.inner_text("#card"), page.inner_text("#card-score")
    native = evaluate_seeds(make_builtin("idle"), RoadConfig(), [site.FIRST_SEED])
    assert score == f"{native.run_scores[0]:.2f}"
    assert re.search(r"Place \d of 9: .*\(51\.57\)", card) and f"{native.run_passed[0]} cars passed" in card
    assert page.evaluate("() => document.activeElement.id") == "card-again"
    page.click("#card-own")
    assert page.is_hidden("#card") and page.input_value("#rival") == "own"
    eventually(page, "#gap-side", f"^ahead of your drive, {float(score):.1f} mph$")
    page.wait_for_selector("#card:not([hidden])", timeout=60_000)
    eventually(page, "#card-title", "^You won by 0 ft$")
    page.click("#card-watch")
    eventually(page, "#driver option:checked", "champion-solo")
    assert page.is_hidden("#gap") and page.is_hidden("#count")


def test_two_networks_race_on_one_seed(page: Any, eventually: Any) -> None:
    page.select_option("#pace", "fast")
    assert page.is_disabled('#rival option[value="champion"]')  # drives among ten copies
    page.fill("#seed", "4")
    page.select_option("#rival", "champion-ppo")
    eventually(page, "#gap-side", "champion-ppo$")
    page.wait_for_selector("#card:not([hidden])", timeout=60_000)
    scores = {}
    for name in ("champion-solo", "champion-ppo"):
        policy = read_policy(site.champion_files()[f"champions/{name}.safetensors"]).policy()
        scores[name] = evaluate_seeds(policy, RoadConfig(), [4]).run_scores[0]
    assert page.inner_text("#card-score") == f"{scores['champion-solo']:.2f}"
    assert f"champion-ppo: {scores['champion-ppo']:.2f} mph" in page.inner_text("#card-note")
    won = scores["champion-solo"] > scores["champion-ppo"]
    assert f"champion-solo {'won' if won else 'lost'} by" in page.inner_text("#card-title")
    page.select_option("#rival", "")
    eventually(page, "#frame", r"^(2,0[1-9]|2,[1-9]|[3-9],|\d\d,)")  # a run without a rival has no end
    page.select_option("#rival", "champion-pqn")
    page.select_option("#driver", "champion")
    page.wait_for_selector("#gap", state="hidden")
    assert page.input_value("#rival") == ""


@pytest.mark.slow
def test_a_gif_has_exact_delays_and_shows_the_road(page: Any, tmp_path: Path, eventually: Any) -> None:
    page.click(".look summary")
    with page.expect_download(timeout=60_000) as download:
        page.click("#film-gif")
    download.value.save_as(tmp_path / "film.gif")
    eventually(page, "#film-status", r"^deeptraffic\.gif: \d\.\d MB\.$")
    with Image.open(tmp_path / "film.gif") as film:
        pictures = []
        for k in range(film.n_frames):
            film.seek(k)
            assert film.info["duration"] == 50
            pictures.append(np.asarray(film.convert("RGB")))
    assert len(pictures) == 100 and all((a != b).any() for a, b in itertools.pairwise(pictures))
    surface = dict(draw_parts(LIGHT))["surface"][..., :3].reshape(-1, 3)
    colours, counts = np.unique(surface, axis=0, return_counts=True)
    lanes = colours[np.argsort(counts)[-2:]].astype(int)  # two shades of asphalt
    road = np.array(pictures)[:, 60:420, 70:182].astype(int)
    asphalt = (np.abs(road[..., None, :] - lanes).max(axis=-1) <= 1).any(axis=-1)
    assert asphalt.mean(axis=(1, 2)).min() > 0.5


def test_a_gif_of_few_colours_is_exact(page: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    colours = np.unique(random.integers(0, 256, (250, 3), np.uint8) & 0xF8, axis=0)
    pictures = colours[random.integers(0, len(colours), (4, 150, 130))]
    pictures[2, 40:] = pictures[1, 40:]
    pictures[3] = colours[0]  # long runs
    bytes_of = [np.dstack([each, np.full(each.shape[:2], 255, np.uint8)]).tobytes() for each in pictures]
    made = page.evaluate(
        """async ([pictures, width, height]) => {
          const { GifEncoder } = await import("./gif.js");
          const encoder = new GifEncoder(width, height, 7);
          for (const text of pictures) encoder.add(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
          return [...encoder.finish()];
        }""",
        [[base64.b64encode(each).decode() for each in bytes_of], 130, 150],
    )
    (tmp_path / "made.gif").write_bytes(bytes(made))
    with Image.open(tmp_path / "made.gif") as film:
        assert film.n_frames == 4
        for k, picture in enumerate(pictures):
            film.seek(k)
            assert film.info["duration"] == 70
            np.testing.assert_array_equal(np.asarray(film.convert("RGB")), picture)


@pytest.mark.slow
def test_a_video_is_recorded(page: Any, tmp_path: Path) -> None:
    page.click(".look summary")
    with page.expect_download(timeout=60_000) as download:
        page.click("#film-video")
    download.value.save_as(tmp_path / "film.webm")
    content = (tmp_path / "film.webm").read_bytes()
    assert content[:4] == b"\x1aE\xdf\xa3" and b"webm" in content[:64] and len(content) > 50_000


def test_trail_and_car_are_the_drivers_own(page: Any, tmp_path: Path, eventually: Any, save: Any) -> None:
    page.click("#pause")
    page.click(".look summary")
    page.wait_for_timeout(200)
    pictures = [canvas(page)]
    page.select_option("#trail", "aqua")
    pictures.append(canvas(page))
    car = tmp_path / "car.png"
    Image.new("RGBA", (268, 586), (20, 160, 80, 255)).save(car)
    page.set_input_files("#car", car)
    page.wait_for_function("() => !document.querySelector('#car-reset').disabled")
    pictures.append(canvas(page))
    page.click("#car-reset")
    pictures.append(canvas(page))
    assert len(set(pictures)) == 3 and pictures[3] == pictures[1]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[2].partition(",")[2]))).convert("RGB"))
    assert (shown == (20, 160, 80)).all(axis=2).sum() > 300
    (tmp_path / "notes.png").write_text("no image")
    Image.new("RGBA", (100, 200)).save(tmp_path / "clear.png")
    Image.new("RGB", (4, 9)).save(tmp_path / "tiny.png")
    (tmp_path / "car.svg").write_text("<svg/>")
    for name, reason in {
        "notes.png": "cannot be read as an image",
        "clear.png": "hardly anything can be seen",
        "tiny.png": "must have sides of 8 to 8192 pixels, not 4 x 9",
        "car.svg": "is no PNG, JPEG or WebP image",
    }.items():
        page.set_input_files("#car", tmp_path / name)
        eventually(page, "#message", reason)
    assert canvas(page) == pictures[1]


@pytest.mark.slow
def test_the_tour_ends_with_a_car_that_passes_and_needs_no_mouse(page: Any, eventually: Any) -> None:
    assert page.get_attribute("#tour-start", "class") == "main"
    page.focus("#tour-start")
    page.keyboard.press("Enter")
    titles = []
    for step in range(1, 6):
        eventually(page, "#tour-count", f"^{step} of 5$")
        titles.append(page.inner_text("#tour-title"))
        assert page.locator(".lit").count() == 1
        if step > 3:
            page.keyboard.press("Enter")
            eventually(page, "#tour-result", {4: "^Trained on 20,000 decisions", 5: r"^\d\d\.\d\d mph"}[step])
        if step == 1:
            assert page.input_value("#overlay") == "input"
        page.wait_for_function("() => document.activeElement.id === 'tour-next'")
        if step < 5:
            page.keyboard.press("Enter")
    assert [re.search(word, title) is not None for word, title in zip(TOUR, titles, strict=True)] == [True] * 5
    assert float(page.inner_text("#tour-result").partition(" ")[0]) > 65
    page.keyboard.press("Escape")
    assert page.is_hidden("#tour") and page.locator(".lit").count() == 0
    assert page.evaluate("() => document.activeElement.id") == "tour-start"
    assert page.input_value("#driver") == "trained"
    page.reload()
    eventually(page, "#frame", r"[1-9]")
    assert not page.get_attribute("#tour-start", "class")
