"""An uploaded file as an entry: read in the sandbox, with what the store and its pages want to know of it.

>>> entry = read_entry(content, "mine.safetensors")        # SubmissionFault says what is wrong with the file
>>> accept(db, competition.id, person.id, entry)
"""

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.sandbox import intake
from deeptraffic.competition.sandbox.faults import SubmissionFault
from deeptraffic.competition.store.faults import Refusal
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


def check_entry(config: CompetitionConfig, entry: Entry) -> None:
    """Refuse a file that the competition's settings do not allow."""
    if entry.rules != config.rules:
        raise Refusal("rules", f"the file is for the {entry.rules} rules; this competition has those of {config.rules}")
    if entry.other_agents not in config.other_agents:
        allowed = ", ".join(map(str, config.other_agents))
        raise Refusal("other_agents", f"the file drives {entry.other_agents} other agents; allowed are {allowed}")
    if config.parameter_cap and entry.parameters > config.parameter_cap:
        most = f"at most {config.parameter_cap:,} are allowed"
        raise Refusal("parameters", f"the network has {entry.parameters:,} parameters; {most}")
    if config.access == "contest" and entry.access != "contest":
        seen = "the file sees more than the contest's sensor shows"
        raise Refusal("observation", f"{seen}; train it with at most 3 lanes to each side")
