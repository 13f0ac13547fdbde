"""Hostile files: each is answered as the table says, and the next honest one is scored as ever.

The other cases of the hostile suite: what runs in a child (`test_hostile_children.py`), and what comes over HTTP (the
web's tests).
"""

import gzip
import io
import json
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.limits import EVALUATION
from deeptraffic.competition.sandbox.policy import SandboxedPolicy
from deeptraffic.competition.sandbox.validation import Upload, validate, validate_unsandboxed
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol, evaluate_official
from deeptraffic.policies.convnetjs.write import write_convnetjs
from deeptraffic.policies.file import KEY, pack_policy, policy_content, read_policy
from deeptraffic.policies.layers import Concat, Dense, Gru, Relu, Tanh
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import Sensor

SENSOR = Sensor(1, 4, 1)
LAYERS = (Dense(outputs=3), Relu(), Dense(outputs=5))
ACCEPTED = "accepted"


def network() -> Network:
    random = np.random.default_rng(5)
    shapes = {"1.weight": (3, 15), "1.bias": (3,), "3.weight": (5, 3), "3.bias": (5,)}
    return Network(15, LAYERS, {name: random.normal(size=shape) for name, shape in shapes.items()})


POLICY = policy_content(pack_policy(network(), SENSOR, "honest"))
HEADER = json.loads(POLICY[8 : 8 + int.from_bytes(POLICY[:8], "little")])
TENSORS = POLICY[8 + int.from_bytes(POLICY[:8], "little") :]
ORIGINAL = write_convnetjs(network(), SENSOR)
WEIGHTS = ORIGINAL[ORIGINAL.index("fromJSON(") + 9 : ORIGINAL.rindex(");")]


# --- making files -------------------------------------------------------------------------------------------------


def with_header(header: str | bytes, tensors: bytes = TENSORS) -> bytes:
    raw = header if isinstance(header, bytes) else header.encode()
    return len(raw).to_bytes(8, "little") + raw + tensors


def changed(change: Callable[[dict[str, Any]], object], tensors: bytes = TENSORS) -> bytes:
    """The honest policy file with another header."""
    header = json.loads(json.dumps(HEADER))
    change(header)
    return with_header(json.dumps(header), tensors)


def tensor(name: str, **more: Any) -> bytes:
    return changed(lambda header: header[name].update(more))


def manifest(**more: Any) -> bytes:
    """The honest policy file with another manifest."""
    record = json.loads(HEADER["__metadata__"][KEY]) | more
    return changed(lambda header: header["__metadata__"].update({KEY: json.dumps(record)}))


def flipped(at: int, bit: int = 0) -> bytes:
    content = bytearray(POLICY)
    content[at] ^= 1 << bit
    return bytes(content)


def many_tensors(count: int) -> bytes:
    entries = {str(i): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}
    return changed(lambda header: header.update(entries))


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("policy"), io.BytesIO())
    return file.getvalue()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return __import__("os").system, ("touch /tmp/deeptraffic-evil",)


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, weight=np.ones(3))
    return file.getvalue()


def js(text: str = "", weights: str = WEIGHTS, before: str = "") -> bytes:
    """The honest original with text in front of its weights."""
    start = ORIGINAL.index("/*###")
    return f"{before}{ORIGINAL[:start]}{text}\nif (brain) {{\nbrain.value_net.fromJSON({weights});\n}}\n".encode()


def weights(change: Callable[[dict[str, Any]], object]) -> bytes:
    record = json.loads(WEIGHTS)
    change(record)
    return js(weights=json.dumps(record))


def large(layers: tuple[Any, ...], window: int = 0) -> bytes:
    """A policy that costs too much, its weights all 0."""
    inputs = SENSOR.size * (window + 1) + 5 * window
    shapes = Network.tensor_shapes(_Shapes(inputs, layers))
    zeros = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
    return policy_content(pack_policy(Network(inputs, layers, zeros), SENSOR, "large", temporal_window=window))


def wide(outputs: int) -> Dense:
    return Dense(outputs=outputs)


