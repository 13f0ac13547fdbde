"""What a child reports about a submission, checked: who has read hostile bytes is believed as little as they."""

import json
from typing import Any, get_args

from deeptraffic.competition.sandbox.faults import FaultCode, SubmissionFault
from deeptraffic.sim.rules import CONTESTS, MAX_LANES, MAX_OTHER_AGENTS, MAX_ROWS, Sensor

MAX_SENTENCE = 500  # [characters]
MOST = 1 << 40


def read_report(content: bytes | bytearray) -> dict[str, Any]:
    """Return the object in an answer; SubmissionFault if there is none, or if it is a refusal."""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise SubmissionFault(
            "answer", "the process that read the file gave no report; upload a file as it was written"
        )
    if "fault" in record:
        raise _refusal(record["fault"])
    return record


def _refusal(fault: Any) -> SubmissionFault:
    if not isinstance(fault, list) or len(fault) != 2 or fault[0] not in get_args(FaultCode):
        return SubmissionFault("answer", "the process that read the file gave a report that cannot be read")
    return SubmissionFault(fault[0], plain_text(fault[1], MAX_SENTENCE))


def plain_text(value: Any, limit: int) -> str:
    """Return a text as one line of printable characters, of at most `limit` of them."""
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} where a text belongs")
    line = "".join(c if c.isprintable() else " " for c in value[: 2 * limit])
    return line if len(line) <= limit else line[: limit - 3] + "..."


def whole(record: dict[str, Any], name: str, most: int = MOST) -> int:
    """Return an entry that is a whole number from 0 to most; ValueError if it is none."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"{name}={value!r:.40}")
    return value


def sensor(record: dict[str, Any]) -> Sensor:
    """Return the entry `sensor`, three whole numbers."""
    given = record.get("sensor")
    if not isinstance(given, list) or len(given) != 3:
        raise ValueError(f"sensor={given!r:.40}")
    sides = dict(zip(Sensor._fields, given, strict=True))
    limits = zip(Sensor._fields, (MAX_LANES - 1, MAX_ROWS, MAX_ROWS), strict=True)
    return Sensor(*(whole(sides, name, most) for name, most in limits))


def rules(record: dict[str, Any]) -> int:
    """Return the entry `rules`, the year of a contest."""
    year = whole(record, "rules", max(CONTESTS))
    if year not in CONTESTS:
        raise ValueError(f"rules={year}")
    return year


def other_agents(record: dict[str, Any]) -> int:
    """Return the entry `other_agents`."""
    return whole(record, "other_agents", MAX_OTHER_AGENTS)
