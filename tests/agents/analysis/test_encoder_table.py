"""The table of encoders that drive: one line per run, made once, pretrained where there are weights."""

import csv
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console

from agents.analysis import encoder_table
from agents.analysis.encoder_table import COLUMNS, SETUPS, EncoderSetup, driving_table
from agents.settings import build_config
from representation.registry import make_encoder

WAYS = (("none", "from scratch"), ("dense", "from scratch"), ("dense", "frozen"), ("dense", "fine-tuned"))
SMALL = {"num_envs": 8, "n_steps": 8, "batch_size": 32, "hidden": [8]}


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A folder of results with one encoder of lane gaps."""
    folder = tmp_path / "pretrain"
    (folder / "speed").mkdir(parents=True)
    encoder = make_encoder("dense", spaces.Box(0, 1, (42,), np.float32), 6, hidden=[8])
    encoder.observed = {"kind": "gaps"}
    encoder.save(folder / "speed" / "encoder.safetensors")
    return folder


def test_every_run_is_a_line_and_is_not_made_twice(
    tmp_path: Path, pretrained: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_table, "RUNS", 20)
    monkeypatch.setattr(encoder_table, "TUNING_RUNS", 4)
    setups = (EncoderSetup("none", SMALL), EncoderSetup("dense", SMALL, "speed"))

    def table() -> list[dict[str, object]]:
        return driving_table(
            tmp_path / "t.csv", tmp_path / "runs", pretrained, {"total_timesteps": 128}, 2, setups, console=quiet
        )

    lines = table()
    made = [(line["encoder"], line["way"], line["seed"]) for line in lines]
    assert made == [(*way, seed) for way in WAYS for seed in (0, 1)]
    assert all(30.0 < float(str(line["p10_mph"])) <= float(str(line["mean_mph"])) < 80.0 for line in lines)
    written = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert tuple(written[0]) == COLUMNS
    assert len(written) == 8
    monkeypatch.setattr(encoder_table, "train", None)  # a second call trains nothing
    assert table() == lines


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.encoder)
def test_every_line_of_the_table_can_be_configured(setup: EncoderSetup) -> None:
    assert build_config("ppo", settings=setup.settings).algo == "ppo"
