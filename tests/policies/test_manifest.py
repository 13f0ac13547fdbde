"""The manifest: JSON there and back, refusals that name the field, and the schema that is shipped."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import deeptraffic.policies
from deeptraffic.policies.layers import LAYER_KINDS, Conv2d, Dense, Relu, Reshape
from deeptraffic.policies.manifest import (
    ActionRecord,
    ObservationRecord,
    PolicyManifest,
    manifest_schema,
    read_manifest,
    write_manifest,
)

SCHEMA = Path(deeptraffic.policies.__file__).parent / "manifest.schema.json"


def manifest(**changes: Any) -> PolicyManifest:
    settings: dict[str, Any] = {
        "observation": ObservationRecord(lanes_side=1, patches_ahead=10, patches_behind=0),
        "layers": (Reshape(shape=(10, 3, 1)), Conv2d(filters=2, kernel=(3, 3)), Relu(), Dense(outputs=5)),
        "label": "ein Fahrer 🚗",
        "training": {"steps": 10_000, "rate": 1e-3, "done": True, "by": "ppo", "chances": [0.5, 1]},
        "created": "2026-01-31T12:00:00Z",
    }
    return PolicyManifest(**(settings | changes))


def changed(**changes: Any) -> str:
    return json.dumps(manifest().to_json() | changes)


def test_text_comes_back_as_the_same_manifest() -> None:
    for action in (ActionRecord(), ActionRecord(rule="sample", seed=2**53 - 1)):
        assert read_manifest(write_manifest(manifest(action=action))) == manifest(action=action)
    random = manifest(epsilon=0.25, random_actions=(0.1, 0.2, 0.3, 0.4, 0.0))
    assert read_manifest(write_manifest(random)) == random
    jsonschema.validate(json.loads(write_manifest(random)), manifest_schema())


def test_a_policy_without_random_actions_is_written_as_before_there_were_any() -> None:
    assert not {"epsilon", "random_actions"} & json.loads(write_manifest(manifest())).keys()
    assert read_manifest(write_manifest(manifest())).to_json()["epsilon"] == 0.0


def test_shipped_schema_is_what_the_fields_say() -> None:
    remedy = "write manifest_schema() to manifest.schema.json as json.dumps(..., indent=2) and a line end"
    assert SCHEMA.read_text() == json.dumps(manifest_schema(), indent=2) + "\n", remedy


def test_schema_is_valid_and_accepts_manifests() -> None:
    jsonschema.Draft202012Validator.check_schema(manifest_schema())
    jsonschema.validate(json.loads(write_manifest(manifest())), manifest_schema())


def test_schema_has_every_layer() -> None:
    assert manifest_schema()["$defs"].keys() == LAYER_KINDS.keys()


FAULTS = [
    ({"format_version": 2}, "format_version=2"),
    ({"rules": 2019}, "rules must be one of 2017, 2018, got 2019"),
    ({"rules": True}, "rules must be .*, got True"),
    ({"rules": 2017, "other_agents": 1}, "other_agents must be 0 with the 2017 rules, got 1"),
    ({"other_agents": 11}, "other_agents must be .*, got 11"),
    ({"epsilon": -0.1}, r"epsilon must be a number in \[0, 1\], got -0.1"),
    ({"epsilon": "0.1"}, "epsilon must be a number"),
    ({"random_actions": [0.5, 0.5]}, "random_actions must be 5 probabilities or none, got 2"),
    ({"random_actions": [0.5] * 6}, "random_actions must be a list of 0 to 5 numbers"),
    ({"random_actions": [2, 0, 0, 0, 0]}, r"random_actions\[0\] must be a number in \[0, 1\], got 2"),
    ({"label": ""}, "label must be a string of 1 to 100 characters, got ''"),
    ({"label": "a\u202eb"}, "printable"),
    ({"label": "a\nb"}, "printable"),
    ({"label": "a\n"}, "printable"),
    ({"label": "\ud800"}, "printable"),
    ({"author": 7}, "author must be a string of .*, got 7"),
    ({"created": "2026-02-31T12:00:00Z"}, "not a valid time"),
    ({"created": "yesterday"}, "a time such as"),
    ({"layers": []}, "layers must be a list of 1 to 255 layers"),
    ({"layers": [{"type": "exec"}]}, "unknown layer type 'exec'"),
    ({"layers": [{"type": "dense", "outputs": 5, "code": "x"}]}, "unknown key 'code'"),
    ({"layers": [{"type": "dense", "outputs": 5.0}]}, "dense.outputs must be .*, got 5.0"),
    ({"action": {"rule": "argmax", "seed": 1}}, "action.seed must be 0 with the rule argmax, got 1"),
    ({"action": {"rule": "best"}}, "action.rule must be .*, got 'best'"),
    ({"training": {"a": {"b": 1}}}, "training.a"),
    ({"training": {"a": [[1]]}}, "training.a"),
    ({"training": {str(i): 1 for i in range(65)}}, "at most 64 facts"),
    ({"hook": "x"}, "unknown key 'hook'"),
]


@pytest.mark.parametrize(
    ("change", "named"), FAULTS, ids=lambda value: str(value)[:40] if isinstance(value, dict) else ""
)
def test_a_fault_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named.replace("(", r"\(")):
        read_manifest(changed(**change))


def test_observation_is_one_that_the_game_takes() -> None:
    for part, named in (({"lanes_side": 51}, "lanes_side must be .*, got 51"), ({"patches_ahead": 0}, "see nothing")):
        observation = manifest().observation.to_json() | part
        with pytest.raises(ValueError, match=named):
            read_manifest(changed(observation=observation))


@pytest.mark.parametrize(
    "name", ["format_version", "rules", "other_agents", "observation", "layers", "action", "label"]
)
def test_a_missing_field_is_named(name: str) -> None:
    record = manifest().to_json()
    del record[name]
    with pytest.raises(ValueError, match=f"{name} is missing"):
        read_manifest(json.dumps(record))


def test_what_json_readers_disagree_about_is_refused() -> None:
    source = write_manifest(manifest())
    cases = {
        source.replace('"rules":2018', '"rules":2018,"rules":2017'): "'rules' twice",
        source.replace("10000", "NaN"): "NaN",
        source.replace("10000", "1e999"): "out of range",
        source.replace("10000", "9" * 5000): "5000 digits",
        source.replace("10000", "[" * 9000): "nested|not valid JSON",
        source[:-1]: "not valid JSON",
        "[]": "not an object",
    }
    for text, named in cases.items():
        with pytest.raises(ValueError, match=named):
            read_manifest(text)


def test_a_sensor_wider_than_the_contests_is_open() -> None:
    wide = ObservationRecord(lanes_side=4, patches_ahead=10, patches_behind=0)
    assert manifest().access == "contest"
    assert manifest(observation=wide).access == "open"
