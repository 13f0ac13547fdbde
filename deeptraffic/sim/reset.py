"""Resets: construction of the vehicles and the two contests' layouts.

Source: `RULES.md`, "Randomness".
"""

import math

import numpy as np

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import draw_traffic_factor, lane_middle, spawn
from deeptraffic.sim.random import MODULUS, MULTIPLIER, SPAN, advance_stream, draw
from deeptraffic.sim.rules import BASE_SCROLL, CELL_LENGTH, Rules
from deeptraffic.sim.state import NOBODY, Game

TAKEN_AHEAD, TAKEN_BEHIND = 4, 12  # cells of its lane that a vehicle of the grid layout takes away


@compiled
def start_program(rules: Rules, game: Game, stream: int) -> None:
    """Set the stream and construct its vehicles once, as a freshly loaded game does before its first reset."""
    game.rng = stream
    game.action = 0
    construct(rules, game)


@compiled
def reset_run(rules: Rules, game: Game, run: int) -> None:
    """Reset number `run`: construct on the old stream, lay out, and stand before frame 0."""
    construct(rules, game)
    if rules.grid_layout:
        game.rng = seeded(run)
        lay_out_grid(rules, game, seeded(run))
        game.action = 0
    game.map_speed[0] = rules.empty
    game.scroll = BASE_SCROLL
    game.frame = 0
    game.passed = 0
    game.speed_sum = 0.0
    game.reward = 0.0
    game.score_sum = 0.0
    game.waiting = NOBODY
    game.blocked = 0


@compiled
def seeded(seed: int) -> int:
    """The stream's state for a seed >= 0."""
    state = seed % MODULUS
    return state if state > 0 else MODULUS - 1


@compiled
def construct(rules: Rules, game: Game) -> None:
    """Construct every vehicle: lane and speed factor from the stream, and on a road without grid its place too."""
    for i in range(rules.vehicles):
        game.following_speed[i] = 1.0
        spawn(rules, game, i)
        if i <= rules.other_agents and rules.controlled_keep_factor:
            draw_traffic_factor(rules, game)  # no vehicle is controlled while it is constructed: the draw is made
        if not rules.grid_layout:
            length = rules.rows * CELL_LENGTH
            game.y[i] = CELL_LENGTH * math.floor(length * draw(game) / CELL_LENGTH)


@compiled
def lay_out_grid(rules: Rules, game: Game, stream: int) -> None:
    """Place the ego car, then the others on random free cells of a grid; each takes 16 cells of its column away."""
    layout = stream
    size = rules.lanes * rules.rows
    legal = np.ones(size, np.bool_)
    left, last = size, size - 1
    for i in range(rules.vehicles):
        row, column = rules.ego_row, rules.lanes // 2
        game.y[i] = rules.ego_y
        if i > 0:
            layout = advance_stream(layout, MULTIPLIER)
            entry = nth_legal(legal, math.floor(left * ((layout - 1) / SPAN)))
            row, column = entry // rules.lanes, entry % rules.lanes
            game.y[i] = math.floor(row / rules.rows * (rules.rows * CELL_LENGTH))
        game.x[i] = lane_middle(column)
        game.lane[i] = column
        for r in range(row - TAKEN_AHEAD, row + TAKEN_BEHIND):
            entry = rules.lanes * r + column
            if not (0 <= entry < size and legal[entry]):
                while last >= 0 and not legal[last]:
                    last -= 1
                entry = last
            if entry >= 0:
                legal[entry] = False
                left -= 1
        if i <= rules.other_agents:
            game.speed_factor[i] = rules.ego_factor if i == 0 else rules.agent_factor


@compiled
def nth_legal(legal: np.ndarray, n: int) -> int:
    """Index of the n-th True entry, n from 0."""
    for entry in range(legal.size):
        if legal[entry]:
            if n == 0:
                return entry
            n -= 1
    return 0
