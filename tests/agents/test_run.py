"""Run folders: files whole or not at all, one run per folder, one process per run."""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from agents.config import TrainConfig
from agents.loader import load_policy
from agents.run import KEPT_SNAPSHOTS, RunFolder, is_run_folder
from agents.settings import build_config
from deeptraffic.run_dir import versions, write_atomically


def started(path: Path, config: TrainConfig) -> RunFolder:
    run = RunFolder(path)
    run.check(config)
    run.begin(config)
    return run


def test_a_run_can_be_taken_up_with_the_same_configuration(tmp_path: Path) -> None:
    config = build_config("dqn", settings=["gamma=0.5"])
    run = started(tmp_path / "run", config)
    assert is_run_folder(run.path) and not is_run_folder(tmp_path)
    assert run.config() == config
    started(run.path, config)
    assert len(json.loads(run.versions_file.read_text())) == 2


def test_other_settings_are_refused_by_name_but_training_may_be_extended(tmp_path: Path) -> None:
    run = started(tmp_path, build_config("ppo"))
    with pytest.raises(ValueError, match="agent.gamma was 0.92, now 0.5.*another folder"):
        run.check(build_config("ppo", settings=["gamma=0.5"]))
    run.check(build_config("ppo", settings=["total_timesteps=2e6"]))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="holds files but no run"):
        RunFolder(tmp_path).check(build_config("ppo"))
    with pytest.raises(ValueError, match="is a file"):
        RunFolder(tmp_path / "thesis.txt").check(build_config("ppo"))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", ["{", "[]", '{"algo": "ppo", "gama": 1}', "{}"])
def test_a_damaged_configuration_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="is damaged"):
        RunFolder(tmp_path).config()


def test_loading_needs_a_run_with_a_network(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no training run"):
        load_policy(tmp_path)
    run = started(tmp_path, build_config("ppo"))
    with pytest.raises(ValueError, match="no network yet"):
        load_policy(tmp_path)
    run.best_file.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read"):
        load_policy(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    run = started(tmp_path, build_config("ppo"))
    assert run.newest_checkpoint() is None
    with run.locked():
        for decisions in (900, 1000, 11000):
            run.save_checkpoint(decisions, b"content")
    newest = run.newest_checkpoint()
    assert newest is not None and "11000" in newest.name
    assert len(list(run.checkpoints.glob("checkpoint-*"))) == 2


def test_metrics_survive_a_cut_line_and_forget_what_comes_again(tmp_path: Path) -> None:
    run = started(tmp_path, build_config("ppo"))
    for decisions in (100, 200, 300):
        run.add_metrics({"decisions": decisions})
    with run.metrics_file.open("a") as file:
        file.write('{"decisions": 40')
    assert [line["decisions"] for line in run.metrics()] == [100, 200, 300]
    run.truncate_metrics(200)
    run.add_metrics({"decisions": 250})
    assert [line["decisions"] for line in run.metrics()] == [100, 200, 250]


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
def test_a_second_process_may_not_train_in_the_same_folder(tmp_path: Path) -> None:
    program = f"from agents.run import RunFolder\nwith RunFolder({str(tmp_path)!r}).locked(): print('locked')"
    with RunFolder(tmp_path).locked():
        refused = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "another process is working" in refused.stderr
    allowed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert allowed.stdout == "locked\n"


def test_versions_name_what_a_result_depends_on() -> None:
    known = versions()
    assert {"commit", "python", "torch", "stable-baselines3", "deeptraffic", "command"} <= known.keys()
    assert known["torch"] and known["numpy"]


def test_loading_a_policy_of_dense_layers_needs_no_torch(
    tmp_path: Path, small_config: Callable[..., TrainConfig]
) -> None:
    import numpy as np

    from agents.export import weights_content

    run = started(tmp_path, small_config("ppo", hidden=[]))
    weights = {"0.weight": np.ones((5, 42), np.float32), "0.bias": np.arange(5, dtype=np.float32)}
    write_atomically(run.best_file, weights_content(weights, {"decisions": "7"}))
    program = (
        "import sys, numpy as np\nfrom agents.loader import load_policy\n"
        f"policy = load_policy({str(tmp_path)!r})\n"
        "print(policy.act(np.ones((2, 420)), np.arange(2)), policy.notes, 'torch' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert loaded.stdout == "[4 4] {'decisions': '7'} False\n", loaded.stderr


def test_networks_of_evaluations_are_kept_evenly_and_are_at_most_sixteen(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for k in range(1, 100):
        run.save_snapshot(1000 * k, b"network")
        kept = [int(path.stem) for path in run.snapshot_files()]
        assert len(kept) <= KEPT_SNAPSHOTS and kept[0] == 1000 and kept[-1] == 1000 * k
    gaps = [after - before for before, after in pairwise(kept)]
    assert len(kept) == KEPT_SNAPSHOTS and max(gaps) <= 2.5 * 99_000 / KEPT_SNAPSHOTS
