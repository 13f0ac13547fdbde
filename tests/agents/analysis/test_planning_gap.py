"""Planning in the learned and in the true world: the same sums, fresh randomness, and a game that is left as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from agents.algorithms.world_model.agent import WorldModelAgent
from agents.analysis.planning_gap import (
    ALONE,
    LEARNED,
    TRUE,
    LearnedWorld,
    Search,
    SearchPolicy,
    TrueWorld,
    load_world_model,
    measure_gap,
    state_values,
)
from agents.config import TrainConfig
from agents.sb3 import make_model, make_vec_env
from agents.trainer import train
from deeptraffic.envs.observations import Observer
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action

Config = Callable[..., TrainConfig]


def new_agent(config: TrainConfig) -> WorldModelAgent:
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, WorldModelAgent)
    return model


def driven_games(config: TrainConfig, games: int = 6) -> Simulator:
    sim = Simulator(config.road.build(), games, threads=1)
    sim.reset_open(range(games))
    sim.step(sim.idle, periods=6)
    return sim


def latents_of(agent: WorldModelAgent, config: TrainConfig, sim: Simulator) -> torch.Tensor:
    obs = Observer(sim.rules, config.observation, sim.num_envs).observe(sim)
    return agent.policy.encode(torch.from_numpy(obs))


@torch.no_grad()
def test_a_look_ahead_in_the_model_adds_up_what_it_imagines(small_config: Config) -> None:
    config = small_config("world_model", hidden=[8])
    agent, latents = new_agent(config), torch.rand(3, 8)
    model, gamma = agent.policy, agent.config.gamma
    found = LearnedWorld(model, agent.config, Search(depth=2)).returns(latents)
    for action in range(5):
        first = model.reward_head(latents)[:, action]
        after = model.imagine(latents, torch.full((3,), action))
        chosen = model.policy_head(after).argmax(1)
        second = model.reward_head(after)[torch.arange(3), chosen]
        end = state_values(model, model.imagine(after, chosen), agent.config.temperature)
        torch.testing.assert_close(found[:, action], first + gamma * second + gamma**2 * end)


@torch.no_grad()
def test_a_look_ahead_in_the_simulator_adds_up_what_clones_earn(small_config: Config) -> None:
    config = small_config("world_model", hidden=[8])
    agent, sim = new_agent(config), driven_games(config)
    world = TrueWorld(agent.policy, agent.config, Search(depth=1, rollouts=1), config.observation)
    world.attach(sim)
    before = sim.games.tobytes()
    found = world.returns(latents_of(agent, config, sim))
    assert sim.games.tobytes() == before
    streams = np.random.default_rng(0).integers(1, 2**31 - 2, size=(6, 1, 1))
    for action in range(5):
        clone = driven_games(config)
        clone.games["rng"] = streams.ravel()
        clone.step(np.full(6, action))
        values = state_values(agent.policy, latents_of(agent, config, clone), agent.config.temperature)
        wanted = torch.from_numpy(clone.games["reward"]).float() + agent.config.gamma * values
        torch.testing.assert_close(found[:, action], wanted)


@torch.no_grad()
def test_actions_are_tried_in_the_same_traffic_and_each_time_in_other_traffic(small_config: Config) -> None:
    config = small_config("world_model", hidden=[8])
    agent, sim = new_agent(config), driven_games(config)
    world = TrueWorld(agent.policy, agent.config, Search(depth=4, rollouts=3), config.observation)
    world.attach(sim)
    latents = latents_of(agent, config, sim)
    first, second = world.returns(latents), world.returns(latents)
    at_full_throttle = (
        Action.NOTHING,
        Action.ACCELERATE,
    )  # have the same effect, so with the same traffic the same end
    assert torch.equal(first[:, at_full_throttle[0]], first[:, at_full_throttle[1]])
    assert not torch.equal(first, second)


def test_without_a_world_it_drives_by_its_policy_head(small_config: Config) -> None:
    config = small_config("world_model", num_envs=32)
    agent = new_agent(config)
    for weight in agent.policy.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    obs = agent.env.reset()  # type: ignore[union-attr]
    driver = SearchPolicy(agent.policy, config)
    np.testing.assert_array_equal(driver.act(obs, np.arange(32)), agent.predict(obs, deterministic=True)[0])
    assert driver.access == "contest"


def test_the_gap_is_measured_on_the_same_runs(small_config: Config, tmp_path: Path, quiet: Console) -> None:
    config = small_config("world_model", total_timesteps=96)
    train(config, tmp_path, quiet)
    agent, found = load_world_model(tmp_path)
    assert found == config and agent.num_timesteps == 96
    gap = measure_gap(agent, config, Search(depth=2, rollouts=2), runs=3)
    assert {group.name for group in gap.groups} == {ALONE, LEARNED, TRUE}
    assert [group.runs for group in gap.groups] == [3, 3, 3] and len(gap.pairs) == 3
    crowded = replace(config, road=replace(config.road, other_agents=2))
    with pytest.raises(ValueError, match="other agents.*cannot be cloned"):
        measure_gap(agent, crowded)


def test_runs_that_imagine_nothing_are_refused(small_config: Config, tmp_path: Path, quiet: Console) -> None:
    train(small_config("a2c", total_timesteps=64, evaluation_runs=0), tmp_path / "a2c", quiet)
    with pytest.raises(ValueError, match="trains a2c; name the run of a world_model"):
        load_world_model(tmp_path / "a2c")
    with pytest.raises(ValueError, match="depth must be an integer in .1, 100., got 0"):
        Search(depth=0)
