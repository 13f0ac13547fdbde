"""Policy files of other observations than a sensor's cells: read strictly, and run as any other policy."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.observations import make_observation
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol, evaluate_official, evaluate_open
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.policies.base import EnvObservation
from deeptraffic.policies.file import PolicyFile, pack_policy, policy_content, read_policy
from deeptraffic.policies.inspection import first_layer
from deeptraffic.policies.layers import Conv2d, Dense, Flatten, Relu, Reshape
from deeptraffic.policies.manifest import manifest_schema, read_manifest, write_manifest
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import RULES_2018

SMALL = {"kind": "pixels", "height": 20, "width": 16, "grey": True, "temporal_window": 1}


def file_of(observation: Any, **changes: Any) -> PolicyFile:
    """A random linear policy on an observation."""
    seen = make_observation(observation).by_name(RULES_2018)
    weight = np.random.default_rng(2).normal(0.0, 1.0, (5, seen.size)).astype(np.float32)
    weight -= weight.mean(1, keepdims=True)  # so that what moves decides, not the mean brightness
    network = Network(seen.size, (Dense(outputs=5, bias=False),), {"1.weight": weight})
    return pack_policy(network, EnvObservation(**(vars(seen) | changes)), "eye")


def record(**changes: Any) -> str:
    """The text of a manifest with changes of its observation."""
    manifest = json.loads(write_manifest(file_of(SMALL).manifest))
    manifest["observation"] |= changes
    return json.dumps(manifest)


def test_a_file_says_the_kind_the_options_and_the_size() -> None:
    policy_file = read_policy(policy_content(file_of(SMALL)))
    options = {"height": 20, "width": 16, "grey": True, "temporal_window": 1}
    assert policy_file.manifest.to_json()["observation"] == {
        "kind": "pixels", "options": options, "size": 640, "temporal_window": 0,
    }  # fmt: skip
    assert policy_file.policy().observation == EnvObservation("pixels", options, 640)
    assert policy_file.manifest.access == policy_file.policy().access == "open"
    assert policy_content(policy_file) == policy_content(read_policy(policy_content(policy_file)))
    jsonschema.validate(json.loads(record()), manifest_schema())
    with pytest.raises(ValueError, match="no sensor's cells"):
        first_layer(policy_file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "Pixels"}, "observation.kind must be printable|observation.kind"),
        ({"kind": "p" * 33}, "observation.kind must be a string of 1 to 32"),
        ({"options": []}, "observation.options must be an object of at most 32 options"),
        ({"options": {f"a_{chr(97 + k % 26)}{chr(97 + k // 26)}": 1 for k in range(33)}}, "at most 32 options"),
        ({"options": {"a" * 33: 1}}, "an option's name must be 1 to 32 small letters"),
        ({"options": {"grey": None}}, "observation.options.grey must be a number"),
        ({"options": {"grey": [1]}}, "observation.options.grey must be a number"),
        ({"options": {"style": "x" * 33}}, "observation.options.style must be a string of 0 to 32"),
        ({"options": {"style": "\u202e"}}, "observation.options.style must be printable"),
        ({"size": 0}, r"observation.size must be an integer in \[1, 1048576\]"),
        ({"size": 2**21}, r"observation.size must be an integer in \[1, 1048576\]"),
        ({"temporal_window": -1}, "observation.temporal_window must be an integer"),
        ({"lanes_side": 3}, "unknown key 'lanes_side'"),
    ],
)
def test_what_no_observation_could_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_manifest(record(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "radar"}, "kind must be one of"),
        ({"options": {"height": 5}}, r"height must be an integer in \[16, 1024\], got 5"),
        ({"options": {"length": 5}}, "unknown observation option 'length'"),
        ({"options": {"height": 40, "width": 16}}, "eye reads 640 values, but pixels has 1920 on this road"),
    ],
)
def test_what_the_environments_do_not_have_is_refused_when_it_shall_drive(
    changes: dict[str, Any], message: str
) -> None:
    policy = file_of(SMALL, **changes).policy()
    for evaluate in (lambda: evaluate_open(policy, runs=2), lambda: evaluate_official(policy)):
        with pytest.raises(ValueError, match=message):
            evaluate()


@pytest.mark.parametrize(
    "observation",
    [SMALL, {"kind": "grid", "patches_ahead": 8, "temporal_window": 1}, {"kind": "kinematics"}, "lossy", "late"],
    ids=["pixels", "grid", "kinematics", "lossy", "late"],
)
def test_it_drives_by_what_the_environment_shows(observation: Any) -> None:
    policy_file, seen = file_of(observation), make_observation(observation)
    policy, env = policy_file.policy(), DeepTrafficEnv(observation=observation)
    weight = policy_file.network.tensors["1.weight"].astype(np.float64)
    (seed,) = choose_seeds("training", 1)
    obs, _ = env.reset(seed=seed)
    actions = []
    for _ in range(20):
        batch = {name: part[None] for name, part in obs.items()} if isinstance(obs, dict) else obs[None]
        action = int((weight @ seen.flat(batch)[0]).argmax())
        np.testing.assert_array_equal(policy.act(seen.flat(batch), np.zeros(1, np.int64)), [action])
        obs, _, _, _, info = env.step(action)
        actions.append(action)
    score = evaluate_open(policy, runs=1, seed_set="training", frames=600)
    assert score.run_passed[0] == info["passed"]
    assert policy.driver.history[0, 0] == 20
    again = evaluate_open(policy, runs=3, seed_set="training", frames=600)
    assert again.run_scores[0] == score.run_scores[0]
    assert len(set(actions)) > 1


def test_the_flat_order_is_rows_then_columns_then_channels_and_parts_by_name() -> None:
    obs = DeepTrafficEnv(observation="grid").reset(seed=0)[0]
    flat = make_observation("grid").flat(obs[None])[0]
    np.testing.assert_array_equal(flat.reshape(60, 7, 4), obs.transpose(1, 2, 0))
    listed = DeepTrafficEnv(observation="kinematics").reset(seed=0)[0]
    parts = [listed[name].ravel() for name in ("ego", "mask", "vehicles")]
    np.testing.assert_array_equal(
        make_observation("kinematics").flat({name: part[None] for name, part in listed.items()})[0],
        np.concatenate(parts),
    )


def test_official_runs_and_convolutions_on_images_score_the_same_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=10, frames=2_000, block=5))
    rng = np.random.default_rng(1)
    seen = make_observation(SMALL).by_name(RULES_2018)
    layers = (
        Reshape(shape=(20, 16, 2)),
        Conv2d(filters=3, kernel=(3, 3), stride=(4, 4)),
        Relu(),
        Flatten(),
        Dense(outputs=5),
    )
    shapes = Network.tensor_shapes
    blank = {"2.weight": (3, 3, 3, 2), "2.bias": (3,), "5.weight": (5, 60), "5.bias": (5,)}
    tensors = {name: rng.normal(0, 0.01, shape).astype(np.float32) for name, shape in blank.items()}
    network = Network(640, layers, tensors)
    assert {name: tuple(shape) for name, shape in shapes(network).items()} == blank
    policy = read_policy(policy_content(pack_policy(network, seen, "conv"))).policy()
    scores = [evaluate_official(policy) for _ in range(2)]
    assert scores[0].score == scores[1].score and scores[0].access == "open"


def test_other_agents_are_driven_by_it_too() -> None:
    policy = file_of("kinematics").policy()
    env = DeepTrafficEnv(other_agents=2, others=policy)
    env.reset(seed=0)
    for _ in range(5):
        env.step(0)
    assert policy.driver.history[1:3, 0].tolist() == [5, 5]
    with pytest.raises(ValueError, match="does not say which vehicle agent 1 drives"):
        DeepTrafficEnv(other_agents=2, others=file_of(SMALL).policy())


def test_the_official_evaluation_refuses_a_weakened_sensor() -> None:
    with pytest.raises(ValueError, match="eye observes gaps through a weakened sensor"):
        evaluate_official(file_of("lossy").policy())


def test_commands_take_the_file(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from deeptraffic.cli.app import app

    path = tmp_path / "eye.safetensors"
    path.write_bytes(policy_content(file_of(SMALL)))
    run = CliRunner().invoke(app, ["evaluate", str(path), "--protocol", "open", "--runs", "3", "--json"])
    assert run.exit_code == 0, run.output
    shown = CliRunner().invoke(app, ["inspect", str(path)])
    assert shown.exit_code == 0 and "pixels, temporal_window 1, height 20" in shown.output, shown.output
    trace = tmp_path / "eye.trace"
    recorded = CliRunner().invoke(app, ["record", str(path), "-o", str(trace), "--seconds", "2"])
    assert recorded.exit_code == 0, recorded.output
    assert trace.stat().st_size > 1000
