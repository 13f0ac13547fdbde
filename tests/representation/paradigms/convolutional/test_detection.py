"""Detection: the network finds cars, a driver gets the game's ego cells, and runs of cells are vehicles."""

import numpy as np
import pytest
import torch

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Sensor
from representation.data.recording import Recording
from representation.fit import Arrays, FitConfig, fit
from representation.paradigms.convolutional.detection import (
    Detections,
    GridDetector,
    image_size,
    own_lanes,
    sensor_cells,
    true_cells,
    whole_vehicles,
)
from representation.paradigms.convolutional.detection_experiment import camera_frames, states_before

Scenes = tuple[Arrays, Detections]


def scenes(recording: Recording, runs: int) -> Scenes:
    """Four scenes of each of so many runs."""
    before = states_before(recording)[:runs, ::5].reshape(-1)
    now = recording.states[:runs, 1:-1:5].reshape(-1)
    cells = true_cells(now)
    frames = camera_frames(recording.rules, before, now)
    speed = cells.speed.astype(np.float32)
    return {"frames": frames, "occupied": cells.occupied, "own": cells.own, "speed": speed}, cells


@pytest.fixture(scope="module")
def sixty_four(driving: Recording) -> Scenes:
    return scenes(driving, 16)


def hits(detector: GridDetector, data: Arrays, cells: Detections) -> float:
    """F1 of occupied cells: 2 hits / (found + true)."""
    found = detector.detect(data["frames"]).occupied
    return 2.0 * float((found & cells.occupied).sum()) / float(found.sum() + cells.occupied.sum())


def trained(data: Arrays) -> GridDetector:
    torch.manual_seed(0)
    detector = GridDetector(width=16)
    config = FitConfig(epochs=20, batch_size=4, learning_rate=4e-3, patience=0)
    few = {name: array[:8] for name, array in data.items()}
    fit(detector, data, few, config)
    return detector


def test_cars_are_found_after_sixty_four_scenes_but_not_from_shuffled_cells(
    sixty_four: Scenes, held_out: Recording
) -> None:
    data, cells = sixty_four
    test_data, test_cells = scenes(held_out, 10)
    detector = trained(data)
    assert hits(detector, data, cells) > 0.95
    everywhere = 2.0 * test_cells.occupied.mean() / (1.0 + test_cells.occupied.mean())  # F1 of "a car in every cell"
    assert hits(detector, test_data, test_cells) > everywhere + 0.5
    seen = detector.detect(test_data["frames"])
    assert (own_lanes(seen) == own_lanes(test_cells)).mean() > 0.9
    order = np.random.default_rng(0).permutation(len(cells.own))
    shuffled = {name: array if name == "frames" else array[order] for name, array in data.items()}
    assert hits(trained(shuffled), test_data, test_cells) < everywhere


def test_every_cell_is_answered_by_the_pixels_around_it() -> None:
    torch.manual_seed(0)
    detector, size = GridDetector(rows=20, lanes=5), image_size(20, 5)
    assert size == (40, 24)
    frame = torch.zeros(1, 2, 3, *size, dtype=torch.uint8)
    changed = frame.clone()
    changed[..., 20:22, 10:14] = 255  # the pixels of cell (10, 2)
    difference = (detector(frame) - detector(changed)).abs().sum(1)[0]  # (20, 5)
    touched = torch.nonzero(difference > 1e-7)
    assert [10, 2] in touched.tolist()
    assert touched[:, 0].min() >= 5
    assert touched[:, 0].max() <= 15


def test_true_cells_are_what_the_sensor_shows(driving: Recording) -> None:
    states = driving.states[:, 3]
    sim = Simulator(driving.rules, len(states))
    sim.games[:] = states
    for sensor in (Sensor(), Sensor(1, 60, 20), Sensor(2, 10, 0)):
        assert np.array_equal(sensor_cells(true_cells(states), sensor, driving.rules), sim.sense(sensor))


def test_cells_in_a_row_become_one_vehicle_with_their_mean_speed() -> None:
    occupied, speed = np.zeros((2, 6, 3), bool), np.zeros((2, 6, 3))
    occupied[0, 1:4, 0], speed[0, 1:4, 0] = True, [1.0, 2.0, 3.0]
    occupied[0, 5, 0], speed[0, 5, 0] = True, 4.0
    occupied[1, :, 2], speed[1, :, 2] = True, [2.0, 2.0, 2.0, 3.0, 3.0, 3.0]
    whole = whole_vehicles(Detections(occupied, np.zeros_like(occupied), speed)).speed
    assert whole[0, :, 0].tolist() == [0.0, 2.0, 2.0, 2.0, 0.0, 4.0]
    assert whole[1, :, 2].tolist() == [2.5] * 6
    assert not whole[:, :, 1].any()


def test_an_empty_road_has_no_vehicles() -> None:
    nothing = np.zeros((1, 70, 7), bool)
    seen = whole_vehicles(Detections(nothing, nothing, np.ones((1, 70, 7))))
    assert not seen.speed.any()
    cells = sensor_cells(seen, Sensor(), RULES_2018)
    assert set(np.unique(cells)) == {0.0, 1.0}
