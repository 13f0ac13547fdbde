"""Models and objects of the user's own on the command line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO

from agents.loader import load_policy
from agents.own_model import is_own, load_own
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.evaluation.model import evaluate

SOURCE = """
import numpy as np
from deeptraffic.policies.base import Policy
from deeptraffic.sim.rules import Action, Sensor

class Cautious(Policy):
    label, observation = "cautious", Sensor(1, 10, 0)
    def act(self, obs, agent_indices):
        return np.where(obs[:, 4::3].min(1) < 1.0, Action.DECELERATE, Action.ACCELERATE)

def accelerate(obs):
    return np.ones(len(obs), int)

def make():
    return Cautious()

class Holder:
    policy = Cautious()

number = 3
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "my_agent.py"
    path.write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_agent", raising=False)
    return path


@pytest.mark.parametrize("algorithm", [PPO, A2C, DQN, QRDQN, MaskablePPO, RecurrentPPO])
def test_a_models_file_drives_as_the_model(algorithm: Any, tmp_path: Path) -> None:
    env = DeepTrafficVecEnv(2, observation="gaps")
    name = "MlpLstmPolicy" if algorithm is RecurrentPPO else "MlpPolicy"
    model = algorithm(name, env, seed=1, device="cpu", policy_kwargs={"net_arch": [16]})
    model.save(tmp_path / "model.zip")
    found, wanted = load_policy(tmp_path / "model.zip"), evaluate(model, protocol="open", runs=10)
    assert found.label == "model" and found.observation.kind == "gaps"
    assert evaluate(found, protocol="open", runs=10).run_scores.tolist() == wanted.run_scores.tolist()


@pytest.mark.parametrize(
    "name", ["my_agent:Cautious", "my_agent.py:make", "my_agent:Holder.policy", "my_agent.py:Cautious"]
)
def test_objects_are_imported_from_modules_and_files(name: str, mine: Path) -> None:
    assert is_own(name) and load_policy(name).label == "cautious"


def test_the_command_scores_a_function(mine: Path, run: Callable[..., Any]) -> None:
    options = ("--protocol", "open", "--runs", "20", "--json")
    result = run("evaluate", "my_agent.py:accelerate", "--obs", '{"kind": "gaps", "lanes_side": 1}', *options)
    assert result.code == 0 and json.loads(result.out)["policy"] == "accelerate"
    again = run("evaluate", "my_agent:accelerate", "--obs", "gaps", *options)
    assert json.loads(again.out)["score"] == json.loads(result.out)["score"]
    both = run("evaluate", "my_agent:Cautious", "idle", *options)
    assert both.code == 0 and "cautious" in both.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["my_agent:accelerate"], "say what the model observes"),
        (["my_agent:number", "--obs", "gaps"], "a model must be"),
        (["my_agent:nothing"], "has no attribute 'nothing'"),
        (["my_agents:make"], "my_agents cannot be imported"),
        (["none.py:make"], "none.py cannot be imported"),
        (["my_agent:accelerate", "--obs", "{gaps"], "is no JSON"),
        (["gap", "--obs", "gaps"], "says itself what it observes"),
        (["gap", "idle", "--obs", "gaps"], "belongs to a model of your own"),
    ],
)
def test_what_cannot_be_loaded_is_said(arguments: list[str], reason: str, mine: Path, run: Callable[..., Any]) -> None:
    result = run("evaluate", *arguments)
    assert result.code != 0 and reason in result.err.replace("\n", " ")


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    (tmp_path / "arrays.npz").rename(tmp_path / "arrays.zip")
    assert load_own(str(tmp_path / "arrays.zip")) is None
    with pytest.raises(ValueError, match="not a policy file"):
        load_policy(tmp_path / "arrays.zip")
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(b"PK\x03\x04 stable_baselines3")
    with pytest.raises(ValueError, match="cannot be read as a Stable-Baselines3 model"):
        load_policy(damaged)
