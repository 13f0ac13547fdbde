"""Perception models: torch and a policy file give the same cells, files come back, driving depends on them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deeptraffic.envs.observations import make_observation
from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import make_builtin
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import RULES_2018
from representation.data.recording import Recording, observe_runs
from representation.paradigms.autoencoder.denoiser import GridDenoiser
from representation.paradigms.convolutional.detection import GridDetector
from representation.perception import PERCEPTION_MODELS, PerceptionModel, PerceptionPolicy, load_perception

KINDS = {model.kind: model for model in (GridDetector, GridDenoiser)}


def new_model(kind: str) -> PerceptionModel:
    """A model with random weights that finds vehicles in some of the cells."""
    torch.manual_seed(0)
    model = KINDS[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model


def test_every_model_has_a_test() -> None:
    assert PERCEPTION_MODELS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_a_policy_file_give_the_cells_that_torch_gives(kind: str, driving: Recording) -> None:
    model = new_model(kind)
    obs = observe_runs(driving, model.observed, every=6).reshape(-1, *model.observation.space(driving.rules).shape)[:40]
    network = NetworkBuilder(obs[0].size)
    model.add_layers(network)
    program, cells = network.network().assemble(), model.perceive(obs)
    given = np.array([program.run(x) for x in model.observation.flat(obs)])
    differ = np.abs(given - cells) > 1e-6
    assert differ.mean() < 1e-3  # a logit next to 0
    assert 0.05 < (cells == 1.0).mean() < 0.95
    assert np.ptp(cells[(cells > 0.0) & (cells < 1.0)]) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_comes_back_as_the_same_model(kind: str, tmp_path: Path) -> None:
    model = new_model(kind)
    model.save(tmp_path / "model.safetensors")
    again = load_perception(tmp_path / "model.safetensors")
    assert type(again) is type(model) and again.observed == model.observed
    space = model.observation.space(RULES_2018)
    space.seed(0)
    obs = np.array([space.sample() for _ in range(3)])
    assert np.array_equal(again.perceive(obs), model.perceive(obs))


def test_another_file_is_no_perception_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no weights file"):
        load_perception(tmp_path / "missing.safetensors")


class Truth:
    """Perceives without error, from the cells themselves."""

    observation = make_observation("vector")

    def perceive(self, obs: np.ndarray) -> np.ndarray:
        return obs


def test_a_policy_on_true_cells_scores_as_it_does_alone() -> None:
    gap = make_builtin("gap")

    def scores(policy: Policy) -> list[float]:
        return list(evaluate_open(policy, runs=6, frames=310).run_scores)

    assert scores(PerceptionPolicy(Truth(), gap)) == scores(gap)
    blind = PerceptionPolicy(new_model("deeptraffic-denoiser"), gap)
    assert scores(blind) == scores(blind)
    assert scores(blind) != scores(gap)


def test_cells_off_the_road_are_known_to_the_denoiser(driving: Recording) -> None:
    model = new_model("deeptraffic-denoiser")
    obs = observe_runs(driving, model.observed, every=6)[:, -1]
    off = observe_runs(driving, "vector", every=6)[:, -1] == 0.0
    assert off.any() and (model.perceive(obs)[off] == 0.0).all()