def widened(times: int) -> list[Concat]:
    """Layers that double a value so many times, without a multiplication."""
    return [Concat(inputs=(i, i)) for i in range(times)]


class _Shapes(Network):
    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", {})

    def __init__(self, inputs: int, layers: tuple[Any, ...]) -> None:
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "layers", layers)


@dataclass(frozen=True)
class Case:
    """content: or what makes it; name: of the file; code: of the error, or ACCEPTED; says: part of its message"""

    title: str
    content: bytes | Callable[[], bytes]
    code: str
    says: str = ""
    name: str = "mine.safetensors"


NOT_A_NUMBER = struct.pack("<d", float("nan"))
INFINITE = struct.pack("<d", float("inf"))
DEEP = "[" * 200_000

DAMAGED = [
    Case("nothing", b"", "format", "empty"),
    Case("one byte", b"\x08", "broken", "breaks off"),
    Case("a header cut off", POLICY[:100], "broken", "breaks off"),
    Case("a tensor cut off", POLICY[:-1], "broken", "the file holds"),
    Case("half of the tensors", POLICY[: len(POLICY) - len(TENSORS) // 2], "broken", "the file holds"),
    Case("bytes behind the tensors", POLICY + b"\0", "broken", "belong to no tensor"),
    Case("a bit flipped in the length", flipped(0), "broken"),
    Case("a high bit flipped in the length", flipped(7, 7), "broken", "header is said to have"),
    Case("a bit flipped in the header's brace", flipped(8), "broken", "{"),
    Case("a bit flipped in the manifest", flipped(60, 3), "broken"),
    Case("a bit flipped in a name", flipped(POLICY.index(b'"dtype"') + 1), "broken"),
    Case("a sign flipped in a weight, which is another policy", flipped(len(POLICY) - 1, 7), ACCEPTED),
    Case("NaN among the weights", POLICY[:-8] + NOT_A_NUMBER, "broken", "not finite"),
    Case("infinity among the weights", POLICY[:-8] + INFINITE, "broken", "not finite"),
    Case("zeros", bytes(4096), "broken", "not a policy file"),
    Case("noise", np.random.default_rng(0).bytes(4096), "broken"),
    Case("another program's safetensors", changed(lambda h: h["__metadata__"].clear()), "broken", "not a policy file"),
]
HEADERS = [
    Case("a header as long as the world", b"\xff" * 8 + b"{" + TENSORS, "broken", "header is said to have"),
    Case("a header of gigabytes", (1 << 40).to_bytes(8, "little") + b"{", "broken", "header is said to have"),
    Case("a header 200,000 deep", with_header('{"a":' + DEEP), "broken", "header is said to have"),
    Case("a header 60,000 deep", with_header('{"a":' + DEEP[:60_000]), "broken", "nested too deeply"),
    Case("a manifest 30,000 deep", changed(lambda h: h["__metadata__"].update({KEY: DEEP[:30_000]})), "broken"),
    Case("a header with a key twice", with_header('{"__metadata__":{},"__metadata__":{}}'), "broken", "twice"),
    Case("a header that is a list", with_header("[]"), "broken", "does not start with {"),
    Case("a header with NaN", with_header('{"a":NaN}'), "broken", "not JSON"),
    Case("a header with a number of 500 digits", with_header('{"a":' + "9" * 500 + "}"), "broken", "digits"),
    Case("a header with 1e999", with_header('{"a":1e999}'), "broken", "out of range"),
    Case("a header that is no UTF-8", with_header(b'{"\xff\xfe":1}'), "broken", "UTF-8"),
    Case("100,000 tensors", lambda: many_tensors(100_000), "broken", "header is said to have"),
    Case("800 tensors", lambda: many_tensors(800), "broken", "at most 256"),
    Case("a tensor of 10^18 numbers", tensor("1.weight", shape=[10**9, 10**9]), "broken"),
    Case("a tensor with eight axes", tensor("1.weight", shape=[1] * 8), "broken", "list of 1 to 4"),
    Case("a tensor of negative length", tensor("1.weight", shape=[-3, -15]), "broken", "integers"),
    Case("a tensor before the file", tensor("1.weight", data_offsets=[-360, 0]), "broken", "first byte"),
    Case("a tensor behind the file", tensor("1.weight", data_offsets=[10**6, 10**6 + 360]), "broken"),
    Case("tensors that overlap", tensor("1.bias", data_offsets=[0, 24]), "broken"),
    Case("a tensor of objects", tensor("1.weight", dtype="O"), "broken", "dtype"),
    Case("a weight of another shape", tensor("1.weight", shape=[15, 3]), "broken", "its layer needs"),
    Case("a weight that is missing", changed(lambda h: h.pop("3.bias"), TENSORS[:-40]), "broken", "missing"),
]
MANIFESTS = [
    Case("a label that turns the line around", manifest(label="\u202egpj.exe"), "broken", "printable"),
    Case("a label with a terminal's escape", manifest(label="\x1b[2J"), "broken", "printable"),
    Case("a label as long as a book", manifest(label="x" * 5000), "broken", "characters"),
    Case("markup for a label", manifest(label="<script>alert(1)</script>"), ACCEPTED),
    Case("a formula for a label", manifest(label='=HYPERLINK("http://x")'), ACCEPTED),
    Case("a version from the future", manifest(format_version=99), "broken", "update"),
    Case("a third contest", manifest(rules=2019), "broken", "2017"),
    Case("a thousand other agents", manifest(other_agents=1000), "broken", "other_agents"),
    Case("an unknown layer", manifest(layers=[{"type": "python"}]), "broken", "layer"),
    Case("a field of its own", manifest(code="import os"), "broken", "code"),
    Case("ten thousand layers", manifest(layers=[{"type": "relu"}] * 1000), "broken", "255"),
    Case("an endless sensor", manifest(observation={"lanes_side": 10**9}), "broken"),
    Case("the whole state for an observation", manifest(observation={"kind": "full"}), "broken"),
    Case("layers that take too long", lambda: large(tuple(map(wide, (1500, 1400, 5)))), "size", "multiplications"),
    Case("a hundred thousand exponentials", lambda: large((*widened(13), Tanh(), wide(5))), "size", "values"),
    Case("a memory of megabytes", lambda: large((Dense(outputs=5),), window=100), ACCEPTED),
]
KINDS = [
    Case("a pickle", pickle.dumps(Evil()), "format", "pickle"),
    Case("a pickle named .js", pickle.dumps(Evil()), "format", "pickle", "mine.js"),
    Case("a pickle of the oldest kind", pickle.dumps(Evil(), 0), "broken", "", "mine.js"),
    Case("a pickle without a name", pickle.dumps(Evil(), 2), "format", "pickle", ""),
    Case("a PyTorch file", lambda: zipped(archive__data_dot_pkl=b"\x80\x02."), "format", "PyTorch", "mine.pt"),
    Case("an SB3 zip", lambda: zipped(policy_dot_pth=b"", data=b"{}"), "format", "Stable-Baselines3", "mine.zip"),
    Case("a NumPy archive", npz, "format", "NumPy", "mine.npz"),
    Case("a NumPy array", b"\x93NUMPY\x01\0", "format", "NumPy"),
    Case("an ONNX model", b"\x08\x08\x12\x07pytorch\x1a\x032.6" + bytes(200), "format", "ONNX", "mine.onnx"),
    Case("a zip archive of a policy", lambda: zipped(mine_dot_safetensors=POLICY), "format", "zip"),
    Case("a policy and a zip archive in one", POLICY + zipped(a=b"x"), "broken", "belong to no tensor"),
    Case("a zip bomb", lambda: gzip.compress(bytes(10_000_000)), "format", "gzip", "mine.gz"),
    Case("a tar archive", tarred, "format", "tar"),
    Case("a Keras file", b"\x89HDF\r\n\x1a\n" + bytes(64), "format", "Keras"),
    Case("a program", b"\x7fELF" + bytes(64), "format", "program"),
    Case("an image that is also code", b"GIF89a=1;" + ORIGINAL.encode(), "format", "image", "mine.js"),
    Case("Python code", b"import os\nos.system('id')\n", "broken", "not JavaScript", "mine.py"),
    Case("a web page", b"<!DOCTYPE html><html><script>1</script></html>", "broken", "web page", "mine.js"),
    Case("more than 16 MB", lambda: bytes(17 << 20), "size", "at most 16 MB"),
]
SCRIPTS = [
    Case("honest code", ORIGINAL.encode(), ACCEPTED, "", "mine.js"),
    Case("honest code under a path", ORIGINAL.encode(), ACCEPTED, "", "../../../etc/passwd\0.js"),
    Case("honest code under a name of 9,000 letters", ORIGINAL.encode(), ACCEPTED, "", "x" * 9000 + ".js"),
    Case("markup in a comment", js("// </script><img src=x onerror=alert(1)>"), ACCEPTED, "", "mine.js"),
    Case("markup in front", js(before="<script>"), "broken", "web page", "mine.js"),
    Case("a loop without end", js("while (true) {}"), "broken", "line ", "mine.js"),
    Case("a loop that counts", js("for (var i = 0; i < 1e9; i++) {}"), "broken", "line ", "mine.js"),
    Case("a call of eval", js("eval('1')"), "broken", "runs text as code", "mine.js"),
    Case("a request to a server", js("x = fetch('http://127.0.0.1/')"), ACCEPTED, "", "mine.js"),
    Case("a function of its own", js("function f() { return 1; }"), ACCEPTED, "", "mine.js"),
    Case("a learn that drives by itself", js("learn = function (s, r) { return 1; }"), "broken", "learn", "mine.js"),
    Case("a prototype", js("opt.__proto__.x = 1;"), "broken", "__proto__", "mine.js"),
    Case("a comment without end", js("/* for ever"), "broken", "", "mine.js"),
    Case("a string without end", js('x = "for ever'), "broken", "line ", "mine.js"),
    Case("a number beyond all", js("lanesSide = 1e999;"), "broken", "lanesSide must be", "mine.js"),
    Case(
        "a sum beyond all",
        js("lanesSide = " + "9" * 300 + " * " + "9" * 300 + ";"),
        "broken",
        "lanesSide must be",
        "mine.js",
    ),
    Case("a text that doubles 60 times", js('x = "ab";' + "x = x + x;" * 60), "broken", "steps", "mine.js"),
    Case("lists 200,000 deep", js("x = " + DEEP), "broken", "at most 100000", "mine.js"),
    Case("weights 200,000 deep", js(weights='{"layers":' + DEEP + "}"), "broken", "deep", "mine.js"),
    Case("weights with a key twice", js(weights='{"layers":[],"layers":[]}'), "broken", "twice", "mine.js"),
    Case("weights of NaN", js(weights=WEIGHTS.replace("0.", "NaN+0.", 1)), "broken", "", "mine.js"),
    Case("a weight of 1e999", js(weights=WEIGHTS.replace("0.", "1e9990", 1)), "broken", "", "mine.js"),
    Case("weights cut off", js()[:-200], "broken", "break off", "mine.js"),
    Case("weights of another size", weights(lambda r: r["layers"][1].update(out_depth=9)), "broken", "", "mine.js"),
    Case("a layer of 10^9 neurons", weights(lambda r: r["layers"][1].update(out_depth=10**9)), "broken", "", "mine.js"),
    Case("code without weights", ORIGINAL[: ORIGINAL.index("/*###")].encode(), "broken", "no weights", "mine.js"),
    Case("a merge conflict", js("<<<<<<< HEAD"), "broken", "merge conflict", "mine.js"),
    Case("look-alike letters, which make a name of its own", js("l\u0430nesSide = 3;"), ACCEPTED, "", "mine.js"),
    Case("null bytes", js("\0\0\0"), "broken", "line ", "mine.js"),
    Case("UTF-16", ORIGINAL.encode("utf-16"), "format", "UTF-8", "mine.js"),
    Case("bytes that are no text", ORIGINAL.encode() + b"\xff\xfe", "format", "UTF-8", "mine.js"),
    Case("a line of 50 MB", lambda: js("x = " + "1+" * (25 << 20) + "1;"), "size", "at most 16 MB", "mine.js"),
    Case("a line of 200,000 brackets", js("x = " + "(" * 200_000), "broken", "at most 100000", "mine.js"),
    Case("a million spaces where a call could be", js("brain" + " " * 1_000_000 + "."), "broken", "line ", "mine.js"),
]
SLOW = [
    Case("fifteen million semicolons", lambda: js(";" * 15_000_000), "broken", "at most 100000", "mine.js"),
    Case(
        "a sum of seven million terms",
        lambda: js("x = " + "1+" * 7_000_000 + "1;"),
        "broken",
        "at most 100000",
        "mine.js",
    ),
]
CASES = [
    *DAMAGED,
    *HEADERS,
    *MANIFESTS,
    *KINDS,
    *SCRIPTS,
    *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW),
]


def answer(case: Case, validate: Callable[[bytes, str], Upload] = validate) -> tuple[str, str]:
    """The code that a file is answered with, and the message."""
    content = case.content if isinstance(case.content, bytes) else case.content()
    try:
        found = validate(content, case.name)
    except InvalidSubmission as error:
        return error.code, str(error)
    assert isinstance(found, Upload)
    return ACCEPTED, found.label


@cache
def expected_scores() -> list[float]:
    return list(evaluate_official(read_policy(POLICY).policy()).run_scores)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_hostile_file_is_answered_as_expected_and_the_next_honest_one_is_scored(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, message = answer(case)
    assert (code, case.says in message) == (case.code, True), message
    assert message.isprintable() and len(message) <= 500
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=2, frames=600, block=1))
    with SandboxedPolicy(validate(POLICY, "honest.safetensors").content) as policy:
        assert list(evaluate_official(policy).run_scores) == expected_scores()


