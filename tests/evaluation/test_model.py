"""Models of other libraries, evaluated as policies."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from torch import nn

import deeptraffic
from deeptraffic.envs.observations import make_observation
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.evaluation.model import Memory, ModelPolicy, as_policy, evaluate
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.sim.rules import RULES_2018, Sensor

SMALL = {"kind": "vector", "lanes_side": 1, "patches_ahead": 6, "patches_behind": 2}
OPEN: dict[str, Any] = {"protocol": "open", "runs": 20}


def gap_function(obs: np.ndarray) -> np.ndarray:
    return make_builtin("gap").act(obs.astype(np.float64), np.arange(len(obs)))


def test_a_function_scores_what_the_policy_of_the_same_decisions_scores() -> None:
    seen = {"kind": "vector", **make_builtin("gap").sensor._asdict(), "dtype": "float64"}
    assert evaluate(gap_function, seen, **OPEN).run_scores.tolist() == (
        evaluate_open(make_builtin("gap"), runs=20).run_scores.tolist()
    )


def test_the_package_itself_evaluates() -> None:
    assert deeptraffic.evaluate is evaluate
    score = deeptraffic.evaluate(make_builtin("idle"), **OPEN)
    assert score.score == evaluate_open(make_builtin("idle"), runs=20).score
    with pytest.raises(AttributeError, match="no attribute 'evaluates'"):
        deeptraffic.evaluates  # noqa: B018


def test_official_scores_are_the_contests() -> None:
    found = evaluate(lambda obs: np.zeros(len(obs), np.int64), SMALL)
    assert (found.score, found.protocol) == (51.57, "official")
    assert found.run_scores.tolist() == evaluate_official(make_builtin("idle")).run_scores.tolist()


@pytest.mark.parametrize("algorithm", [PPO, DQN])
@pytest.mark.parametrize("observation", ["gaps", SMALL])
def test_a_stable_baselines3_model_drives_as_its_predict_says(algorithm: Any, observation: Any) -> None:
    env = DeepTrafficVecEnv(2, observation=observation)
    model = algorithm("MlpPolicy", env, seed=3, device="cpu")
    policy = as_policy(model, observation)
    obs = env.reset()
    wanted, _ = model.predict(obs, deterministic=True)
    assert policy.act(obs, np.arange(2)).tolist() == wanted.tolist()
    found = evaluate(model, observation, other_agents=2, **OPEN)
    assert found.other_agents == 2 and 20 < found.score < 80
    if observation == "gaps":
        assert evaluate(model, **OPEN).score == evaluate(model, "gaps", **OPEN).score


@pytest.mark.parametrize("kind", ["pixels", "full", "kinematics", "grid"])
def test_the_observation_is_found_by_the_models_space(kind: str) -> None:
    class Model:
        observation_space = DeepTrafficVecEnv(1, observation=kind).observation_space

        def predict(self, obs: Any) -> Any:
            batch = len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
            return np.ones(batch, np.int64)

    assert as_policy(Model()).observation == make_observation(kind)
    assert evaluate(Model(), protocol="open", runs=3).runs == 3


def test_a_torch_module_chooses_its_highest_value_and_keeps_its_mode() -> None:
    module = nn.Sequential(nn.Linear(42, 5), nn.Dropout(0.9)).double().train()
    policy = as_policy(module, "gaps", label="mine")
    obs = np.random.default_rng(0).random((8, 42)).astype(np.float32)
    values = module[0](torch.as_tensor(obs, dtype=torch.float64)).detach().numpy()
    assert policy.act(obs, np.arange(8)).tolist() == values.argmax(1).tolist() and module.training
    assert policy.label == "mine" and policy.values is not None and np.array_equal(policy.values, values)


class Counting:
    """A recurrent model: its state counts the decisions of an episode."""

    label = "counting"
    observation = "gaps"

    def predict(self, obs: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False) -> Any:
        assert deterministic
        count = np.zeros((1, len(obs), 1), np.float32) if state is None else state[0]
        count = np.where(episode_start[None, :, None], 0, count) + 1
        return count[0, :, 0].astype(int) % 5, (count,)


def test_recurrent_states_belong_to_their_agents_and_end_with_their_episodes() -> None:
    policy = as_policy(Counting())
    obs = np.zeros((4, 42), np.float32)
    policy.reset(np.arange(4))
    assert policy.act(obs, np.arange(4)).tolist() == [1, 1, 1, 1]
    assert policy.act(obs[:2], np.array([1, 3])).tolist() == [2, 2]
    state = policy.get_state()
    assert policy.act(obs, np.arange(4)).tolist() == [2, 3, 2, 3]
    policy.set_state(state)
    policy.reset(np.array([3]))
    assert policy.act(obs, np.arange(4)).tolist() == [2, 3, 2, 1]
    assert policy.act(np.zeros((1, 42)), np.array([9])).tolist() == [1]
    assert evaluate(Counting(), **OPEN).policy == "counting"


def test_a_memory_grows_with_the_agents() -> None:
    memory = Memory()
    memory.put(np.array([0]), None)
    assert memory.take(np.array([2]))[0] is None and memory.is_new.tolist() == [True] * 3


class Odd:
    observation_space: spaces.Space = spaces.Box(0, 1, (43,))

    def __init__(self, actions: int = 5) -> None:
        self.action_space = spaces.Discrete(actions)

    def predict(self, obs: Any) -> Any:
        return np.zeros(len(obs))


@pytest.mark.parametrize(
    ("model", "observation", "reason"),
    [
        (Odd(3), None, r"action space must be Discrete\(5\), got Discrete\(3\)"),
        (
            Odd(5),
            None,
            r"observes \(43,\), and no observation .*gaps \(42,\)",
        ),
        (
            Odd(5),
            "gaps",
            r"observes \(43,\), but gaps is \(42,\)",
        ),
        (gap_function, None, "say what the model observes"),
        (make_builtin("idle"), "gaps", "leave out observation"),
        (Odd, "gaps", "a model must be a deeptraffic.policies.base.Policy"),
        ("champion", "gaps", "a model must be"),
        (gap_function, "gap", "observation kind must be one of"),
    ],
)
def test_what_is_no_model_of_this_task_is_refused(model: Any, observation: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        as_policy(model, observation)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda obs: np.zeros((len(obs), 3)), r"returned an array of shape \(20, 3\) for 20 observations"),
        (lambda obs: 1, "returned 1 for 20 observations"),
        (lambda obs: np.array(["left"] * len(obs)), "must return an action in"),
        (lambda obs: np.full(len(obs), 7), "act must return one integer in"),
    ],
)
def test_what_is_no_action_is_refused(answer: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        evaluate(answer, "gaps", **OPEN)


def test_another_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="protocol must be one of official, open"):
        evaluate(gap_function, "gaps", protocol="best")


def test_images_may_have_their_channels_at_either_end() -> None:
    space = make_observation("pixels").space(RULES_2018)
    assert isinstance(space, spaces.Box)
    model = Odd()
    model.observation_space = spaces.Box(0, 255, (space.shape[2], *space.shape[:2]), np.uint8)
    assert isinstance(as_policy(model, "pixels"), ModelPolicy) and as_policy(model, "pixels").sensor == Sensor()
