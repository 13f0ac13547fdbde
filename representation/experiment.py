"""Experiments: how a model is trained on simulated data and evaluated against baselines on held-out runs.

    >>> result = pretrain("dense-speed", "runs/pretrain/dense-speed")
    >>> for metric in result.metrics: print(metric.describe())

`deeptraffic pretrain NAME` runs one, `deeptraffic report representation` all (`representation/catalog.py` lists them).
An experiment works in a folder: checkpoints of its trainings, weights, plots, and at its end result.json. The same call
on the same folder resumes where it stopped.
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
class Metric:
    """A value measured on held-out runs, beside the baselines that it has to beat.

    name: what is measured; unit: "" for a fraction
    value: of the model; baselines: the same metric of simpler methods, by name
    higher_is_better: False for errors and losses
    goal: threshold that was set before the experiment; None for none
    note: context, such as the number of examples
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
        """Whether the value is at least as good as the goal; None without a goal."""
        if self.goal is None:
            return None
        return self.value == self.goal or self._better(self.value, self.goal)

    def describe(self) -> str:
        """Return the metric in one line."""
        beside = "; ".join(f"{name} {value:.4g}" for name, value in self.baselines.items())
        goal = "" if self.goal is None else f", goal {self.goal:g} {'reached' if self.reaches_goal else 'missed'}"
        return f"{self.name}: {self.value:.4g}{self.unit and ' ' + self.unit} ({beside or 'no baseline'}{goal})"

    def _better(self, value: float, other: float) -> bool:
        return value > other if self.higher_is_better else value < other


@dataclass(frozen=True)
class Plot:
    """A PNG file in the experiment's folder, and its caption."""

    file: str
    caption: str


@dataclass(frozen=True)
class ExperimentResult:
    """Metrics, plots and weights files of an experiment, the main ones first."""

    metrics: list[Metric]
    plots: list[Plot] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)


@dataclass
class TrainingJob:
    """A run of an experiment.

    folder: where it works; must exist
    scale: fraction of the full data and epochs: 1 for the report, less for tests and tutorials
    settings: fields of `FitConfig` that the caller overrides
    cache: folder of cached recordings; None for none
    earlier: seconds and CPU seconds of trainings that earlier sessions made
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
        """Train a model in the subfolder `name`, resuming from its checkpoint; see `representation.fit.fit`."""
        asked: dict[str, Any] = {"epochs": self.scaled(config.epochs), **self.settings}
        result = fit(model, train, validation, replace(config, **asked), self.folder / name, self.console, name)
        before = result.earlier_seconds, result.earlier_cpu_seconds
        self.earlier = (self.earlier[0] + before[0], self.earlier[1] + before[1])
        return result


class Experiment:
    """How a model is trained and evaluated.

    name: on the command line; paradigm: one of `representation.catalog.PARADIGMS`
    summary: one sentence; source: the paper, with its equation or section
    """

    name: ClassVar[str]
    paradigm: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train, evaluate on the test split and plot; weights and plots go to the job's folder."""
        raise NotImplementedError


def run_experiment(experiment: Experiment, job: TrainingJob) -> ExperimentResult:
    """Run an experiment in its folder, or return the result that the folder already holds.

    Raises ValueError if that result is of another experiment, scale or settings.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    asked = {"experiment": experiment.name, "scale": job.scale, "settings": dict(job.settings)}
    with lock_folder(job.folder, job.folder / ".lock"):
        path = job.folder / RESULT
        if path.exists():
            return _finished(path, asked)
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        result = experiment.run(job)
        spent = {
            "seconds": time.perf_counter() - seconds + job.earlier[0],
            "cpu_seconds": time.process_time() - cpu_seconds + job.earlier[1],
        }
        content = {**asked, **{name: round(value, 1) for name, value in spent.items()}}
        about = {"paradigm": experiment.paradigm, "summary": experiment.summary, "source": experiment.source}
        write_json(path, {**about, **content, **asdict(result), "versions": versions()})
    return result


def read_result(path: Path) -> tuple[ExperimentResult, dict[str, Any]]:
    """Return the content of a result.json: the result, and everything as JSON values."""
    content = json.loads(path.read_text(encoding="utf-8"))
    metrics = [Metric(**metric) for metric in content["metrics"]]
    plots = [Plot(**plot) for plot in content["plots"]]
    return ExperimentResult(metrics, plots, content["weights"]), content


def _finished(path: Path, asked: dict[str, Any]) -> ExperimentResult:
    result, content = read_result(path)
    was = {name: content.get(name) for name in asked}
    if was != asked:
        raise ValueError(f"folder {str(path.parent)!r} holds the result of {was}, not of {asked}; name another folder")
    return result
