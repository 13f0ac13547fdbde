"""Transfer: an encoder that learned elsewhere starts ahead where labels are few."""

from pathlib import Path

import numpy as np
import pytest

from representation.beyond.transfer.experiment import (
    DECISIONS,
    Scenes,
    copy_of,
    grade,
    labelled_scenes,
    new_classifier,
)
from representation.experiment import TrainingJob
from representation.fit import FitConfig, fit
from representation.supervised import Classifier

QUICK = FitConfig(epochs=25, batch_size=32, learning_rate=3e-3, patience=0)


@pytest.fixture(scope="module")
def sets() -> dict[str, Scenes]:
    job = TrainingJob(Path())
    parts = {"train": 60, "validation": 10, "test": 60}
    return {split: labelled_scenes(job, split, runs) for split, runs in parts.items()}


def learned(start: Classifier, data: Scenes, sets: dict[str, Scenes], config: FitConfig = QUICK) -> Classifier:
    fit(start, data, sets["validation"], config)
    return start


def test_few_labels_go_further_with_an_encoder_that_learned_before(sets: dict[str, Scenes]) -> None:
    job = TrainingJob(Path())
    source = learned(job.new(new_classifier), sets["train"], sets)
    few = {name: array[-3 * DECISIONS :] for name, array in sets["train"].items()}
    scores = {
        "fine-tuned": grade(learned(copy_of(source), few, sets), sets["test"]),
        "frozen": grade(learned(copy_of(source, frozen=True), few, sets), sets["test"]),
        "from scratch": grade(learned(job.new(new_classifier), few, sets), sets["test"]),
    }
    assert min(scores["fine-tuned"], scores["frozen"]) > scores["from scratch"] + 0.1
    shuffled = {**sets["train"], "label": np.random.default_rng(0).permutation(sets["train"]["label"])}
    useless = learned(job.new(new_classifier), shuffled, sets, FitConfig(epochs=5, batch_size=32, patience=0))
    assert grade(learned(copy_of(useless, frozen=True), few, sets), sets["test"]) < scores["frozen"] - 0.1


def test_adapting_trains_a_copy_and_freezing_keeps_it(sets: dict[str, Scenes]) -> None:
    model = TrainingJob(Path()).new(new_classifier)
    digest = model.encoder.digest()
    short = FitConfig(epochs=1)
    tuned, frozen = (learned(copy_of(model, is_frozen), sets["test"], sets, short) for is_frozen in (False, True))
    assert model.encoder.digest() == digest == frozen.encoder.digest() != tuned.encoder.digest()
    assert copy_of(model).encoder.digest() == digest
