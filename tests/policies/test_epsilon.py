"""Random actions of a network policy: how many, which, from whose stream, and that they repeat exactly."""

import copy
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from deeptraffic.envs.vector_env import DeepTrafficVectorEnv
from deeptraffic.evaluation.batch import Plan, PolicySource, evaluate_many
from deeptraffic.evaluation.play import PolicyRunner, play_serially
from deeptraffic.evaluation.protocol import OFFICIAL, evaluate_official, evaluate_open, evaluate_seeds
from deeptraffic.evaluation.replays import ActionLog, official_traces
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.convnetjs.parse import ConvNetJSError
from deeptraffic.policies.convnetjs.read import read_convnetjs
from deeptraffic.policies.file import pack_convnetjs
from deeptraffic.policies.layers import Dense
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy, input_size
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import open_run_streams, run_keys
from deeptraffic.sim.rules import RULES_2018, RoadConfig, Sensor
from deeptraffic.sim.runs import Runs

SENSOR = Sensor(1, 10, 0)
ORIGINAL = (Path(__file__).parents[1] / "golden" / "epsilon.js").read_text("utf-8")


def policy_with(epsilon: float, temporal_window: int = 0, random_actions: tuple[float, ...] = ()) -> NetworkPolicy:
    """A policy of random weights."""
    size = input_size(SENSOR, temporal_window)
    weight = np.random.default_rng(5).normal(size=(5, size))
    network = Network(size, (Dense(outputs=5, bias=False),), {"1.weight": weight})
    return NetworkPolicy("any", network, SENSOR, temporal_window, epsilon=epsilon, random_actions=random_actions)


def actions_of(policy: NetworkPolicy, agents: int, calls: int) -> np.ndarray:
    """Actions (agents, calls) for empty observations, for which the network always takes action 0."""
    every = np.arange(agents)
    policy.reset(every)
    return np.array([policy.act(np.zeros((agents, SENSOR.size)), every) for _ in range(calls)]).T


