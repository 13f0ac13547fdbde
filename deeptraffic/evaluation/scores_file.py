"""CSV file of policies' scores, appended to line by line, so that an interrupted evaluation resumes where it stopped.

    >>> with ScoresFile("scores.csv").opened(Plan("open", runs=100)) as file:
    ...     if sha256 not in file.lines:
    ...         file.add(Line.of(name, sha256, score))

A policy is identified by the SHA-256 of its content, not by its file name. A line that a kill cut off is dropped.
At the end the lines are sorted, best first.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from deeptraffic.evaluation.batch import Plan, headline_interval
from deeptraffic.evaluation.score import Score
from deeptraffic.run_dir import lock_folder, write_atomically


@dataclass(frozen=True)
class Line:
    """One policy's score.

    file, sha256: where its content was, and the content's hash
    policy, protocol, seed_set, rules, other_agents, access, epsilon: as in `Score`; seed_set is "" for official runs
    score: as in `Score`
    low, high: [mph] 95% interval, of the score in open runs, of the mean in official ones
    mean_mph, sd_mph, p10, p90: of the run scores
    passed, runs, frames, seconds: as in `Score`
    """

    file: str
    sha256: str
    policy: str
    protocol: str
    seed_set: str
    rules: int
    other_agents: int
    access: str
    epsilon: float
    score: float
    low: float
    high: float
    mean_mph: float
    sd_mph: float
    p10: float
    p90: float
    passed: int
    runs: int
    frames: int
    seconds: float

    @classmethod
    def of(cls, file: str, sha256: str, score: Score) -> "Line":
        """Return a score's line."""
        low, high = headline_interval(score)
        return cls(
            file,
            sha256,
            score.policy,
            score.protocol,
            score.seed_set or "",
            score.rules,
            score.other_agents,
            score.access,
            score.epsilon,
            score.score,
            low,
            high,
            score.mean_mph,
            score.sd_mph,
            score.quantiles_mph["p10"],
            score.quantiles_mph["p90"],
            int(score.run_passed.sum()),
            score.runs,
            score.frames,
            round(score.seconds, 4),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return asdict(self)

    def answers(self, plan: Plan) -> bool:
        """Whether this is the score that a plan asks for."""
        asked: list[tuple[Any, Any]] = [(self.protocol, plan.protocol)]
        if plan.protocol == "open":
            asked += [(self.runs, plan.runs), (self.seed_set, plan.seed_set)]
        asked += [(self.rules, plan.rules)] if plan.rules is not None else []
        asked += [(self.other_agents, plan.other_agents)] if plan.other_agents is not None else []
        asked += [(self.epsilon, plan.epsilon)] if plan.epsilon is not None else []
        return all(given == wanted for given, wanted in asked)


HEADER = [field.name for field in fields(Line)]
READERS: dict[str, Any] = {field.name: field.type for field in fields(Line)}


def best_first(lines: Iterable[Line]) -> list[Line]:
    """Return lines by score, then by mean."""
    return sorted(lines, key=lambda line: (-line.score, -line.mean_mph, line.file))


class ScoresFile:
    """The file of an evaluation of many policies.

    Args:
        path: of the CSV file; None keeps the lines in memory alone
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lines: dict[str, Line] = {}  # by SHA-256

    @contextmanager
    def opened(self, plan: Plan) -> Iterator["ScoresFile"]:
        """Read what is there, keep other processes out meanwhile, and sort the lines in the end.

        Raises ValueError for a file of something else or of another plan, RuntimeError if another process writes it.
        """
        if self.path is None:
            yield self
            return
        if not self.path.parent.is_dir():
            raise ValueError(
                f"folder {str(self.path.parent)!r} does not exist; make it, or name another for {self.path}"
            )
        with lock_folder(self.path, self.path):
            self._read(plan)
            try:
                yield self
            finally:
                write_atomically(self.path, to_csv(best_first(self.lines.values())).encode())

    def add(self, line: Line) -> None:
        """Remember a line, and write it to the file's end at once."""
        self.lines[line.sha256] = line
        if self.path is not None:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(to_csv([line], header=file.tell() == 0))

    def _read(self, plan: Plan) -> None:
        assert self.path is not None
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a kill may have cut the last line
        for line in from_csv(whole, self.path):
            if not line.answers(plan):
                raise ValueError(
                    f"{str(self.path)!r} holds scores of another evaluation ({line.protocol}, {line.runs} runs, "
                    f"{line.rules} rules, {line.other_agents} other agents); repeat it with its own options, or name "
                    "another file"
                )
            self.lines[line.sha256] = line
        if whole != text:
            with self.path.open("r+b") as file:
                file.truncate(len(whole.encode()))


def to_csv(lines: Iterable[Line], header: bool = True) -> str:
    """Return lines as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(HEADER)
    writer.writerows(line.to_json().values() for line in lines)
    return text.getvalue()


def from_csv(text: str, path: Path) -> list[Line]:
    """Return the lines in a CSV text; ValueError, which names the file, if they are no such lines."""
    rows = list(csv.reader(io.StringIO(text)))
    if rows and rows[0] != HEADER:
        raise ValueError(f"{str(path)!r} is no file of scores: its first line is not {','.join(HEADER)}; name another")
    lines = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            values = [READERS[name](value) for name, value in zip(HEADER, row, strict=True)]
        except ValueError as error:
            raise ValueError(f"{str(path)!r}, line {number}: {error}; mend it or name another file") from None
        lines.append(Line(*values))
    return lines
