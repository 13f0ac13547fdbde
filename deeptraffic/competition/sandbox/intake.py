"""The door: uploaded bytes to a checked policy file, or a fault with a sentence that says what to do.

    >>> upload = check(content, "mine.safetensors")
    >>> upload.content, upload.sha256           # what is stored, and its name in the store

Whoever calls it never looks into the bytes himself: they are read in a locked child process.
"""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deeptraffic.competition.sandbox import records, wire
from deeptraffic.competition.sandbox.faults import SubmissionFault
from deeptraffic.competition.sandbox.formats import REMEDY
from deeptraffic.competition.sandbox.limits import DRIVING, READING, Limits
from deeptraffic.policies.vocabulary import LAYER_KINDS
from deeptraffic.sim.rules import CONTESTS, Sensor

if TYPE_CHECKING:
    from deeptraffic.competition.sandbox.process import ChildProcess

MAX_NAME = 255  # [bytes] of a file's name
MAX_LABEL = 100  # [characters] of a policy file
CHOICES = {"kind": ("policy", "convnetjs"), "observation": ("vector",), "access": ("contest", "open")}


@dataclass(frozen=True)
class Upload:
    """A checked upload.

    content: its policy file, the same bytes for the same policy; sha256: of content, in hexadecimal
    filename: as it was uploaded
    kind: what was uploaded: "policy" or "convnetjs"
    label: what its author calls it
    rules, other_agents: what it was made for
    observation: kind of observation; access: "contest", or "open" where it sees more than the contest's sensor
    sensor, temporal_window: what it sees and remembers
    layers: kinds of its layers; parameters: numbers in them
    operations: multiplications of one decision; values: numbers that it computes
    vehicle_numbers: what each vehicle's memory holds
    """

    content: bytes = field(repr=False)
    sha256: str
    filename: str
    kind: str
    label: str
    rules: int
    other_agents: int
    observation: str
    access: str
    sensor: Sensor
    temporal_window: int
    layers: tuple[str, ...]
    parameters: int
    operations: int
    values: int
    vehicle_numbers: int

    @property
    def facts(self) -> dict[str, Any]:
        """Everything but the bytes and their name, as JSON."""
        facts = {name: value for name, value in vars(self).items() if name not in ("content", "filename")}
        return facts | {"sensor": self.sensor._asdict(), "layers": list(self.layers), "size": len(self.content)}


def check(content: bytes, filename: str, limits: Limits = DRIVING) -> Upload:
    """Return what an uploaded file holds.

    limits: that it must keep to when it drives

    Raises SubmissionFault with a code and a sentence for its author, PlatformFault if we could not read it.
    """
    from deeptraffic.competition.sandbox.process import ChildProcess  # needs Linux, which `check_own` does not

    _check_size(content)
    name = filename.encode("utf-8", "replace")[-MAX_NAME:]
    with ChildProcess("read", READING) as child:
        record = records.read_report(_ask(child, name + content, len(name)))
        canonical = _ask(child, most=wire.MAX_SUBMISSION)
    return _checked(canonical, filename, record, limits)


def check_own(content: bytes, filename: str, limits: Limits = DRIVING) -> Upload:
    """As `check`, in this process and on any system: for a file of one's own, before it is sent to a server."""
    from deeptraffic.competition.sandbox.reading import Refusal, facts_of, read

    _check_size(content)
    try:
        facts, canonical = facts_of(*read(content, filename))
    except Refusal as refusal:
        code, sentence = refusal.args
        raise SubmissionFault(code, records.plain_text(sentence, records.MAX_SENTENCE)) from None
    return _checked(canonical, filename, facts, limits)


def _check_size(content: bytes) -> None:
    if len(content) > wire.MAX_SUBMISSION:
        most = f"at most {wire.MAX_SUBMISSION >> 20} MB are accepted"
        raise SubmissionFault("size", f"the file has {len(content)} bytes; {most}; {REMEDY}")


def _checked(canonical: bytes, filename: str, record: dict[str, Any], limits: Limits) -> Upload:
    """A child's report as an upload; SubmissionFault if it cannot be, if no road of its rules has its sensor, or if it
    costs too much.
    """
    try:
        upload = _upload(canonical, filename, record)
    except (KeyError, TypeError, ValueError) as error:
        raise SubmissionFault("crash", f"reading it went wrong ({error!s:.80}); {REMEDY}") from None
    try:
        upload.sensor.check(CONTESTS[upload.rules])
    except ValueError as error:
        raise SubmissionFault("broken", str(error)) from None
    check_cost(upload.operations, upload.values, upload.vehicle_numbers, limits)
    return upload


def _ask(child: "ChildProcess", content: bytes = b"", columns: int = 0, most: int = wire.MAX_REPORT) -> bytes:
    """Ask the reading child; its faults in words for whoever uploaded a file."""
    try:
        return bytes(child.ask(wire.SUBMISSION, content, columns=columns, most=most))
    except SubmissionFault as fault:
        what = {
            "memory": f"reading it takes more than {READING.memory >> 20} MB of memory",
            "time": f"reading it takes more than {READING.cpu_seconds} s",
        }.get(fault.code, "the process that read it ended in the middle")
        raise SubmissionFault(fault.code, f"{what}: upload the code as the game saved it, or {REMEDY}") from None


def _upload(content: bytes, filename: str, record: dict[str, Any]) -> Upload:
    """The record of a child, checked; ValueError names what is wrong with it."""
    names = record.get("layers")
    if not isinstance(names, list) or not all(name in LAYER_KINDS for name in names):
        raise ValueError("layers")
    for name, choices in CHOICES.items():
        if record.get(name) not in choices:
            raise ValueError(name)
    return Upload(
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        filename=filename,
        kind=record["kind"],
        label=records.plain_text(record.get("label"), MAX_LABEL),
        rules=records.rules(record),
        other_agents=records.other_agents(record),
        observation=record["observation"],
        access=record["access"],
        sensor=records.sensor(record),
        temporal_window=records.whole(record, "temporal_window"),
        layers=tuple(names),
        parameters=records.whole(record, "parameters"),
        operations=records.whole(record, "operations"),
        values=records.whole(record, "values"),
        vehicle_numbers=records.whole(record, "vehicle_numbers"),
    )


def check_cost(operations: int, values: int, vehicle_numbers: int, limits: Limits) -> None:
    """Raise SubmissionFault for a policy that cannot drive within the limits."""
    if operations > limits.operations:
        raise SubmissionFault(
            "size",
            f"one decision takes {operations:,} multiplications; at most {limits.operations:,}: make its layers "
            "smaller",
        )
    if values > limits.values:
        raise SubmissionFault(
            "size",
            f"one decision computes {values:,} numbers; at most {limits.values:,}: make its layers, its sensor or its "
            "temporal window smaller",
        )
    if vehicle_numbers > limits.vehicle_numbers:
        raise SubmissionFault(
            "size",
            f"each car remembers {vehicle_numbers:,} numbers; at most {limits.vehicle_numbers:,}: make its temporal "
            "window or its recurrent layers smaller",
        )
