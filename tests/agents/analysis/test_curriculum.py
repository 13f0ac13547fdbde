"""The curriculum: searches find scenes that are slower, games start in them, and the study says what came of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.analysis.curriculum import (
    Curriculum,
    CurriculumConfig,
    drawn_scenes,
    recorded_scenes,
    speed_from,
    study_curriculum,
    train_on_worst_scenes,
    worst_scenes,
)
from agents.config import build_config
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018
from representation.data.recording import RecordingConfig, record
from representation.paradigms.gan.model import NOISE, SceneGAN

SMALL = CurriculumConfig(every=512, scenes=32, rounds=2, kept=8, decisions=2)
PPO = {"total_timesteps": 2048, "num_envs": 32, "batch_size": 64, "max_steps": 10, "hidden": [8]}


def games(speeds: np.ndarray) -> Any:
    sim = Simulator(RULES_2018, len(speeds))
    sim.reset_open(range(len(speeds)))
    sim.games["speed_factor"][:, 0] = speeds
    return sim.games.copy()


def test_a_search_goes_to_where_driving_is_slower() -> None:
    def draw(noise: np.ndarray) -> Any:  # the slower, the further the first number of noise is below 0
        return games(noise[:, 0])

    def play(some: Any) -> np.ndarray:
        return some["speed_factor"][:, 0]

    config = CurriculumConfig(scenes=200, rounds=4, kept=20)
    found = worst_scenes(draw, play, config, np.random.default_rng(0))
    assert found.speeds.shape == (20,)
    assert (np.diff(found.speeds) >= 0).all()
    np.testing.assert_array_equal(found.states["speed_factor"][:, 0], found.speeds)
    assert found.speeds.mean() < np.sort(found.first_speeds)[:20].mean() - 0.5
    blind = worst_scenes(draw, lambda some: np.zeros(len(some)), config, np.random.default_rng(0))
    assert blind.states["speed_factor"][:, 0].mean() > -0.5  # nothing to go by: no direction


def test_scenes_come_from_the_gan_or_the_recording_by_their_noise() -> None:
    noise = np.random.default_rng(0).normal(size=(6, NOISE))
    draw = drawn_scenes(SceneGAN((5, 20, 7), 8, ego_row=15), RULES_2018)
    first, again = draw(noise), draw(noise)
    assert (first == again).all()
    recording = record(RecordingConfig(runs=2, decisions=3)).states.reshape(-1)
    assert np.isin(recorded_scenes(recording)(noise)["rng"], recording["rng"]).all()


def test_how_an_agent_drives_from_scenes_is_measured_in_mph() -> None:
    env_config = build_config("ppo", settings=PPO)
    model, _ = train_on_worst_scenes(env_config, None, SMALL)
    speeds = speed_from(model, RULES_2018, env_config.observation, 3)(games(np.array([2.0, 0.5])))
    assert 15 < speeds[1] < speeds[0] <= 80
    assert speeds[1] < 30


def test_a_fraction_of_the_games_starts_in_scenes_found() -> None:
    config = build_config("ppo", settings={**PPO, "total_timesteps": 3072})
    slow = games(np.full(64, 0.25))
    model, searches = train_on_worst_scenes(config, lambda noise: slow[: len(noise)], SMALL)
    assert len(searches) > 2
    batch = model.get_env().batch  # type: ignore[union-attr]
    rows, chosen = batch.starts(np.arange(400))
    assert 140 < len(rows) < 260
    assert (chosen["speed_factor"][:, 0] == 0.25).all()
    assert len(np.unique(chosen["rng"])) == len(chosen)
    none = Curriculum(lambda noise: slow[: len(noise)], config, CurriculumConfig(fraction=0.0))
    none.searches = searches
    assert len(none.starts(np.arange(400))[0]) == 0


def test_without_scenes_training_is_the_plain_one() -> None:
    config = build_config("ppo", settings=PPO)
    plain, searches = train_on_worst_scenes(config, None, SMALL)
    assert searches == []
    assert plain.get_env().batch.starts is None  # type: ignore[union-attr]
    assert plain.num_timesteps >= 2048


def test_impossible_searches_are_refused() -> None:
    with pytest.raises(ValueError, match="kept=100 is more than scenes=20 x rounds=2"):
        CurriculumConfig(scenes=20, rounds=2, kept=100)


def test_the_study_compares_the_ways_and_leaves_a_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run `deeptraffic pretrain scene-gan` first"):
        study_curriculum(tmp_path / "none" / "gan-curriculum", scale=0.02)
    (tmp_path / "scene-gan").mkdir()
    SceneGAN((5, 20, 7), 8, ego_row=15).save(tmp_path / "scene-gan" / "scene-gan.safetensors")
    outcome = study_curriculum(tmp_path / "gan-curriculum", scale=0.02)
    assert [metric.unit for metric in outcome.metrics] == ["mph"] * 5
    tenth, mean, *_ = outcome.metrics
    assert set(tenth.baselines) == {"without it", "worst recorded scenes"}
    assert tenth.value < mean.value
    assert (tmp_path / "gan-curriculum" / "curriculum.png").stat().st_size < 60_000
    assert (tmp_path / "gan-curriculum" / "result.json").exists()
