"""The policy file: what is written comes back, and whatever is wrong with a file is named, every time."""

import json
import os
import struct
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import deeptraffic.policies
from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.policies.convnetjs.read import ConvNetJSFile, network_from_json
from deeptraffic.policies.file import (
    KEY,
    MAX_FILE,
    MAX_HEADER,
    PolicyFile,
    PolicyFileError,
    pack_convnetjs,
    pack_policy,
    policy_content,
    read_policy,
    write_policy,
)
from deeptraffic.policies.layer import MAX_VALUE, Layer
from deeptraffic.policies.layers import LAYER_KINDS, Dense, Gru, Relu
from deeptraffic.policies.network import MAX_MEMORY, MAX_OPERATIONS, MAX_SCRATCH, Network
from deeptraffic.sim.rules import Sensor

SENSOR = Sensor(1, 4, 0)
LAYERS: tuple[Layer, ...] = (Dense(outputs=6), Relu(), Gru(hidden=3), Dense(outputs=5, bias=False))


def network(dtype: str = "float32", layers: tuple[Layer, ...] = LAYERS) -> Network:
    random = np.random.default_rng(3)
    shapes = {
        "1.weight": (6, 12),
        "1.bias": (6,),
        "3.weight_input": (9, 6),
        "3.weight_hidden": (9, 3),
        "3.bias_input": (9,),
        "3.bias_hidden": (9,),
        "4.weight": (5, 3),
    }
    return Network(12, layers, {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()})


def pack(dtype: str = "float32") -> PolicyFile:
    return pack_policy(network(dtype), SENSOR, "mine", author="me", training={"steps": 7})


CONTENT = policy_content(pack())


