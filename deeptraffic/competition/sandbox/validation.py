"""Validation of uploaded files: an untrusted file becomes an `Upload`, or an error that says what to do.

    >>> upload = validate(content, "mine.safetensors")
    >>> upload.content, upload.sha256           # the canonical policy file, and its name in the store

The file is parsed in a locked-down child process (`read_upload`). The child has read hostile bytes, so its report is
checked like any untrusted input (`from_report`).
"""

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from deeptraffic.competition.names import visible
from deeptraffic.competition.sandbox import messages
from deeptraffic.competition.sandbox.errors import ERROR_CODES, InvalidSubmission
from deeptraffic.competition.sandbox.limits import EVALUATION, VALIDATION, Limits
from deeptraffic.policies.base import EnvObservation
from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.convnetjs.read import read_convnetjs
from deeptraffic.policies.file import PolicyFile, PolicyFileError, pack_convnetjs, policy_content, read_policy
from deeptraffic.policies.file_types import binary_type, is_policy_file, is_text
from deeptraffic.policies.layers import LAYER_KINDS
from deeptraffic.policies.manifest import EnvObservationRecord, write_manifest
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.settings import check_real
from deeptraffic.sim.rules import CONTESTS, MAX_LANES_SIDE, MAX_OTHER_AGENTS, MAX_ROWS, Sensor

if TYPE_CHECKING:
    from deeptraffic.competition.sandbox.process import ChildProcess

NO_LABEL = "submission"  # of a file whose own label shows nothing
REMEDY = "write a policy file with `deeptraffic export RUN -o mine.safetensors` on your own machine and upload that"
KINDS = ("policy", "convnetjs")
MAX_NAME = 255  # [bytes] of a file's name
MAX_LABEL = 100  # [characters] of a policy file
MAX_MESSAGE = 500  # [characters] of an error
MAX_COUNT = 1 << 40
NO_FACTS = ("content", "filename", "network", "cpu_seconds")
DIGEST = re.compile(r"[0-9a-f]{64}")
CHUNK = 1 << 20  # values of a tensor that are hashed at a time


@dataclass(frozen=True)
class Upload:
    """A validated upload.

    content: its canonical policy file, the same bytes for the same policy; sha256: of content, in hexadecimal
    filename: as uploaded; kind: what was uploaded, "policy" or "convnetjs"
    label: what its author calls it
    rules, other_agents: what it was made for
    sensor, temporal_window: what it observes and remembers
    layers: kinds of its layers; parameters: of its network
    operations: multiplications per decision; activations: values computed per decision
    state_values: values of each vehicle's recurrent state and history
    epsilon: probability with which it acts at random
    asked: the observation of the environments that it asks for in place of the sensor's cells; None for none
    network: SHA-256 of its weights and settings without label, author and training, as of `network_digest`
    cpu_seconds: processor time that the check took
    """

    content: bytes = field(repr=False)
    sha256: str
    filename: str
    kind: str
    label: str
    rules: int
    other_agents: int
    sensor: Sensor
    temporal_window: int
    layers: tuple[str, ...]
    parameters: int
    operations: int
    activations: int
    state_values: int
    epsilon: float = 0.0
    asked: EnvObservation | None = None
    network: str = ""
    cpu_seconds: float = field(default=0.0, compare=False)

    @property
    def access(self) -> str:
        """Return "contest", or "open" where it observes more than the contest's sensor shows."""
        return "contest" if self.observation.contest else "open"

    @property
    def observation(self) -> Sensor | EnvObservation:
        """What its policy observes."""
        return self.asked or self.sensor

    @property
    def facts(self) -> dict[str, Any]:
        """Return everything that pages show of the policy, as JSON."""
        facts = {name: value for name, value in vars(self).items() if name not in NO_FACTS}
        asked = None if self.asked is None else vars(self.asked)
        sensor, layers = self.sensor._asdict(), list(self.layers)
        return facts | {"sensor": sensor, "layers": layers, "size": len(self.content), "asked": asked}

    def check_cost(self, limits: Limits) -> None:
        """Raise InvalidSubmission for a policy that cannot run within the limits."""
        if self.operations > limits.operations:
            raise InvalidSubmission(
                "size",
                f"one decision takes {self.operations:,} multiplications; at most {limits.operations:,}: make its "
                "layers smaller",
            )
        if self.activations > limits.activations:
            raise InvalidSubmission(
                "size",
                f"one decision computes {self.activations:,} values; at most {limits.activations:,}: make its layers, "
                "its sensor or its temporal window smaller",
            )
        if self.state_values > limits.state_values:
            raise InvalidSubmission(
                "size",
                f"each vehicle remembers {self.state_values:,} values; at most {limits.state_values:,}: make its "
                "temporal window or its recurrent layers smaller",
            )


