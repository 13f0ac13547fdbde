"""Settings of a competition, from the organiser's TOML or JSON file, validated.

title = "DeepTraffic at the lab"
other_agents = [0, 3, 10]
opens_at = "2026-10-01T08:00:00Z"
closes_at = "2026-10-31T23:59:59Z"
daily_limit = 5

>>> CompetitionConfig.from_record(read_settings("lab.toml"))
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deeptraffic.competition.store.errors import RequestError
from deeptraffic.settings import Checked, boolean, choice, integer
from deeptraffic.sim.rules import CONTESTS, MAX_OTHER_AGENTS

if TYPE_CHECKING:
    from deeptraffic.competition.sandbox.validation import Upload

MAX_TEXT = {"title": 100, "description": 4000}  # [characters]
MAX_FILE = 16_000_000  # [bytes] no policy file is larger
EVERY_NUMBER = tuple(range(MAX_OTHER_AGENTS + 1))


@dataclass(frozen=True)
class CompetitionConfig(Checked):
    """Rules and limits of a competition.

    title, description: for the pages
    rules: 2018 or 2017
    other_agents: allowed counts of other agents; a policy file states its own
    access: "contest" for the contest's sensor, up to 3 lanes to each side; "open" for every policy file, of images and
        other observations too
    joining: "invite" by link, or "open" to everybody who reaches the page
    opens_at, closes_at: UTC, such as 2026-10-31T23:59:59Z; empty for no limit. A submission at closes_at is late
    daily_limit, total_limit: submissions of a person per day (UTC) and in total
    waiting_limit: submissions of a person that may wait for their score at the same time
    team_size: most people of a team, which shares these limits and a place on the board; 1 for no teams
    parameter_cap: most parameters of a network; 0 for no cap
    cpu_budget: processor time [s] of an official evaluation, which the validation predicts
    daily_cpu: processor time [s] of a person's evaluations per day (UTC), after which no submission is accepted
    max_bytes: of an uploaded file
    validation_runs: runs of the validation, which takes seconds
    final_runs: runs of the final, on private seeds
    anonymous: the board shows an alias in place of each name, except to its owner and to the organiser
    """

    title: str = "DeepTraffic"
    description: str = ""
    rules: int = 2018
    other_agents: tuple[int, ...] = EVERY_NUMBER
    access: str = choice("contest", "contest", "open")
    joining: str = choice("invite", "invite", "open")
    opens_at: str = ""
    closes_at: str = ""
    daily_limit: int = integer(10, 1, 100_000)
    total_limit: int = integer(1000, 1, 1_000_000)
    waiting_limit: int = integer(5, 1, 1000)
    team_size: int = integer(1, 1, 20)
    parameter_cap: int = integer(0, 0, 1_000_000_000)
    cpu_budget: int = integer(120, 1, 600)
    daily_cpu: int = integer(1800, 1, 86_400)
    max_bytes: int = integer(MAX_FILE, 1000, MAX_FILE)
    validation_runs: int = integer(20, 1, 200)
    final_runs: int = integer(1000, 10, 10_000)
    anonymous: bool = boolean(False)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "CompetitionConfig":
        """Return the settings of a file or form; ValueError names an unknown one."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(record) - known):
            raise ValueError(f"there is no setting {', '.join(unknown)}; a competition has {', '.join(sorted(known))}")
        return cls(**record)

    def check(self) -> None:
        """Check the texts, the rules with their other agents, and the dates."""
        for name, most in MAX_TEXT.items():
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > most or (name == "title" and not text.strip()):
                kind = "non-blank string" if name == "title" else "string"
                raise ValueError(f"{name} must be a {kind} of up to {most} characters, got {text!r:.80}")
        if self.rules not in CONTESTS:
            raise ValueError(f"rules={self.rules!r} do not exist; choose one of {', '.join(map(str, CONTESTS))}")
        object.__setattr__(self, "other_agents", _agent_counts(self.other_agents, self.rules))
        if self.opens is not None and self.closes is not None and self.opens >= self.closes:
            raise ValueError(f"closes_at={self.closes_at!r} is not after opens_at={self.opens_at!r}")

    @property
    def opens(self) -> int | None:
        """When submissions are taken from [ms since 1970 UTC]; None: at once."""
        return to_milliseconds("opens_at", self.opens_at)

    @property
    def closes(self) -> int | None:
        """When submissions are no longer taken [ms since 1970 UTC]; None: never."""
        return to_milliseconds("closes_at", self.closes_at)

    def check_upload(self, upload: "Upload") -> None:
        """Check a file against the settings; RequestError rules, other_agents, parameters or observation."""
        if upload.rules != self.rules:
            raise RequestError("rules", f"the file is for the {upload.rules} rules, the competition for {self.rules}")
        if upload.other_agents not in self.other_agents:
            allowed = ", ".join(map(str, self.other_agents))
            raise RequestError(
                "other_agents", f"the file drives {upload.other_agents} other agents; allowed are {allowed}"
            )
        if self.parameter_cap and upload.parameters > self.parameter_cap:
            most = f"at most {self.parameter_cap:,} are allowed"
            raise RequestError("parameters", f"the network has {upload.parameters:,} parameters; {most}")
        if self.access == "contest" and upload.access != "contest":
            what = "more than" if upload.asked is None else f"{upload.asked.kind}, not what"
            seen = f"the file observes {what} the contest's sensor shows"
            raise RequestError("observation", f"{seen}; train it with at most 3 lanes to each side")

    def to_record(self) -> dict[str, Any]:
        """Return all settings as JSON values."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"other_agents": list(self.other_agents)}


def to_milliseconds(name: str, text: str) -> int | None:
    """Return an ISO time as milliseconds since 1970 UTC (a time without a zone is UTC), None for an empty text."""
    if text == "":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise ValueError(f"{name}={text!r:.80} is not a time; write it as 2026-10-31T23:59:59Z") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def to_time(milliseconds: int) -> str:
    """Return milliseconds since 1970 UTC as an ISO time, 2026-10-31T23:59:59.000Z."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _agent_counts(value: Any, rules: int) -> tuple[int, ...]:
    """Return the allowed counts of other agents, in order; under the 2017 rules there is only 0."""
    most = MAX_OTHER_AGENTS if rules == 2018 else 0
    if value == EVERY_NUMBER:
        return EVERY_NUMBER[: most + 1]
    wholes = isinstance(value, list | tuple) and all(type(n) is int and 0 <= n <= most for n in value)
    if not wholes or not value:
        raise ValueError(f"other_agents={value!r:.80} must be a list of integers in [0, {most}]")
    return tuple(sorted(set(value)))
