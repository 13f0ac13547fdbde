"""Distillation: it learns from any teacher, resumes as if never stopped, and its policy files decide as it does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn import functional

from agents.algorithms.distil.learner import DistilBuffer, DistilLearner
from agents.algorithms.distil.student import NO_ACTION, StudentNetworkPolicy, StudentPolicy, to_policy_network
from agents.algorithms.distil.teacher import Teacher, load_teacher, value_scale
from agents.champions.registry import CHAMPIONS, FOLDER
from agents.checkpoint import unpack_state
from agents.config import TrainConfig
from agents.export import read_tensors
from agents.loader import load_policy
from agents.planner import Planner, PlannerConfig, load_planner
from agents.run import RunFolder
from agents.settings import build_config
from agents.trainer import make_learner, train
from deeptraffic.envs.observations import Observer, preset_of
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.file import pack_policy, read_policy, write_policy
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Action, RoadConfig


class KilledError(Exception):
    """Stands for a process that ends without a word."""


def distil_config(**settings: Any) -> TrainConfig:
    """A run of 4 rounds of 8 envs and 9 decisions."""
    small = {"num_envs": 8, "max_steps": 9, "total_timesteps": 288, "hidden": [16], "batch_size": 32, "seed": 3}
    often = {"evaluate_every": 72, "checkpoint_every": 144, "evaluation_runs": 4, "buffer_rounds": 3}
    return build_config("distil", settings=small | often | settings)


def trained(config: TrainConfig) -> DistilLearner:
    learner = make_learner(config)
    assert isinstance(learner, DistilLearner)
    learner.learn(config.total_timesteps, lambda: None)
    return learner


def waiting(count: int) -> Simulator:
    sim = Simulator(RULES_2018, count, threads=1)
    sim.reset_open(range(count))
    for _ in range(6):
        sim.step(np.full(count, int(Action.ACCELERATE)))
    return sim


# --- learning ---------------------------------------------------------------------------------------------------------


def test_it_agrees_with_its_teacher_far_more_than_the_best_constant_does(quiet: Console, tmp_path: Path) -> None:
    config = build_config("distil", preset="quick", settings={
        "num_envs": 64, "total_timesteps": 34_304, "n_epochs": 3, "evaluate_every": 10**6, "evaluation_runs": 100,
    })  # fmt: skip
    result = train(config, tmp_path, quiet)
    assert result.mean_mph is not None and result.mean_mph > 68.0  # its teacher drives 72.6, random actions 60.5
    student, sim = load_policy(tmp_path), waiting(400)
    teacher = Teacher(load_policy("champion-solo"), sim)
    own = Teacher(student, sim)
    agreed, chosen = [], []
    for _ in range(20):
        best, _ = teacher.label()
        actions, _ = own.label()
        agreed.append(np.mean(actions == best))
        chosen.append(best)
        sim.step(actions)
    most_frequent = np.bincount(np.concatenate(chosen)).max() / np.size(chosen)
    assert np.mean(agreed) > most_frequent + 0.2


def test_targets_are_a_softmax_in_units_of_the_mean_lead() -> None:
    learner = make_learner(distil_config(temperature=0.5))
    values = np.array([[1.0, 3.0, -np.inf, -1000.0, 0.0], [5.0, 4.0, 1.0, 2.0, 3.0]], np.float32)
    assert value_scale(values) == pytest.approx(1.5)  # the leads are 2 and 1
    learner.scale = value_scale(values)
    weights = np.exp(np.array([1.0, 3.0, -np.inf, -np.inf, 0.0]) / 0.75)
    np.testing.assert_allclose(learner.targets(values)[0].numpy(), weights / weights.sum(), rtol=1e-5)


def test_a_teacher_without_values_has_no_scale() -> None:
    one_hot = np.full((4, 5), -np.inf, np.float32)
    one_hot[:, 2] = 0.0
    assert value_scale(one_hot) == 1.0
    learner = make_learner(distil_config(teacher="gap"))
    np.testing.assert_array_equal(learner.targets(one_hot)[0].numpy(), [0.0, 0.0, 1.0, 0.0, 0.0])


def test_the_loss_is_the_divergence_from_the_targets() -> None:
    learner = make_learner(distil_config())
    learner._collect()
    cells = next(learner._batches())
    slots, starts, envs = cells.T
    obs, last, values = learner.buffer.sequences(slots, starts, envs, 1)
    logits, _ = learner.student.eval()(obs, last, torch.zeros(len(cells), 0))
    targets = learner.targets(values)
    entropy = -torch.xlogy(targets, targets).sum(2).mean()
    cross = -(targets * functional.log_softmax(logits, 2)).sum(2).mean()
    assert learner._gradient_step(cells) == pytest.approx((cross - entropy).item(), rel=1e-4)


# --- teachers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["champion-solo", "champion-ppo", "champion-pqn", str(FOLDER / "champion-solo.safetensors")]
)
def test_a_network_tells_the_values_of_its_choice(name: str) -> None:
    sim = waiting(30)
    policy = load_teacher(name, RoadConfig())
    actions, values = Teacher(policy, sim).label()
    assert isinstance(policy, NetworkPolicy)
    np.testing.assert_array_equal(values.argmax(1), actions)
    obs = sim.sense(policy.observation)
    expected = [policy.program.run(row) for row in obs]
    np.testing.assert_allclose(values, np.float32(expected), rtol=1e-6)


def test_a_planner_tells_the_scores_of_its_candidates() -> None:
    planner = load_planner(FOLDER / CHAMPIONS["champion-planner"].file, PlannerConfig(rollouts=2, depth=2))
    sim = waiting(20)
    actions, values = Teacher(planner, sim).label()
    assert isinstance(planner, Planner)
    np.testing.assert_array_equal(values.argmax(1), actions)
    assert np.isinf(values[:, [Action.NOTHING, Action.DECELERATE]]).all()
    assert np.isfinite(values[:, Action.ACCELERATE]).all()


def test_a_policy_without_values_gives_its_action_alone() -> None:
    sim = waiting(20)
    actions, values = Teacher(load_policy("gap"), sim).label()
    assert (values[np.arange(20), actions] == 0.0).all() and np.isinf(values).sum() == 80


def test_a_teacher_that_remembers_actions_remembers_those_that_were_carried_out() -> None:
    sim = waiting(6)
    student = make_learner(distil_config(last_action=True)).policy("remembers", {})
    assert isinstance(student, StudentNetworkPolicy) and student.temporal_window == 1
    teacher = Teacher(student, sim)
    teacher.label()
    taken = np.array([3, 4, 1, 2, 0, 3])
    teacher.note(taken)
    np.testing.assert_array_equal(student.driver.history[:6, 1 + student.observation.size], taken)
    capsules = {"kind": "grid", "encoder.name": "capsules"}
    recurrent = make_learner(distil_config(last_action=True, **capsules)).policy("remembers", {})
    assert isinstance(recurrent, StudentPolicy)
    teacher = Teacher(recurrent, sim)
    teacher.label()
    teacher.note(taken)
    np.testing.assert_array_equal(recurrent.last, taken)


def test_a_student_can_be_the_teacher_of_another(tmp_path: Path, quiet: Console) -> None:
    train(distil_config(kind="grid"), tmp_path / "first", quiet)
    second = trained(distil_config(teacher=str(tmp_path / "first")))
    assert np.isfinite(second.buffer.values).all()


def test_an_impossible_teacher_is_named_before_a_folder_is_filled(tmp_path: Path, quiet: Console) -> None:
    with pytest.raises(ValueError, match="teacher='nobody': there is no policy 'nobody'"):
        train(distil_config(teacher="nobody"), tmp_path / "run", quiet)
    assert not (tmp_path / "run" / "config.json").exists()
    with pytest.raises(ValueError, match="made for the rules of 2018"):
        train(distil_config(teacher="champion-solo", rules=2017), tmp_path / "run", quiet)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a number in"),
        ({"memory": "ntm"}, "memory must be one of"),
        ({"other_agents": 2}, "other_agents=2.*ego car alone"),
        ({"lane_units": 4}, "lane_units=4 reads the cells"),
        ({"gamma": 0.9}, "no setting 'gamma' for distil"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distil_config(**settings)


@pytest.mark.parametrize("name", ["conv", "attention"])
def test_columns_that_do_not_divide_the_cells_are_refused(name: str) -> None:
    settings = {"kind": "vector", "encoder.name": name, "encoder.architecture": {"columns": 11}}
    with pytest.raises(ValueError, match="columns=11 does not divide observations of .*420"):
        make_learner(distil_config(**settings))


# --- rounds -----------------------------------------------------------------------------------------------------------


def test_the_teacher_acts_first_and_the_student_afterwards() -> None:
    learner = trained(distil_config(exploration_eps=0.0, teacher_rounds=2, buffer_rounds=4))
    preferred = learner.buffer.values.argmax(3)
    np.testing.assert_array_equal(learner.buffer.actions[:2], preferred[:2])
    assert (learner.buffer.actions[2:] != preferred[2:]).any()


def test_the_buffer_keeps_the_action_before_each_decision() -> None:
    learner = trained(distil_config(exploration_eps=1.0, teacher_rounds=10))
    assert (learner.buffer.last[:, 0] == NO_ACTION).all()
    np.testing.assert_array_equal(learner.buffer.last[:, 1:], learner.buffer.actions[:, :-1])


def test_every_decision_is_learned_from_once_per_epoch() -> None:
    learner = trained(distil_config(memory="gru", memory_units=4, unroll_steps=4, n_epochs=2))
    learner.rounds = 1
    cells = np.concatenate(list(learner._batches()))
    counted = [(slot, t, env) for slot, start, env in cells for t in range(start, min(start + 4, 9))]
    assert sorted(counted) == sorted(2 * [(slot, t, env) for slot in range(2) for t in range(9) for env in range(8)])


def test_gradient_steps_are_planned_to_the_last_one() -> None:
    for settings in ({}, {"total_timesteps": 576, "n_epochs": 2}, {"memory": "lstm", "unroll_steps": 3}):
        config = distil_config(**settings)
        learner = trained(config)
        planned = learner._planned_updates(config.total_timesteps)
        assert planned <= learner.updates <= planned + config.agent.n_epochs * learner.rounds  # part batches


# --- hints of the teacher ---------------------------------------------------------------------------------------------

HINTED: dict[str, Any] = {"encoder.name": "dense", "encoder.features_dim": 256, "hidden": [128], "hint_weight": 1.0}


def test_the_head_begins_as_the_teachers_last_layers_in_the_targets_units() -> None:
    """Features that equal the hints give the targets."""
    learner = DistilLearner(distil_config(**HINTED, teacher="champion-solo"), True)
    learner._collect()
    assert learner.last_layers is not None
    hints, values = learner.buffer.hints[0], learner.buffer.values[0]
    assert hints.shape == (*values.shape[:2], 256) and learner.hint_scale == pytest.approx(hints.std(), rel=1e-2)
    with torch.no_grad():
        logits = learner.student.head(torch.from_numpy(hints.astype(np.float32)))
    torch.testing.assert_close(torch.softmax(logits, -1), learner.targets(values), atol=0.02, rtol=0.0)


def test_the_features_learn_what_the_teachers_last_layers_read() -> None:
    errors = {}
    for weight in (1.0, 1e-9):
        learner = trained(distil_config(**{**HINTED, "hint_weight": weight}, teacher="champion-solo", n_epochs=20))
        obs = learner.buffer.obs.reshape(-1, learner.buffer.obs.shape[-1])
        hints = learner.buffer.hints.reshape(-1, 256).astype(np.float32)
        with torch.no_grad():
            features = learner.student.eval().features(torch.from_numpy(obs)).numpy()
        errors[weight] = float(np.square(features - hints).mean() / hints.var())
    assert errors[1.0] < 0.5 * errors[1e-9]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": [64]}, "the last layers of teacher champion-solo are not those of features_dim=256"),
        ({"activation": "tanh"}, "are not those of features_dim=256"),
        ({"teacher": "gap"}, "teacher gap is no network of the sensor's cells"),
        ({"last_action": True}, "read no memory and no last action"),
        ({"memory": "gru"}, "read no memory and no last action"),
    ],
)
def test_hints_that_the_teacher_cannot_give_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistilLearner(distil_config(**{**HINTED, "teacher": "champion-solo", **settings}), True)


@pytest.mark.parametrize(("preset", "eye", "hints"), [("frames", "two-frames", True), ("vehicles", "vehicles", False)])
def test_a_preset_is_a_small_network_that_a_policy_file_holds(preset: str, eye: str, hints: bool) -> None:
    config = build_config("distil", preset=preset, settings={"num_envs": 2})
    learner = make_learner(config)
    assert isinstance(learner, DistilLearner) and (learner.last_layers is not None) == hints
    network = to_policy_network(learner.student, config)
    assert network is not None and network.parameters < 200_000 and network.multiplications < 1_000_000
    assert preset_of(config.observation) == eye


# --- memory -----------------------------------------------------------------------------------------------------------

MEMORIES: list[dict[str, Any]] = [
    {"memory": "gru", "memory_units": 6, "last_action": True},
    {"memory": "lstm", "memory_units": 6},
    {"encoder.name": "recurrent", "encoder.features_dim": 6},
    {"encoder.name": "recurrent", "encoder.features_dim": 6, "encoder.architecture": {"cell": "lstm"}},
]


@pytest.mark.parametrize("settings", MEMORIES)
def test_burn_in_from_the_start_gives_the_states_of_acting(settings: dict[str, Any]) -> None:
    learner = trained(distil_config(**settings, burn_in=9, unroll_steps=3))
    student, buffer = learner.student.eval(), learner.buffer
    state = student.initial_state(8)
    envs, states, logits = np.arange(8), [], []
    for t in range(9):
        states.append(state)
        out, state = student.decide(buffer.obs[1, t], buffer.last[1, t].astype(np.int64), state)
        logits.append(out)
    for start in (0, 3, 6):
        where = (np.full(8, 1), np.full(8, start), envs)
        burnt = learner._states(*where)
        torch.testing.assert_close(burnt, states[start], atol=1e-5, rtol=1e-4)
        obs, last, _ = buffer.sequences(*where, 3)
        with torch.no_grad():
            again, _ = student(obs, last, burnt)
        expected = np.stack(logits[start : start + 3], 1)
        np.testing.assert_allclose(again.numpy(), expected, atol=1e-5)


def test_a_short_burn_in_starts_from_an_empty_state() -> None:
    learner = trained(distil_config(memory="gru", memory_units=6, burn_in=2, unroll_steps=4))
    student, buffer = learner.student.eval(), learner.buffer
    state = student.initial_state(8)
    for t in (2, 3):
        _, state = student.decide(buffer.obs[0, t], buffer.last[0, t].astype(np.int64), state)
    burnt = learner._states(np.zeros(8, np.int64), np.full(8, 4), np.arange(8))
    torch.testing.assert_close(burnt, state, atol=1e-5, rtol=1e-4)


def test_the_repeated_end_of_an_episode_is_not_learned_from() -> None:
    buffer = DistilBuffer(1, 5, 2)
    buffer.add_obs(0, 4, np.array([[1.0], [2.0]]))
    buffer.obs[:] = np.arange(5)[None, :, None, None]
    obs, _, _ = buffer.sequences(np.array([0]), np.array([3]), np.array([1]), 4)
    np.testing.assert_array_equal(obs[0, :, 0].numpy(), [3, 4, 4, 4])


# --- resuming ---------------------------------------------------------------------------------------------------------

SELDOM = {"evaluate_every": 144}  # half as often: in the cheap runs an evaluation comes between two checkpoints


def final_state(folder: Path) -> dict[str, Any]:
    checkpoint = RunFolder(folder).newest_checkpoint()
    assert checkpoint is not None
    return unpack_state(checkpoint)["learner"]


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b), where
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for k, pair in enumerate(zip(a, b, strict=True)):
            assert_equal(*pair, f"{where}[{k}]")
    else:
        assert a == b, where


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"kind": "vector", "temporal_window": 1},
        {"kind": "kinematics", "encoder.name": "attention", **SELDOM},
        {"kind": "grid", "encoder.name": "conv", "memory": "gru", "last_action": True, **SELDOM},
        {"drop_rate": 0.3, "period": 2, "miss_rate": 0.2, "latency": 1, "memory": "gru", **SELDOM},
        {**HINTED, "teacher": "champion-solo", **SELDOM},
        {"teacher": "champion-planner", "num_envs": 2, "total_timesteps": 72, "evaluate_every": 36,
         "checkpoint_every": 36},
    ],
    ids=["gaps", "window", "dict", "memory", "weak", "hints", "planner"],
)  # fmt: skip
def test_a_killed_run_resumes_as_if_it_had_never_stopped(
    tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    config = distil_config(**settings)
    train(config, tmp_path / "whole", quiet)
    collect = DistilLearner._collect
    for stop in (1, 3):  # before the first checkpoint, and after it
        with monkeypatch.context() as patch, pytest.raises(KilledError):

            def die(self: DistilLearner, stop: int = stop) -> tuple[float, float]:
                if self.rounds == stop:
                    raise KilledError
                return collect(self)

            patch.setattr(DistilLearner, "_collect", die)
            train(config, tmp_path / "killed", quiet)
        np.random.seed(stop)  # a new process has other global streams
        torch.manual_seed(stop)
    train(config, tmp_path / "killed", quiet)
    assert_equal(final_state(tmp_path / "killed"), final_state(tmp_path / "whole"))
    metrics = [RunFolder(tmp_path / name).metrics() for name in ("killed", "whole")]
    timeless = [[{k: v for k, v in line.items() if "seconds" not in k} for line in lines] for lines in metrics]
    assert timeless[0] == timeless[1] and "agreement" in timeless[0][0]
    best = [read_tensors(RunFolder(tmp_path / name).best_file)[0] for name in ("killed", "whole")]
    for name, tensor in best[0].items():
        np.testing.assert_array_equal(tensor, best[1][name])


def test_a_resumed_learner_observes_its_buffer_again() -> None:
    config = distil_config(kind="pixels", height=32, width=16, **{"encoder.name": "conv"})
    first = trained(config)
    second = make_learner(config, is_new=False)
    second.restore(first.state())
    for part in ("obs", "last", "actions", "values"):
        np.testing.assert_array_equal(getattr(first.buffer, part), getattr(second.buffer, part))


# --- policies ---------------------------------------------------------------------------------------------------------

FILES: dict[str, dict[str, Any]] = {
    "gaps": {},
    "last action": {"last_action": True},
    "lanes": {"kind": "vector", "lane_units": 4},
    "dense": {"kind": "vector", "encoder.name": "dense", "encoder.features_dim": 8},
    "conv": {"kind": "vector", "encoder.name": "conv", "encoder.architecture": {"channels": [3, 4], "columns": 7}},
    "attention": {
        "kind": "vector",
        "encoder.name": "attention",
        "encoder.features_dim": 6,
        "encoder.architecture": {"columns": 7, "heads": 2},
    },
    "gru": {"memory": "gru", "memory_units": 6},
    "lstm": {"memory": "lstm", "memory_units": 6, "last_action": True},
    "recurrent": {"encoder.name": "recurrent", "encoder.features_dim": 6},
}
IMAGE: dict[str, Any] = {"kind": "pixels", "height": 32, "width": 16, "encoder.architecture": {"channels": [3, 4]}}
EYES: dict[str, dict[str, Any]] = {
    "frames": {**IMAGE, "grey": True, "temporal_window": 1, "encoder.name": "conv"},
    "colour": {**IMAGE, "encoder.name": "conv", "memory": "gru", "memory_units": 6, "last_action": True},
    "flat frames": {
        **IMAGE, "temporal_window": 1, "style": "train", "encoder.name": "dense", "encoder.architecture": {},
    },
    "lossy": {"kind": "lossy", "memory": "gru", "memory_units": 6, "last_action": True},
    "slow": {"kind": "slow", "memory": "gru", "memory_units": 6, "last_action": True},
    "late": {"kind": "gaps_ego", "latency": 2, "temporal_window": 1},
    "noisy cells": {"kind": "vector", "miss_rate": 0.2, "encoder.name": "dense", "encoder.features_dim": 8},
    "noisy grid": {"kind": "noisy", "patches_ahead": 20, "encoder.name": "conv"},
    "hidden vehicles": {"kind": "kinematics", "occlusion": True},
    "set": {"kind": "kinematics", "nearest": 19, "encoder.name": "attention", "encoder.features_dim": 8},
    "points of a set": {
        "kind": "vehicles", "encoder.name": "attention", "encoder.features_dim": 8, "encoder.architecture": {
            "layers": 1, "width": 12, "point_units": 16,
        },
    },
    "occluded points": {
        "kind": "kinematics", "occlusion": True, "encoder.name": "attention",
        "encoder.architecture": {"point_units": 9},
    },
    "occluded set": {"kind": "kinematics", "occlusion": True, "encoder.name": "attention", "memory": "gru"},
    "pooled lanes": {
        **IMAGE, "height": 70, "width": 28, "grey": True, "encoder.name": "conv", "encoder.architecture": {
            "channels": [3, 4], "windows": [[4, 6, 2, 4, 1, 1], [35, 1, 1, 1, 0, 0]], "reading": "max",
        },
    },
    "mean of maps": {**IMAGE, "encoder.name": "conv", "encoder.architecture": {"channels": [3], "reading": "mean"}},
}  # fmt: skip


def through_a_file(policy: StudentNetworkPolicy, path: Path) -> NetworkPolicy:
    """The policy of the file that holds a student's."""
    write_policy(path, pack_policy(policy.network, policy.observation, "mine", policy.temporal_window))
    return read_policy(path).policy()


