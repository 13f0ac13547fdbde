"""Training: it learns, it resumes as if never stopped, and it stops when asked to."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from agents.checkpoint import unpack_state
from agents.compiled.learner import CompiledLearner
from agents.config import TrainConfig
from agents.export import read_weights
from agents.loader import load_policy
from agents.run import RunFolder
from agents.sb3 import SB3Learner
from agents.settings import build_config
from agents.trainer import crosses, train
from deeptraffic.envs.batch import EnvBatch
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.run_dir import Interrupted

Config = Callable[..., TrainConfig]


class KilledError(Exception):
    """Stands for a process that ends without a word."""


def before_updates(monkeypatch: pytest.MonkeyPatch, call: Callable[[int], None]) -> None:
    """Call a function of the decisions so far within each round, torch's or compiled, before its update."""
    count, rate = SB3Learner.count_speeds, CompiledLearner.learning_rate

    def count_speeds(self: SB3Learner, dones: Any) -> None:
        call(self.decisions)
        count(self, dones)

    def learning_rate(self: CompiledLearner, remaining: float) -> float:
        call(self.decisions)
        return rate(self, remaining)

    monkeypatch.setattr(SB3Learner, "count_speeds", count_speeds)
    monkeypatch.setattr(CompiledLearner, "learning_rate", learning_rate)


def die_at(monkeypatch: pytest.MonkeyPatch, decisions: int) -> None:
    """Make training end abruptly in the first round after `decisions`."""

    def die(now: int) -> None:
        if now > decisions:
            raise KilledError

    before_updates(monkeypatch, die)


def timeless(folder: Path) -> list[dict[str, Any]]:
    """The metrics without how long they took."""
    return [{k: v for k, v in line.items() if "seconds" not in k} for line in RunFolder(folder).metrics()]


def final_state(folder: Path) -> dict[str, Any]:
    """The last checkpoint: networks, optimiser, envs, random streams."""
    checkpoint = RunFolder(folder).newest_checkpoint()
    assert checkpoint is not None
    state = unpack_state(checkpoint)
    notes = state.pop("notes")
    return state | {"notes": {k: v for k, v in notes.items() if "seconds" not in k}}


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), where
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for k, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_equal(one, other, f"{where}[{k}]")
    else:
        assert a == b, where


@pytest.mark.parametrize(
    ("algo", "settings"),
    [
        ("ppo", {"backend": "compiled"}),
        ("ppo", {"backend": "torch"}),
        ("a2c", {}),
        ("dqn", {}),
        ("pqn", {"backend": "compiled"}),
        ("pqn", {"backend": "torch"}),
        ("ppo", {"kind": "vector", "lane_units": 4}),
        ("pqn", {"kind": "vector", "lane_units": 4}),
        ("reinforce", {}),
        ("qrdqn", {}),
        ("maskable_ppo", {}),
        ("recurrent_ppo", {}),
        ("world_model", {}),
        ("expert_iteration", {}),
        ("team_ppo", {"temporal_window": 2}),
        ("ppo", {"temporal_window": 2, "other_agents": 2}),
        ("dqn", {"kind": "kinematics"}),
    ],
    ids=[
        "ppo",
        "ppo-torch",
        "a2c",
        "dqn",
        "pqn",
        "pqn-torch",
        "ppo-lanes",
        "pqn-lanes",
        "reinforce",
        "qrdqn",
        "maskable_ppo",
        "recurrent_ppo",
        "world_model",
        "expert_iteration",
        "team_ppo",
        "window",
        "dict",
    ],
)
def test_a_killed_run_resumes_as_if_it_had_never_stopped(
    tmp_path: Path, small_config: Config, quiet: Console, monkeypatch: pytest.MonkeyPatch, algo: str, settings: dict
) -> None:
    config = small_config(algo, **settings)
    train(config, tmp_path / "whole", quiet)
    for decisions in (100, 200, 300):  # before the first checkpoint, and after the first and the second
        with monkeypatch.context() as patch, pytest.raises(KilledError):
            die_at(patch, decisions)
            train(config, tmp_path / "killed", quiet)
        np.random.seed(decisions)  # a new process has other global streams
        torch.manual_seed(decisions)
    result = train(config, tmp_path / "killed", quiet)
    assert result.decisions == 384
    assert_equal(final_state(tmp_path / "killed"), final_state(tmp_path / "whole"))
    assert timeless(tmp_path / "killed") == timeless(tmp_path / "whole")
    best = [read_weights(RunFolder(tmp_path / name).best_file) for name in ("killed", "whole")]
    assert best[0][1] == best[1][1]
    for name, tensor in best[0][0].items():
        np.testing.assert_array_equal(tensor, best[1][0][name])


@pytest.mark.parametrize(("backend", "at"), [("torch", 200), ("compiled", 192)])
def test_a_signal_saves_and_the_run_goes_on_from_there(
    tmp_path: Path, small_config: Config, quiet: Console, monkeypatch: pytest.MonkeyPatch, backend: str, at: int
) -> None:
    config = small_config("ppo", checkpoint_every=10**6, backend=backend)
    train(config, tmp_path / "whole", quiet)

    def interrupt(now: int) -> None:
        if now == at:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="after 256 of 384.*same command"):
        before_updates(patch, interrupt)
        train(config, tmp_path / "stopped", quiet)
    assert signal.getsignal(signal.SIGINT) is before
    assert isinstance(Interrupted(), KeyboardInterrupt)
    train(config, tmp_path / "stopped", quiet)
    assert_equal(final_state(tmp_path / "stopped"), final_state(tmp_path / "whole"))


