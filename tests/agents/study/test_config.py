from pathlib import Path
from typing import Any

import pytest

from agents.study.config import SweepConfig, build_sweep, read_sweep

ROOT = Path(__file__).resolve().parents[3]
GAMMA = {"gamma": {"float": [0.5, 0.99]}}


def build(space: dict[str, Any] = GAMMA, settings: dict[str, Any] | None = None, **given: Any) -> SweepConfig:
    return build_sweep({"space": space, "settings": settings or {}, **given})


def test_a_trials_configuration_is_the_fixed_settings_and_what_was_drawn() -> None:
    space = {"layers": {"layers": [1, 2], "units": [5, 9], "activation": "relu"}, **GAMMA}
    config = build(space, {"total_timesteps": 700})
    run: Any = config.run_config({"gamma": 0.75, "layers.count": 2, "layers.units": 6}, seed=5)
    assert (run.agent.gamma, run.total_timesteps, run.seed) == (0.75, 700, 5)
    assert run.agent.layers == ((6, "relu"), (6, "relu"))


def test_settings_are_named_as_for_training() -> None:
    space = {"agent": {"gamma": {"float": [0.5, 0.9]}}, "lanes_side": {"int": [0, 3]}}
    config = build(space, {"road": {"other_agents": 3}}, algorithm="ppo", preset="quick")
    run: Any = config.run_config({"agent.gamma": 0.6, "lanes_side": 2})
    assert (run.agent.gamma, run.observation.lanes_side, run.road.other_agents) == (0.6, 2, 3)
    assert run.total_timesteps == 120_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {}}, "nothing varies; name a setting under"),
        ({"space": {"gama": {"float": [0.5, 0.9]}}}, "did you mean 'agent.gamma'"),
        ({"space": {"gamma": {"float": [0.5, 1.5]}}}, "space.gamma contains 1.5: .*must be a number in .0, 1."),
        ({"space": {"batch_size": {"choices": [32, "many"]}}}, "contains 'many'"),
        ({"space": {"lanes_side": {"int": [0, 51]}}}, "contains 51"),
        ({"settings": {"gamma": 0.9}}, "'gamma' cannot vary under .*leave it out of one of them"),
        ({"space": {"seed": {"int": [0, 9]}}}, "trials have seeds of their own"),
        ({"settings": {"seed": 3}}, "seed stands under"),
        ({"algorithm": "sarsa"}, "algorithm must be one of 'a2c', .*'cql', got 'sarsa'"),
        ({"sampler": "guess"}, "sampler must be one of 'random', 'tpe', 'grid'"),
        ({"pruner": "none at all"}, "pruner must be one of 'none', 'median'"),
        ({"pruner": "median"}, "raise evaluations to 2 or more"),
        ({"sampler": "grid"}, "gamma needs a step in a grid"),
        ({"trials": 0}, r"trials must be an integer in \[1, 1000000\], got 0"),
        ({"storage": "mysql://x"}, "storage must be 'journal', sqlite:///FILE or postgresql://"),
        ({"storage": 5}, "storage must be text, got 5"),
        ({"space": 5}, "space must be a table, got 5"),
        ({"trails": 5}, "a sweep has no setting 'trails'; there are: algorithm"),
    ],
)
def test_what_cannot_be_swept_is_refused_with_a_remedy(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_sweep({"space": GAMMA, **changes})


def test_draws_that_are_impossible_together_are_refused() -> None:
    space = {"learning_steps_burnin": {"int": [10, 900]}, "learning_steps_total": {"int": [500, 2000]}}
    with pytest.raises(ValueError, match="the space contains .* so that epsilon cannot fall"):
        build(space, {"start_learn_threshold": 100})


def test_a_range_is_judged_beside_the_other_ranges() -> None:
    space = {"learning_steps_burnin": {"int": [10, 400]}, "learning_steps_total": {"int": [500, 900]}}
    assert len(build(space).space) == 2  # although 500 is impossible beside the default of 1,000 for the other


def test_trials_have_seeds_apart_that_depend_on_their_number() -> None:
    config = build(seeds_per_trial=2)
    seeds = [seed for number in range(50) for seed in config.seeds(number)]
    assert len(set(seeds)) == 100 and config.seeds(7) == seeds[14:16]
    assert min(abs(a - b) for a in seeds for b in seeds if a != b) >= 100_000
    assert build(seed=1).seeds(0) != build().seeds(0)


def test_a_grid_ends_with_its_last_combination() -> None:
    space = {"batch_size": {"choices": [32, 64]}, "lanes_side": {"int": [0, 2]}}
    config = build(space, sampler="grid", trials=1000)
    assert config.total_trials == 6 and len(config.grid()) == 6
    assert config.grid()[1] == {"batch_size": 32, "lanes_side": 1}
    assert build(space, sampler="grid", trials=4).total_trials == 4


@pytest.mark.parametrize("name", ["original", "pqn"])
def test_the_shipped_sweeps_are_possible(name: str) -> None:
    config = read_sweep(ROOT / "agents" / "study" / f"{name}.toml", trials=3, storage=None)
    assert (config.name, config.trials, config.storage) == (name, 3, "journal")
