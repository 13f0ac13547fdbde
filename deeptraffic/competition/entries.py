"""An uploaded file as an entry: read in the sandbox, with what the store and its pages want to know of it.

>>> entry = read_entry(content, "mine.safetensors")        # SubmissionFault says what is wrong with the file
>>> accept(db, competition.id, person.id, entry)
"""

from deeptraffic.competition.sandbox import intake
from deeptraffic.competition.sandbox.faults import SubmissionFault
from deeptraffic.competition.store.records import Entry
from deeptraffic.sim.rules import CONTESTS


def read_entry(content: bytes, filename: str) -> Entry:
    """Return what an uploaded file holds; SubmissionFault for its author, PlatformFault if we could not read it."""
    return from_intake(intake.check(content, filename), filename)


def from_intake(found: intake.Submission, filename: str) -> Entry:
    """Return a checked submission as the store takes it; SubmissionFault for a sensor that no road of its rules has."""
    try:
        found.sensor.check(CONTESTS[found.rules])
    except ValueError as error:
        raise SubmissionFault("broken", str(error)) from None
    return Entry(
        content=found.content,
        sha256=found.sha256,
        filename=filename,
        label=found.label,
        rules=found.rules,
        other_agents=found.other_agents,
        access=found.access,
        cells=found.sensor.size,
        layers=len(found.layers),
        parameters=found.parameters,
        facts=found.facts,
    )