def rebuilt(change: Any, data: bytes | None = None, content: bytes = CONTENT) -> bytes:
    """A file whose header was changed by a function; lengths are put right again."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header = change(header) or header
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + (content[8 + length :] if data is None else data)


def with_manifest(**changes: Any) -> bytes:
    def change(header: dict[str, Any]) -> None:
        manifest = json.loads(header["__metadata__"][KEY])
        header["__metadata__"][KEY] = json.dumps(manifest | changes)

    return rebuilt(change)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_what_is_written_comes_back(dtype: str, tmp_path: Path) -> None:
    path, written = tmp_path / "mine.safetensors", pack(dtype)
    write_policy(path, written)
    found = read_policy(path)
    assert found.manifest == written.manifest
    assert found.network.layers == written.network.layers
    for name, tensor in written.network.tensors.items():
        assert found.network.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(found.network.tensors[name], tensor)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.safetensors"]


def test_safetensors_reads_the_file(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "mine.safetensors"
    write_policy(path, pack())
    with safe_open(path, "np") as file:
        assert json.loads(file.metadata()[KEY])["label"] == "mine"
        np.testing.assert_array_equal(file.get_tensor("1.weight"), network().tensors["1.weight"])


def test_same_policy_gives_the_same_bytes() -> None:
    assert policy_content(read_policy(CONTENT)) == CONTENT


def test_a_read_policy_decides_as_the_written_one() -> None:
    obs = np.random.default_rng(0).random((20, 12))
    written, found = pack().policy(), read_policy(CONTENT).policy()
    for policy in (written, found):
        policy.reset(np.arange(1))
    decisions = [[int(p.act(o[None], np.arange(1))[0]) for o in obs] for p in (written, found)]
    assert decisions[0] == decisions[1]
    assert len(set(decisions[0])) > 1
    assert (found.label, found.rules, found.other_agents, found.access) == ("mine", 2018, 0, "contest")


def test_the_documented_reader_decides_as_this_one(tmp_path: Path) -> None:
    page = (Path(deeptraffic.policies.__file__).parent / "FORMAT.md").read_text()
    documented: dict[str, Any] = {}
    exec(page.split("```python")[1].split("```")[0], documented)
    random = np.random.default_rng(1)
    shapes = {"1.weight": (9, 12), "1.bias": 9, "3.weight": (5, 9), "3.bias": 5}
    tensors = {name: random.normal(size=shape).astype("f2") for name, shape in shapes.items()}
    path = tmp_path / "mine.safetensors"
    layers = (Dense(outputs=9), Relu(), Dense(outputs=5))
    write_policy(path, pack_policy(Network(12, layers, tensors), SENSOR, "mine"))
    read, policy, observations = documented["load"](path), read_policy(path).policy(), random.normal(size=(50, 12))
    decisions = [documented["decide"](*read, cells) for cells in observations]
    assert decisions == [int(policy.act(cells[None], np.arange(1))[0]) for cells in observations]
    assert len(set(decisions)) > 2


@pytest.mark.parametrize("kind", LAYER_KINDS)
def test_the_page_documents_every_layer_with_its_settings(kind: str) -> None:
    page = (Path(deeptraffic.policies.__file__).parent / "FORMAT.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `{kind}` |"))
    assert all(f"`{f.name}`" in row for f in fields(LAYER_KINDS[kind]) if f.name != "inputs")


def test_the_page_names_the_limits() -> None:
    page = (Path(deeptraffic.policies.__file__).parent / "FORMAT.md").read_text()
    for limit in (MAX_FILE, MAX_HEADER, MAX_VALUE, MAX_SCRATCH, MAX_OPERATIONS, MAX_MEMORY):
        assert f"{limit:,}" in page


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"old")

    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_policy(path, pack())
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_policy_too_large_to_be_read_is_not_written() -> None:
    layers = (Dense(outputs=1500), Dense(outputs=1500, bias=False), Dense(outputs=5))
    shapes = {"1.weight": (1500, 12), "1.bias": 1500, "2.weight": (1500, 1500), "3.weight": (5, 1500), "3.bias": 5}
    for dtype, fits in (("float32", True), ("float64", False)):
        wide = Network(12, layers, {name: np.zeros(shape, dtype) for name, shape in shapes.items()})
        if fits:
            assert len(policy_content(pack_policy(wide, SENSOR, "mine"))) < MAX_FILE
        else:
            with pytest.raises(PolicyFileError, match="at most 16000000"):
                policy_content(pack_policy(wide, SENSOR, "mine"))


def test_manifest_and_network_must_agree() -> None:
    with pytest.raises(ValueError, match="12 inputs, but the observation gives 15"):
        pack_policy(network(), Sensor(1, 5, 0), "mine")
    with pytest.raises(ValueError, match="3 outputs"):
        tensors = {"1.weight": np.zeros((3, 12)), "1.bias": np.zeros(3)}
        pack_policy(Network(12, (Dense(outputs=3),), tensors), SENSOR, "mine")


def test_a_submission_keeps_its_facts() -> None:
    facts = {"gamma": 0.7, "tdtrainer_options.method": "adam\n", "random_action_distribution": [0.2, 0.8]}
    tensors = {"1.weight": np.ones((5, 12 + 17)), "1.bias": np.zeros(5)}
    submission = ConvNetJSFile("net", Network(29, (Dense(outputs=5),), tensors), SENSOR, 1, 3, facts)
    manifest = read_policy(policy_content(pack_convnetjs(submission))).manifest
    assert manifest.training == {"gamma": 0.7, "random_action_distribution": [0.2, 0.8]}
    assert (manifest.observation.temporal_window, manifest.other_agents) == (1, 3)


def test_a_golden_submission_scores_the_same_from_its_policy_file(tmp_path: Path) -> None:
    records = json.loads((Path(__file__).parent.parent / "golden" / "submission_networks.json").read_text())
    record = next(r for r in records if r["name"] == "mit_default_trained")
    sensor = Sensor(record["lanesSide"], record["patchesAhead"], record["patchesBehind"])
    network = network_from_json(record["net"])
    path = tmp_path / "net.safetensors"
    write_policy(path, pack_convnetjs(ConvNetJSFile("net", network, sensor, record["temporal_window"], 0)))
    assert evaluate_official(read_policy(path).policy()).score == record["official_scores_2018"]["0"]


# --- faults -------------------------------------------------------------------------------------------------------


def entry(name: str, **changes: Any) -> Any:
    return lambda header: header[name].update(changes)


def swap(old: bytes, new: bytes) -> Any:
    return lambda header: json.dumps(header).encode().replace(old, new, 1)


def not_finite(value: float) -> bytes:
    return CONTENT[:-4] + struct.pack("<f", value)


FAULTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "breaks off before the length"),
    "seven bytes": (CONTENT[:7], "breaks off before the length"),
    "huge header": (struct.pack("<Q", 2**63) + CONTENT[8:], "at most 64000"),
    "header just too long": (struct.pack("<Q", MAX_HEADER + 1) + b" " * MAX_FILE, "has 16000008 bytes"),
    "cut in the header": (CONTENT[:100], "breaks off in its header"),
    "cut in the numbers": (CONTENT[:-1], "the file holds"),
    "too large": (CONTENT + bytes(MAX_FILE), "at most 16000000"),
    "trailing bytes": (CONTENT + b"x", "1 bytes at the end"),
    "a zip": (b"PK\x03\x04" + CONTENT, "at most 64000"),
    "a space first": (rebuilt(lambda h: b" " + json.dumps(h).encode()), "does not start with {"),
    "not UTF-8": (rebuilt(swap(b"mine", b"\xff\xfe")), "not UTF-8"),
    "not JSON": (rebuilt(swap(b":", b";")), "not valid JSON"),
    "nested": (rebuilt(lambda h: b'{"a":' * 9000), "nested too deeply|not valid JSON"),
    "duplicate tensor": (rebuilt(swap(b'"1.bias"', b'"1.weight"')), "twice"),
    "duplicate key": (rebuilt(swap(b'"dtype"', b'"dtype": "F32", "dtype"')), "twice"),
    "no metadata": (rebuilt(lambda h: {k: v for k, v in h.items() if k != "__metadata__"}), "no __metadata__"),
    "metadata of numbers": (rebuilt(lambda h: h["__metadata__"].update(a=1)), "no __metadata__ of strings"),
    "another safetensors file": (rebuilt(lambda h: h.update(__metadata__={"format": "pt"})), "not a policy file"),
    "manifest is no JSON": (rebuilt(lambda h: h.update(__metadata__={KEY: "{"})), "manifest is not valid JSON"),
    "unknown layer": (with_manifest(layers=[{"type": "pickle"}]), "unknown layer type"),
    "another layer list": (with_manifest(layers=[{"type": "dense", "outputs": 5}]), "belongs to no layer"),
    "too many inputs": (
        with_manifest(
            observation={"lanes_side": 15, "patches_ahead": 1000, "patches_behind": 1000, "temporal_window": 100}
        ),
        "inputs must be an integer in [1, 1048576]",
    ),
    "huge layer": (with_manifest(layers=[{"type": "dense", "outputs": 2**20}] * 9), "values of scratch, at most"),
    "huge image": (
        with_manifest(
            layers=[
                {"type": "reshape", "shape": [1, 1, 12]},
                {"type": "conv2d", "filters": 4096, "kernel": [1, 1], "padding": [256, 256]},
            ]
        ),
        "at most 1048576",
    ),
    "tensor missing": (rebuilt(lambda h: h.pop("4.weight") and None), "bytes at the end"),
    "surplus tensor": (
        rebuilt(lambda h: h.update({"x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}})),
        "'x' belongs to no layer",
    ),
    "many tensors": (rebuilt(lambda h: h.update({str(i): 0 for i in range(300)})), "307 tensors; at most 256"),
    "half": (rebuilt(entry("1.bias", dtype="BF16")), "got 'BF16'"),
    "dtype is a list": (rebuilt(entry("1.bias", dtype=["F32"])), "dtype must be one of"),
    "wrong shape": (rebuilt(entry("1.weight", shape=[12, 6])), "its layer needs (6, 12)"),
    "wrong size": (rebuilt(entry("1.weight", shape=[12, 7])), "sizes do not agree"),
    "negative shape": (rebuilt(entry("1.weight", shape=[-6, -12])), "shape must be a list of 1 to"),
    "shape of floats": (rebuilt(entry("1.weight", shape=[6.0, 12])), "shape must be a list of 1 to"),
    "shape of truth": (rebuilt(entry("1.weight", shape=[True, 72])), "shape must be a list of 1 to"),
    "huge shape": (rebuilt(entry("1.weight", shape=[2**40, 2**40])), "shape must be a list of 1 to"),
    "offsets back": (rebuilt(entry("1.weight", data_offsets=[288, 0])), "sizes do not agree"),
    "overlap": (rebuilt(entry("1.bias", data_offsets=[0, 24])), "overlaps"),
    "gap": (rebuilt(entry("1.weight", data_offsets=[8, 296])), "leaves a gap"),
    "another key": (rebuilt(entry("1.weight", path="/etc/passwd")), "alone"),
    "NaN": (not_finite(float("nan")), "not finite"),
    "infinity": (not_finite(float("inf")), "not finite"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault: str) -> None:
    content, named = FAULTS[fault]
    with pytest.raises(PolicyFileError) as error:
        read_policy(content)
    assert any(words in str(error.value) for words in named.split("|")), str(error.value)
    assert len(str(error.value)) < 1000


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, named in (
        (tmp_path, "no regular file"),
        (tmp_path / "none", "cannot be read"),
        (tmp_path / "pipe", "no"),
    ):
        with pytest.raises(PolicyFileError, match=named):
            read_policy(path)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PolicyFileError, match="1099511627776 bytes"):
        read_policy(tmp_path / "sparse")


# --- fuzzing ------------------------------------------------------------------------------------------------------


def read_or_named(content: bytes) -> PolicyFile | None:
    """The policy, or None where the reader named a fault; any other exception goes through."""
    try:
        return read_policy(content)
    except PolicyFileError as error:
        assert len(str(error)) > 10
        return None


@given(st.integers(0, len(CONTENT) - 1))
@settings(max_examples=200)
def test_a_truncated_file_is_refused(length: int) -> None:
    assert read_or_named(CONTENT[:length]) is None


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_noise_is_refused(content: bytes) -> None:
    assert read_or_named(content) is None
    assert read_or_named(struct.pack("<Q", len(content)) + content) is None


@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 7)), min_size=1, max_size=8))
@settings(max_examples=600)
def test_flipped_bits_give_a_sound_policy_or_a_named_fault(flips: list[tuple[int, int]]) -> None:
    content = bytearray(CONTENT)
    for at, bit in flips:
        content[at] ^= 1 << bit
    found = read_or_named(bytes(content))
    if found is not None:
        assert found.network.layers and all(np.isfinite(t).all() for t in found.network.tensors.values())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["F32", "dense"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def places(record: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    inner = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    return [*([above] if above else []), *(place for key, value in inner for place in places(value, (*above, key)))]


def put(record: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        record = record[key]
    record[place[-1]] = value


LENGTH = int.from_bytes(CONTENT[:8], "little")
HEADER_PLACES = places(json.loads(CONTENT[8 : 8 + LENGTH]))
MANIFEST_PLACES = places(json.loads(json.loads(CONTENT[8 : 8 + LENGTH])["__metadata__"][KEY]))


@given(st.sampled_from(HEADER_PLACES), JSON_VALUES)
@settings(max_examples=400)
@example(("1.weight", "shape"), [])
@example(("1.weight", "data_offsets"), [0, 10**400])
def test_crafted_headers_give_a_sound_policy_or_a_named_fault(place: tuple[Any, ...], value: Any) -> None:
    read_or_named(rebuilt(lambda header: put(header, place, value)))


@given(st.sampled_from(MANIFEST_PLACES), JSON_VALUES)
@settings(max_examples=600)
@example(("layers", 0), {"type": "lrn", "n": 4097, "k": 1e300, "alpha": -1e300, "beta": 1e300, "inputs": [0]})
@example(("layers", 0, "inputs"), [255])
@example(("training",), {"a": 10**400})
def test_crafted_manifests_give_a_sound_policy_or_a_named_fault(place: tuple[Any, ...], value: Any) -> None:
    def change(header: dict[str, Any]) -> None:
        manifest = json.loads(header["__metadata__"][KEY])
        put(manifest, place, value)
        header["__metadata__"][KEY] = json.dumps(manifest)

    found = read_or_named(rebuilt(change))
    if found is not None:
        assert policy_content(found)
