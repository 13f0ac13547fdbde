"""Transfer: an encoder that learned elsewhere starts ahead where labels are few, also through other eyes."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.beyond.transfer.experiment import (
    Distillation,
    LabelledScenes,
    adapt,
    compare_ways,
    copy_of,
    labelled_scenes,
)
from representation.data.labels import SCENES
from representation.data.recording import RecordingConfig, observe, record
from representation.encoder import Encoder
from representation.fit import FitConfig, fit
from representation.metrics import macro_f1
from representation.paradigms.feedforward.model import DenseEncoder
from representation.supervised import Classifier

QUICK = FitConfig(epochs=30, batch_size=32, learning_rate=5e-3, patience=0)


def new_encoder(inputs: int = 42, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return DenseEncoder(spaces.Box(-np.inf, np.inf, (inputs,), np.float32), 24, hidden=(48,))


def new_model() -> Classifier:
    encoder = new_encoder()
    return Classifier(encoder, len(SCENES))


def learned(data: LabelledScenes, validation: LabelledScenes) -> Classifier:
    model = new_model()
    fit(model, data.arrays(), validation.arrays(), FitConfig(epochs=20, learning_rate=5e-3, patience=0))
    return model


def score(model: Classifier, test: LabelledScenes) -> float:
    return macro_f1(model.predict(test.obs).argmax(1), test.label, len(SCENES))


@pytest.fixture(scope="module")
def sets() -> dict[str, LabelledScenes]:
    """Many scenes of one place, few of another, and more of that to judge by."""
    gaps = {"kind": "gaps"}
    return {
        "source": labelled_scenes(RecordingConfig(runs=200, decisions=20), gaps),
        "target": labelled_scenes(RecordingConfig(runs=10, decisions=20, first=500), gaps),
        "validation": labelled_scenes(RecordingConfig(split="validation", runs=10, decisions=20), gaps),
        "test": labelled_scenes(RecordingConfig(split="test", runs=40, decisions=20), gaps),
    }


def test_the_first_runs_keep_their_labels(sets: dict[str, LabelledScenes]) -> None:
    few = sets["target"].first(3)
    assert few.obs.shape == (60, 42)
    assert np.array_equal(few.label, sets["target"].label[:60])


def test_few_labels_go_further_with_an_encoder_that_learned_before(sets: dict[str, LabelledScenes]) -> None:
    source = learned(sets["source"], sets["validation"])
    ways = compare_ways(source, new_model(), sets["target"], sets["validation"], 3, QUICK)
    scores = {way: score(model, sets["test"]) for way, model in ways.items()}
    assert scores["fine-tuned"] > scores["from scratch"] + 0.1
    assert scores["frozen"] > scores["from scratch"] + 0.1


def test_an_encoder_that_learned_shuffled_labels_is_no_help(sets: dict[str, LabelledScenes]) -> None:
    data = sets["source"]
    shuffled = LabelledScenes(data.obs, np.random.default_rng(0).permutation(data.label), data.per_run)
    ways = compare_ways(
        learned(shuffled, sets["validation"]), new_model(), sets["target"], sets["validation"], 3, QUICK
    )
    assert score(ways["fine-tuned"], sets["test"]) < score(ways["from scratch"], sets["test"]) + 0.05


def test_adapting_trains_a_copy_and_freezing_keeps_it(sets: dict[str, LabelledScenes]) -> None:
    model = new_model()
    encoder, digest = model.encoder, model.encoder.digest()
    config = FitConfig(epochs=2)
    tuned = adapt(model, sets["target"], sets["validation"], config)
    frozen = adapt(model, sets["target"], sets["validation"], config, frozen=True)
    again = adapt(model, sets["target"], sets["validation"], config)
    assert encoder.digest() == digest == frozen.encoder.digest()
    assert tuned.encoder.digest() == again.encoder.digest() != digest
    assert copy_of(encoder).digest() == digest


def test_a_student_learns_its_teachers_features_from_another_observation() -> None:
    recording = record(RecordingConfig(runs=60, decisions=10))
    states = recording.states[:, :-1].ravel()
    teacher = new_encoder(seed=1)
    gaps, more = (observe(recording.rules, states, kind) for kind in ("gaps", "gaps_ego"))
    features = teacher.encode(gaps)
    model = Distillation(new_encoder(44), features)
    before = model.loss({"obs": torch.from_numpy(more), "features": torch.from_numpy(features)})[0].item()
    arrays = {"obs": more, "features": features}
    result = fit(model, arrays, arrays, QUICK)
    assert result.validation_loss < 0.15 * before
    with pytest.raises(ValueError, match=r"the teacher has \(24,\) features, the student 8; make a student"):
        Distillation(DenseEncoder(spaces.Box(0, 1, (3,), np.float32), 8), features)