def validate(content: bytes, filename: str, limits: Limits = EVALUATION) -> Upload:
    """Return what an uploaded file holds, read in a locked-down child process.

    limits: that it must keep to when it is evaluated

    Raises InvalidSubmission for its author, which says what processor time was used; PlatformError if it could not be
    read.
    """
    from deeptraffic.competition.sandbox.process import ChildProcess  # needs Linux, unlike `validate_unsandboxed`

    _check_size(content)
    name = filename.encode("utf-8", "replace")[-MAX_NAME:]
    child = ChildProcess("validate", VALIDATION)
    try:
        with child:
            report = read_report(_ask(child, name + content, len(name)))
            canonical = _ask(child, most=messages.MAX_SUBMISSION)
        upload = _playable(from_report(canonical, filename, report, limits))
    except InvalidSubmission as error:
        error.cpu_seconds = child.cpu_seconds
        raise
    return replace(upload, cpu_seconds=child.cpu_seconds)


def validate_unsandboxed(content: bytes, filename: str, limits: Limits = EVALUATION) -> Upload:
    """As `validate`, in this process and on any system: for one's own file, before it is sent to a server."""
    _check_size(content)
    facts, canonical = read_upload(content, filename)
    return _playable(from_report(canonical, filename, facts, limits))


def _check_size(content: bytes) -> None:
    if len(content) > messages.MAX_SUBMISSION:
        most = f"at most {messages.MAX_SUBMISSION >> 20} MB are accepted"
        raise InvalidSubmission("size", f"the file has {len(content)} bytes; {most}; {REMEDY}")


def _ask(child: "ChildProcess", content: bytes = b"", columns: int = 0, most: int = messages.MAX_REPORT) -> bytes:
    """Ask the validating child; its errors are worded for the author of the file."""
    try:
        return bytes(child.ask(messages.SUBMISSION, content, columns=columns, most=most))
    except InvalidSubmission as error:
        what = {
            "memory": f"reading it takes more than {VALIDATION.memory >> 20} MB of memory",
            "time": f"reading it takes more than {VALIDATION.cpu_seconds} s",
        }.get(error.code, "the process that read it ended early")
        raise InvalidSubmission(error.code, f"{what}: upload the code as the game saved it, or {REMEDY}") from None


def _playable(upload: Upload) -> Upload:
    """Return an upload whose observation can be computed."""
    if upload.asked is not None:
        try:
            _check_asked(upload.asked, upload)
        except ValueError as error:
            raise InvalidSubmission("broken", str(error)) from None
    return upload


def _check_asked(asked: EnvObservation, upload: Upload) -> None:
    """Raise ValueError for an observation that cannot be computed, or that no competition takes."""
    from gymnasium.spaces.utils import flatdim  # the child, which computes no observations, need not load these

    from deeptraffic.envs.observations import make_observation
    from deeptraffic.envs.observations.observation import FrameObservation

    observation = make_observation({"kind": asked.kind, **asked.options})
    if observation.kind == "full":
        raise ValueError("the file observes the simulator's whole state, which no competition takes; choose a sensor")
    if observation.is_weak:
        raise ValueError("the file observes through a weakened sensor, which the official evaluation does not have")
    if observation.ego_only and upload.other_agents:
        raise ValueError(f"{asked.kind} does not say which vehicle a copy drives; make the file with other_agents=0")
    rules = CONTESTS[upload.rules]
    if isinstance(observation, FrameObservation):  # the space of a stack would take much memory
        size = flatdim(observation.present_space(rules)) * (observation.temporal_window + 1)
    else:
        size = flatdim(observation.space(rules))
    if size != asked.size:
        raise ValueError(f"the file reads {asked.size} values, but its {asked.kind} has {size}")


