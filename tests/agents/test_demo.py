"""The demonstration from an empty folder to table, plots and video, at a tiny scale."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from agents.demo import run_demo
from deeptraffic.run_dir import Interrupted, Stop

TINY = ("num_envs=16", "n_steps=8", "batch_size=64", "total_timesteps=512", "evaluate_every=256", "evaluation_runs=8")


def test_the_demonstration_resumes_and_leaves_everything_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"
    quiet = Console(quiet=True)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Stop, "requested", property(lambda _: True, lambda *_: None), raising=False)
        run_demo(folder, TINY, quiet, quiet, video_seconds=0.5)
    console = Console(record=True, width=300, file=io.StringIO())
    result = run_demo(folder, TINY, console, quiet, video_seconds=0.5)
    printed = console.export_text()
    assert f"{result.score.score:.2f}" in printed
    for known in ("76.45", "73.10", "66.80", "65.00", "51.57", "What to try next"):
        assert known in printed
    assert json.loads((folder / "evaluation" / "official.json").read_text())["runs"] == 500
    assert set(result.files) == {"learning curve", "score histogram", "video"}
    for path in result.files.values():
        assert path.stat().st_size > 1000
        assert str(path) in printed
