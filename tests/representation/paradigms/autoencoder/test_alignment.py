"""Motion compensation: vehicles of previous grids come to their present place; the layers do what torch does."""

import numpy as np
import pytest
import torch

from deeptraffic.envs.observations import make_observation
from deeptraffic.envs.observations.grid import CHANNELS, OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.policies.torch_export import NetworkBuilder
from representation.data.recording import Recording, observe_runs
from representation.paradigms.autoencoder.alignment import MEAN_SPEED, add_aligned, aligned, aligned_channels

SEEN = {"kind": "grid", "temporal_window": 3}


def road(lane: int, own_speed: float, cars: list[tuple[int, int]]) -> np.ndarray:
    """A grid whose ego vehicle is in one of 7 lanes; cars of speed 0.6 by the row of their front and their lane."""
    grid = np.zeros((CHANNELS, 60, 7), np.float32)
    for column in range(7):
        grid[OFF_ROAD, :, column] = not 0 <= lane - 3 + column < 7
    grid[[OCCUPIED, OWN], 50:54, 3], grid[SPEED, 50:54, 3] = 1.0, own_speed
    for row, at in cars:
        if 0 <= at - lane + 3 < 7:
            grid[OCCUPIED, row : row + 4, at - lane + 3], grid[SPEED, row : row + 4, at - lane + 3] = 1.0, 0.6
    return grid


def stack(*grids: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(grids))[None]


def test_a_change_of_lanes_moves_the_columns() -> None:
    cars = [(20, 2), (30, 4)]
    before, between, now = (road(lane, MEAN_SPEED, cars) for lane in (2, 3, 4))
    moved, motion = aligned(stack(before, between, now))
    for k, channel in enumerate((OCCUPIED, SPEED, OCCUPIED, SPEED)):
        assert np.array_equal(moved[0, k, :45], now[channel, :45])
    assert np.array_equal(moved[0, 4:], now)
    assert motion[0].tolist() == pytest.approx([MEAN_SPEED] * 3 + [0.0, 0.0], abs=1e-5)


def test_a_faster_ego_vehicle_moves_the_rows_by_its_distance_to_the_mean() -> None:
    # at full speed a vehicle of the mean speed falls back by 4.8 rows in a decision, by 9.6 in two
    before, between, now = (road(3, 1.0, [(row, 2)]) for row in (10, 15, 20))
    moved, motion = aligned(stack(before, between, now))
    assert np.array_equal(moved[0, 0, :45], now[OCCUPIED, :45])
    assert np.array_equal(moved[0, 2, :45], now[OCCUPIED, :45])
    assert motion[0, 3:].tolist() == pytest.approx([-0.4, -0.2], abs=1e-4)


def test_what_a_grid_did_not_show_reads_free() -> None:
    moved, _ = aligned(stack(road(3, 1.0, [(0, 0)]), road(2, 1.0, [(5, 0)])))
    assert moved[0, 0, :5].sum() == 0.0 and moved[0, 0, 5, 1] == 1.0 and moved[0, 0, :45, 0].sum() == 0.0


def test_the_layers_align_as_torch_does(driving: Recording) -> None:
    obs = observe_runs(driving, SEEN, every=3).reshape(-1, 16, 60, 7)[::9]
    network = NetworkBuilder(obs[0].size)
    motion = add_aligned(network, 4)
    program = network.network().assemble()
    grids, moves = (tensor.numpy() for tensor in aligned(torch.from_numpy(obs)))
    assert grids.shape[1] == aligned_channels(4) and (grids[:, :2] != obs[:, :2]).any()
    for k, flat in enumerate(make_observation(SEEN).flat(obs)):
        given = program.run(flat).reshape(60, 7, -1).transpose(2, 0, 1)
        assert given == pytest.approx(grids[k], abs=1e-6)
        assert program.values()[motion] == pytest.approx(moves[k], abs=1e-4)
