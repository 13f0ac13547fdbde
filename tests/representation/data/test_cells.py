"""Contents of cells: true ones are what the sensor shows, and a run of cells is one vehicle."""

import numpy as np

from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, Sensor
from representation.data.cells import RoadCells, sensor_cells, true_cells, whole_vehicles
from representation.data.recording import Recording


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
    whole = whole_vehicles(RoadCells(occupied, speed, np.zeros(2, np.int64))).speed
    assert whole[0, :, 0].tolist() == [0.0, 2.0, 2.0, 2.0, 0.0, 4.0]
    assert whole[1, :, 2].tolist() == [2.5] * 6
    assert not whole[:, :, 1].any()


def test_an_empty_road_has_no_vehicles() -> None:
    seen = whole_vehicles(RoadCells(np.zeros((1, 70, 7), bool), np.ones((1, 70, 7)), np.zeros(1, np.int64)))
    assert not seen.speed.any()
    assert set(np.unique(sensor_cells(seen, Sensor(), RULES_2018))) == {0.0, 1.0}
