"""A recipe: how one model is trained on data that the simulator makes, and measured beside baselines.

    >>> outcome = pretrain("dense-speed", "runs/pretrain/dense-speed")
    >>> for figure in outcome.figures: print(figure.sentence())

`deeptraffic pretrain NAME` runs one, `deeptraffic report representation` all (`representation/catalog.py` lists them).
A recipe works in a folder: checkpoints of its trainings, weights, pictures, and at its end result.json. The same call
on the same folder goes on where it stopped.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from deeptraffic.run_dir import lock_folder, versions, write_json
from deeptraffic.settings import Settings
from representation.fit import Arrays, FitConfig, FitResult, Trainable, fit

RESULT = "result.json"


@dataclass(frozen=True)
class Figure:
    """One number measured on held-out runs, beside what it has to beat.

    name: what is measured; unit: "" for a share
    value: of the model; baselines: the same number of simpler ways, by name
    higher_is_better: or lower
    goal: the bar that was set for it; None for none
    note: what a reader must know, such as how many examples it is from
    """

    name: str
    value: float
    baselines: Mapping[str, float] = field(default_factory=dict)
    unit: str = ""
    higher_is_better: bool = True
    goal: float | None = None
    note: str = ""

    @property
    def beats_baselines(self) -> bool:
        """Whether the value is better than every baseline's."""
        return all(self._better(self.value, other) for other in self.baselines.values())

    @property
    def reaches_goal(self) -> bool | None:
        """Whether the value is at least as good as the goal; None where none was set."""
        if self.goal is None:
            return None
        return self.value == self.goal or self._better(self.value, self.goal)

    def sentence(self) -> str:
        """The figure in one line."""
        beside = "; ".join(f"{name} {value:.4g}" for name, value in self.baselines.items())
        goal = "" if self.goal is None else f", goal {self.goal:g} {'reached' if self.reaches_goal else 'missed'}"
        return f"{self.name}: {self.value:.4g}{self.unit and ' ' + self.unit} ({beside or 'no baseline'}{goal})"

    def _better(self, value: float, other: float) -> bool:
        return value > other if self.higher_is_better else value < other


@dataclass(frozen=True)
class Picture:
    """A PNG in the recipe's folder, and what it shows."""

    file: str
    caption: str


@dataclass(frozen=True)
class Outcome:
    """What a recipe leaves behind: its figures, pictures, and the files of its weights, main one first."""

    figures: list[Figure]
    pictures: list[Picture] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)


@dataclass
class Job:
    """A recipe at work.

    folder: its folder, which exists
    scale: share of the full data and epochs, 1 for the report, a little for tests and tutorials
    settings: of `FitConfig`, that the caller wants otherwise
    cache: folder for recordings; None for none
    earlier: seconds and CPU seconds of trainings that were made before this session
    """

    folder: Path
    scale: float = 1.0
    settings: Settings = field(default_factory=dict)
    cache: Path | None = None
    console: Console | None = None
    earlier: tuple[float, float] = (0.0, 0.0)

    def scaled(self, count: int, least: int = 1) -> int:
        """Return a count of runs or examples at this scale."""
        return max(least, round(count * self.scale))

    def fit(self, name: str, model: Trainable, train: Arrays, validation: Arrays, config: FitConfig) -> FitResult:
        """Train a model in the subfolder `name`, going on where it stopped; see `representation.fit.fit`."""
        asked: dict[str, Any] = {"epochs": self.scaled(config.epochs), **self.settings}
        result = fit(model, train, validation, replace(config, **asked), self.folder / name, self.console, name)
        before = result.earlier_seconds, result.earlier_cpu_seconds
        self.earlier = (self.earlier[0] + before[0], self.earlier[1] + before[1])
        return result


class Recipe:
    """How one model is trained and measured.

    name: on the command line; paradigm: one of `representation.catalog.PARADIGMS`
    summary: one sentence; source: the paper, with its equation or section
    """

    name: ClassVar[str]
    paradigm: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]

    def run(self, job: Job) -> Outcome:
        """Train, measure on the test split, draw; leave weights and pictures in the job's folder."""
        raise NotImplementedError


def run_recipe(recipe: Recipe, job: Job) -> Outcome:
    """Run a recipe in its folder, or return what it left there when it was finished before.

    Raises ValueError if the folder holds a result of another recipe, scale or settings.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    asked = {"recipe": recipe.name, "scale": job.scale, "settings": dict(job.settings)}
    with lock_folder(job.folder, job.folder / ".lock"):
        path = job.folder / RESULT
        if path.exists():
            return _finished(path, asked)
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        outcome = recipe.run(job)
        spent = {
            "seconds": time.perf_counter() - seconds + job.earlier[0],
            "cpu_seconds": time.process_time() - cpu_seconds + job.earlier[1],
        }
        content = {**asked, **{name: round(value, 1) for name, value in spent.items()}}
        about = {"paradigm": recipe.paradigm, "summary": recipe.summary, "source": recipe.source}
        write_json(path, {**about, **content, **asdict(outcome), "versions": versions()})
    return outcome


def read_outcome(path: Path) -> tuple[Outcome, dict[str, Any]]:
    """Return what a result.json holds: the outcome, and all of it as JSON values."""
    content = json.loads(path.read_text(encoding="utf-8"))
    figures = [Figure(**figure) for figure in content["figures"]]
    pictures = [Picture(**picture) for picture in content["pictures"]]
    return Outcome(figures, pictures, content["weights"]), content


def _finished(path: Path, asked: dict[str, Any]) -> Outcome:
    outcome, content = read_outcome(path)
    was = {name: content.get(name) for name in asked}
    if was != asked:
        raise ValueError(f"folder {str(path.parent)!r} holds the result of {was}, not of {asked}; name another folder")
    return outcome
