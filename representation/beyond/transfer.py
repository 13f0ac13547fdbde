"""Transfer learning: a classifier of scenes from the 2017 rules, adapted to those of 2018 by the labels of few runs.

Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?", arXiv:1411.1792.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from deeptraffic.sim.rules import RoadConfig
from representation.comparison import Classification, Way, scene_examples, space_like
from representation.data.labels import SCENES
from representation.encoders.conv import ConvEncoder
from representation.experiment import ExperimentResult, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.registry import load_encoder
from representation.supervised import Classifier

DECISIONS = 12  # of each run
FEW = 3  # runs with labels


def labelled_scenes(job: TrainingJob, split: str, runs: int, rules: int = 2018) -> dict[str, Any]:
    """Return obs (N, 4, 40, 7) and label (N,) of so many runs of twelve decisions."""
    recording = job.record(split, runs, decisions=DECISIONS, road=RoadConfig(rules=rules))
    return scene_examples(recording, TransferExperiment.observed)


def new_classifier(obs: NDArray[Any]) -> Classifier:
    """Return an untrained classifier of scenes like these, which need no labels."""
    return Classifier(ConvEncoder(space_like(obs), 64, channels=(8, 16)).fit_normalisation(obs), len(SCENES))


def copy_of(model: Classifier, frozen: bool = False) -> Classifier:
    """Return a copy of a classifier; frozen: whether only its head can be trained."""
    copied = Classifier(load_encoder(model.encoder.content()), len(SCENES))
    copied.head.load_state_dict(model.head.state_dict())
    if frozen:
        copied.encoder.freeze()
    return copied


class TransferExperiment(Classification):
    """Transfer across rules, from few labels: fine-tuned, frozen, from scratch, and not adapted at all."""

    name, paradigm = "transfer", "beyond"
    summary = "Adapts a scene classifier from the 2017 to the 2018 rules with the labels of few runs."
    source = "Yosinski et al. 2014, arXiv:1411.1792"
    runs = (30, 20, 150)
    config = FitConfig(epochs=30, batch_size=32, learning_rate=2e-3, patience=8)
    observed = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
    what = f"scene's class, from the labels of {FEW} runs"
    caption = "Scenes of held-out runs by true class and by that which the fine-tuned classifier predicts."

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on the 2017 rules, then adapt to the 2018 rules in three ways, each with the best learning rate."""
        many, watched = (labelled_scenes(job, *part, rules=2017) for part in (("train", 300), ("validation", 40)))
        self.learned = job.new(lambda: new_classifier(many["obs"]))
        job.fit("source", self.learned, many, watched, FitConfig(epochs=12, batch_size=128, learning_rate=3e-3))
        self.labels = job.scaled(FEW) * DECISIONS
        return super().run(job)

    def examples(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        """Return the scenes of runs of the 2018 rules."""
        return labelled_scenes(job, split, runs)

    def ways(self, sets: Sequence[Arrays]) -> dict[str, Way]:
        """Return the ways to adapt, on the labels of few runs."""
        train, *others = sets
        few = [{name: part[: self.labels] for name, part in train.items()}, *others]
        return {
            "fine-tuned": Way(lambda: copy_of(self.learned), few),
            "frozen": Way(lambda: copy_of(self.learned, frozen=True), few),
            "from scratch": Way(lambda: new_classifier(train["obs"]), few),
        }

    def baselines(self, sets: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
        """Return the classes by the classifier of the 2017 rules."""
        return {"not adapted": self.answer(self.learned, sets[2])}
