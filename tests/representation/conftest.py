"""What tests of perception fraction: a little recorded driving, small observations, and one torch thread."""

from collections.abc import Iterator

import pytest
import torch

from representation.data.recording import Recording, RecordingConfig, record

OBSERVATIONS: dict[str, dict[str, object]] = {
    "vector": {"kind": "vector", "patches_ahead": 20, "patches_behind": 5, "temporal_window": 1},
    "gaps": {"kind": "gaps"},
    "grid": {"kind": "grid", "patches_ahead": 20, "patches_behind": 5},
    "kinematics": {"kind": "kinematics"},
    "pixels": {"kind": "pixels", "height": 36, "width": 24},
    "two frames": {"kind": "pixels", "height": 36, "width": 24, "grey": True, "temporal_window": 1},
}


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """The same bits each time are promised on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def driving() -> Recording:
    """Forty short runs to train on."""
    return record(RecordingConfig(runs=40, decisions=20))


@pytest.fixture(scope="session")
def held_out() -> Recording:
    """Twenty short runs to validate on."""
    return record(RecordingConfig(split="validation", runs=20, decisions=20))


@pytest.fixture(scope="session")
def observations() -> dict[str, dict[str, object]]:
    """One small observation of each kind that a network reads, by kind."""
    return OBSERVATIONS