# --- what a child reports, checked --------------------------------------------------------------------------------


def read_report(content: bytes | bytearray) -> dict[str, Any]:
    """Return the JSON object of an answer; InvalidSubmission if there is none, or if it holds an error."""
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        raise InvalidSubmission("answer", f"the process that read the file gave no report; {REMEDY}")
    if "error" in report:
        raise _reported_error(report["error"])
    return report


def _reported_error(error: Any) -> InvalidSubmission:
    if not isinstance(error, list) or len(error) != 2 or error[0] not in ERROR_CODES or not isinstance(error[1], str):
        return InvalidSubmission("answer", f"the process that read the file gave an unreadable error; {REMEDY}")
    return InvalidSubmission(error[0], plain_text(error[1], MAX_MESSAGE))


def from_report(content: bytes, filename: str, report: dict[str, Any], limits: Limits) -> Upload:
    """Return the upload that a child's report describes.

    Raises InvalidSubmission if the report is impossible, or if the policy exceeds the limits.
    """
    try:
        upload = _from_report(content, filename, report)
    except ValueError as error:
        raise InvalidSubmission("answer", f"its process gave an impossible report ({error!s:.80}); {REMEDY}") from None
    upload.check_cost(limits)
    return upload


def _from_report(content: bytes, filename: str, report: dict[str, Any]) -> Upload:
    """As `from_report`; ValueError names what is impossible."""
    layers = report.get("layers")
    if not isinstance(layers, list) or not all(isinstance(kind, str) and kind in LAYER_KINDS for kind in layers):
        raise ValueError("layers")
    if report.get("kind") not in KINDS:
        raise ValueError("kind")
    rules = _count(report, "rules")
    if rules not in CONTESTS:
        raise ValueError(f"rules={rules}")
    return Upload(
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        filename=filename,
        kind=report["kind"],
        label=plain_text(report.get("label"), MAX_LABEL) or NO_LABEL,
        rules=rules,
        other_agents=_count(report, "other_agents", MAX_OTHER_AGENTS),
        sensor=_sensor(report),
        epsilon=check_real("epsilon", report.get("epsilon"), 0.0, 1.0),
        layers=tuple(layers),
        asked=_asked(report),
        network=_digest(report),
        **{name: _count(report, name) for name in COUNTS},
    )


COUNTS = ("temporal_window", "parameters", "operations", "activations", "state_values")


def _count(report: dict[str, Any], name: str, most: int = MAX_COUNT) -> int:
    """Return an entry that is an integer in [0, most]."""
    value = report.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"{name}={value!r:.40}")
    return value


def _digest(report: dict[str, Any]) -> str:
    """Return the entry `network`, a SHA-256."""
    value = report.get("network")
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError(f"network={value!r:.40}")
    return value


def _sensor(report: dict[str, Any]) -> Sensor:
    """Return the entry `sensor`, three integers."""
    given = report.get("sensor")
    if not isinstance(given, list) or len(given) != 3:
        raise ValueError(f"sensor={given!r:.40}")
    sides = dict(zip(Sensor._fields, given, strict=True))
    limits = zip(Sensor._fields, (MAX_LANES_SIDE, MAX_ROWS, MAX_ROWS), strict=True)
    return Sensor(*(_count(sides, name, most) for name, most in limits)).check()


def _asked(report: dict[str, Any]) -> EnvObservation | None:
    """Return the entry `asked`, an observation by kind, options and size; None for none."""
    given = report.get("asked")
    if given is None:
        return None
    if not isinstance(given, dict) or given.keys() != {"kind", "options", "size"}:
        raise ValueError(f"asked={given!r:.40}")
    return EnvObservationRecord(**given).observed


def plain_text(value: Any, limit: int) -> str:
    """Return a text as one line of at most `limit` printable characters; ValueError if it is no text."""
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} in place of a text")
    line = visible(value[: 2 * limit])
    return line if len(line) <= limit else line[: limit - 3] + "..."


# --- reading an upload, in the child ------------------------------------------------------------------------------


