"""Run configurations: where settings come from, which are refused, and with what words."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.registry import ALGORITHMS
from agents.settings import SHARED_PRESETS, build_config, difference, setting_names
from deeptraffic.settings import parse_setting


@pytest.mark.parametrize(("algo", "preset"), [(name, p) for name, entry in ALGORITHMS.items() for p in entry.presets])
def test_every_preset_builds_for_every_algorithm_and_survives_json(algo: str, preset: str) -> None:
    config = build_config(algo, preset)
    again = build_config(algo, settings=json.loads(json.dumps(config.to_json())))
    assert again == config


def test_later_settings_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("gamma = 0.5\nseed = 4\n[envs]\nnum_envs = 128\n")
    config = build_config("ppo", "quick", file, ["gamma=0.75"])
    assert (config.agent.gamma, config.seed, config.envs.num_envs) == (0.75, 4, 128)
    assert config.total_timesteps == SHARED_PRESETS["quick"]["total_timesteps"]


def test_json_and_toml_files_mean_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"agent": {"hidden": [8, 8]}, "road": {"other_agents": 2}}')
    (tmp_path / "a.toml").write_text("[agent]\nhidden = [8, 8]\n[road]\nother_agents = 2\n")
    assert build_config("dqn", file=tmp_path / "a.json") == build_config("dqn", file=tmp_path / "a.toml")


def test_full_and_short_names_set_the_same() -> None:
    short = build_config("ppo", settings=["learning_rate=0.002", "kind=vector", "other_agents=3"])
    full = build_config("ppo", settings=["agent.learning_rate=0.002", "observation.kind=vector", "road.other_agents=3"])
    assert short == full
    assert (full.observation.kind, full.road.other_agents) == ("vector", 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1", 1), ("a=1e6", 1e6), ("a=tanh", "tanh"), ("a=[1, 2]", [1, 2]), ("a=None", None), ("a=x=y", "x=y")],
)
def test_a_setting_is_read_as_json_where_it_is_json(text: str, value: Any) -> None:
    assert parse_setting(text) == ("a", value)


def test_whole_numbers_may_be_written_as_floats() -> None:
    assert build_config("ppo", settings=["total_timesteps=2e6"]).total_timesteps == 2_000_000


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("gamma=1.5", ["gamma must be a number in [0, 1]", "got 1.5"]),
        ("gamma=nan", ["gamma must be a number in [0, 1]", "got 'nan'"]),
        ("gamma=NaN", ["gamma must be a number in [0, 1]", "got nan"]),
        ("n_steps=2.5", ["n_steps must be an integer in [1, ", "got 2.5"]),
        ("n_epochs=true", ["n_epochs must be an integer", "got True"]),
        ("activation=gelu", ["'gelu'", "'tanh', 'relu'"]),
        ("hidden=64", ["hidden must be a list of 0 to 8 integers", "got 64"]),
        ("hidden=[0]", ["hidden[0] must be an integer in [1, 4096]", "got 0"]),
        ("gama=0.9", ["'gama'", "did you mean 'agent.gamma'"]),
        ("envs.gamma=0.9", ["'envs.gamma'", "did you mean 'agent.gamma'"]),
        ("buffer_size=100", ["'buffer_size' for ppo"]),
        ("gamma", ["'gamma'", "key=value"]),
        ("batch_size=100000", ["batch_size=100000", "n_steps=16 x num_envs=256 = 4096", "lower batch_size"]),
        ("other_agents=11", ["other_agents must be an integer in [0, 10]", "got 11"]),
        ("kind=sonar", ["'sonar'", "gaps"]),
        ("algo=dqn", ["another algorithm", "'ppo'"]),
        ("kind=full", ["'full'", "kinematics"]),
    ],
)
def test_what_is_impossible_is_refused_with_value_limit_and_remedy(setting: str, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        build_config("ppo", settings=[setting])
    for word in words:
        assert word in str(caught.value)


def test_dqn_refuses_a_memory_smaller_than_what_it_learns_from() -> None:
    with pytest.raises(ValueError, match="buffer_size=1000 is less than learning_starts=10000"):
        build_config("dqn", settings=["buffer_size=1000"])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.yaml", "gamma: 1", ".json or .toml"),
        ("a.json", "{", "no valid JSON"),
        ("a.json", "[1]", "holds no settings"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(ValueError, match=words):
        build_config("ppo", file=file)
    with pytest.raises(ValueError, match="cannot be read"):
        build_config("ppo", file=tmp_path / "missing.json")


def test_unknown_algorithms_and_presets_are_refused() -> None:
    with pytest.raises(ValueError, match="'sarsa'.*a2c, maskable_ppo, ppo.*pqn"):
        build_config("sarsa")
    with pytest.raises(ValueError, match="'huge'.*default, demo, quick, fast"):
        build_config("ppo", "huge")


def test_a_difference_names_settings_in_full() -> None:
    old, new = build_config("ppo"), build_config("ppo", settings=["gamma=0.5", "seed=1"])
    assert difference(old, new) == {"seed": (0, 1), "agent.gamma": (old.agent.gamma, 0.5)}


def test_short_names_are_unique() -> None:
    for algo in ALGORITHMS:
        short = [name.rpartition(".")[2] for name in setting_names(algo)]
        assert sorted(short) == sorted(set(short))


def test_a_configuration_cannot_be_changed() -> None:
    config = build_config()
    with pytest.raises(AttributeError):
        config.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("algo", "settings", "named"),
    [
        ("ppo", {"kind": "kinematics"}, "kind='kinematics'"),
        ("ppo", {"temporal_window": 2}, "temporal_window"),
        ("pqn", {"drop_rate": 0.3}, "weakened sensor"),
        ("pqn", {"encoder.name": "dense", "kind": "vector"}, "behind an encoder"),
        ("pqn", {"device": "auto"}, "device='auto'"),
        ("pqn", {"dueling": True}, "dueling=true"),
        ("ppo", {"init": "champion-ppo"}, "init='champion-ppo'"),
        ("ppo", {"critic_warmup": 100}, "critic_warmup=100"),
    ],
)
def test_what_the_compiled_learner_cannot_train_is_named(algo: str, settings: dict, named: str) -> None:
    with pytest.raises(ValueError, match=f"backend='compiled' cannot train.*{named}.*set backend=auto"):
        build_config(algo, settings={"backend": "compiled"} | settings)
    for given in ({}, {"backend": "auto"}, {"backend": "torch"}):
        assert build_config(algo, settings=given | settings).to_json()["agent"]["backend"] == "torch"


@pytest.mark.parametrize("algo", ["pqn", "ppo"])
@pytest.mark.parametrize("settings", [{}, {"kind": "vector"}, {"kind": "vector", "lane_units": 8}])
def test_the_backend_is_the_compiled_one_where_both_could_train_and_none_is_named(algo: str, settings: dict) -> None:
    for given, chosen in (({}, "compiled"), ({"backend": "auto"}, "compiled"), ({"backend": "torch"}, "torch")):
        config = build_config(algo, settings=given | settings)
        assert config.to_json()["agent"]["backend"] == chosen
        assert build_config(algo, settings=config.to_json()) == config
