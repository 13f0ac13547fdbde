"""What outlives the lab's page: training and settings in the browser, files of them, and links."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.policies.convnetjs.read import read_convnetjs
from deeptraffic.policies.lab_file import read_lab_file

KEPT = """async ([name, field]) => {
  const { kept } = await import("./store.js");
  return (await kept(name))?.[field] ?? null;
}"""


@pytest.mark.slow
def test_a_training_that_a_reload_interrupts_ends_as_if_nothing_had_happened(
    page: Any, tmp_path: Path, eventually: Any, until: Any, train: Any, save: Any, weights_of: Any
) -> None:
    train(page, 100_000)
    until(page, lambda: (page.evaluate(KEPT, ["learner", "done"]) or 0) > 0)
    page.reload()
    status = eventually(page, "#train-status", r"^Kept: a network trained for [\d,]+ decisions")
    done = int(status.split("for ")[1].split(" ")[0].replace(",", ""))
    assert 0 < done < 100_000 and page.is_visible("#speed-chart .curve")
    assert page.input_value("[name=total_timesteps]") == "100000"
    page.click("#more")
    eventually(page, "#train-status", "^Trained for 100,000 decisions")
    interrupted = save(page, "#save", tmp_path / "interrupted.safetensors")
    train(page, 100_000)
    eventually(page, "#train-status", "^Trained for 100,000 decisions")
    whole = save(page, "#save", tmp_path / "whole.safetensors")
    assert all(map(np.array_equal, weights_of(interrupted), weights_of(whole)))


def test_settings_and_code_survive_a_reload(page: Any, until: Any) -> None:
    page.click("#code-details summary")
    page.click("text=All settings")
    until(page, lambda: page.input_value("#code") != "")
    page.fill("#code", "// by hand\n" + page.input_value("#code"))
    page.fill("[name=gamma]", "0.81")
    until(page, lambda: "gamma = 0.81;" in page.input_value("#code"))
    page.reload()
    until(page, lambda: re.match(r"(?s)// by hand.*gamma = 0\.81;", page.input_value("#code")) is not None)
    assert page.input_value("[name=gamma]") == "0.81"
    assert page.evaluate("() => document.cookie") == ""


def test_scores_survive_a_reload_and_a_network_another_version_of_the_page(
    page: Any, eventually: Any, until: Any, train: Any
) -> None:
    train(page, 600)
    eventually(page, "#train-status", "^Trained for 600 decisions")
    page.click("#score")
    eventually(page, "#score-status", "500 runs in")
    score = page.inner_text("#known .yours td:last-child")
    until(page, lambda: page.evaluate(KEPT, ["learner", "done"]) == 600)
    page.evaluate("""async () => {
      const { keep, kept } = await import("./store.js");
      await keep("learner", { ...await kept("learner"), digest: "of another version" });
    }""")
    page.reload()
    eventually(page, "#train-status", "trained for 600 decisions.*train anew: its training was made by another version")
    assert page.inner_text("#known .yours td:last-child") == score
    assert page.is_disabled("#more") and page.is_enabled("#save")
    page.select_option("#driver", "trained")
    eventually(page, "#scored-name", "^your network$")
    train(page, 300)
    eventually(page, "#train-status", "^Trained for 300 decisions")
    assert page.is_enabled("#more")


def test_the_saved_code_is_scored_by_the_package_as_by_the_page(
    page: Any, tmp_path: Path, eventually: Any, until: Any, save: Any
) -> None:
    page.select_option("#preset", "mit-basic")
    page.fill("[name=total_timesteps]", "2000")
    until(page, lambda: "trainIterations = 2000;" in page.input_value("#code"))
    page.click("#code-details summary")
    page.fill("#code", page.input_value("#code").replace("test_time = 0.0", "test_time = 0.3"))
    page.click("#run")
    eventually(page, "#train-status", "^Trained for 2,000 decisions")
    text = save(page, "#save-code", tmp_path / "deeptraffic.js").read_text("utf-8")
    file = read_convnetjs(text, "page")
    policy = file.policy()
    assert file.epsilon == 0.3
    page.click("#score")
    status = eventually(page, "#score-status", "500 runs in")
    assert f"score {evaluate_official(policy).score:.2f} mph" in status
    page.fill("[name=seed]", "4")  # a network of these inputs and layers still
    page.select_option("#preset", "mit-default")
    text = save(page, "#save-code", tmp_path / "other.js").read_text("utf-8")
    assert "fromJSON" not in text and "temporal_window = 3" in text


@pytest.mark.slow
def test_a_saved_lab_goes_on_in_another_browser(
    page: Any, tmp_path: Path, eventually: Any, train: Any, save: Any, weights_of: Any
) -> None:
    train(page, 3000)
    eventually(page, "#train-status", "^Trained for 3,000 decisions")
    everything = save(page, "#save-all", tmp_path / "deeptraffic.lab")
    network = weights_of(save(page, "#save", tmp_path / "network.safetensors"))
    assert all(map(np.array_equal, read_lab_file(everything).network.tensors.values(), network))
    page.click("#more")
    eventually(page, "#train-status", "^Trained for 6,000 decisions")
    expected = weights_of(save(page, "#save", tmp_path / "here.safetensors"))
    other = page.context.browser.new_context(accept_downloads=True)
    tab = other.new_page()
    tab.goto(page.url)
    eventually(tab, "#frame", r"[1-9]")
    tab.set_input_files("#file", everything)
    eventually(tab, "#train-status", "^Kept: a network trained for 3,000 decisions")
    assert tab.input_value("[name=seed]") == "3" and tab.input_value("#preset") == ""
    tab.reload()
    eventually(tab, "#train-status", "^Kept: a network trained for 3,000 decisions")
    tab.click("#more")
    eventually(tab, "#train-status", "^Trained for 6,000 decisions")
    found = weights_of(save(tab, "#save", tmp_path / "there.safetensors"))
    assert all(map(np.array_equal, found, expected))
    content = everything.read_bytes()
    for damaged in (content[: len(content) // 2], b"nothing"):
        (tmp_path / "damaged.lab").write_bytes(damaged)
        tab.set_input_files("#file", tmp_path / "damaged.lab")
        eventually(tab, "#message", "damaged.lab: (the file breaks off|this is no file of the lab)")
    tab.click("#more")  # nothing was lost
    eventually(tab, "#train-status", "^Trained for 9,000 decisions")
    other.close()


@pytest.mark.parametrize(("preset", "fits"), [("mit-basic", True), ("lab", False)])
def test_a_link_holds_the_settings_and_a_small_network(
    preset: str, fits: bool, page: Any, tmp_path: Path, eventually: Any, until: Any, train: Any, save: Any
) -> None:
    train(page, 600, preset)
    eventually(page, "#train-status", "^Trained for 600 decisions")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#share")
    status = eventually(page, "#share-status", "^Copied a link with")
    assert ("too large for a link, so send its file" in status) != fits
    link = page.evaluate("() => navigator.clipboard.readText()")
    assert len(link) <= 16_000
    path = save(page, "#save", tmp_path / "here.safetensors")
    other = page.context.browser.new_context()
    tab = other.new_page()
    tab.goto(link)
    until(tab, lambda: tab.input_value("[name=total_timesteps]") == "600")
    assert tab.input_value("[name=seed]") == "3" and "#" not in tab.url
    if fits:
        eventually(tab, "#driver option:checked", "^network of the link$")
        content = tab.evaluate("""async () => {
          const { chosen, files } = await import("./driving.js");
          return [...files[chosen]];
        }""")
        assert bytes(content) == path.read_bytes()
    tab.goto(f"{page.url}#settings=broken")
    eventually(tab, "#message", "^the link is damaged: a part of it is missing$")
    other.close()
