"""The original page's code text in the lab's page: the form follows it, it follows the form, and its networks drive."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.champions.registry import CHAMPIONS
from agents.champions.registry import FOLDER as CHAMPIONS_FOLDER
from agents.registry import ALGORITHMS
from agents.settings import build_config
from deeptraffic.policies.convnetjs.read import read_convnetjs
from deeptraffic.policies.file import read_policy

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CASES: dict[str, float] = json.loads((GOLDEN / "submissions" / "scores.json").read_text("utf-8"))
# The module of the page that reads code, and the file that its worker makes of it.
READ = """async (text) => {
  const { readCode } = await import("./original.js");
  try {
    const found = await readCode(text);
    return { found: { ...found, weights: await found.weights?.text() ?? null } };
  } catch (error) {
    return { error: error.message };
  }
}"""


@pytest.fixture(scope="module")
def files(files: dict[str, bytes]) -> dict[str, bytes]:
    """The page, which lets code run for 3 s instead of 10."""
    assert b"MOST_MS = 10_000;" in files["original.js"]
    return {**files, "original.js": files["original.js"].replace(b"MOST_MS = 10_000;", b"MOST_MS = 3000;")}


@pytest.fixture
def page(page: Any) -> Any:
    """The page without motion, with code and settings shown."""
    page.click("#pause")
    page.click("#code-details summary")
    page.click("text=All settings")
    page.wait_for_function("() => document.querySelector('#code').value !== ''")
    return page


def has_value(tab: Any, selector: str, pattern: str) -> None:
    from playwright.sync_api import expect

    expect(tab.locator(selector)).to_have_value(re.compile(pattern, re.DOTALL), timeout=30_000)


def trained_settings(preset: str | None) -> dict[str, Any]:
    config = build_config("deepqlearn", preset)
    return {**vars(config.agent), **config.observation.sensor._asdict(), "total_timesteps": config.total_timesteps}


def test_the_code_of_a_preset_says_its_settings(page: Any) -> None:
    assert trained_settings(None) == trained_settings("mit-basic")
    before = ""
    for preset in ALGORITHMS["deepqlearn"].presets:
        page.select_option("#preset", preset)
        page.wait_for_function("(before) => document.querySelector('#code').value !== before", arg=before)
        before, expected = page.input_value("#code"), trained_settings(preset)
        has_value(page, "#code", f"trainIterations = {expected['total_timesteps']};")
        found = page.evaluate(READ, before)["found"]
        assert found["cannotLearn"] == "" and found["weights"] is None and found["driving"]["epsilon"] == 0
        for name, value in expected.items():
            if name in found["learning"]:
                as_read = found["learning"][name]
                assert (as_read, name) == ([list(each) for each in value] if name == "layers" else value, name)
        assert found["learning"].keys() >= {"gamma", "l1_decay", "experience_size", "temporal_window", "other_agents"}


def test_form_and_code_follow_each_other_and_the_rest_of_the_code_stays(page: Any) -> None:
    page.fill(
        "#code", page.input_value("#code").replace("lanesSide =", "// mine, by hand\nvar k = 2;\nlanesSide = k;//")
    )
    has_value(page, "[name=lanes_side]", "^2$")
    has_value(page, "#preset", "^$")
    page.fill("[name=gamma]", "0.93")
    page.fill("[name=l2_decay]", "0.25")
    page.fill("[name=temporal_window]", "1")
    page.click("#add-layer")
    has_value(
        page, "#code", r"// mine, by hand.*temporal_window = 1;.*num_neurons: 10,.*l2_decay: 0\.25.*gamma = 0\.93;"
    )
    page.fill("[name=lanes_side]", "3")  # has a line of its own, which the code computes: it is replaced
    has_value(page, "#code", r"lanesSide = 3;")
    found = page.evaluate(READ, page.input_value("#code"))["found"]["learning"]
    assert (found["lanes_side"], found["gamma"], found["l2_decay"]) == (3, 0.93, 0.25)
    assert found["layers"][-1] == [10, "relu"]


WRONG = {
    "lanesSide = 1;\npatchesAhead = ;\n": "line 2: SyntaxError: Unexpected token ';'",
    "lanesSide = 1;\n\nnothing.here = 2;": "line 3: ReferenceError: nothing is not defined",
    "lanesSide = 1;": "there is no brain = new deepqlearn.Brain",
    "while (true) {}": "the code runs longer than 3 s",
}


def test_what_is_wrong_with_code_is_said_with_its_line(page: Any, eventually: Any) -> None:
    before = page.input_value("[name=lanes_side]")
    for code, reason in WRONG.items():
        page.fill("#code", code)
        eventually(page, "#code-status.wrong", re.escape(reason))
    assert page.input_value("[name=lanes_side]") == before


def test_training_takes_the_code_that_was_just_typed(page: Any, eventually: Any) -> None:
    page.select_option("#preset", "mit-basic")
    page.fill("[name=total_timesteps]", "300")
    has_value(page, "#code", "trainIterations = 300;")
    page.fill("#code", page.input_value("#code").replace("trainIterations = 300", "trainIterations = 100 + 50"))
    page.click("#run")
    eventually(page, "#train-status", "^Trained for 150 decisions")
    page.fill("#code", "lanesSide = ;")
    page.click("#run")
    eventually(page, "#code-status.wrong", "Unexpected token")
    assert page.inner_text("#train-status").startswith("Trained for 150 decisions")
    assert page.evaluate("() => document.activeElement.id") == "code"


REFUSED = [
    ("lanesSide = 1", "lanesSide = 70", "lanesSide must be an integer in"),
    ("otherAgents = 0", "otherAgents = 'many'", 'otherAgents must be an integer in [0, 10], got "many"'),
    ("return action", "return 2", "learn(...) must answer with brain.forward(state)"),
    ("brain.forward(state)", "brain.forward(state.slice())", "learn(...) must answer with brain.forward(state)"),
    ("return action", "return nowhere", "learn(...) fails: nowhere is not defined"),
    ("num_actions = 5", "num_actions = 4", "num_actions must be 5"),
]


def test_code_that_the_game_could_not_score_is_refused(still: Any) -> None:
    text = (GOLDEN / "submissions" / "plain.js").read_text("utf-8")
    for old, new, reason in REFUSED:
        assert old in text
        assert reason in still.evaluate(READ, text.replace(old, new))["error"], new


def test_settings_that_the_learner_lacks_are_named_and_the_network_drives_still(still: Any) -> None:
    text = (GOLDEN / "submissions" / "plain.js").read_text("utf-8")
    found = still.evaluate(READ, text.replace("learning_rate:", "method: 'adadelta', learning_rate:"))["found"]
    assert found["learning"] is None and "method must be sgd" in found["cannotLearn"]
    assert found["weights"].startswith('{"layers":[')


def test_code_reaches_nothing_of_the_page_or_the_network(still: Any) -> None:
    """Whatever it tries, it fails before its answer; the page's own requests and errors are checked by the fixture."""
    reached = """
      var found = [self.origin];
      try { importScripts("facts.js"); found.push("script"); } catch (error) { found.push(error.name); }
      try { indexedDB.open("lab"); found.push("storage"); } catch (error) { found.push(error.name); }
      try { new Function("return 1")(); found.push("eval"); } catch (error) { found.push(error.name); }
      fetch("./facts.js").then(() => found.push("fetched"), () => found.push("refused")).then(() =>
        postMessage([found.join(" ")]));
      function conclude() {} throw_away = 1;
    """
    answer = still.evaluate(
        """async ([code]) => {
          const text = await (await fetch("sandbox.js")).text();
          const { FACTS } = await import("./facts.js");
          const frame = document.createElement("iframe");
          frame.setAttribute("sandbox", "allow-scripts");
          const policy = `default-src 'none'; script-src '${FACTS.sandbox}' blob:; worker-src blob:`;
          frame.srcdoc = `<meta http-equiv="Content-Security-Policy" content="${policy}"><script>${text}</script>`;
          return await new Promise((resolve) => {
            addEventListener("message", ({ data }) => {
              if (data.length === 0) frame.contentWindow.postMessage(new Blob([code]), "*"); else resolve(data[0]);
            });
            document.body.append(frame);
          });
        }""",
        [reached],
    )
    origin, *others = answer.split()
    assert origin == "null" and "refused" in others
    assert not {"script", "storage", "eval", "fetched"} & {*others}


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def driving_file(page: Any, eventually: Any) -> Callable[[Path], bytes]:
    """Give a function that opens a file, and returns its network as the page has made it a policy file."""

    def open_file(path: Path) -> bytes:
        page.set_input_files("#file", path)
        eventually(page, "#driver option:checked", f"^{re.escape(path.name)}$")
        content = page.evaluate("""async () => {
          const { files } = await import("./driving.js");
          const reader = new FileReader();
          reader.readAsDataURL(new Blob([files[document.querySelector("#driver").value]]));
          return new Promise((resolve) => { reader.onload = () => resolve(reader.result); });
        }""")
        return b64decode(content.partition(",")[2])

    return open_file


