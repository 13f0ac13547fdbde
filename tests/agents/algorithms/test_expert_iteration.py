"""Expert iteration: its labels and targets, that it is repeatable, and that the exported network is the one learned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from agents.algorithms.expert_iteration import ExpertIteration, ExpertRollout, LabelledStates
from agents.config import TrainConfig
from agents.export import read_weights
from agents.lane_gradients import GradientSteps
from agents.lane_network import CANDIDATES
from agents.loader import load_policy
from agents.run import RunFolder
from agents.sb3 import make_model, make_policy, make_vec_env
from agents.settings import build_config
from agents.trainer import train
from deeptraffic.envs.batch import EnvBatch
from deeptraffic.envs.masks import action_masks
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import NOBODY

Config = Callable[..., TrainConfig]


def started(config: TrainConfig) -> ExpertIteration:
    """A model before its first rollout."""
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, ExpertIteration)
    model._setup_learn(10**6, None)
    return model


def learned(config: TrainConfig) -> ExpertIteration:
    model = make_model(config, make_vec_env(config))
    assert isinstance(model, ExpertIteration)
    return model.learn(config.total_timesteps, log_interval=None)


def weights_of(model: ExpertIteration) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def test_a_refused_lane_change_has_the_return_of_accelerating(small_config: Config) -> None:
    model = started(small_config("expert_iteration", num_envs=60))
    assert model.env is not None
    for _ in range(6):
        model.env.step(np.full(60, int(Action.ACCELERATE)))
    possible = action_masks(model._batch().sim)[:, CANDIDATES[1:]].astype(bool)
    labelled, returns = model._label_states(0, model._make_rollouts())
    np.testing.assert_array_equal(labelled, np.flatnonzero(possible.any(1)))  # elsewhere there is no choice
    refused = ~possible[labelled]
    assert refused.any() and not refused.all(1).any()
    for side in range(2):
        left_or_right, accelerate = returns[:, 1 + side], returns[:, 0]
        np.testing.assert_array_equal(left_or_right[refused[:, side]], accelerate[refused[:, side]])
        assert np.any(left_or_right[~refused[:, side]] != accelerate[~refused[:, side]])


def test_a_fraction_of_the_states_is_labelled(small_config: Config) -> None:
    all_states, some_states = (
        started(small_config("expert_iteration", num_envs=200, label_fraction=fraction)) for fraction in (1.0, 0.25)
    )
    count, fewer = (len(model._label_states(0, model._make_rollouts())[0]) for model in (all_states, some_states))
    assert 0.1 < fewer / count < 0.4


@pytest.mark.parametrize("is_new", [False, True])
def test_value_targets_equal_returns_summed_by_hand(small_config: Config, is_new: bool) -> None:
    model = started(small_config("expert_iteration", gamma=0.9, value_lambda=0.7))
    random = np.random.default_rng(0)
    rewards, values = random.normal(size=(6, 2)), random.normal(size=(6, 2))
    dones = np.array([[0, 0], [0, 1], [1, 0], [0, 0], [0, 1], [0, 0]], bool)
    of_states = np.vstack([random.normal(size=2), np.where(dones, random.normal(size=(6, 2)), values)])
    ended = np.where(dones, values, random.normal(size=(6, 2)))  # what else is in either counts for nothing
    lists = (of_states, rewards, dones, ended)
    rollout = ExpertRollout([], [], [], *(list(torch.tensor(array)) for array in lists))
    model._n_updates = 0 if is_new else 1
    found = model._value_targets(rollout)
    if is_new:  # the first values are shifted to the discounted sum of the mean reward
        values = values - values.mean() + rewards.mean() / (1.0 - 0.9)
    for b in range(2):
        for t in range(6):
            last = next((k for k in range(t, 6) if dones[k, b]), 5)
            expected, weight = 0.0, 1.0  # sum over n of (1 - lambda) lambda^(n - 1) times the n-step return
            for end in range(t, last + 1):
                steps = [0.9 ** (k - t) * rewards[k, b] for k in range(t, end + 1)]
                n_step = sum(steps) + 0.9 ** (end - t + 1) * values[end, b]
                expected += (weight if end == last else weight * 0.3) * n_step
                weight *= 0.7
            assert float(found[t, b]) == pytest.approx(expected, abs=1e-9)


def test_initialised_values_are_not_shifted_again(small_config: Config) -> None:
    model = started(small_config("expert_iteration", gamma=0.9))
    before = model.policy.average.params.copy()
    assert abs(model._centre_values(0.5, 0.5 / (1.0 - 0.9))) < 1e-5
    np.testing.assert_allclose(model.policy.average.params, before, atol=1e-5)


def test_a_run_goes_on_with_the_values_of_the_run_that_it_is_initialised_from(
    small_config: Config, tmp_path: Path
) -> None:
    config = small_config("expert_iteration", total_timesteps=128)
    train(config, tmp_path, Console(quiet=True))
    saved, notes = read_weights(RunFolder(tmp_path).best_file)
    policy = load_policy(tmp_path)
    model = make_model(config, make_vec_env(config), policy)
    found = model.policy.average.weights()
    assert notes and saved["value.weight"].any()
    for name in ("value.weight", "value.bias", "0.weight"):
        np.testing.assert_array_equal(found[name], saved[name])


def test_a_truncated_episode_bootstraps_from_its_last_state(small_config: Config) -> None:
    model, rollout = started(small_config("expert_iteration")), ExpertRollout()
    seen: Any = model._last_obs
    dones = np.zeros(8, bool)
    dones[3] = True
    last = np.random.default_rng(0).random(seen.shape[1], np.float32)
    infos: list[dict[str, Any]] = [{} for _ in range(8)]
    infos[3] = {"terminal_observation": last}
    model._add(rollout, seen, np.zeros(8, np.float32), dones, infos)
    np.testing.assert_array_equal(rollout.ended[0][3], model._values(last[None])[0])
    assert rollout.ended[0][3] != model._values(seen)[3] and not rollout.ended[0][:3].any()


def test_only_the_newest_rounds_are_kept() -> None:
    labelled = LabelledStates()
    for k in range(4):
        labelled.add(torch.full((2, 3), float(k)), torch.full((2, 3), float(k)), keep=2)
    assert [float(cells[0, 0]) for cells in labelled.cells] == [2.0, 3.0]
    again = LabelledStates()
    again.restore(labelled.state())
    assert torch.equal(torch.cat(again.returns), torch.cat(labelled.returns))


def test_equal_seeds_learn_equally_and_others_do_not(small_config: Config) -> None:
    first, second, other = (
        weights_of(learned(small_config("expert_iteration", seed=seed, total_timesteps=128))) for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_it_is_saved_loaded_and_exported_and_acts_the_same(small_config: Config, tmp_path: Path) -> None:
    config = small_config("expert_iteration", total_timesteps=128)
    model = learned(config)
    model.save(tmp_path / "model.zip")
    again = ExpertIteration.load(tmp_path / "model.zip", device="cpu")
    policy = make_policy(model, config, "learned")
    seen: Any = model._last_obs
    cells = np.concatenate([seen, np.random.default_rng(0).permuted(seen, axis=1)])
    actions = model.predict(cells, deterministic=True)[0]
    np.testing.assert_array_equal(again.predict(cells, deterministic=True)[0], actions)
    np.testing.assert_array_equal(policy.act(cells.astype(np.float64), np.arange(len(cells))), actions)
    assert set(actions) <= set(CANDIDATES.tolist())


def test_states_of_every_agent_of_a_team_are_labelled(small_config: Config) -> None:
    config = small_config("expert_iteration", other_agents=2, value_coef=0.0, rollout_lambda=1.0, total_timesteps=64)
    model = learned(config)
    assert model.num_agents == 3 and model._batch().sim.rules.other_agents == 2
    assert np.all(model._batch().sim.games["waiting"] != NOBODY)
    assert len(model.labelled.cells[-1]) >= 2 * 8  # other agents always have a choice


def test_values_are_learned_from_a_fraction_of_as_many_states(
    small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, step = [], GradientSteps.step

    def watched(self: GradientSteps, cells: Any, returns: Any, states: Any) -> tuple[float, float]:
        sizes.append((len(cells), len(states[0]), len(states[1])))
        return step(self, cells, returns, states)

    monkeypatch.setattr(GradientSteps, "step", watched)
    learned(small_config("expert_iteration", value_fraction=0.25, total_timesteps=128))
    assert len(sizes) > 2 and all(values == targets == max(1, round(n / 4)) for n, values, targets in sizes)


def test_a_gpu_is_refused(small_config: Config) -> None:
    with pytest.raises(ValueError, match="compiled code on the CPU; set device=cpu"):
        small_config("expert_iteration", device="cuda")


def short_training(folder: Path, quiet: Console) -> float:
    """The mean speed on 200 tuning runs after 65,536 decisions."""
    small = {"hidden": [32], "lane_units": 16, "num_envs": 256, "n_steps": 16, "total_timesteps": 65_536}
    config = build_config(
        "expert_iteration", settings=small | {"average_rate": 0.02, "evaluate_every": 65_536, "evaluation_runs": 50}
    )
    train(config, folder, quiet)
    return evaluate_open(load_policy(folder), runs=200).mean_mph


@pytest.mark.slow
def test_it_learns_to_drive_from_what_it_sees_and_nothing_from_zeros(
    tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    sighted = short_training(tmp_path / "sighted", quiet)
    observe = EnvBatch.observe
    monkeypatch.setattr(EnvBatch, "observe", lambda *given: np.zeros_like(observe(*given)))
    blind = short_training(tmp_path / "blind", quiet)
    assert sighted > 66.0 and blind < 60.0