# --- how many and which -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 1.0])
def test_each_action_is_as_likely_and_epsilon_of_all_are_random(epsilon: float) -> None:
    count = 100_000
    counts = np.bincount(actions_of(policy_with(epsilon), 500, count // 500).ravel(), minlength=5)
    expected = np.full(5, epsilon / 5) + np.array([1 - epsilon, 0, 0, 0, 0])
    spread = np.sqrt(count * expected * (1 - expected))
    assert (np.abs(counts - count * expected) < 3.5 * spread).all()


def test_given_probabilities_are_those_of_the_random_actions() -> None:
    chances = np.array([0.1, 0.2, 0.3, 0.0, 0.4])
    counts = np.bincount(actions_of(policy_with(1.0, 0, tuple(chances)), 500, 200).ravel(), minlength=5)
    assert (np.abs(counts - 1e5 * chances) <= 3.5 * np.sqrt(1e5 * chances * (1 - chances))).all()


def test_successive_draws_and_streams_are_independent() -> None:
    random = (actions_of(policy_with(0.5), 50, 2000) > 0).astype(float)  # with probability 0.4
    within = np.corrcoef(random[:, :-1].ravel(), random[:, 1:].ravel())[0, 1]
    between = np.corrcoef(random)[np.triu_indices(50, 1)]
    assert abs(within) < 3.5 / np.sqrt(random.size)
    assert np.abs(between).max() < 4.5 / np.sqrt(2000)


def test_the_window_fills_before_actions_are_random() -> None:
    assert (actions_of(policy_with(1.0, 3), 40, 20)[:, :3] == 0).all()
    assert (actions_of(policy_with(1.0, 3), 40, 20)[:, 3:] != 0).mean() > 0.7


def test_the_streams_are_those_that_the_format_documents() -> None:
    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    def action(run: int, index: int, calls: int) -> int:
        start = mix(mix(((run ^ 0x7F4A7C159E3779B9) + 1) % 2**64) + index)
        u = [(mix((start + (2 * calls + k) * 0x9E3779B97F4A7C15) % 2**64) >> 11) / 2**53 for k in (0, 1)]
        return int(5 * u[1]) if u[0] < 0.5 else 0

    sim = Simulator(RULES_2018._replace(other_agents=1), 2, threads=1)
    sim.reset_open([7, 8])
    policy, every = policy_with(0.5), np.arange(4)
    keys = [
        int.from_bytes(hashlib.sha256("{} {}".format(*open_run_streams(seed)).encode()).digest()[:8], "little")
        for seed in (7, 8)
    ]
    policy.attach(sim)
    policy.reset(every)
    got = np.array([policy.act(np.zeros((4, SENSOR.size)), every) for _ in range(60)]).T
    # The other agent's count of calls is part of the memory that becomes a copy of the ego car's after one call.
    expected = [[action(keys[k // 2], k % 2, calls + k % 2) for calls in range(60)] for k in range(4)]
    assert got.tolist() == expected
    official = policy_with(0.5)
    assert actions_of(official, 1, 60)[0].tolist() == [action(0, 0, calls) for calls in range(60)]


# --- whose stream -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temporal_window", [0, 2])
@pytest.mark.parametrize("is_open", [True, False])
def test_whole_runs_are_played_as_decision_by_decision(temporal_window: int, is_open: bool) -> None:
    results = []
    for compiled in (True, False):
        policy = policy_with(0.3, temporal_window)
        sim = Simulator(RULES_2018._replace(other_agents=2), 1 if compiled or not is_open else 6, threads=1)
        if is_open and not compiled:
            road = RoadConfig(other_agents=2)
            results.append(evaluate_seeds(policy, road, range(6), frames=1000).run_speeds)
            continue
        sim.start_program(1)
        runs = Runs.open(sim, range(6), 1000) if is_open else Runs.official(sim, 1, 6, 1000)
        if compiled:
            play_serially(policy, sim, runs, 4)
        else:
            PolicyRunner(policy, sim).play(runs)
        results.append(runs.speed_sums / 1000 * 20)
    assert results[0] is not None and results[1] is not None
    np.testing.assert_array_equal(results[0], results[1])


def test_an_open_run_depends_on_its_seed_alone() -> None:
    policy, road, seeds = policy_with(0.3), RoadConfig(other_agents=2), [11, 12, 13, 14, 15]
    together = evaluate_seeds(policy, road, seeds, frames=600).run_speeds
    backwards = evaluate_seeds(policy, road, seeds[::-1], frames=600).run_speeds
    alone = [evaluate_seeds(policy, road, [seed], frames=600).run_speeds[0] for seed in seeds]  # type: ignore[index]
    assert together is not None and backwards is not None
    assert together.tolist() == backwards[::-1].tolist() == alone


def test_threads_and_order_do_not_change_a_score() -> None:
    sources = [PolicySource(str(k), lambda: policy_with(0.3)) for k in range(4)]
    outcomes = list(evaluate_many(sources, Plan("open", runs=20), threads=2))
    expected = evaluate_open(policy_with(0.3), runs=20).run_scores
    assert all(one.score is not None and (one.score.run_scores == expected).all() for one in outcomes)


def test_every_vehicle_has_its_own_stream_and_a_seed_changes_them_all() -> None:
    def draws(seed: int) -> np.ndarray:
        sim, policy = Simulator(RULES_2018._replace(other_agents=3), 2, threads=1), policy_with(1.0)
        sim.reset_open([1, 2])
        policy.set_epsilon(seed=seed)
        policy.attach(sim)
        return actions_of(policy, 8, 40)

    both = np.concatenate([draws(0), draws(1)])
    assert len({tuple(row) for row in both}) == 16


def test_two_official_evaluations_are_equal_and_other_seeds_differ() -> None:
    policy = policy_with(0.3)
    first, again = evaluate_official(policy), evaluate_official(policy)
    np.testing.assert_array_equal(first.run_speeds, again.run_speeds)
    policy.set_epsilon(seed=1)
    assert (evaluate_official(policy).run_scores != first.run_scores).any()
    assert (first.epsilon, first.to_json()["epsilon"]) == (0.3, 0.3)


def test_epsilon_0_is_the_policy_without_random_actions() -> None:
    policy = policy_with(0.3)
    policy.set_epsilon(0.0)
    plain = evaluate_open(policy_with(0.0), runs=20)
    np.testing.assert_array_equal(evaluate_open(policy, runs=20).run_scores, plain.run_scores)
    assert (evaluate_open(policy_with(0.3), runs=20).run_scores != plain.run_scores).any()
    outcome = next(evaluate_many([PolicySource("a", lambda: policy_with(0.3))], Plan("open", runs=20, epsilon=0.0)))
    assert outcome.score is not None and outcome.score.epsilon == 0.0
    np.testing.assert_array_equal(outcome.score.run_scores, plain.run_scores)


def test_a_run_key_does_not_depend_on_other_runs() -> None:
    starts = np.array([[5, 6], [7, 8]])
    assert run_keys(starts)[::-1].tolist() == run_keys(starts[::-1]).tolist()
    assert len(set(run_keys(np.arange(2000).reshape(1000, 2)).tolist())) == 1000


# --- replays and saved states -----------------------------------------------------------------------------------------


def test_a_replay_needs_no_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OFFICIAL, 2018, OFFICIAL[2018].__class__(runs=4, frames=1000, block=2))
    log = ActionLog(policy_with(0.3))
    score = evaluate_official(log, other_agents=2)
    assert score.epsilon == 0.3
    np.testing.assert_array_equal(score.run_speeds, evaluate_official(policy_with(0.3), other_agents=2).run_speeds)
    traces = official_traces(log.packed(), 2018, 2, [0, 3], "any")
    assert [trace.frames for trace in traces.values()] == [1000, 1000]


def make_envs(policy: Policy) -> DeepTrafficVectorEnv:
    return DeepTrafficVectorEnv(3, other_agents=2, others=policy, max_steps=20, observation="gaps")


@pytest.mark.parametrize("make", [lambda: policy_with(0.5, 1), lambda: make_builtin("random")])
def test_other_agents_go_on_exactly_from_a_saved_state(make: object) -> None:
    envs = make_envs(make())  # type: ignore[operator]
    envs.reset(seed=3)
    for _ in range(7):
        envs.step(np.ones(3, np.int64))
    state, copied = envs.batch.get_state(), pickle.loads(pickle.dumps(envs.batch))
    after = [envs.step(np.ones(3, np.int64))[0].copy() for _ in range(30)]  # through the ends of episodes
    fresh = make_envs(make())  # type: ignore[operator]
    fresh.reset(seed=9)
    for batch in (fresh.batch, copied, copy.deepcopy(copied)):
        batch.set_state(state)
        fresh.batch = batch
        np.testing.assert_array_equal([fresh.step(np.ones(3, np.int64))[0].copy() for _ in range(30)], after)


def test_episodes_of_an_environment_draw_anew_and_a_seed_repeats_them() -> None:
    def observations() -> list[np.ndarray]:
        return [envs.step(np.ones(3, np.int64))[0].copy() for _ in range(19)]

    envs = make_envs(policy_with(1.0))
    envs.reset(seed=[5, 6, 5])
    first = np.array(observations())
    np.testing.assert_array_equal(first[:, 0], first[:, 2])
    envs.reset(seed=[6, 5, 5])
    again = np.array(observations())
    np.testing.assert_array_equal(again[:, 0], first[:, 1])
    np.testing.assert_array_equal(again[:, 1], first[:, 0])


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [-0.1, 1.5, float("nan")])
def test_what_is_no_probability_is_refused(epsilon: float) -> None:
    for policy in (policy_with(0.1), make_builtin("gap")):
        with pytest.raises(ValueError, match=r"epsilon must be a number in \[0, 1\], got"):
            policy.set_epsilon(epsilon)


def test_a_policy_without_a_network_takes_epsilon_0_alone() -> None:
    make_builtin("gap").set_epsilon(0.0)
    with pytest.raises(ValueError, match="only a network over the sensor's cells can act at random, and gap"):
        make_builtin("gap").set_epsilon(0.1)


# --- reading ----------------------------------------------------------------------------------------------------------

LINE = "opt.epsilon_test_time = 0.5;\n"
BUILT = "brain = new deepqlearn.Brain(num_inputs, num_actions, opt);\n"


@pytest.mark.parametrize(
    ("line", "after", "epsilon"),
    [
        ("opt.epsilon_test_time = 0.25;\n", "", 0.25),
        ("opt.epsilon_test_time = 0;\n", "", 0.0),
        ("", "", 0.01),  # of the library
        ("opt.epsilon_test_time = 3;\n", "", 1.0),
        ("opt.epsilon_test_time = -1;\n", "", 0.0),
        ("opt.epsilon_test_time = 0.25;\n", "brain.epsilon_test_time = 0.0;\n", 0.0),
        ("opt.epsilon_test_time = 0.0;\nopt.random_action_distribution = [7];\n", "", 0.0),
    ],
)
def test_a_brains_epsilon_at_test_time_is_read(line: str, after: str, epsilon: float) -> None:
    submission = read_convnetjs(ORIGINAL.replace(LINE, line).replace(BUILT, BUILT + after), "file")
    assert submission.epsilon == submission.policy().epsilon == pack_convnetjs(submission).manifest.epsilon == epsilon


def test_a_brains_distribution_of_random_actions_is_read() -> None:
    line = LINE + "opt.random_action_distribution = [0.1, 0.2, 0.3, 0.4, 0];\n"
    submission = read_convnetjs(ORIGINAL.replace(LINE, line), "file")
    assert pack_convnetjs(submission).manifest.random_actions == (0.1, 0.2, 0.3, 0.4, 0.0)
    assert submission.policy().random_actions == (0.1, 0.2, 0.3, 0.4, 0.0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('opt.epsilon_test_time = "none";\n', "epsilon_test_time must be a number"),
        (LINE + "opt.random_action_distribution = [0.5, 0.5];\n", "must be 5 probabilities, one per action"),
        (LINE + "opt.random_action_distribution = [2, 0, 0, 0, 0];\n", "must be 5 probabilities, one per action"),
    ],
)
def test_random_actions_that_cannot_be_read_are_refused(line: str, reason: str) -> None:
    with pytest.raises(ConvNetJSError, match=reason):
        read_convnetjs(ORIGINAL.replace(LINE, line), "file")


# --- as in the original game ------------------------------------------------------------------------------------------

DRAWS = {  # official scores in the original game, which seeds its random actions anew in each evaluation
    "0.5": [64.88, 65.39, 64.93, 64.92],
    "0.1": [66.59, 66.24, 67.32, 66.56],
    None: [65.74, 66.83, 66.95, 66.41],
}
SEEDS = 20
T_LIMIT = 2.861  # 99% of Student's t with 19 degrees of freedom lie within +- this
F_LIMITS = 0.0237, 5.92  # and 99% of F with 3 and 19 within these


def scores_here(epsilon: str | None, seeds: int = SEEDS) -> np.ndarray:
    """Official scores (seeds,) of the file with this epsilon_test_time, None for none."""
    assert LINE in ORIGINAL
    text = ORIGINAL.replace(LINE, f"opt.epsilon_test_time = {epsilon};\n" if epsilon else "")
    policy, scores = read_convnetjs(text, "file").policy(), []
    for seed in range(seeds):
        policy.set_epsilon(seed=seed)
        scores.append(evaluate_official(policy).score)
    return np.array(scores)


def t_value(draws: list[float], ours: np.ndarray) -> float:
    """The difference of the means over its standard error, which is estimated from ours."""
    theirs = np.array(draws)
    return float((theirs.mean() - ours.mean()) / np.sqrt(ours.var(ddof=1) * (1 / theirs.size + 1 / ours.size)))


@pytest.mark.parametrize("epsilon", ["0.5", *(pytest.param(each, marks=pytest.mark.slow) for each in ("0.1", None))])
def test_official_scores_have_the_distribution_of_the_original_games(epsilon: str | None) -> None:
    ours = scores_here(epsilon)
    assert abs(t_value(DRAWS[epsilon], ours)) < T_LIMIT
    assert F_LIMITS[0] < np.var(DRAWS[epsilon], ddof=1) / ours.var(ddof=1) < F_LIMITS[1]
    assert abs(t_value(DRAWS["0.5"], ours)) > T_LIMIT or epsilon == "0.5"  # of another epsilon


def test_the_file_without_its_epsilon_scores_what_no_draw_does() -> None:
    assert scores_here("0", 1) == 67.1  # in the original game as well
