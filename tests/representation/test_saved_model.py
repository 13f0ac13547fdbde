"""Models that are kept whole: what cannot be read is refused with the remedy."""

from pathlib import Path

import pytest
import torch

from representation.paradigms.encoder_decoder.forecast import GridPredictor
from representation.paradigms.encoder_decoder.segmentation import SegmentationNet
from representation.weights import save_module


def test_a_model_comes_back_as_it_was_built(tmp_path: Path) -> None:
    model = GridPredictor(width=8)
    model.save(tmp_path / "model.safetensors")
    again = GridPredictor.load(tmp_path / "model.safetensors")
    assert again.architecture == {"width": 8} and not again.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_file_of_another_model_is_refused(tmp_path: Path) -> None:
    GridPredictor(width=8).save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="'deeptraffic-grid-predictor' version 1, not 'deeptraffic-segm"):
        SegmentationNet.load(tmp_path / "model.safetensors")


def test_weights_that_do_not_fit_their_architecture_are_refused(tmp_path: Path) -> None:
    facts = {"format": GridPredictor.kind, "version": 1, "architecture": {"width": 8}}
    save_module(tmp_path / "model.safetensors", {"read.weight": torch.zeros(2)}, facts)
    with pytest.raises(ValueError, match="do not fit the architecture"):
        GridPredictor.load(tmp_path / "model.safetensors")
    save_module(tmp_path / "model.safetensors", {}, {**facts, "architecture": {"depth": 8}})
    with pytest.raises(ValueError, match="do not fit the architecture"):
        GridPredictor.load(tmp_path / "model.safetensors")