def test_every_refused_kind_of_file_says_what_to_do() -> None:
    for case in KINDS[:-2]:
        code, message = answer(case)
        assert code != "format" or "deeptraffic export" in message, case.title


def test_same_code_gives_the_same_policy_file_whenever_it_comes() -> None:
    first, second = (validate(ORIGINAL.encode(), "mine.js") for _ in range(2))
    assert first == second
    assert (first.kind, first.label, first.sensor, first.layers) == (
        "convnetjs",
        "mine",
        SENSOR,
        ("dense", "relu", "dense"),
    )
    assert first.parameters == 15 * 3 + 3 + 3 * 5 + 5


@pytest.mark.parametrize("case", [*DAMAGED, *KINDS, *SCRIPTS[:8]], ids=lambda case: case.title)
def test_a_file_of_ones_own_is_answered_as_a_server_would(case: Case) -> None:
    assert answer(case, validate_unsandboxed)[0] == case.code


def test_a_file_of_ones_own_is_read_on_systems_without_a_sandbox(tmp_path: Path) -> None:
    (tmp_path / "mine.js").write_text(ORIGINAL)
    program = (
        "import sys, pathlib; sys.modules['resource'] = None  # as on Windows\n"
        "from deeptraffic.competition.sandbox.validation import validate_unsandboxed\n"
        "print(validate_unsandboxed(pathlib.Path('mine.js').read_bytes(), 'mine.js').parameters)"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("68\n", "")


def test_policy_file_is_kept_byte_by_byte() -> None:
    assert validate(POLICY, "mine.safetensors").content == POLICY


def test_limits_of_a_competition_are_held() -> None:
    recurrent = large((Gru(hidden=40), Dense(outputs=5)))
    assert validate(recurrent, "mine.safetensors").state_values == 41
    tight = replace(EVALUATION, state_values=40)
    with pytest.raises(InvalidSubmission, match="41 values; at most 40") as error:
        validate(recurrent, "mine.safetensors", tight)
    assert error.value.code == "size"
