"""Comparison of networks on one task: the same examples and epochs, the best of the same learning rates for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig, Trainable
from representation.plots import save_bars
from representation.weights import parameter_count

WEIGHTS = "encoder.safetensors"


@dataclass(frozen=True)
class Way:
    """One of the networks compared, and its view of the examples.

    make: a new model, with its encoder as `encoder`
    train, validation, test: the same examples for every way
    """

    make: Callable[[], Any]
    train: Arrays
    validation: Arrays
    test: Arrays


class NetworkComparison(Experiment):
    """A network against others, and against baselines that need no training.

    metric: name, unit and direction of the score; `value` is filled in
    config: of every training; caption: of the plot
    observed: configuration of the encoder's observation, where it has one
    """

    metric: ClassVar[Metric]
    config: ClassVar[FitConfig]
    caption: ClassVar[str]
    observed: ClassVar[dict[str, Any] | None] = None

    def ways(self, job: TrainingJob) -> dict[str, Way]:
        """Return the networks by name, first the one that the experiment is about."""
        raise NotImplementedError

    def score(self, model: Trainable, test: Arrays) -> float:
        """Return the score of a trained model on test examples."""
        raise NotImplementedError

    def baselines(self, way: Way) -> dict[str, float]:
        """Return the scores of baselines without a network."""
        return {}

    def draw(self, job: TrainingJob, scores: Mapping[str, float], model: Any, test: Arrays) -> None:
        """Plot the scores as bars."""
        unit = f" [{self.metric.unit}]" if self.metric.unit else ""
        direction = "higher" if self.metric.higher_is_better else "lower"
        label = f"{self.metric.name}{unit}, {direction} is better"
        save_bars(scores, next(iter(scores)), label, job.folder / f"{self.name}.png")

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train every network and score it on held-out runs; the first one's encoder is saved."""
        ways, scores, costs = self.ways(job), {}, []
        own = next(iter(ways))
        first: Any = None
        for name, way in ways.items():
            folder = "".join(letter if letter.isalnum() else "-" for letter in name)
            model, result = job.tune(folder, way.make, way.train, way.validation, self.config)
            scores[name] = self.score(model, way.test)
            costs.append(f"{name} {parameter_count(model):,}")
            if name == own:
                first = model
                model.encoder.observed, model.encoder.summary = self.observed, result.summary(self.name)
                model.encoder.save(job.folder / WEIGHTS)
        scores |= self.baselines(ways[own])
        self.draw(job, scores, first, ways[own].test)
        beside = {name: score for name, score in scores.items() if name != own}
        metric = replace(self.metric, value=scores[own], baselines=beside, note="parameters: " + ", ".join(costs))
        return ExperimentResult([metric], [Plot(f"{self.name}.png", self.caption)], [WEIGHTS])
