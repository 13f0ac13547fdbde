"""Experiments: how a model is trained on simulated data and evaluated against baselines on held-out runs.

    >>> result = pretrain("dense-speed", "runs/pretrain/dense-speed")
    >>> for metric in result.metrics: print(metric.describe())

`deeptraffic pretrain NAME` runs one, `deeptraffic report representation` all (`representation/catalog.py` lists them).
An experiment works in a folder: checkpoints of its trainings, weights, plots, and at its end result.json. The same call
on the same folder resumes where it stopped. A seed determines initial weights, shuffling and the recorded runs of every
split; `PooledMetric` combines the results of several seeds.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from rich.console import Console

from deeptraffic.evaluation.statistics import mean_interval
from deeptraffic.run_dir import lock_folder, versions, write_json
from deeptraffic.settings import Settings
from representation.data.recording import Recording, RecordingConfig, record
from representation.fit import Arrays, FitConfig, FitResult, Trainable, fit
from representation.plots import MetricScore, save_scores
from representation.saved_model import SavedModel

RESULT = "result.json"
RUNS_OF_A_SEED, MAX_SEED = 10_000, 98  # recorded runs of each split that belong to one seed; the largest seed
RATES = (1 / 3, 1.0, 3.0)  # multiples of the learning rate among which `TrainingJob.tune` chooses
TRIAL = 0.25  # of the epochs, for each of them

Made = TypeVar("Made")
Model = TypeVar("Model", bound=Trainable)
Saved = TypeVar("Saved", bound=SavedModel)


@dataclass(frozen=True)
class Metric:
    """A value measured on held-out runs with one seed, beside the baselines that it has to beat.

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
    def reaches_goal(self) -> bool | None:
        """Whether the value is at least as good as the goal; None without a goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.higher_is_better else self.value <= self.goal

    def describe(self) -> str:
        """Return the metric in one line."""
        beside = "; ".join(f"{name} {value:.4g}" for name, value in self.baselines.items())
        goal = "" if self.goal is None else f", goal {self.goal:g} {'reached' if self.reaches_goal else 'missed'}"
        return f"{self.name}: {self.value:.4g}{self.unit and ' ' + self.unit} ({beside or 'no baseline'}{goal})"


@dataclass(frozen=True)
class PooledMetric:
    """A metric measured with several seeds of weights and data.

    seeds: S of them; values: of the model, (S,); baselines: likewise, by name
    name, unit, higher_is_better, goal: as of `Metric`; note: of the first seed
    """

    name: str
    seeds: Sequence[int]
    values: Sequence[float]
    baselines: Mapping[str, Sequence[float]] = field(default_factory=dict)
    unit: str = ""
    higher_is_better: bool = True
    goal: float | None = None
    note: str = ""

    @classmethod
    def of(cls, metrics: Mapping[int, Metric]) -> Self:
        """Pool the same metric of several seeds; ValueError if the seeds measured different things."""
        first = next(iter(metrics.values()))
        if any((one.name, list(one.baselines)) != (first.name, list(first.baselines)) for one in metrics.values()):
            raise ValueError(f"seeds {list(metrics)} measured different things ({first.name!r}); run them again")
        values = [one.value for one in metrics.values()]
        beside = {name: [one.baselines[name] for one in metrics.values()] for name in first.baselines}
        return cls(
            first.name, list(metrics), values, beside, first.unit, first.higher_is_better, first.goal, first.note
        )

    @property
    def mean(self) -> float:
        """The mean value of the seeds."""
        return float(np.mean(self.values))

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of the mean over seeds; None for one seed."""
        return mean_interval(self.values) if len(self.seeds) > 1 else None

    @property
    def score(self) -> MetricScore:
        """The means and intervals of the model, under the name `this model`, and of the baselines, to plot."""
        values = {"this model": self.values, **self.baselines}
        intervals = {name: mean_interval(each) for name, each in values.items()} if len(self.seeds) > 1 else {}
        label = f"{self.name}{self.unit and f' [{self.unit}]'}{'' if self.higher_is_better else ', lower is better'}"
        means = {name: float(np.mean(each)) for name, each in values.items()}
        return MetricScore(label, means, intervals, self.higher_is_better)

    @property
    def best_baseline(self) -> str | None:
        """The baseline with the best mean; None without baselines."""
        means = {name: float(np.mean(values)) for name, values in self.baselines.items()}
        best = max if self.higher_is_better else min
        return best(means, key=lambda name: means[name]) if means else None

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """(Mean, lower, upper end of the 95% interval) of value minus best baseline, paired by seed.

        None without baselines, or for one seed.
        """
        best = self.best_baseline
        if best is None or len(self.seeds) < 2:
            return None
        gaps = np.subtract(self.values, self.baselines[best])
        return float(gaps.mean()), *mean_interval(gaps)

    @property
    def wins(self) -> bool:
        """Whether the value is better than the best baseline's and the interval of the difference excludes 0."""
        if self.difference is None:
            return False
        _, low, high = self.difference
        return low > 0 if self.higher_is_better else high < 0

    @property
    def verdict(self) -> str:
        """What the seeds tell about the value and the best baseline: better, worse, tied, or one seed (nothing)."""
        if self.difference is None:
            return "one seed" if self.baselines else "no baseline"
        if self.wins:
            return "better"
        _, low, high = self.difference
        return "tied" if low <= 0 <= high else "worse"

    @property
    def reaches_goal(self) -> bool | None:
        """Whether the mean is at least as good as the goal; None without a goal."""
        if self.goal is None:
            return None
        return self.mean >= self.goal if self.higher_is_better else self.mean <= self.goal


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
    seed: of initial weights, shuffling and recorded runs
    settings: fields of `FitConfig` that the caller overrides
    cache: folder of cached recordings; None for none
    earlier: seconds and CPU seconds of trainings that earlier sessions made
    """

    folder: Path
    scale: float = 1.0
    seed: int = 0
    settings: Settings = field(default_factory=dict)
    cache: Path | None = None
    console: Console | None = None
    earlier: tuple[float, float] = (0.0, 0.0)

    def scaled(self, count: int, least: int = 1) -> int:
        """Return a count of runs or examples at this scale."""
        return max(least, round(count * self.scale))

    def record(self, split: str, runs: int, least: int = 8, **config: Any) -> Recording:
        """Return a recording of so many runs at this scale; seeds have runs of their own, in every split.

        config: further fields of `RecordingConfig`
        """
        first = config.pop("first", 0) + self.seed * RUNS_OF_A_SEED
        return record(RecordingConfig(split=split, runs=self.scaled(runs, least), first=first, **config), self.cache)

    def new(self, make: Callable[[], Made]) -> Made:
        """Return a new model, its initial weights drawn with this job's seed."""
        torch.manual_seed(self.seed)
        return make()

    def fit(
        self, name: str, model: Trainable, train: Arrays, validation: Arrays, config: FitConfig, part: float = 1.0
    ) -> FitResult:
        """Train a model in the subfolder `name`, resuming from its checkpoint; see `representation.fit.fit`.

        part: of the epochs
        """
        asked: dict[str, Any] = {"epochs": self.scaled(config.epochs), "seed": self.seed, **self.settings}
        asked["epochs"] = max(1, round(part * asked["epochs"]))
        result = fit(model, train, validation, replace(config, **asked), self.folder / name, self.console, name)
        self.earlier = (self.earlier[0] + result.earlier[0], self.earlier[1] + result.earlier[1])
        return result

    def train(
        self, make: Callable[[], Saved], train: Arrays, validation: Arrays, config: FitConfig, file: str
    ) -> Saved:
        """Train a new model, write its weights file, and return it."""
        model = self.new(make)
        self.fit(Path(file).stem, model, train, validation, config)
        model.save(self.folder / file)
        return model

    def tune(
        self, name: str, make: Callable[[], Model], train: Arrays, validation: Arrays, config: FitConfig
    ) -> tuple[Model, FitResult]:
        """Train a new model at the best of three learning rates, and return it with its result.

        The best has the lowest validation loss after a trial of a quarter of the epochs. The methods of a comparison
        get the same budget by it, baselines included.
        """
        trials: list[tuple[float, FitConfig]] = []
        for k, factor in enumerate(RATES):
            start, end = config.learning_rate * factor, config.learning_rate_end * factor
            rated = replace(config, learning_rate=start, learning_rate_end=end)
            trial = self.fit(f"{name}-{k}", self.new(make), train, validation, rated, TRIAL)
            trials.append((trial.validation_loss, rated))
        best = min(trials, key=lambda trial: trial[0])[1]
        model = self.new(make)
        return model, self.fit(name, model, train, validation, best)


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

    Raises ValueError if that result is of another experiment, scale, seed or settings.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    asked = {
        "experiment": experiment.name,
        "scale": job.scale,
        "seed": job.seed,
        "settings": dict(job.settings),
    }
    with lock_folder(job.folder, job.folder / ".lock"):
        path = job.folder / RESULT
        if path.exists():
            return _finished(path, asked)
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        result = experiment.run(job)
        save_scores({experiment.name: PooledMetric.of({job.seed: result.metrics[0]}).score}, job.folder / "scores.png")
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
