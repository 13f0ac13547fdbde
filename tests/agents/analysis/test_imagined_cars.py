"""Ghosts of a world model: on the cars where it is right, of the decisions that they were imagined at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from agents.analysis.imagined_cars import AHEAD, LIKELY, ImaginedCars
from agents.config import TrainConfig
from agents.loader import load_policy
from agents.trainer import train
from deeptraffic.episodes.trace import Start
from deeptraffic.evaluation.episodes import policy_episode
from deeptraffic.render.layers import LayerContext, make_layer, watch_decisions
from deeptraffic.render.painter import Painter
from deeptraffic.render.timeline import phases
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import LANE_WIDTH, RULES_2018

Config = Callable[..., TrainConfig]


@pytest.fixture
def run(small_config: Config, tmp_path: Path, quiet: Console) -> Path:
    train(small_config("world_model"), tmp_path / "world", quiet)
    return tmp_path / "world"


def waiting(seed: int) -> Simulator:
    sim = Simulator(RULES_2018, 1, threads=1)
    sim.reset_open([seed])
    for _ in range(4):
        sim.step([1])
    return sim


def test_ghosts_of_a_model_that_is_right_lie_on_cars(run: Path) -> None:
    layer, found = ImaginedCars(LayerContext(RULES_2018, load_policy(run))), 0
    for seed in range(1, 8):
        sim = waiting(seed)
        layer._sim.set_state(sim.get_state())
        seen = torch.from_numpy(layer._observer.observe(sim).reshape(1, -1))
        scene = sim.state[0]
        lanes = np.floor((scene["x"] + 7.5) / LANE_WIDTH)
        for car in layer._cars(seen):
            overlap = (scene["y"] < car.rear) & (scene["y"] + 34 > car.front) & (np.abs(lanes - car.lane) <= 1)
            assert overlap[1:].any(), (seed, car)
            found += 1
    assert found > 20


def test_a_lane_that_the_model_takes_for_none_has_no_ghost(run: Path) -> None:
    layer = ImaginedCars(LayerContext(RULES_2018, load_policy(run)))
    layer._sim.set_state(waiting(1).get_state())
    assert layer._cars(torch.zeros(1, 42)) == []


def test_ghosts_come_from_two_decisions_before(run: Path) -> None:
    layer = ImaginedCars(LayerContext(RULES_2018, load_policy(run)))
    layer._model = Memory()
    shown = []
    layer._cars = lambda decoded: shown.append(float(decoded)) or []  # type: ignore[method-assign,func-returns-value]
    for decision in range(6):
        sim = waiting(1)
        sim.state.frame[0] = 30 * decision
        layer._observer.observe = lambda sim, at=decision: float(at)  # type: ignore[method-assign]
        layer.explain(sim)
        layer.after_decision(sim, 1)
    assert shown == pytest.approx([decision + 0.01 * AHEAD for decision in range(6 - AHEAD)])


class Memory:
    """A model whose latent state is the observation, plus 0.01 for each decision that was imagined."""

    def obs_to_tensor(self, obs: float) -> tuple[torch.Tensor]:
        return (torch.tensor(obs, dtype=torch.float64),)

    def encode(self, obs: torch.Tensor) -> torch.Tensor:
        return obs

    def imagine(self, latent: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return latent + 0.01

    def decoder(self, latent: torch.Tensor) -> torch.Tensor:
        return latent


def test_a_run_is_watched_with_its_ghosts(run: Path) -> None:
    policy = load_policy(run)
    layer = make_layer("imagined", LayerContext(RULES_2018, policy))
    episode = watch_decisions(policy_episode(policy, RULES_2018, Start.open(1), 151), [layer]).finish()
    plain, ghosts = (Painter(RULES_2018, layers=layers).paint(episode.state).astype(int) for layers in ([], [layer]))
    assert np.array_equal(plain[:, :220], ghosts[:, :220])
    with pytest.raises(ValueError, match="name the folder of its run"):
        make_layer("imagined", LayerContext(RULES_2018, load_policy("champion-world-model")))


def test_runs_of_occupied_cells_are_found_from_far_to_near() -> None:
    assert phases(np.array([1.0, 0.5, 0.6, 1.0, 0.9, 0.5]) < LIKELY) == [(1, 3), (5, 6)]
