"""Transfer learning: a classifier of scenes from the 2017 rules, adapted to those of 2018 by the labels of few runs.

Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?", arXiv:1411.1792.
"""

from typing import Any

from deeptraffic.figure import BLUE, GREEN, GREY, ORANGE, new_figure
from deeptraffic.sim.rules import RoadConfig
from representation.comparison import WEIGHTS, scene_examples, space_like
from representation.data.labels import SCENES
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import Arrays, FitConfig
from representation.metrics import macro_f1
from representation.paradigms.convolutional.model import ConvEncoder
from representation.plots import save_plot
from representation.registry import load_encoder
from representation.supervised import Classifier

OBSERVED = {"kind": "grid", "patches_ahead": 30, "patches_behind": 10}
DECISIONS = 12  # of each run
FEW = (3, 10, 30)  # runs with labels
COLOURS = {"fine-tuned": BLUE, "frozen": GREEN, "from scratch": GREY, "not adapted": ORANGE}


def labelled_scenes(job: TrainingJob, split: str, runs: int, road: RoadConfig | None = None) -> dict[str, Any]:
    """Return obs (N, 4, 40, 7) and label (N,) of so many runs of twelve decisions."""
    return scene_examples(job.record(split, runs, decisions=DECISIONS, road=road or RoadConfig()), OBSERVED)


def new_classifier(train: Arrays) -> Classifier:
    """Return an untrained classifier of scenes like these."""
    encoder = ConvEncoder(space_like(train["obs"]), 64, channels=(8, 16)).fit_normalisation(train["obs"])
    encoder.observed = dict(OBSERVED)
    return Classifier(encoder, len(SCENES))


def copy_of(model: Classifier, frozen: bool = False) -> Classifier:
    """Return a copy of a classifier; frozen: whether only its head can be trained."""
    copied = Classifier(load_encoder(model.encoder.content()), len(SCENES))
    copied.head.load_state_dict(model.head.state_dict())
    if frozen:
        copied.encoder.freeze()
    return copied


def grade(model: Classifier, test: Arrays) -> float:
    """Return the macro-F1 of a classifier of scenes."""
    return macro_f1(model.predict(test["obs"]).argmax(1), test["label"], len(SCENES))


class TransferExperiment(Experiment):
    """Transfer across rules, from few labels: fine-tuned, frozen, from scratch."""

    name, paradigm = "transfer", "beyond"
    summary = "Adapts a scene classifier from the 2017 to the 2018 rules with the labels of few runs."
    source = "Yosinski et al. 2014, arXiv:1411.1792"
    config = FitConfig(epochs=30, batch_size=32, learning_rate=2e-3, patience=8)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train on the 2017 rules, then adapt to the 2018 rules in three ways, each with the best learning rate."""
        many, watched = (
            labelled_scenes(job, split, runs, RoadConfig(rules=2017))
            for split, runs in (("train", 300), ("validation", 40))
        )
        source = job.new(lambda: new_classifier(many))
        result = job.fit("source", source, many, watched, FitConfig(epochs=12, batch_size=128, learning_rate=3e-3))
        source.encoder.summary = result.summary(self.name)
        source.encoder.save(job.folder / WEIGHTS)
        train, validation, test = (
            labelled_scenes(job, split, runs) for split, runs in (("train", FEW[-1]), ("validation", 20), ("test", 150))
        )
        makers = {
            "fine-tuned": lambda: copy_of(source),
            "frozen": lambda: copy_of(source, frozen=True),
            "from scratch": lambda: new_classifier(train),
        }
        scores: dict[str, list[float]] = {way: [] for way in makers} | {"not adapted": [grade(source, test)] * len(FEW)}
        amounts = [job.scaled(runs) for runs in FEW]
        for runs in amounts:
            few = {name: array[: runs * DECISIONS] for name, array in train.items()}
            for way, make in makers.items():
                model, _ = job.tune(f"{way.replace(' ', '-')}-{runs}", make, few, validation, self.config)
                scores[way].append(grade(model, test))
        self._plot(job, scores, amounts)
        beside = {way: values[0] for way, values in scores.items() if way != "fine-tuned"}
        metric = Metric(f"macro-F1, fine-tuned on {amounts[0]} runs", scores["fine-tuned"][0], beside)
        caption = "Macro-F1 of the scene's class on held-out runs over the number of labelled runs of the target."
        return ExperimentResult([metric], [Plot("transfer.png", caption)], [WEIGHTS])

    def _plot(self, job: TrainingJob, scores: dict[str, list[float]], amounts: list[int]) -> None:
        figure, axes = new_figure("From the 2017 to the 2018 rules", (6.0, 3.4))
        for way, values in scores.items():
            style = "--" if way == "not adapted" else "-"
            axes.plot(amounts, values, style, marker="o", ms=4, color=COLOURS[way], label=way)
        axes.set_xscale("log")
        axes.set_xticks(amounts, [str(runs) for runs in amounts])
        axes.minorticks_off()
        axes.set_xlabel("labelled runs of the target")
        axes.set_ylabel("macro-F1 of the scene")
        axes.legend(frameon=False, fontsize=8)
        save_plot(figure, job.folder / "transfer.png")
