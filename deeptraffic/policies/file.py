"""The policy file: one `.safetensors` file, its manifest in the header; data, never code.

    >>> policy_file = pack_policy(network, Sensor(3, 50, 10), label="mine", author="me")
    >>> write_policy("mine.safetensors", policy_file)
    >>> evaluate_official(read_policy("mine.safetensors").policy())

Files are untrusted input. So the header is read by this module, strictly and within fixed limits, before anything else
happens; every size is checked before its array is made; nothing outside the file is read; and whatever is wrong is a
`PolicyFileError` that names it. FORMAT.md documents the format.
"""

import json
import math
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.policies.base import PROBABILITY, UNKNOWN, EnvObservation, ValueKind
from deeptraffic.policies.convnetjs.read import ConvNetJSFile
from deeptraffic.policies.file_types import FROM_WEIGHTS, file_type
from deeptraffic.policies.layer import Tensors
from deeptraffic.policies.manifest import (
    MAX_FACTS,
    ActionRecord,
    EnvObservationRecord,
    ObservationRecord,
    PolicyManifest,
    check_facts,
    read_json,
    read_manifest,
    write_manifest,
)
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import ACTIONS, NetworkPolicy
from deeptraffic.run_dir import write_atomically
from deeptraffic.sim.rules import Sensor

MAX_FILE = 16_000_000  # [bytes]
MAX_HEADER = 64_000  # [bytes]
MAX_TENSORS = 256
SAFETENSORS = f"this is a safetensors file, but not a policy file; name the folder of its run, or {FROM_WEIGHTS}"
MAX_AXES = 4
KEY = "deeptraffic_policy"  # of the manifest in the header's metadata
DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
}  # in the order of writing


class PolicyFileError(ValueError):
    """A file is not a policy file, or is damaged; the message gives the reason."""


@dataclass(frozen=True)
class PolicyFile:
    """A manifest and the network that it describes; ValueError where they do not fit each other."""

    manifest: PolicyManifest
    network: Network

    def __post_init__(self) -> None:
        expected = self.manifest.observation.inputs
        if self.network.inputs != expected:
            raise ValueError(
                f"a network of {self.network.inputs} inputs, but the observation gives {expected}: they must agree"
            )
        if self.network.layers != self.manifest.layers:
            raise ValueError("the network's layers are not the manifest's; describe the network that is stored")
        if self.network.outputs != ACTIONS:
            raise ValueError(f"a network of {self.network.outputs} outputs; there are {ACTIONS} actions, one for each")

    def policy(self) -> NetworkPolicy:
        """Return the policy."""
        m = self.manifest
        policy = NetworkPolicy(
            m.label,
            self.network,
            m.observation.observed,
            m.observation.temporal_window,
            rules=m.rules,
            other_agents=m.other_agents,
            seed=m.action.seed if m.action.rule == "sample" else None,
            epsilon=m.epsilon,
            random_actions=m.random_actions,
        )
        policy.value_kind = PROBABILITY if m.action.rule == "sample" else ValueKind.of_facts(m.training)
        return policy


