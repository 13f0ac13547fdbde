"""The captioner: it says what is in the scene, and scores count what sentences state."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018
from representation.data.captions import VOCABULARY, WORDS, describe, sentence
from representation.data.recording import Recording, observe
from representation.fit import FitConfig, fit
from representation.paradigms.encoder_decoder.caption import SceneCaptioner, exact_match, narrator, slot_f1

SMALL = {"kind": "grid", "patches_ahead": 16, "patches_behind": 8, "lanes_side": 1}  # all that sentences speak of
SHAPE = (4, 24, 3)
CONFIG = FitConfig(epochs=14, batch_size=32, learning_rate=5e-3, learning_rate_end=5e-4)
Scenes = dict[str, np.ndarray]


def scenes(recording: Recording) -> Scenes:
    grids = observe(recording.rules, recording.states[:, :-1], SMALL).reshape(-1, *SHAPE)
    actions = recording.actions.ravel()
    return {"obs": grids, "action": actions, "words": describe(grids, actions)}


def new_captioner() -> SceneCaptioner:
    torch.manual_seed(0)
    return SceneCaptioner(SHAPE, features_dim=64, units=64, channels=[8, 16])


def right(captioner: SceneCaptioner, rows: Scenes) -> dict[str, float]:
    """Slot F1 and exact match of what is written."""
    true = [sentence(words) for words in rows["words"]]
    written = captioner.caption(rows["obs"], rows["action"])
    return {**slot_f1(written, true), "exact": exact_match(written, true)}


def always_the_same(train: Scenes, rows: Scenes) -> float:
    """Slot F1 of the most frequent training sentence: the baseline."""
    texts, counts = np.unique([sentence(words) for words in train["words"]], return_counts=True)
    return slot_f1([texts[counts.argmax()]] * len(rows["words"]), [sentence(words) for words in rows["words"]])["all"]


@pytest.fixture(scope="module")
def train(driving: Recording) -> Scenes:
    return scenes(driving)


@pytest.fixture(scope="module")
def validation(held_out: Recording) -> Scenes:
    return scenes(held_out)


@pytest.fixture(scope="module")
def trained(train: Scenes, validation: Scenes) -> SceneCaptioner:
    torch.set_num_threads(1)
    captioner = new_captioner()
    fit(captioner, train, validation, CONFIG)
    return captioner


def test_each_word_gets_scores_of_the_vocabulary(train: Scenes) -> None:
    obs, actions, words = (torch.from_numpy(train[name][:3]) for name in ("obs", "action", "words"))
    assert new_captioner()(obs, actions, words).shape == (3, WORDS, len(VOCABULARY))


@pytest.mark.parametrize("encoder", ["dense", "conv"])
def test_any_encoder_is_put_into_words(train: Scenes, encoder: str) -> None:
    captioner = SceneCaptioner(SHAPE, encoder)
    assert captioner.write(train["obs"][:5], train["action"][:5]).shape == (5, WORDS)


def test_a_small_run_beats_the_most_frequent_sentence(
    trained: SceneCaptioner, train: Scenes, validation: Scenes
) -> None:
    assert right(trained, validation)["all"] > 0.2 + always_the_same(train, validation)


def test_sentences_of_other_scenes_teach_nothing_about_scenes(train: Scenes, validation: Scenes) -> None:
    captioner, order = new_captioner(), np.random.default_rng(0).permutation(len(train["words"]))
    fit(captioner, {**train, "words": train["words"][order]}, validation, CONFIG)
    assert right(captioner, validation)["all"] < 0.1 + always_the_same(train, validation)


def test_it_learns_64_scenes_by_heart(train: Scenes) -> None:
    few, captioner = {name: array[:64] for name, array in train.items()}, new_captioner()
    fit(captioner, few, few, FitConfig(epochs=120, batch_size=32, learning_rate=5e-3, patience=40))
    assert right(captioner, few)["exact"] > 0.9


def test_a_saved_captioner_writes_the_same(trained: SceneCaptioner, validation: Scenes, tmp_path: Path) -> None:
    trained.save(tmp_path / "captioner.safetensors")
    again = SceneCaptioner.load(tmp_path / "captioner.safetensors")
    obs, actions = validation["obs"], validation["action"]
    assert np.array_equal(again.write(obs, actions), trained.write(obs, actions))


def test_a_narrator_speaks_of_the_game_that_waits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    captioner = SceneCaptioner()
    captioner.save(tmp_path / "captioner.safetensors")
    sim = Simulator(RULES_2018)
    sim.reset_open([1])
    sim.step(sim.idle)
    said = narrator(tmp_path / "captioner.safetensors")(sim, 1)
    grids = observe(RULES_2018, sim.games, "grid")
    assert [said] == captioner.caption(grids, np.array([1])) and said


def test_the_same_seed_gives_the_same_weights(train: Scenes) -> None:
    few = {name: array[:64] for name, array in train.items()}
    once, again = new_captioner(), new_captioner()
    for captioner in (once, again):
        fit(captioner, few, few, FitConfig(epochs=2, batch_size=16))
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), again.parameters(), strict=True))


def test_words_after_the_end_do_not_count(train: Scenes) -> None:
    captioner = new_captioner()
    batch = {name: torch.from_numpy(train[name][:8]) for name in ("obs", "action", "words")}
    padded = {**batch, "words": torch.cat([batch["words"], torch.zeros(8, 5, dtype=torch.int64)], 1)}
    assert torch.allclose(captioner.loss(batch)[0], captioner.loss(padded)[0], atol=1e-6)


def test_scores_count_right_words_and_right_statements() -> None:
    true = ["slow car two cells ahead, left lane free, changing left", "road ahead free, no lane free, keeping on"]
    written = ["slow car three cells ahead, left lane free, changing left", true[1]]
    assert exact_match(written, true) == 0.5
    scores = slot_f1(written, true)
    assert scores == {"all": 6 / 7, "car": 1.0, "distance": 0.0, "lanes": 1.0, "action": 1.0}