def read_upload(content: bytes, filename: str) -> tuple[dict[str, Any], bytes]:
    """Return the facts of an upload, as JSON, and its canonical policy file; InvalidSubmission if it is no policy."""
    try:
        policy_file, kind = _parse(content, filename)
    except InvalidSubmission as error:
        raise InvalidSubmission(error.code, plain_text(str(error), MAX_MESSAGE)) from None
    return facts_of(policy_file, policy_file.policy(), kind), policy_content(policy_file)


def _parse(content: bytes, filename: str) -> tuple[PolicyFile, str]:
    """Return the policy in a file, and which kind of file it was."""
    if not content:
        raise InvalidSubmission("format", f"the file is empty; {REMEDY}")
    if refused := binary_type(content):
        raise InvalidSubmission("format", f"this is {refused.name}; {REMEDY}")
    suffix = PurePath(filename).suffix.lower()
    if is_policy_file(content) or suffix == ".safetensors":
        try:
            return read_policy(content), "policy"
        except PolicyFileError as error:
            raise InvalidSubmission("broken", f"{error}; {REMEDY}") from None
    if suffix in (".js", ".txt") or is_text(content):
        return _parse_original(content, filename), "convnetjs"
    raise InvalidSubmission("format", f"this is neither a policy file nor an original game's .js text; {REMEDY}")


def _parse_original(content: bytes, filename: str) -> PolicyFile:
    """Return an original game's file as a policy file: the same bytes for the same text and name."""
    try:
        submission = read_convnetjs(content.decode("utf-8"), label_of(filename))
        policy_file = pack_convnetjs(submission)
        policy_file = PolicyFile(replace(policy_file.manifest, created=""), policy_file.network)
        policy_content(policy_file)
        return policy_file
    except UnicodeDecodeError as error:
        message = f"this is not UTF-8 text (byte {error.start}); save the code in the game and upload that"
        raise InvalidSubmission("format", message) from None
    except ConvNetJSError as error:
        raise InvalidSubmission("broken", str(error)) from None
    except PolicyFileError as error:
        message = f"as a policy file it is too large: {error}; make its layers smaller"
        raise InvalidSubmission("size", message) from None
    except ValueError as error:
        raise InvalidSubmission("broken", str(error)) from None


def label_of(filename: str) -> str:
    """Return a file's name without folders and suffix, in characters that a label may have."""
    stem = PurePath(filename.replace("\\", "/")).stem
    return visible(stem)[:MAX_LABEL] or NO_LABEL


def network_digest(policy_file: PolicyFile) -> str:
    """Return the SHA-256 of what decides how a policy drives, in hexadecimal: the same for a file that is relabelled.

    Label, author, training facts and time make no difference, nor do the dtypes in which equal weights are stored.
    """
    manifest = replace(policy_file.manifest, label=NO_LABEL, author="", training={}, created="")
    digest = hashlib.sha256(write_manifest(manifest).encode())
    for name in policy_file.network.tensor_shapes():
        values = np.asarray(policy_file.network.tensors[name]).ravel()
        for first in range(0, values.size, CHUNK):
            digest.update((values[first : first + CHUNK].astype("<f8") + 0.0).tobytes())  # -0.0 as 0.0
    return digest.hexdigest()


def facts_of(policy_file: PolicyFile, policy: NetworkPolicy, kind: str) -> dict[str, Any]:
    """Return the report that `from_report` reads."""
    manifest, network = policy_file.manifest, policy_file.network
    pairs = zip(network.layers, network.given_shapes(), strict=True)
    asked = None if isinstance(policy.observation, Sensor) else vars(policy.observation)
    return {
        "kind": kind,
        "label": manifest.label,
        "rules": manifest.rules,
        "other_agents": manifest.other_agents,
        "sensor": list(policy.sensor if asked is None else Sensor()),
        "asked": asked,
        "network": network_digest(policy_file),
        "temporal_window": policy.temporal_window,
        "epsilon": policy.epsilon,
        "layers": [layer.kind for layer in network.layers],
        "parameters": network.parameters,
        "operations": sum(layer.operations(given) for layer, given in pairs),
        "activations": policy.program.net.scratch.size,
        "state_values": policy.driver.history.shape[1] + policy.driver.memory.shape[1],
    }