# parameters: the fields of a manifest, of which three are required
def pack_policy(
    network: Network,
    sensor: Sensor | EnvObservation,
    label: str,
    temporal_window: int = 0,
    rules: int = 2018,
    other_agents: int = 0,
    sample_seed: int | None = None,
    author: str = "",
    training: dict[str, Any] | None = None,
    epsilon: float = 0.0,
    random_actions: Sequence[float] = (),
) -> PolicyFile:
    """Return a network with its manifest, created now; sample_seed as `NetworkPolicy`'s seed, training: facts."""
    seen: ObservationRecord | EnvObservationRecord
    if isinstance(sensor, Sensor):
        seen = ObservationRecord(**sensor._asdict(), temporal_window=temporal_window)
    else:
        seen = EnvObservationRecord(**vars(sensor), temporal_window=temporal_window)
    manifest = PolicyManifest(
        rules=rules,
        other_agents=other_agents,
        observation=seen,
        layers=network.layers,
        action=ActionRecord() if sample_seed is None else ActionRecord(rule="sample", seed=sample_seed),
        epsilon=epsilon,
        random_actions=tuple(random_actions),
        label=label,
        author=author,
        training=training or {},
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return PolicyFile(manifest, network)


def pack_convnetjs(submission: ConvNetJSFile, author: str = "") -> PolicyFile:
    """Return an original game's submission as a policy file; settings that a manifest cannot hold are left out."""
    facts: dict[str, Any] = {}
    for name, value in submission.facts.items():
        with suppress(ValueError):
            facts |= check_facts({name: value}) if len(facts) < MAX_FACTS else {}
    return pack_policy(
        submission.network,
        submission.sensor,
        submission.label,
        submission.temporal_window,
        other_agents=submission.other_agents,
        author=author,
        training=facts,
        epsilon=submission.epsilon,
        random_actions=submission.random_actions,
    )


def pack_network_policy(
    policy: NetworkPolicy, label: str | None = None, author: str = "", training: dict[str, Any] | None = None
) -> PolicyFile:
    """Return a policy as a policy file, under its own label if no other is given."""
    known = {} if policy.value_kind == UNKNOWN else {"outputs": policy.value_kind.fact}
    return pack_policy(
        policy.network,
        policy.observation,
        label or policy.label,
        policy.temporal_window,
        policy.rules,
        policy.other_agents,
        policy.seed,
        author,
        known | (training or {}),
        policy.epsilon,
        policy.random_actions,
    )


# --- writing ------------------------------------------------------------------------------------------------------


def write_policy(path: str | Path, policy_file: PolicyFile) -> None:
    """Write a policy file; a reader, or a crash, finds the old file or the new one, never a part.

    Raises PolicyFileError if the policy is too large for a policy file.
    """
    write_atomically(Path(path), policy_content(policy_file))


def policy_content(policy_file: PolicyFile) -> bytes:
    """Return the content of a policy file: the same bytes for the same policy."""
    header: dict[str, Any] = {"__metadata__": {KEY: write_manifest(policy_file.manifest)}}
    data: list[bytes] = []
    at = 0
    for name, code, tensor in _stored(policy_file.network):
        data.append(tensor.tobytes())
        header[name] = {"dtype": code, "shape": tensor.shape, "data_offsets": [at, at + tensor.nbytes]}
        at += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)  # so that the data start at a multiple of 8
    content = b"".join([len(text).to_bytes(8, "little"), text, *data])
    read_policy(content)  # whatever is written can be read
    return content


def _stored(network: Network) -> list[tuple[str, str, NDArray[Any]]]:
    """Name, dtype code and array of each tensor: wide dtypes first, then in the order of the layers."""
    stored = []
    for name in network.tensor_shapes():
        tensor = np.asarray(network.tensors[name])
        code = f"F{8 * tensor.itemsize}" if tensor.dtype.kind == "f" else "F64"
        code = code if code in DTYPES else "F64"
        stored.append((name, code, np.ascontiguousarray(tensor, DTYPES[code])))
    return sorted(stored, key=lambda entry: list(DTYPES).index(entry[1]))


# --- reading ------------------------------------------------------------------------------------------------------


def read_policy(source: str | Path | bytes) -> PolicyFile:
    """Return the policy in a file, or in a file's content; PolicyFileError, which names the fault, if it holds none."""
    content = source if isinstance(source, bytes) else _read_bytes(Path(source))
    if not isinstance(source, bytes) and (found := file_type(content, str(source))):
        raise PolicyFileError(f"{source}: {found.refusal}")
    try:
        return _parse(content)
    except PolicyFileError:
        raise
    except ValueError as error:
        raise PolicyFileError(str(error)) from None


