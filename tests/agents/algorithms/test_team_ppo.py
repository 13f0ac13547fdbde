"""A team that learns together: turns, rewards and values of every agent, against the simulator stepped by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.utils import obs_as_tensor

from agents.algorithms.team_ppo import TeamPPO
from agents.config import TrainConfig
from agents.sb3 import make_model, make_vec_env
from agents.team_env import TeamVecEnv
from deeptraffic.envs.observations import Observer
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.state import NOBODY

Config = Callable[..., TrainConfig]
Decision = dict[str, Any]


def collect(config: TrainConfig) -> tuple[TeamPPO, RolloutBuffer]:
    """One rollout of a new model, not learned from yet."""
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, TeamPPO) and model.env is not None
    _, callback = model._setup_learn(10**6, None)
    model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    return model, model.rollout_buffer


def replay(buffer: RolloutBuffer, sim: Simulator, config: TrainConfig, b: int, others: int) -> list[list[Decision]]:
    """Step env b frame by frame with the buffer's actions; return what each agent saw and what followed, by agent.

    Each decision is {"obs", "speeds" of all agents' cars summed until the agent's next decision or the end, "frames"}.
    """
    num_envs, agents = config.envs.num_envs, buffer.n_envs // config.envs.num_envs
    observers = [Observer(sim.rules, config.observation, 1, agent) for agent in range(others + 1)]
    found: list[list[Decision]] = [[] for _ in range(agents)]
    waiting, action = NOBODY, 0
    while True:
        waiting = int(sim.step_frame(action)[0])
        if waiting == NOBODY:
            state = sim.state
            speeds = np.maximum(0.0, state.following_speed[0] * state.speed_factor[0])[: others + 1]
            for own in found:
                if own:
                    own[-1]["speeds"] = own[-1]["speeds"] + speeds
                    own[-1]["frames"] += 1
            continue
        if waiting == 0 and len(found[0]) == buffer.buffer_size:
            return found
        step = len(found[waiting])
        found[waiting].append({"obs": observers[waiting].observe(sim)[0], "speeds": np.zeros(others + 1), "frames": 0})
        action = int(buffer.actions[step, waiting * num_envs + b, 0])


@pytest.mark.parametrize(("others", "weight"), [(3, 1.0), (3, 0.0), (10, 0.4)])
def test_every_driver_sees_its_own_frame_and_is_paid_for_its_own_period(
    small_config: Config, others: int, weight: float
) -> None:
    config = small_config("team_ppo", other_agents=others, max_steps=67, n_steps=6, team_weight=weight, num_envs=3)
    _, buffer = collect(config)
    agents = min(others, 9) + 1
    assert buffer.rewards.shape == (6, agents * 3)
    for b in range(3):
        sim = Simulator(config.road.build(), threads=1)
        sim.reset_open([config.seed + b])
        decisions = replay(buffer, sim, config, b, others)
        for agent in range(agents):
            column = agent * 3 + b
            for step, decision in enumerate(decisions[agent]):
                np.testing.assert_array_equal(buffer.observations[step, column], decision["obs"])
                frames = 30 if step < 5 or agent == 0 else 30 - 3 * agent
                assert decision["frames"] == frames
                mph = 20.0 * decision["speeds"] / frames  # mean speeds until the next decision
                mixed = weight * mph.mean() + (1.0 - weight) * mph[agent]
                if agent == 0 and weight < 1.0:
                    continue  # the ego car's own reward reads each frame before it acts: tested with one agent
                assert buffer.rewards[step, column] == pytest.approx(
                    (mixed - 40.0) / 20.0 * 1.5 * frames / 30, abs=1e-5
                )


def test_the_team_reward_is_the_contests_score(small_config: Config) -> None:
    config = small_config("team_ppo", other_agents=4, max_steps=67, n_steps=8, num_envs=2, team_weight=1.0)
    model, buffer = collect(config)
    assert isinstance(model.env, TeamVecEnv)
    sim = model.env.batch.sim
    score_until = sim.state.score_sum.copy()  # frame 0 is not finished at the first decision
    np.testing.assert_allclose(buffer.rewards[:, :2].sum(axis=0) * 20.0 + 8 * 60.0, score_until, rtol=1e-5)


@pytest.mark.parametrize("max_steps", [67, 4])
def test_returns_look_past_the_end_with_the_value_of_what_is_seen_there(small_config: Config, max_steps: int) -> None:
    """G = r + gamma**f V(last seen) where an episode or the rollout ends, lambda returns before that."""
    gamma, lambda_ = 0.8, 0.7
    settings = {"gamma": gamma, "gae_lambda": lambda_, "other_agents": 2, "n_steps": 5, "num_envs": 3}
    config = small_config("team_ppo", max_steps=max_steps, **settings)
    seen: list[tuple[int, Any, Any]] = []
    env = make_vec_env(config)
    assert isinstance(env, TeamVecEnv)
    model = make_model(config, env)
    assert isinstance(model, TeamPPO)
    assert isinstance(model.policy.value_net, torch.nn.Linear)
    torch.nn.init.constant_(model.policy.value_net.bias, 1000.0)  # far above any reward, so that what follows shows
    _, callback = model._setup_learn(10**6, None)
    step_wait, observe = env.step_wait, env.observe_agent

    def watched_step() -> Any:
        returned = step_wait()
        seen.append((len(seen), np.flatnonzero(returned[2]), list(env.terminal_obs)))
        return returned

    last_views: dict[int, Any] = {}
    env.step_wait = watched_step  # type: ignore[method-assign]
    env.observe_agent = lambda agent: last_views.setdefault(agent, observe(agent))  # type: ignore[method-assign]
    buffer = model.rollout_buffer
    model.collect_rollouts(env, callback, buffer, model.n_steps)

    def value(obs: Any) -> Any:
        with torch.no_grad():
            return model.policy.predict_values(obs_as_tensor(obs, model.device))[:, 0].numpy()

    last_views[0] = model._last_obs
    for agent in range(3):
        discount = gamma ** (1.0 - 0.1 * agent)
        for b in range(3):
            column, following = agent * 3 + b, 0.0
            for step in range(4, -1, -1):
                _, ended, views = seen[step]
                reward = buffer.rewards[step, column]  # holds what follows the end of an episode, as SB3 does it
                if b in ended:
                    at = ended.tolist().index(b)
                    assert -3.0 < reward - discount * value(views[agent])[at] < 3.0
                    following = reward
                elif step == 4:
                    following = reward + discount * value(last_views[agent])[b]
                else:
                    after = buffer.values[step + 1, column]
                    following = reward + gamma * (lambda_ * following + (1.0 - lambda_) * after)
                assert buffer.returns[step, column] == pytest.approx(following, rel=1e-5)
    assert any(ended.size for _, ended, _ in seen) == (max_steps == 4)


def test_a_team_of_one_collects_and_learns_as_ppo_does(small_config: Config) -> None:
    settings = {"num_envs": 8, "max_steps": 9}
    team = small_config("team_ppo", other_agents=0, team_weight=0.0, **settings)
    alone = small_config("ppo", **settings)
    models = [make_model(config, make_vec_env(config)) for config in (team, alone)]
    for model in models:
        model.set_random_seed(5)
        model.learn(3 * 64)
    ours, theirs = (model.rollout_buffer for model in models)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(ours.actions, theirs.actions)
    np.testing.assert_allclose(ours.returns, theirs.returns, atol=1e-4)
    for a, b in zip(models[0].policy.parameters(), models[1].policy.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_turns_are_taken_in_order(small_config: Config) -> None:
    env = make_vec_env(small_config("team_ppo", other_agents=10))
    assert isinstance(env, TeamVecEnv) and env.num_agents == 10  # agent 10 never decides
    env.reset()
    idle = np.zeros(8, np.int64)
    with pytest.raises(RuntimeError, match="agent 0 of 10 is next"):
        env.step(idle)
    env.reset()
    for agent in range(1, 10):
        env.take_turn(idle)
        assert env.turn == agent
        assert (env.batch.sim.games["waiting"] == agent).all()
    with pytest.raises(RuntimeError, match="agent 9 is the last of 10"):
        env.take_turn(idle)
    env.step(idle)
    assert (env.batch.sim.games["waiting"] == 0).all() and env.turn == 0


def test_pictures_are_refused(small_config: Config) -> None:
    with pytest.raises(ValueError, match="does not show which car decides"):
        small_config("team_ppo", kind="pixels")


def test_lists_of_vehicles_are_seen_by_every_driver_from_its_own_place(small_config: Config) -> None:
    model, buffer = collect(small_config("team_ppo", kind="kinematics"))
    assert isinstance(buffer.observations, dict)
    ego = buffer.observations["ego"][0]  # (24, 5): three agents in eight envs
    assert (ego[:8] != ego[8:16]).any(1).all() and (ego[8:16] != ego[16:]).any(1).all()
    assert np.isfinite(buffer.returns).all()
