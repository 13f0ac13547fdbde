"""Trainings of trials, of the original's learner and of Stable-Baselines3's kind."""

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from agents.config import TrainConfig
from agents.loader import load_network
from agents.settings import build_config
from agents.study.config import build_sweep
from agents.study.trial import objective, run_trial, score_networks, spread, train_trial
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.base import Policy

ORIGINAL = {"total_timesteps": 3000, "layers": [[4, "relu"]]}
PQN = {"num_envs": 8, "n_steps": 8, "batch_size": 32, "n_epochs": 1, "total_timesteps": 384, "hidden": [16, 8]}
SENSOR = {"lanes_side": 1, "patches_ahead": 6, "patches_behind": 2}


def small(algorithm: str) -> TrainConfig:
    own = ORIGINAL if algorithm == "deepqlearn" else PQN
    return build_config(algorithm, settings={**own, **SENSOR})


def go_on(stage: int, policy: Policy) -> bool:
    return False


def same_weights(network: bytes, other: bytes) -> bool:
    """Whether two files hold the same weights; a policy file tells when it was made, too."""
    first, second = load(network), load(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("algorithm", "parameters", "layers"),
    # 24 cells into 4 and 5; 18 gaps into 16, 8 and 5, and what normalises the hidden layers
    [("deepqlearn", 25 * 4 + 5 * 5, 1), ("pqn", 19 * 16 + 17 * 8 + 9 * 5 + 2 * (16 + 8), 2)],
)
def test_a_training_tells_its_networks_size_and_keeps_it(algorithm: str, parameters: int, layers: int) -> None:
    config = small(algorithm)
    trained = train_trial(config, 1, go_on)
    assert (trained.parameters, trained.layers, trained.stopped) == (parameters, layers, False)
    again = load_network(trained.network, config.to_json(), "again")
    scores = [evaluate_open(policy, config.road, runs=3).run_scores for policy in (trained.policy, again)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.parametrize("algorithm", ["deepqlearn", "pqn"])
def test_a_training_is_looked_at_after_each_stage_and_stops_when_asked(algorithm: str) -> None:
    config = small(algorithm)
    seen: list[int] = []
    whole = train_trial(config, 3, lambda stage, policy: bool(seen.append(stage)))
    assert seen == [1, 2] and not whole.stopped  # the third is its end
    stopped = train_trial(config, 3, lambda stage, policy: stage == 1)
    assert stopped.stopped and stopped.decisions < 0.67 * whole.decisions
    assert same_weights(train_trial(config, 1, go_on).network, whole.network)  # looking changes nothing


def sweep(**given: Any) -> Any:
    space = {"gamma": {"float": [0.5, 0.99]}}
    tiny = {"settings": {**ORIGINAL, **SENSOR, "total_timesteps": 1000}, "tuning_runs": 12, "reporting_runs": 4}
    return build_sweep({"space": space, **tiny, **given})


def test_a_trial_is_the_same_whenever_it_runs() -> None:
    first, again = (run_trial(sweep(), 3, {"gamma": 0.8}) for _ in range(2))
    assert same_weights(*first.networks, *again.networks) and first.score == again.score
    timeless = [{**result.facts, "cpu_seconds": 0} for result in (first, again)]
    assert timeless[0] == timeless[1]
    assert not same_weights(*run_trial(sweep(), 4, {"gamma": 0.8}).networks, *first.networks)


def test_a_trials_facts_are_those_of_its_evaluation() -> None:
    config = sweep()
    result = run_trial(config, 0, {"gamma": 0.8})
    run = config.run_config({"gamma": 0.8}, config.seeds(0)[0])
    runs = evaluate_open(load_network(result.networks[0], run.to_json(), "x"), runs=12).run_scores
    assert result.score == pytest.approx(np.median(runs), abs=1e-4)
    assert result.facts["mean"] == pytest.approx(runs.mean(), abs=1e-4)
    assert result.facts["first_10"] == pytest.approx(np.median(runs[:10]), abs=1e-4)
    assert result.facts["settings"]["agent.gamma"] == 0.8 and "first_100" not in result.facts
    (reported,) = score_networks(config, 0, {"gamma": 0.8}, result.networks)
    assert (reported.seed_set, reported.runs) == ("reporting", 4)


def test_the_objective_is_the_median_or_the_mean() -> None:
    runs = np.array([1.0, 2.0, 9.0])
    assert (objective(sweep(), runs), objective(sweep(objective="mean"), runs)) == (2.0, 4.0)


def test_a_median_of_many_runs_spreads_less() -> None:
    runs = np.random.default_rng(0).normal(60.0, 5.0, 1000)
    # the median of n normal runs spreads by about 1.25 sd / sqrt(n)
    assert spread(runs, 10) == pytest.approx(1.25 * 5 / 10**0.5, rel=0.15)
    assert spread(runs, 1000) == pytest.approx(1.25 * 5 / 1000**0.5, rel=0.25)
