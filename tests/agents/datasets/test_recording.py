"""Recording of data sets: what is recorded is what the environments return, and every block can be played again."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from agents.datasets.config import BLOCK, DatasetConfig
from agents.datasets.recording import (
    EpisodeBlock,
    block_count,
    episodes_of,
    load_block,
    play_block,
    play_trace,
    save_block,
)
from deeptraffic.envs.observations import make_observation
from deeptraffic.episodes.trace import Start, Trace
from deeptraffic.evaluation.episodes import policy_episode
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.rules import RULES_2018, RoadConfig


def small(*policies: str, **settings: Any) -> DatasetConfig:
    return DatasetConfig(policies=policies or ("gap",), **{"episodes": 3, "max_steps": 5, "seed": 7} | settings)


def same(one: EpisodeBlock, other: EpisodeBlock) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", ["gaps", "slow", "narrow"])
def test_an_episode_is_what_the_environment_returns_for_its_seed_and_actions(kind: str) -> None:
    block = play_block(small(observation=make_observation(kind), epsilon=0.3), 0)
    env = gymnasium.make("deeptraffic:DeepTraffic2018-v0", observation=kind, max_steps=5)
    for seed, seen, actions, rewards, speeds in episodes_of(block):
        obs, _ = env.reset(seed=seed)
        for t, action in enumerate(actions):
            np.testing.assert_array_equal(obs, seen[t])
            obs, reward, _, _, info = env.step(action)
            assert reward == rewards[t]
            assert speeds[t] == pytest.approx(20.0 * (20.0 * reward + 60.0) / 30.0)
        np.testing.assert_array_equal(obs, seen[5])


def test_a_block_is_the_same_whenever_it_is_played_and_another_one_is_not() -> None:
    config = small("random", "gap", episodes=3 * BLOCK, epsilon=0.5, max_steps=2)
    first, second, third = (play_block(config, number) for number in range(3))
    assert block_count(config) == 3 and (first.policy, second.policy, third.policy) == (0, 1, 0)
    assert same(play_block(config, 2), third)
    assert first.seeds[0] == 7 and np.array_equal(second.seeds, first.seeds + BLOCK)
    assert not np.array_equal(first.actions, third.actions)


def test_exploration_replaces_as_many_actions_as_it_says() -> None:
    settings: dict[str, Any] = {"episodes": BLOCK, "max_steps": 40}
    assert np.all(play_block(small("idle", **settings), 0).actions == 0)
    explored = play_block(small("idle", epsilon=0.5, **settings), 0).actions
    assert np.mean(explored != 0) == pytest.approx(0.5 * 0.8, abs=0.04)  # a fifth of the random ones is idle, too


def test_other_agents_are_copies_of_the_policy() -> None:
    roads = [RoadConfig(other_agents=3), RoadConfig()]
    with_copies, alone = (play_block(small(max_steps=20, road=road), 0) for road in roads)
    idle = play_block(small("idle", max_steps=20, road=roads[0]), 0)
    assert not np.array_equal(with_copies.obs, alone.obs) and not np.array_equal(with_copies.obs, idle.obs)


@pytest.mark.parametrize("others", [0, 2])
def test_a_trace_gives_the_episode_that_it_was_recorded_of(tmp_path: Path, others: int) -> None:
    road = RoadConfig(other_agents=others)
    episode = policy_episode(make_builtin("gap"), RULES_2018._replace(other_agents=others), Start.open(7), frames=170)
    path = episode.finish().trace().save(tmp_path / "drive.trace")
    config = small(str(path), road=road)
    block = play_block(config, 0)
    played = play_block(small(road=road), 0)
    assert block_count(config) == 1 and block.seeds.tolist() == [-1]
    assert np.array_equal(block.actions[0], played.actions[0]) and np.array_equal(block.obs[0], played.obs[0])
    assert np.array_equal(block.rewards[0], played.rewards[0])  # 170 frames: five whole decision periods


def test_a_trace_of_another_road_is_refused(tmp_path: Path) -> None:
    episode = policy_episode(make_builtin("gap"), RULES_2018, Start.open(7), frames=60).finish()
    with pytest.raises(ValueError, match="0 other agents, the data set has 2018 and 2"):
        play_trace(small(road=RoadConfig(other_agents=2)), episode.trace())
    short = policy_episode(make_builtin("gap"), RULES_2018, Start.open(7), frames=20).finish().trace()
    with pytest.raises(ValueError, match="20 frames, less than one decision"):
        play_trace(small(), short)
    path = episode.trace().save(tmp_path / "a.trace")
    with pytest.raises(ValueError, match="'gap' is no trace"):
        play_block(small(str(path), "gap"), 1)
    assert isinstance(Trace.load(path), Trace)


@pytest.mark.parametrize("kind", ["gaps", "kinematics", "full"])
def test_a_block_survives_its_file(tmp_path: Path, kind: str) -> None:
    block = play_block(small(observation=make_observation(kind)), 0)
    save_block(tmp_path / "0.npz", block)
    again = load_block(tmp_path / "0.npz")
    if isinstance(block.obs, dict):
        assert all(np.array_equal(again.obs[name], part) for name, part in block.obs.items())
        block, again = block._replace(obs=0), again._replace(obs=0)
    assert same(block, again)


def test_a_configuration_survives_json_and_names_what_is_impossible() -> None:
    config = small("gap", "random", observation=make_observation("slow"), road=RoadConfig(lanes=2))
    assert DatasetConfig.from_json(config.to_json()) == config
    assert config.observation.sensor.lanes_side == 1
    with pytest.raises(ValueError, match="at least one policy"):
        DatasetConfig(policies=())
    with pytest.raises(ValueError, match=r"epsilon must be a number in \[0, 1\], got 2"):
        small(epsilon=2)