@pytest.mark.parametrize("name", [*FILES, *EYES])
def test_a_policy_file_decides_as_the_student_does(tmp_path: Path, name: str) -> None:
    config = distil_config(**(FILES | EYES)[name])
    learner = trained(config)
    student, sim = learner.student.eval(), waiting(60)
    made = learner.policy("mine", {})
    assert isinstance(made, StudentNetworkPolicy) and made.access == ("open" if name in EYES else "contest")
    policy = through_a_file(made, tmp_path / "mine.safetensors")
    observer = Observer(sim.rules, config.observation, 60)
    runner, state, last = Teacher(policy, sim), student.initial_state(60), np.full(60, NO_ACTION)
    near = 0
    for t in range(12):
        actions, values = runner.label()
        obs = observer.observe(sim, actions=last)
        if t == 0 and config.agent.last_action:  # a temporal window is not yet full: it takes action 0, without network
            assert (actions == 0).all()
        else:
            logits, state = student.decide(obs, last, state)
            np.testing.assert_allclose(values, logits, atol=2e-4)
            lead = np.diff(np.sort(logits, 1)[:, -2:])[:, 0]
            near += int((lead < 4e-4).sum())
            np.testing.assert_array_equal(actions[lead >= 4e-4], logits.argmax(1)[lead >= 4e-4])
        last = actions
        sim.step(actions)
    assert near < 60  # of 720 decisions


