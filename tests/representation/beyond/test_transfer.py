"""Transfer: an encoder that learned elsewhere starts ahead where labels are few."""

from pathlib import Path

import numpy as np
import pytest

from representation.beyond.transfer import (
    DECISIONS,
    TransferExperiment,
    copy_of,
    labelled_scenes,
    new_classifier,
)
from representation.data.labels import SCENES
from representation.experiment import TrainingJob, run_experiment
from representation.fit import Arrays, FitConfig, fit
from representation.metrics import macro_f1
from representation.registry import load_encoder
from representation.supervised import Classifier

QUICK = FitConfig(epochs=15, batch_size=32, learning_rate=3e-3, patience=0)


@pytest.fixture(scope="module")
def sets() -> dict[str, Arrays]:
    job = TrainingJob(Path())
    parts = {"train": 60, "validation": 10, "test": 60}
    return {split: labelled_scenes(job, split, runs) for split, runs in parts.items()}


def learned(start: Classifier, data: Arrays, sets: dict[str, Arrays], config: FitConfig = QUICK) -> Classifier:
    fit(start, data, sets["validation"], config)
    return start


def grade(model: Classifier, test: Arrays) -> float:
    return macro_f1(model.predict(test["obs"]).argmax(1), test["label"], len(SCENES))


def test_few_labels_go_further_with_an_encoder_that_learned_before(sets: dict[str, Arrays]) -> None:
    job = TrainingJob(Path())
    source = learned(job.new(lambda: new_classifier(sets["train"]["obs"])), sets["train"], sets)
    few = {name: array[-3 * DECISIONS :] for name, array in sets["train"].items()}
    scores = {
        "fine-tuned": grade(learned(copy_of(source), few, sets), sets["test"]),
        "frozen": grade(learned(copy_of(source, frozen=True), few, sets), sets["test"]),
        "from scratch": grade(learned(job.new(lambda: new_classifier(sets["train"]["obs"])), few, sets), sets["test"]),
    }
    assert min(scores["fine-tuned"], scores["frozen"]) > scores["from scratch"] + 0.1
    shuffled = {**sets["train"], "label": np.random.default_rng(0).permutation(sets["train"]["label"])}
    useless = learned(
        job.new(lambda: new_classifier(sets["train"]["obs"])),
        shuffled,
        sets,
        FitConfig(epochs=5, batch_size=32, patience=0),
    )
    assert grade(learned(copy_of(useless, frozen=True), few, sets), sets["test"]) < scores["frozen"] - 0.1


def test_adapting_trains_a_copy_and_freezing_keeps_it(sets: dict[str, Arrays]) -> None:
    model = TrainingJob(Path()).new(lambda: new_classifier(sets["train"]["obs"]))
    digest = model.encoder.digest()
    short = FitConfig(epochs=1)
    tuned, frozen = (learned(copy_of(model, is_frozen), sets["test"], sets, short) for is_frozen in (False, True))
    assert model.encoder.digest() == digest == frozen.encoder.digest() != tuned.encoder.digest()
    assert copy_of(model).encoder.digest() == digest


@pytest.mark.slow  # other roads than the contest's are compiled anew
def test_transfer_is_measured_beside_training_from_scratch(tmp_path: Path) -> None:
    (metric,) = run_experiment(TransferExperiment(), TrainingJob(tmp_path, 0.008)).metrics
    assert set(metric.baselines) == {"frozen", "from scratch", "not adapted"}
    assert load_encoder(tmp_path / "encoder.safetensors").observed
