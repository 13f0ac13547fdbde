"""`deeptraffic pretrain`, `probe` and `report`, as a person types them."""

import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from typer.testing import CliRunner

from deeptraffic.cli.app import app
from representation.catalog import EXPERIMENTS
from representation.registry import make_encoder

runner = CliRunner()


def test_experiments_are_listed_with_what_they_learn() -> None:
    listed = runner.invoke(app, ["pretrain", "list", "--json"])
    assert list(json.loads(listed.stdout)) == list(EXPERIMENTS)


def test_an_experiment_is_run_small_and_its_metrics_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = runner.invoke(app, ["pretrain", "dense-speed", "--scale", "0.02", "--json"])
    assert made.exit_code == 0, made.output
    outcome = json.loads(made.stdout)
    assert outcome["folder"] == "runs/pretrain/dense-speed"
    assert outcome["metrics"][0]["baselines"]
    for file in (*outcome["weights"], *(plot["file"] for plot in outcome["plots"])):
        assert (tmp_path / outcome["folder"] / file).stat().st_size > 0
    page = runner.invoke(app, ["report", "representation", "--no-missing", "--mixed", "-o", "page"])
    assert page.exit_code == 0, page.output
    assert "`dense-speed`" in (tmp_path / "page" / "REPORT.md").read_text()


def test_experiments_run_in_several_processes_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("representation.catalog.EXPERIMENTS", {name: EXPERIMENTS[name] for name in ("dense-scene",)})
    arguments = [
        "report",
        "representation",
        "--folder",
        str(tmp_path / "runs"),
        "-o",
        str(tmp_path / "page"),
        "--mixed",
    ]
    arguments += ["--scale", "0.02", "--seeds", "2", "--workers", "2"]
    made = runner.invoke(app, arguments)
    assert made.exit_code == 0, made.output
    assert "Seeds 0, 1" in (tmp_path / "page" / "REPORT.md").read_text()
    results = [tmp_path / "runs" / "pretrain" / name / "result.json" for name in ("dense-scene", "dense-scene-seed-1")]
    written = [path.stat().st_mtime_ns for path in results]
    assert runner.invoke(app, arguments).exit_code == 0
    assert [path.stat().st_mtime_ns for path in results] == written


def test_an_encoder_is_probed(tmp_path: Path) -> None:
    encoder = make_encoder("dense", spaces.Box(0, 1, (42,), np.float32), 8)
    encoder.observed = {"kind": "gaps"}
    encoder.save(tmp_path / "encoder.safetensors")
    probed = runner.invoke(app, ["probe", str(tmp_path / "encoder.safetensors"), "--runs", "20", "--json"])
    assert probed.exit_code == 0, probed.output
    assert all("PCA" in " ".join(metric["baselines"]) for metric in json.loads(probed.stdout)["metrics"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pretrain", "telepathy"], "there is no experiment 'telepathy'; choose one of"),
        (["report", "weather"], "No such command 'weather'"),
        (["probe", "nowhere.safetensors"], "there is no weights file 'nowhere.safetensors'"),
        (["pretrain", "dense-speed", "--scale", "0"], "scale must be in (0, 10], got 0.0"),
        (["pretrain", "dense-speed", "--seed", "99"], "seed must be an integer in [0, 98], got 99"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