def _read_bytes(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise PolicyFileError(f"{str(path)!r} is no regular file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            foreign = file_type(content, path.name)
            reason = f"; {foreign.refusal}" if foreign else ""
            raise PolicyFileError(f"the file has {found.st_size} bytes; a policy file has at most {MAX_FILE}{reason}")
        return content
    except OSError as error:
        raise PolicyFileError(f"{str(path)!r} cannot be read: {error.strerror}") from None


def _parse(content: bytes) -> PolicyFile:
    header, start = _read_header(content)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise PolicyFileError(f"the header has no __metadata__ of strings: {SAFETENSORS}")
    if KEY not in metadata:
        raise PolicyFileError(f"the header's __metadata__ has no {KEY}: {SAFETENSORS}")
    manifest = read_manifest(metadata[KEY])
    network = Network(manifest.observation.inputs, manifest.layers, _tensors(header, memoryview(content)[start:]))
    return PolicyFile(manifest, network)


def _read_header(content: bytes) -> tuple[dict[str, Any], int]:
    """The header's object, and where the data start."""
    if len(content) > MAX_FILE:
        raise PolicyFileError(f"the file has {len(content)} bytes; a policy file has at most {MAX_FILE}")
    if len(content) < 8:
        raise PolicyFileError(f"the file has {len(content)} bytes; it breaks off before the length of its header")
    length = int.from_bytes(content[:8], "little")
    if length > MAX_HEADER:
        raise PolicyFileError(f"the header is said to have {length} bytes, at most {MAX_HEADER}: not a policy file")
    if 8 + length > len(content):
        raise PolicyFileError(f"the file breaks off in its header: {len(content) - 8} of {length} bytes are there")
    raw = content[8 : 8 + length]
    if not raw.startswith(b"{"):
        raise PolicyFileError("the header does not start with {: this is not a policy file")
    try:
        header = read_json(raw.decode("utf-8"), "the header")
    except UnicodeDecodeError as error:
        raise PolicyFileError(f"the header is not UTF-8 at byte {8 + error.start}") from None
    return header, 8 + length


def _tensors(header: dict[str, Any], data: memoryview) -> Tensors:
    """The tensors as arrays over the file's own bytes; they must fill the data without gap or overlap."""
    if len(header) > MAX_TENSORS:
        raise PolicyFileError(f"the header lists {len(header)} tensors; at most {MAX_TENSORS}")
    entries = [(*_entry(name, record), name) for name, record in header.items()]
    tensors: Tensors = {}
    at = 0
    for begin, end, dtype, shape, name in sorted(entries, key=lambda entry: entry[:2]):
        if begin != at:
            fault = "leaves a gap after" if begin > at else "overlaps"
            raise PolicyFileError(f"tensor {name!r:.80} starts at byte {begin} and {fault} the one before ({at})")
        if end > len(data):
            raise PolicyFileError(f"tensor {name!r:.80} ends at byte {end}, but the file holds {len(data)}")
        tensors[name] = np.frombuffer(data[begin:end], dtype).reshape(shape)
        at = end
    if at != len(data):
        raise PolicyFileError(f"{len(data) - at} bytes at the end of the file belong to no tensor")
    return tensors


def _entry(name: str, record: Any) -> tuple[int, int, np.dtype, tuple[int, ...]]:
    """First byte, byte after the last, dtype and shape of a tensor."""
    where = f"tensor {name!r:.80}"
    if not isinstance(record, dict) or record.keys() != {"dtype", "shape", "data_offsets"}:
        raise PolicyFileError(f"{where} is not described by dtype, shape and data_offsets alone")
    code, shape, offsets = record["dtype"], record["shape"], record["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise PolicyFileError(f"{where}: dtype must be one of {', '.join(DTYPES)}, got {code!r:.40}")
    if not _are_sizes(shape, 1, MAX_AXES):
        raise PolicyFileError(
            f"{where}: shape must be a list of 1 to {MAX_AXES} integers in [0, {MAX_FILE}], got {shape!r:.80}"
        )
    if not _are_sizes(offsets, 2, 2):
        raise PolicyFileError(
            f"{where}: data_offsets must be its first byte and the one after its last, got {offsets!r:.80}"
        )
    begin, end = offsets
    if end - begin != math.prod(shape) * DTYPES[code].itemsize:
        raise PolicyFileError(f"{where}: {end - begin} bytes for shape {shape!r:.80} of {code}; sizes do not agree")
    return begin, end, DTYPES[code], tuple(shape)


def _are_sizes(value: Any, at_least: int, at_most: int) -> bool:
    """Whether value is a list of at_least to at_most integers in [0, MAX_FILE]."""
    return (
        isinstance(value, list)
        and at_least <= len(value) <= at_most
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= MAX_FILE for n in value)
    )