@pytest.mark.parametrize("name", ["conv", "lstm", "frames", "late"])
def test_run_folder_and_policy_file_score_the_same(tmp_path: Path, quiet: Console, name: str) -> None:
    train(distil_config(**(FILES | EYES)[name]), tmp_path / "run", quiet)
    policy = load_policy(tmp_path / "run")
    assert isinstance(policy, StudentNetworkPolicy)
    file = through_a_file(policy, tmp_path / "mine.safetensors")
    scores = [evaluate_open(each, runs=40) for each in (policy, file)]
    np.testing.assert_array_equal(scores[0].run_speeds, scores[1].run_speeds)


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "pixels", "height": 32, "width": 16, "encoder.name": "recurrent"},
        {"kind": "kinematics", "encoder.name": "recurrent"},
        {"kind": "gaps", "temporal_window": 2, "last_action": True},
        {"kind": "grid", "encoder.name": "capsules"},
    ],
    ids=["pixels", "kinematics", "window", "grid"],
)
def test_what_no_file_can_hold_drives_from_its_run_folder(
    tmp_path: Path, quiet: Console, settings: dict[str, Any]
) -> None:
    config = distil_config(**settings)
    result = train(config, tmp_path, quiet)
    policy = load_policy(tmp_path)
    assert isinstance(policy, StudentPolicy) and to_policy_network(policy.student, config) is None
    assert evaluate_open(policy, runs=config.evaluation_runs).mean_mph == pytest.approx(result.mean_mph)


def test_a_pretrained_encoder_is_frozen_unless_asked_otherwise(tmp_path: Path, quiet: Console) -> None:
    from agents.perception import encoder_settings

    first = trained(distil_config(**{"encoder.name": "dense", "encoder.features_dim": 8}))
    first.student.features.observed = {"kind": "gaps"}
    first.student.features.save(tmp_path / "dense.safetensors")
    settings = encoder_settings(tmp_path / "dense.safetensors")
    for trainable in (False, True):
        second = trained(distil_config(**settings, trainable=trainable))
        before, after = first.student.features.state_dict(), second.student.features.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before) is not trainable


def test_metrics_and_notes_of_a_run(tmp_path: Path, quiet: Console) -> None:
    train(distil_config(), tmp_path, quiet)
    lines = RunFolder(tmp_path).metrics()
    reports = [line for line in lines if "agreement" in line]
    assert len(reports) == 4 and all(0.0 <= line["agreement"] <= 1.0 and line["loss"] >= 0.0 for line in reports)
    assert json.loads(RunFolder(tmp_path).config_file.read_text())["agent"]["teacher"] == "champion-solo"
    assert load_policy(tmp_path).notes["decisions"] in ("72", "144", "216", "288")
