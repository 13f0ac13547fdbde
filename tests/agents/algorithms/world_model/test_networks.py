"""The world model's networks: they imagine one action at a time or all at once, and act as exported."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.algorithms.world_model.networks import WorldModel
from agents.config import TrainConfig
from agents.export import TrainedPolicy
from agents.sb3 import make_model, make_policy, make_vec_env


def small_model(seed: int = 0) -> WorldModel:
    torch.manual_seed(seed)
    return WorldModel(spaces.Box(-9.0, 9.0, (3,)), spaces.Discrete(5), lambda _: 1e-3, [8, 6])


def test_all_actions_imagined_at_once_are_each_imagined_alone() -> None:
    model, latents = small_model(), torch.rand(4, 6)
    together = model.imagine_all(latents)
    assert together.shape == (4, 5, 6)
    for action in range(5):
        alone = model.imagine(latents, torch.full((4,), action))
        torch.testing.assert_close(together[:, action], alone)
    assert not torch.allclose(together[:, 3], together[:, 4])


def test_the_target_network_follows_by_its_rate_and_is_not_learned() -> None:
    model, obs = small_model(), torch.rand(7, 3)
    assert torch.equal(model.target_encode(obs), model.encode(obs))
    with torch.no_grad():
        model.encoder[0].bias += 1.0
    before, after = model.target[1][0].bias.clone(), model.encoder[0].bias
    model.update_target(0.25)
    torch.testing.assert_close(model.target[1][0].bias, before + 0.25 * (after - before))
    learned = {id(weight) for group in model.optimizer.param_groups for weight in group["params"]}
    assert learned.isdisjoint({id(weight) for weight in model.target.parameters()})
    assert len(learned) == len([name for name, _ in model.named_parameters() if not name.startswith("target.")])


def test_critics_are_averaged() -> None:
    model, latents = small_model(), torch.rand(4, 6)
    torch.testing.assert_close(model.target_values(latents), model.values(latents).mean(0))


def test_parts_of_an_observation_are_decoded_side_by_side() -> None:
    space = spaces.Dict({"a": spaces.Box(0, 1, (2, 2)), "b": spaces.Box(0, 1, (3,))})
    model = WorldModel(space, spaces.Discrete(5), lambda _: 1e-3, [8])
    obs = {"a": torch.rand(6, 2, 2), "b": torch.rand(6, 3)}
    assert torch.equal(model.flat(obs), torch.cat([obs["a"].flatten(1), obs["b"]], 1))
    assert model.decoder(model.encode(obs)).shape == (6, 7)


@pytest.mark.parametrize(
    ("kind", "hidden", "activation"), [("gaps", [16, 24], "relu"), ("gaps", [12], "tanh"), ("vector", [16], "relu")]
)
def test_the_exported_network_acts_as_the_policy_head(
    small_config: Callable[..., TrainConfig], kind: str, hidden: list[int], activation: str
) -> None:
    config = small_config("world_model", num_envs=64, kind=kind, hidden=hidden, activation=activation)
    env = make_vec_env(config)
    model = make_model(config, env)
    obs = env.reset()
    for weight in model.policy.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    assert isinstance(model.policy, WorldModel)
    with torch.no_grad():  # a new network prefers one action everywhere: make all equally good in the mean
        model.policy.policy_head[-1].bias.sub_(model.policy(model.policy.obs_to_tensor(obs)[0]).mean(0))
    policy = make_policy(model, config, "new")
    assert isinstance(policy, TrainedPolicy)
    expected = model.predict(obs, deterministic=True)[0]
    cells = env.batch.sim.sense(config.observation.sensor).astype(np.float64)
    np.testing.assert_array_equal(policy.act(cells, np.arange(64)), expected)
    assert len(set(expected.tolist())) > 1
