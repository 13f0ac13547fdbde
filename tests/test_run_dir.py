"""Stopping for real: a process that is killed or interrupted leaves a run that goes on to the same end."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from agents.run import RunFolder, configure
from agents.trainer import train
from deeptraffic.run_dir import Interrupted, stop_requests

SETTINGS = [
    "num_envs=8",
    "n_steps=8",
    "batch_size=64",
    "n_epochs=1",
    "total_timesteps=12800",
    "evaluation_runs=0",
    "hidden=[16]",
]
SETTINGS += ["checkpoint_every=640", "max_steps=9"]
PROGRAM = """
import sys
from pathlib import Path
from agents.run import configure
from agents.trainer import Interrupted, train
try:
    folder = Path(sys.argv[1])
    train(configure("ppo", folder, settings=sys.argv[2:]), folder)
except Interrupted:
    sys.exit(130)
"""


def train_and_signal(folder: Path, number: int) -> int:
    """Train in another process, send a signal once it has written three checkpoints; return its exit code."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), *SETTINGS], stderr=subprocess.DEVNULL)
    before = newest = RunFolder(folder).newest_checkpoint()
    changes = 0
    while changes < 3 and process.poll() is None:
        time.sleep(0.005)
        newest = RunFolder(folder).newest_checkpoint()
        changes += newest != before
        before = newest
    process.send_signal(number)
    return process.wait(120)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_killed_and_interrupted_processes_leave_a_run_that_ends_as_an_undisturbed_one(
    tmp_path: Path, quiet: Console
) -> None:
    assert train_and_signal(tmp_path / "run", signal.SIGKILL) == -signal.SIGKILL
    (tmp_path / "run" / "checkpoints" / ".unfinished-abc").write_bytes(b"a write that the kill cut short")
    assert train_and_signal(tmp_path / "run", signal.SIGINT) == 130
    assert train_and_signal(tmp_path / "run", signal.SIGTERM) == 130
    for name in ("run", "whole"):
        config = configure("ppo", tmp_path / name, settings=SETTINGS)
        assert train(config, tmp_path / name, quiet).decisions == 12800
    best = [RunFolder(tmp_path / name).best_file.read_bytes() for name in ("run", "whole")]
    assert best[0] == best[1]
    assert not list((tmp_path / "run").rglob(".unfinished-*"))


def test_the_second_request_stops_at_once() -> None:
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_inner_request_is_handed_on_to_the_outer_context() -> None:
    with stop_requests() as outer:
        with stop_requests() as inner:
            signal.raise_signal(signal.SIGINT)
            assert inner.requested and not outer.requested
        assert outer.requested
        with pytest.raises(Interrupted, match="saved"):
            outer.check("saved")
    with stop_requests() as later:
        later.check("nothing was requested")


def test_other_threads_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def look() -> None:
        with stop_requests() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