def test_a_finished_run_is_not_trained_again_but_can_be_extended(
    tmp_path: Path, small_config: Config, quiet: Console
) -> None:
    first = train(small_config("ppo"), tmp_path, quiet)
    metrics = RunFolder(tmp_path).metrics()
    again = train(small_config("ppo"), tmp_path, quiet)
    assert (again.decisions, again.mean_mph) == (first.decisions, first.mean_mph)
    assert RunFolder(tmp_path).metrics() == metrics
    assert train(small_config("ppo", total_timesteps=512), tmp_path, quiet).decisions == 512


def test_the_best_network_on_tuning_seeds_is_kept(tmp_path: Path, small_config: Config, quiet: Console) -> None:
    config = small_config("dqn")
    result = train(config, tmp_path, quiet)
    scores = {
        line["decisions"]: line["tuning_mean_mph"]
        for line in RunFolder(tmp_path).metrics()
        if "tuning_mean_mph" in line
    }
    assert list(scores) == [128, 256, 384]
    assert result.best_at == max(scores, key=lambda decisions: scores[decisions])
    policy = load_policy(tmp_path)
    assert evaluate_open(policy, runs=config.evaluation_runs).mean_mph == pytest.approx(result.mean_mph)


def test_without_evaluations_the_newest_network_is_kept(tmp_path: Path, small_config: Config, quiet: Console) -> None:
    result = train(small_config("a2c", evaluation_runs=0), tmp_path, quiet)
    assert result.mean_mph is None and result.best_at == 384
    assert load_policy(tmp_path).act(np.ones((1, 420)), np.arange(1)).shape == (1,)


def test_a_gpu_that_is_not_there_is_named(
    tmp_path: Path, small_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device='cuda'.*use device=cpu"):
        train(small_config("ppo", device="cuda"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named(tmp_path: Path, small_config: Config, quiet: Console) -> None:
    train(small_config("ppo"), tmp_path, quiet)
    checkpoint = RunFolder(tmp_path).newest_checkpoint()
    assert checkpoint is not None
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match="checkpoint-.*cannot be read.*delete it"):
        train(small_config("ppo", total_timesteps=512), tmp_path, quiet)


@pytest.mark.parametrize(
    ("before", "now", "every", "expected"),
    [(0, 0, 10, False), (9, 10, 10, True), (10, 19, 10, False), (8, 40, 10, True)],
)
def test_a_multiple_is_crossed_once(before: int, now: int, every: int, expected: bool) -> None:
    assert crosses(before, now, every) is expected


# Idle driving has a mean of about 51 mph, random driving 60.5.
def test_ppo_learns_to_drive_within_30_000_decisions(tmp_path: Path, quiet: Console) -> None:
    config = build_config("ppo", settings=["total_timesteps=32768", "num_envs=128", "evaluate_every=16384"])
    result = train(config, tmp_path, quiet)
    assert result.mean_mph is not None and result.mean_mph > 66.0


def test_a_blind_driver_does_not_learn(tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    observe = EnvBatch.observe
    monkeypatch.setattr(EnvBatch, "observe", lambda *arguments: 0.0 * observe(*arguments))
    settings = ["total_timesteps=32768", "num_envs=128", "evaluate_every=16384", "backend=torch"]
    config = build_config("ppo", settings=settings)
    result = train(config, tmp_path, quiet)
    assert result.mean_mph is not None and result.mean_mph < 64.0


@pytest.mark.slow
def test_dqn_learns_to_drive_within_50_000_decisions(tmp_path: Path, quiet: Console) -> None:
    result = train(build_config("dqn", settings=["total_timesteps=50000"]), tmp_path, quiet)
    assert result.mean_mph is not None and result.mean_mph > 67.0


def test_the_networks_of_a_run_s_evaluations_can_be_loaded_and_filmed(
    small_config: Callable[..., TrainConfig], tmp_path: Path, quiet: Console
) -> None:
    from typer.testing import CliRunner

    from deeptraffic.cli.app import app

    run, film = tmp_path / "mine", tmp_path / "film.png"
    train(small_config("ppo"), run, quiet)
    files = RunFolder(run).snapshot_files()
    evaluated = [line["decisions"] for line in RunFolder(run).metrics() if "tuning_mean_mph" in line]
    decisions = [0, *evaluated]  # the first is untrained
    assert [int(path.stem) for path in files] == decisions and len(files) >= 2
    first, last = (load_policy(path) for path in (files[0], files[-1]))
    assert (
        first.label == "ppo at 0"
        and last.label == f"ppo at {decisions[-1]:,}"
        and first.value_kind.kind == "probability"
    )
    assert last.as_network().network.tensors.keys() == load_policy(run).as_network().network.tensors.keys()
    done = CliRunner().invoke(app, ["record", str(run), "--training", "-o", str(film), "--seconds", "0.5"])
    assert done.exit_code == 0, done.output
    failed = CliRunner().invoke(app, ["record", "gap", "--training", "-o", str(film), "--seconds", "0.5"])
    assert failed.exit_code == 2 and "no networks of two evaluations" in " ".join(failed.output.split())
