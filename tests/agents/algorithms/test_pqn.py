"""PQN: its targets against arithmetic, exploration per env, and that it learns from observations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from rich.console import Console
from stable_baselines3.common.vec_env import VecEnv

from agents.algorithms.pqn.compiled import CompiledPQN, PQNSamples, add_gradient
from agents.algorithms.pqn.config import PQNConfig
from agents.algorithms.pqn.torch_learner import PQN, PQNPolicy, lambda_returns
from agents.compiled.model import lane_params
from agents.compiled.network import branch_params
from agents.config import TrainConfig
from agents.exploration import explore
from agents.export import TrainedPolicy
from agents.sb3 import make_model, make_policy, make_vec_env
from agents.settings import build_config
from agents.trainer import train
from deeptraffic.policies.layers import LayerNorm

Config = Callable[..., TrainConfig]
CHI_SQUARE_1 = 15.1  # one degree of freedom: exceeded once in 10,000 by independent draws
CHI_SQUARE_4 = 23.5  # four degrees


class SmallTask(VecEnv):
    """16 envs with episodes of `length` decisions; subclasses give observations and rewards."""

    def __init__(self, length: int = 4, truncates: bool = True) -> None:
        self.length, self.truncates, self.random = length, truncates, np.random.default_rng(0)
        self.steps, self.render_mode = np.arange(16) % length, None
        super().__init__(16, spaces.Box(-9.0, 9.0, (5,), np.float32), spaces.Discrete(5))
        self.obs = self.draw()

    def draw(self) -> np.ndarray:
        """Return new observations (16, 5)."""
        return np.zeros((16, 5), np.float32)

    def pay(self, actions: np.ndarray) -> np.ndarray:
        """Return the rewards (16,) of actions."""
        return np.ones(16, np.float32)

    def reset(self) -> np.ndarray:
        return self.obs.copy()

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        rewards = self.pay(self.actions)
        self.steps += 1
        dones, self.obs = self.steps == self.length, self.draw()
        infos: list[dict[str, Any]] = [{} for _ in range(16)]
        for b in np.flatnonzero(dones):
            infos[b] = {"terminal_observation": np.full(5, 7.0, np.float32), "TimeLimit.truncated": self.truncates}
        self.steps[dones] = 0
        return self.obs.copy(), rewards, dones, infos

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * 16

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * 16


class NameTheLight(SmallTask):
    """One of five lights shines; the action of its index has reward 1."""

    sighted = 1.0

    def draw(self) -> np.ndarray:
        self.shining = self.random.integers(5, size=16)
        return self.sighted * np.eye(5, dtype=np.float32)[self.shining]

    def pay(self, actions: np.ndarray) -> np.ndarray:
        return (actions == self.shining).astype(np.float32)


class BlindNameTheLight(NameTheLight):
    """The same in the dark."""

    sighted = 0.0


# --- targets ------------------------------------------------------------------------------------------------------


def brute_force_target(rewards: Any, values: Any, dones: Any, t: int, gamma: float, lambda_: float) -> float:
    """Mix all n-step returns of one env from step t on: weights (1 - lambda) lambda^(n-1), the rest on the longest."""
    ends = [k for k in range(t, len(rewards)) if dones[k] or k == len(rewards) - 1]
    longest = ends[0] - t + 1
    total = 0.0
    for n in range(1, longest + 1):
        n_step = sum(gamma**i * rewards[t + i] for i in range(n)) + gamma**n * values[t + n - 1]
        total += (lambda_ ** (n - 1)) * (1.0 if n == longest else 1.0 - lambda_) * n_step
    return total


@pytest.mark.parametrize("lambda_", [0.0, 0.65, 1.0])
def test_lambda_returns_mix_all_n_step_returns(lambda_: float) -> None:
    random = np.random.default_rng(1)
    rewards, values, dones = random.normal(size=(7, 9)), random.normal(size=(7, 9)), random.random((7, 9)) < 0.25
    given = torch.from_numpy(rewards), torch.from_numpy(values), torch.from_numpy(dones)
    found = lambda_returns(*given, 0.9, lambda_)
    expected = [
        [brute_force_target(rewards[:, b], values[:, b], dones[:, b], t, 0.9, lambda_) for b in range(9)]
        for t in range(7)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("truncates", "expected"), [(True, 1.0 + 0.5 * 35.0), (False, 1.0)])
def test_a_game_that_is_cut_bootstraps_from_its_last_state_one_that_terminates_does_not(
    truncates: bool, expected: float
) -> None:
    model = PQN("MlpPolicy", SmallTask(truncates=truncates), n_steps=4, gamma=0.5, policy_kwargs={"net_arch": []})
    torch.nn.init.ones_(model.policy.advantage.weight)  # the value of a state is the sum of what is seen there:
    torch.nn.init.zeros_(model.policy.advantage.bias)  # 0 during an episode and in the next one, 5 * 7 at its end
    model._n_updates = 1
    _, watch = model._setup_learn(1)
    experience = model._collect(watch)
    assert experience is not None
    targets = experience.targets.reshape(4, 16)
    at_end = (np.arange(16)[None] + np.arange(4)[:, None]) % 4 == 3
    np.testing.assert_allclose(targets[at_end], expected)


def test_a_new_network_starts_from_the_value_of_the_mean_reward() -> None:
    for dueling in (False, True):
        model = PQN("MlpPolicy", SmallTask(), n_steps=4, gamma=0.9, policy_kwargs={"dueling": dueling})
        before = model.policy(torch.zeros(1, 5))
        model._collect(model._setup_learn(1)[1])
        np.testing.assert_allclose((model.policy(torch.zeros(1, 5)) - before).detach(), 10.0, rtol=1e-5)  # 1 / 0.1


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("settings", [{}, {"kind": "vector", "lane_units": 6}], ids=["dense", "lanes"])
def test_the_compiled_gradient_is_torchs(small_config: Config, settings: dict, layer_norm: bool) -> None:
    config = small_config("pqn", hidden=[16, 12], layer_norm=layer_norm, learning_rate=1e-8, **settings)
    learner, policy = CompiledPQN(config), make_model(config, make_vec_env(config)).policy
    model, rng = learner.model, np.random.default_rng(1)
    model.dense.params[:] += rng.normal(0.0, 0.3, model.dense.params.size)
    learner.round(1.0)  # real observations
    obs = learner.rollout.obs.reshape(-1, learner.rollout.obs.shape[2])
    samples = PQNSamples(obs, rng.integers(5, size=len(obs)), rng.normal(size=len(obs)).astype(np.float32))
    tensors = [tensor for layer in policy.modules() if not [*layer.children()] for tensor in layer.parameters()]
    layers = [*lane_params(model), *branch_params(model.dense, 0, 1)]
    parts = [array for layer in layers for array in layer.values()]
    for tensor, array in zip(tensors, parts, strict=True):
        tensor.data.copy_(torch.from_numpy(array.copy()))
    loss = add_gradient(model, samples, np.arange(8, len(obs)), ())
    values = policy(torch.from_numpy(obs)).gather(1, torch.from_numpy(samples.actions)[:, None])[8:, 0]
    expected = 0.5 * torch.nn.functional.mse_loss(values, torch.from_numpy(samples.targets[8:]))
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    model.dense.params[:] = model.functions.finish_gradient(model.net, model.tape)  # so that its parts have names
    for tensor, array in zip(tensors, parts, strict=True):
        scale = max(1.0, float(tensor.grad.abs().max()))
        np.testing.assert_allclose(array / scale, tensor.grad / scale, atol=1e-5)


# --- exploration --------------------------------------------------------------------------------------------------


def test_envs_explore_independently_of_each_other() -> None:
    np.random.seed(0)
    explored = np.array([explore(np.full(2, 9), 0.4, 5) != 9 for _ in range(4000)])
    table = np.array([[(explored == [i, j]).all(1).sum() for j in (0, 1)] for i in (0, 1)])
    expected = np.outer(table.sum(1), table.sum(0)) / 4000
    assert ((table - expected) ** 2 / expected).sum() < CHI_SQUARE_1  # one draw for both envs would give 4000
    assert explored.mean() == pytest.approx(0.4, abs=0.02)


def test_random_actions_are_equally_likely() -> None:
    np.random.seed(1)
    counts = np.bincount(explore(np.zeros(5000, np.int64), 1.0, 5), minlength=5)
    assert ((counts - 1000) ** 2 / 1000).sum() < CHI_SQUARE_4


def test_the_chance_of_a_random_action_falls_in_a_line_and_stays() -> None:
    model = PQN("MlpPolicy", SmallTask(), exploration_fraction=0.5, exploration_final_eps=0.1)
    rates = []
    for left in (1.0, 0.75, 0.5, 0.0):
        model._current_progress_remaining = left
        rates.append(model.exploration_rate)
    assert rates == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_prediction_explores_unless_it_is_deterministic() -> None:
    model = PQN("MlpPolicy", SmallTask(), seed=0)
    obs = np.zeros((500, 5), np.float32)
    assert len(set(model.predict(obs, deterministic=True)[0].tolist())) == 1
    assert len(set(model.predict(obs)[0].tolist())) == 5


# --- learning -----------------------------------------------------------------------------------------------------


def light_score(task: SmallTask, seed: int = 0) -> float:
    """Train on 8,000 decisions; return the fraction of correct actions after it."""
    model = PQN(
        "MlpPolicy", task, 5e-3, n_steps=4, batch_size=32, gamma=0.5, seed=seed, policy_kwargs={"net_arch": [32]}
    )
    model.learn(8_000)
    paid = []
    for _ in range(50):
        task.step_async(model.predict(task.obs, deterministic=True)[0])
        paid.append(task.step_wait()[1].mean())
    return float(np.mean(paid))


def test_it_learns_what_can_be_seen_and_nothing_in_the_dark() -> None:
    assert light_score(NameTheLight()) > 0.95
    assert light_score(BlindNameTheLight()) < 0.4


@pytest.mark.slow
def test_it_beats_the_gap_rule_within_100_000_decisions(tmp_path: Path, quiet: Console) -> None:
    result = train(build_config("pqn", settings=["total_timesteps=100000"]), tmp_path, quiet)
    assert result.mean_mph is not None and result.mean_mph > 68.0


# --- the network, on disk and as a policy -------------------------------------------------------------------------


def test_a_saved_model_acts_and_learns_on_as_the_one_in_memory(tmp_path: Path) -> None:
    model = PQN("MlpPolicy", NameTheLight(), n_steps=4, batch_size=32, seed=0, policy_kwargs={"dueling": True})
    model.learn(640)
    model.save(tmp_path / "model")
    loaded = PQN.load(tmp_path / "model", env=NameTheLight())
    assert (loaded.q_lambda, loaded.n_steps, loaded.policy.dueling) == (model.q_lambda, 4, True)
    for one in (model, loaded):
        one.set_env(NameTheLight())
        np.random.seed(0)
        one.learn(640)
    for first, second in zip(model.policy.parameters(), loaded.policy.parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("dueling", [True, False])
@pytest.mark.parametrize(
    ("kind", "hidden"), [("gaps", [16, 24]), ("gaps", []), ("vector", [16])], ids=["gaps", "linear", "vector"]
)
def test_the_exported_network_acts_as_the_trained_one(
    small_config: Config, layer_norm: bool, dueling: bool, kind: str, hidden: list[int]
) -> None:
    config = small_config("pqn", num_envs=64, kind=kind, layer_norm=layer_norm, dueling=dueling, hidden=hidden)
    env = make_vec_env(config)
    model = make_model(config, env)
    obs = env.reset()
    for weight in model.policy.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    assert isinstance(model.policy, PQNPolicy)
    with torch.no_grad():  # a new network prefers one action everywhere: make all equally good in the mean
        model.policy.advantage.bias.sub_(model.policy(torch.from_numpy(obs)).mean(0))
    policy = make_policy(model, config, "new")
    assert isinstance(policy, TrainedPolicy)
    assert any(isinstance(layer, LayerNorm) for layer in policy.network.layers) is (layer_norm and bool(hidden))
    expected = model.predict(obs, deterministic=True)[0]
    cells = env.batch.sim.sense(config.observation.sensor).astype(np.float64)
    np.testing.assert_array_equal(policy.act(cells, np.arange(64)), expected)
    assert len(set(expected.tolist())) > 1


def test_a_dueling_head_adds_the_value_to_centred_advantages() -> None:
    policy = PQNPolicy(spaces.Box(-1, 1, (2,)), spaces.Discrete(3), lambda _: 1e-3, [], dueling=True)
    assert policy.value is not None
    with torch.no_grad():
        policy.value.weight[:], policy.value.bias[:] = torch.tensor([[2.0, 0.0]]), 1.0
        policy.advantage.weight[:] = torch.tensor([[0.0, 3.0], [0.0, 0.0], [0.0, 0.0]])
        policy.advantage.bias[:] = 0.0
        found = policy(torch.tensor([[1.0, 1.0]]))
    np.testing.assert_allclose(found, [[3.0 + 3.0 - 1.0, 3.0 - 1.0, 3.0 - 1.0]])  # V = 2 + 1, mean advantage 3 / 3


@pytest.mark.parametrize("kind", ["pixels", "kinematics", "vector"])
def test_it_trains_on_any_observation(tmp_path: Path, small_config: Config, quiet: Console, kind: str) -> None:
    config = small_config("pqn", kind=kind, num_envs=4, total_timesteps=64, batch_size=16, evaluation_runs=0)
    assert train(config, tmp_path, quiet).decisions == 64


def test_settings_that_are_no_switch_are_refused() -> None:
    with pytest.raises(ValueError, match="dueling must be true or false, got 1"):
        PQNConfig(dueling=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size=100000.*lower batch_size"):
        build_config("pqn", settings=["batch_size=100000"])
