"""PQN in the WebAssembly module against the native learner, whose sums are added in another order."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.algorithms.pqn.compiled import CompiledPQN
from agents.compiled.rollout import ACTIONS, collect
from agents.settings import build_config
from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.policies.file import read_policy

ROUNDS = 10
ROUNDING = 2e-6  # of outputs of a new network; measured: at most 6e-7
# Of weights after 10 rounds, up to 320 gradient steps; measured: at most 4e-6, while weights moved by 0.02 and more.
DRIFT = 5e-5
SETTINGS: list[dict[str, Any]] = [
    {"seed": 1},
    {
        "seed": 999_000_000,
        "hidden": [37, 10],
        "activation": "tanh",
        "layer_norm": False,
        "num_envs": 37,
        "other_agents": 2,
    },
    {
        "seed": 3,
        "kind": "vector",
        "lanes_side": 2,
        "patches_ahead": 20,
        "patches_behind": 5,
        "hidden": [],
        "n_steps": 5,
    },
    {"seed": 4, "rules": 2017, "hidden": [16], "batch_size": 64, "max_steps": 9, "n_epochs": 1},
]


def native(settings: dict[str, Any]) -> CompiledPQN:
    planned = {"total_timesteps": 40_000, **settings}
    dtype = {"dtype": "float32"} if settings.get("kind") == "vector" else {}
    return CompiledPQN(build_config("pqn", "fast", settings={**planned, **dtype}))


def decode(text: str, like: np.ndarray) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), like.dtype).reshape(like.shape)


@pytest.mark.parametrize("settings", SETTINGS)
def test_pqn_plays_the_native_rollouts_and_learns_the_native_weights(settings: dict[str, Any], ask: Any) -> None:
    found = ask("pqn", settings={"total_timesteps": 40_000, **settings}, rounds=ROUNDS)
    learner = native(settings)
    net, rollout = learner.model.dense, learner.rollout
    begun = net.params.copy()
    np.testing.assert_array_equal(decode(found["begun"]["layers"], net.layers), net.layers)
    np.testing.assert_array_equal(decode(found["begun"]["params"], begun), begun)
    collect(learner.envs, learner.model, rollout, learner.agent.exploration_initial_eps)
    equal: dict[str, Any] = {
        "seen": rollout.obs,
        "actions": rollout.actions,
        "mit": rollout.mit,
        "vehicles": rollout.passed,
    }
    equal["ended"] = rollout.ended
    for name, array in equal.items():
        np.testing.assert_array_equal(decode(found["first"][name], array), array, err_msg=name)
    for name in ("outputs", "values", "end_values"):
        array = getattr(rollout, name)
        np.testing.assert_allclose(decode(found["first"][name], array), array, rtol=0, atol=ROUNDING, err_msg=name)

    learner = native(settings)
    net, rollout = learner.model.dense, learner.rollout
    learner.learn(ROUNDS * rollout.actions.size, lambda: None)
    weights = decode(found["params"], net.params)
    np.testing.assert_allclose(weights, net.params, rtol=0, atol=DRIFT)
    moved = np.abs(net.params - begun)[:-ACTIONS]  # without the last biases, to which the mean value was added
    assert moved.max() > 200 * DRIFT
    np.testing.assert_array_equal(decode(found["actions"], rollout.actions), rollout.actions)
    assert found["decisions"] == learner.decisions == ROUNDS * rollout.actions.size
    assert found["mph"] == pytest.approx(learner.metrics()["train_mph"], abs=1e-5)

    network, expected = read_policy(base64.b64decode(found["file"])).network, learner.policy("pqn", {}).network  # type: ignore[attr-defined]
    assert network.layers == expected.layers and network.tensors.keys() == expected.tensors.keys()
    for name, tensor in network.tensors.items():
        np.testing.assert_allclose(tensor, expected.tensors[name], rtol=0, atol=DRIFT, err_msg=name)


def test_a_saved_pqn_goes_on_as_if_nothing_had_happened(ask: Any) -> None:
    settings = {"seed": 2, "total_timesteps": 6_000}
    halves = ask("train", preset="pqn-quick", settings=settings, decisions=3_000, rest=3_000)
    whole = ask("train", preset="pqn-quick", settings=settings, decisions=6_000)
    assert halves["params"] == whole["params"]
    beyond = ask("train", preset="pqn-quick", settings=settings, decisions=6_000, rest=3_000)
    assert beyond["params"] != whole["params"]


def test_a_pqn_network_of_the_module_scores_the_same_by_the_command_line(
    ask: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    found = ask("train", preset="pqn-quick", settings={"seed": 3, "total_timesteps": 30_000}, decisions=30_000)
    content = base64.b64decode(found["file"])
    path = tmp_path / "trained.safetensors"
    path.write_bytes(content)
    outcome = run("evaluate", path, "--json")
    assert outcome.code == 0, outcome.err
    score = json.loads(outcome.out)
    assert ask("evaluate", policy=found["file"])["scores"] == score["run_scores"]


def test_weights_without_bounds_are_reported(ask: Any) -> None:
    with pytest.raises(AssertionError, match="grew beyond all bounds; lower the learning rate"):
        ask("train", preset="pqn-quick", settings={"learning_rate": 1e38, "layer_norm": False}, decisions=10_000)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_a_visitor_trains_pqn_above_65_mph_and_the_package_scores_it_the_same(
    page: Any, tmp_path: Path, eventually: Any, save: Any
) -> None:
    page.select_option("#learner", "pqn")
    assert page.input_value("#preset") == "pqn-quick" and not page.is_visible("#code-details")
    page.click("#run")
    eventually(page, "#train-status", "^Trained for 100,352 decisions")
    assert page.is_visible("#speed-chart .curve") and page.is_visible("#loss-chart .curve")
    assert page.input_value("#driver") == "trained" and not page.is_visible("#save-code")
    page.click("#score")
    status = eventually(page, "#score-status", "500 runs in")
    score = evaluate_official(read_policy(save(page, "#save", tmp_path / "pqn.safetensors")).policy()).score
    assert score > 65 and f"score {score:.2f} mph" in status
    page.select_option("#learner", "deepqlearn")
    assert page.is_visible("#code-details") and page.is_visible("#save-code")
    assert page.is_enabled("[name=momentum]", timeout=1000)


def test_pqn_stops_goes_on_and_survives_a_reload(
    page: Any, tmp_path: Path, eventually: Any, train: Any, save: Any, weights_of: Any
) -> None:
    train(page, 60_000, "pqn-quick")
    eventually(page, "#train-status", r"^[\d,]+ of 60,000 decisions")
    page.click("#stop")
    stopped = eventually(page, "#train-status", r"^Stopped after [\d,]+ decisions")
    done = stopped.split("after ")[1].split(" ")[0]
    page.wait_for_function(
        """async (done) => {
          const { kept } = await import("./store.js");
          return (await kept("learner"))?.done === done && (await kept("page"))?.settings.algo === "pqn";
        }""",
        arg=int(done.replace(",", "")),
    )
    page.reload()
    eventually(page, "#train-status", f"^Kept: a network trained for {done} decisions.*train on")
    assert page.input_value("#learner") == "pqn" and page.input_value("[name=total_timesteps]") == "60000"
    page.click("#more")
    eventually(page, "#train-status", "^Trained for 60,416 decisions")
    interrupted = save(page, "#save", tmp_path / "interrupted.safetensors")
    train(page, 60_000, "pqn-quick")
    eventually(page, "#train-status", "^Trained for 60,416 decisions")
    whole = save(page, "#save", tmp_path / "whole.safetensors")
    assert all(map(np.array_equal, weights_of(interrupted), weights_of(whole)))


def test_a_saved_lab_and_a_link_hold_pqn(page: Any, tmp_path: Path, eventually: Any, train: Any, save: Any) -> None:
    page.click("text=All settings")
    train(page, 20_000, "pqn-quick")
    eventually(page, "#train-status", "^Trained for 20,480 decisions")
    everything = save(page, "#save-all", tmp_path / "deeptraffic.lab")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.select_option("[name=layer_norm]", "false")
    page.fill("#layers li:nth-child(2) input", "20")
    assert page.input_value("#preset") == ""
    page.click("#share")
    eventually(page, "#share-status", "^Copied a link with the settings")
    link = page.evaluate("() => navigator.clipboard.readText()")
    page.select_option("#preset", "mit-basic")
    page.set_input_files("#file", everything)
    eventually(page, "#train-status", "^Kept: a network trained for 20,480 decisions")
    assert page.input_value("#learner") == "pqn" and page.input_value("[name=layer_norm]") == "true"
    page.goto(link)
    page.wait_for_function("() => document.querySelector('[name=layer_norm]')?.value === 'false'")
    assert page.input_value("#layers li:nth-child(2) input") == "20"
    page.click("#run")
    eventually(page, "#train-status", "^Trained for 20,480 decisions")


def test_impossible_settings_of_pqn_are_refused_with_the_reason(page: Any) -> None:
    page.select_option("#learner", "pqn")
    page.click("text=All settings")
    reason = "(name) => document.querySelector(`[name=${name}]`).validationMessage"
    page.fill("[name=n_steps]", "1000")
    assert page.evaluate(reason, "num_envs").endswith("a round of 128000; at most 65536 fit.")
    page.fill("[name=n_steps]", "1")
    page.fill("[name=batch_size]", "129")
    assert page.evaluate(reason, "batch_size") == "A batch must not be larger than a round of 128 decisions."
    page.click("#run")
    assert page.inner_text("#train-status") == "Not trained yet."
