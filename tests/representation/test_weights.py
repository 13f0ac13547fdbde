"""Weights files: the same bytes for the same weights, and a clear word about any other file."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

from representation.encoder import Encoder
from representation.registry import load_encoder, make_encoder
from representation.weights import module_content, parameter_count, read_weights


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return make_encoder("dense", spaces.Box(0, 1, (6,), np.float32), 4, hidden=[8])


def test_tensors_and_facts_come_back() -> None:
    content = module_content({"a": torch.arange(3.0)}, {"name": "x", "sides": [1, 2]})
    tensors, facts = read_weights(content)
    assert tensors["a"].tolist() == [0.0, 1.0, 2.0]
    assert facts == {"name": "x", "sides": [1, 2]}


def test_an_encoders_file_is_as_small_as_its_numbers(encoder: Encoder) -> None:
    assert parameter_count(encoder) == 6 * 8 + 8 + 8 * 4 + 4
    assert len(encoder.content()) < 4 * (parameter_count(encoder) + 12) + 1500
    assert encoder.content() == encoder.content()


@pytest.mark.parametrize(
    "content", [b"", b"12345678", pickle.dumps({"a": 1}), module_content({}, {})[:-3] + b"\xff\xff\xff"]
)
def test_any_other_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="is no weights file of this package, or a corrupted one"):
        read_weights(tmp_path / "file.safetensors")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"there is no weights file 'nowhere\.safetensors'; `deeptraffic pretrain"):
        read_weights("nowhere.safetensors")


def test_weights_of_another_model_are_no_encoder() -> None:
    with pytest.raises(ValueError, match="not an encoder"):
        load_encoder(module_content({"a": torch.zeros(1)}, {"format": "deeptraffic-gan", "version": 1}))


def test_weights_that_do_not_fit_their_architecture_are_refused(encoder: Encoder) -> None:
    tensors, facts = read_weights(encoder.content())
    facts["architecture"]["kwargs"]["hidden"] = [9]
    with pytest.raises(ValueError, match="do not fit the architecture"):
        load_encoder(module_content(tensors, facts))