@pytest.mark.slow
def test_every_kind_of_file_drives_as_the_package_reads_it(page: Any, tmp_path: Path, driving_file: Any) -> None:
    for name in CASES:
        source = GOLDEN / "submissions" / name
        path = tmp_path / "read.safetensors"
        path.write_bytes(driving_file(source))
        found, expected = read_policy(path), read_convnetjs(source.read_text("utf-8"), name)
        assert found.manifest.observation.sensor == expected.sensor
        assert found.manifest.observation.temporal_window == expected.temporal_window
        assert (found.manifest.epsilon, found.manifest.other_agents) == (expected.epsilon, expected.other_agents)
        assert found.network.layers == expected.network.layers
        for tensor, values in expected.network.tensors.items():
            assert np.array_equal(found.network.tensors[tensor], values)
        assert "fromJSON" not in page.input_value("#code")
        assert page.inner_text("#message") == ""


def test_a_file_opened_before_the_form_is_shown_drives(page: Any, url: str, eventually: Any) -> None:
    tab = page.context.browser.new_context(service_workers="block").new_page()
    late: list[Any] = []
    tab.route("**/train.js", lambda route: late.append(route))
    tab.goto(url)
    eventually(tab, "#frame", "[1-9]")
    tab.set_input_files("#file", GOLDEN / "submissions" / "plain.js")
    assert tab.is_disabled("#run")
    tab.click("#save-code")
    while not late:
        tab.wait_for_timeout(50)
    late[0].continue_()
    tab.wait_for_selector("#driver option:text-is('plain.js')", state="attached", timeout=60_000)
    assert tab.is_enabled("#run") and tab.inner_text("#message") == ""
    tab.context.close()


def test_a_pasted_file_drives_and_its_settings_are_in_the_form(page: Any, eventually: Any) -> None:
    page.fill("#code", (GOLDEN / "submissions" / "two_weight_blocks.js").read_text("utf-8"))
    eventually(page, "#driver option:checked", "^pasted code$")
    assert "fromJSON" not in page.input_value("#code") and "lanesSide = 1;" in page.input_value("#code")
    assert (page.input_value("[name=patches_ahead]"), page.input_value("[name=patches_behind]")) == ("10", "0")


def test_an_exported_network_opens_and_drives_alike(run: Any, page: Any, tmp_path: Path, driving_file: Any) -> None:
    champion = CHAMPIONS_FOLDER / CHAMPIONS["champion-ppo"].file
    assert run("export", champion, "--original", tmp_path / "exported.js", "--no-check").code == 0
    path = tmp_path / "opened.safetensors"
    path.write_bytes(driving_file(tmp_path / "exported.js"))
    expected = read_convnetjs((tmp_path / "exported.js").read_text("utf-8"), "exported.js").network.tensors
    found = read_policy(path).network.tensors
    assert found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in expected)
