"""Data sets in Minari's store: any library loads them, an interrupted recording resumes, and learners read them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from agents.datasets import store as dataset_store
from agents.datasets.config import BLOCK, DatasetConfig
from agents.datasets.recording import EpisodeBlock, play_block
from agents.datasets.store import dataset_config, import_minari, read_transitions, record_dataset
from agents.run import RunFolder
from deeptraffic.cli.app import app
from deeptraffic.run_dir import Interrupted, Stop

minari = pytest.importorskip("minari", reason="minari is not installed")
pytest.importorskip("h5py", reason="h5py is not installed")

SMALL = DatasetConfig(policies=("gap", "random"), episodes=2 * BLOCK, max_steps=3, epsilon=0.2)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def test_minari_loads_what_was_recorded(store: Path) -> None:
    summary = record_dataset(SMALL, "deeptraffic/small-v0")
    dataset, blocks = minari.load_dataset("deeptraffic/small-v0"), [play_block(SMALL, number) for number in range(2)]
    assert (dataset.total_episodes, dataset.total_steps) == (2 * BLOCK, 6 * BLOCK)
    for index in (0, BLOCK, 2 * BLOCK - 1):
        block, b = blocks[index // BLOCK], index % BLOCK
        episode = dataset[index]
        assert np.array_equal(episode.observations, block.obs[b]) and np.array_equal(episode.actions, block.actions[b])
        assert np.array_equal(episode.rewards, block.rewards[b])
        assert episode.truncations.tolist() == [False, False, True] and not episode.terminations.any()
        (metadata,) = dataset.storage.get_episode_metadata([index])
        assert metadata["seed"] == block.seeds[b]
    speeds = np.concatenate([block.speeds.ravel() for block in blocks])
    assert summary.mean_mph == pytest.approx(speeds.mean()) and (summary.episodes, summary.transitions) == (100, 300)
    assert not list(store.rglob("*.npz"))


def test_the_environment_and_the_settings_are_in_the_metadata() -> None:
    record_dataset(SMALL, "small-v0")
    dataset = minari.load_dataset("small-v0")
    env = dataset.recover_environment()
    assert env.reset(seed=0)[0] in dataset.observation_space and env.spec.max_episode_steps is not None
    assert np.array_equal(env.reset(seed=0)[0], dataset[0].observations[0])
    facts = json.loads(dataset.storage.metadata["deeptraffic"])
    assert facts["config"]["policies"] == ["gap", "random"] and len(facts["returns"]) == 2 * BLOCK
    assert facts["policy_of_episode"] == [0] * BLOCK + [1] * BLOCK
    assert dataset_config("small-v0") == SMALL
    low, high = (float(dataset.storage.metadata[name]) for name in ("ref_min_score", "ref_max_score"))
    assert minari.get_normalized_score(dataset, np.array([low, high])).tolist() == [0.0, 1.0]


def test_an_interrupted_recording_resumes_without_playing_anything_again(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []

    def play(config: DatasetConfig, number: int) -> EpisodeBlock:
        played.append(number)
        stop.requested = number == 0 and len(played) == 1
        return play_block(config, number)

    stop = Stop()
    monkeypatch.setattr(dataset_store, "play_block", play)
    monkeypatch.setattr(dataset_store, "stop_requests", lambda: _Given(stop))
    with pytest.raises(Interrupted, match="stopped after 1 of 2 blocks"):
        record_dataset(SMALL, "small-v0")
    with pytest.raises(ValueError, match="blocks of another epsilon"):
        record_dataset(replace(SMALL, epsilon=0.3), "small-v0")
    stop.requested = False
    record_dataset(SMALL, "small-v0")
    assert played == [0, 1]
    monkeypatch.undo()


class _Given:
    """A context that gives one stop request."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def __enter__(self) -> Stop:
        return self.stop

    def __exit__(self, *error: Any) -> None: ...


def test_transitions_go_through_the_end_of_an_episode() -> None:
    record_dataset(SMALL, "small-v0")
    found, block = read_transitions("small-v0"), play_block(SMALL, 0)
    assert found.obs.shape == (6 * BLOCK, 42) and found.obs.dtype == np.float32
    assert np.array_equal(found.obs[:3], block.obs[0, :3]) and np.array_equal(found.next_obs[:3], block.obs[0, 1:])
    assert np.array_equal(found.actions[:3], block.actions[0])
    assert found.digest == read_transitions("small-v0").digest


@pytest.mark.parametrize("algo", ["bc", "cql"])
def test_a_command_records_and_another_learns_from_it(tmp_path: Path, algo: str) -> None:
    small = ["--episodes", "50", "--max-steps", "4", "--obs", "slow", "--json"]
    run = CliRunner().invoke(app, ["dataset", "gap", *small, "-o", "my/slow-v0"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["transitions"] == 200 and found["normalised_score"] is not None
    record_dataset(SMALL, "small-v0")
    settings = ("total_timesteps=1024", "batch_size=64", "evaluation_runs=4", "evaluate_every=512")
    few = [part for setting in settings for part in ("--set", setting)]
    command = ["train", algo, "--dataset", "small-v0", *few, "--set", "hidden=[8]", "-o", str(tmp_path / "run")]
    assert (run := CliRunner().invoke(app, command)).exit_code == 0, run.output
    assert RunFolder(tmp_path / "run").config().agent.dataset == "small-v0"
    refused = CliRunner().invoke(app, ["train", algo, "--dataset", "my/slow-v0", *few, "-o", str(tmp_path / "other")])
    assert refused.exit_code == 2 and "without a temporal window" in refused.output


@pytest.mark.parametrize(
    ("name", "words"), [("no version", "ends in a version"), ("../up-v0", "ends in a version"), ("a-v0", "exists")]
)
def test_a_name_that_cannot_be_is_refused(name: str, words: str) -> None:
    record_dataset(SMALL, "a-v0")
    with pytest.raises(ValueError, match=words):
        record_dataset(SMALL, name)


def test_a_missing_data_set_is_named() -> None:
    with pytest.raises(ValueError, match="no data set 'none-v0' .* `deeptraffic dataset`"):
        dataset_config("none-v0")
    assert import_minari() is minari
