"""A perception model joined with a policy: one policy file that drives as the two do one after the other."""

from pathlib import Path

import numpy as np
import pytest
import torch

from agents.champions.registry import load_champion
from agents.join import join
from deeptraffic.envs.observations import make_observation
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.file import pack_network_policy, read_policy, write_policy
from representation.paradigms.autoencoder.denoiser import GridDenoiser
from representation.paradigms.convolutional.detection import GridDetector
from representation.perception import PerceptionPolicy


@pytest.mark.parametrize("kind", [GridDetector, GridDenoiser])
def test_the_file_drives_as_the_model_and_the_policy_do(kind: type, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, solo = kind(), load_champion("champion-solo")
    write_policy(tmp_path / "eye.safetensors", pack_network_policy(join(model, solo, label="eye")))
    read = read_policy(tmp_path / "eye.safetensors").policy()
    assert (read.label, read.access) == ("eye", "open")
    apart = list(evaluate_open(PerceptionPolicy(model, solo), runs=8, frames=300).run_scores)
    assert list(evaluate_open(read, runs=8, frames=300).run_scores) == pytest.approx(apart, abs=0.5)
    assert np.ptp(apart) > 0


def test_another_observation_of_the_same_shape_can_be_given() -> None:
    torch.manual_seed(0)
    policy = join(GridDetector(), load_champion("champion-solo"), make_observation("unseen-styles"))
    assert policy.observation.options["style"] == "unseen"
    with pytest.raises(ValueError, match="give an observation of the same shape"):
        join(GridDetector(), load_champion("champion-solo"), make_observation("two-frames"))


def test_a_policy_that_is_no_network_over_the_cells_is_refused() -> None:
    detector = GridDetector()
    for policy in (make_builtin("gap"), join(detector, load_champion("champion-solo"))):
        with pytest.raises(ValueError, match="is no network over the cells"):
            join(detector, policy)
