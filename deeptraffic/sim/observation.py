"""The sensor: the window of map cells around an agent, as the original game gives it to a network.

Source: `RULES.md`, "sense".
"""

import math

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import get_four, index_of
from deeptraffic.sim.rules import CELL_LENGTH, Rules, Sensor
from deeptraffic.sim.state import F64, Game


@compiled
def observation_size(sensor: Sensor) -> int:
    """`Sensor.size` for compiled code, which sees a tuple's fields alone."""
    return (2 * sensor.lanes_side + 1) * (sensor.patches_ahead + sensor.patches_behind)


@compiled
def sense(rules: Rules, sensor: Sensor, game: Game, agent: int, out: F64) -> None:
    """Write what `agent` observes into out, ((2 L + 1) * (P + Q),): free road 1, off the road 0, a car its speed."""
    row = math.floor(rules.ego_y / CELL_LENGTH)
    if rules.sense_from_own_row:
        y = game.y[agent]
        row = math.floor(math.floor(y) / CELL_LENGTH) if abs(y) < 1e6 else -1000000
    columns, rows = 2 * sensor.lanes_side + 1, sensor.patches_ahead + sensor.patches_behind
    first_px, first_py = game.lane[agent] - sensor.lanes_side, row - sensor.patches_ahead
    begin, end = max(0, min(rows, -first_py)), max(0, min(rows, rules.rows - first_py))  # the sensor's rows on the grid
    out[: begin * columns] = 0.0
    out[begin * columns : end * columns] = 1.0
    out[end * columns :] = 0.0
    for s in range(columns):
        if 0 <= first_px + s < rules.lanes:
            for r in range(begin, end, 4):
                numbers = get_four(game.cells, index_of(game, first_px + s, first_py + r))
                if numbers != 0:
                    for k in range(r, min(r + 4, end)):
                        if numbers & 255:
                            out[k * columns + s] = game.map_speed[numbers & 255] / rules.empty
                        numbers >>= 8
        else:
            for r in range(begin, end):
                out[r * columns + s] = 0.0
