"""How a game starts: construction of the vehicles and the two contests' layouts."""

import math

import numpy as np
from numba import njit

from deeptraffic.sim.kernel import draw_traffic_factor, spawn
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import NOBODY, State
from deeptraffic.sim.stream import MODULUS, draw

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def start_program(rules: Rules, state: State, b: int, stream: int) -> None:
    """Set row b's stream and construct its vehicles once, as a freshly loaded game does before its first reset."""
    state.rng[b] = stream
    state.action[b] = 0
    construct(rules, state, b)


@compiled
def reset_run(rules: Rules, state: State, b: int, run: int) -> None:
    """Reset number `run`: construct on the old stream, lay out, and stand before frame 0."""
    construct(rules, state, b)
    if rules.grid_layout:
        state.rng[b] = seeded(run)
        lay_out_grid(rules, state, b, seeded(run))
        state.action[b] = 0
    state.map_speed[b, 0] = rules.empty
    state.scroll[b] = 1.5
    state.frame[b] = 0
    state.passed[b] = 0
    state.speed_sum[b] = 0.0
    state.reward[b] = 0.0
    state.score_sum[b] = 0.0
    state.waiting[b] = NOBODY
    state.blocked[b] = 0


@compiled
def seeded(seed: int) -> int:
    """The stream's state for a seed >= 0."""
    state = seed % MODULUS
    return state if state > 0 else MODULUS - 1


@compiled
def construct(rules: Rules, state: State, b: int) -> None:
    """Construct every vehicle: lane and speed factor from the stream, and on a road without grid its place too."""
    for i in range(rules.vehicles):
        state.following_speed[b, i] = 1.0
        spawn(rules, state, b, i)
        if i <= rules.other_agents and rules.controlled_keep_factor:
            draw_traffic_factor(rules, state, b)  # nobody is driven while under construction: the draw is made
        if not rules.grid_layout:
            length = rules.rows * 10.0
            state.y[b, i] = 10.0 * math.floor(length * draw(state.rng, b) / 10.0)


@compiled
def lay_out_grid(rules: Rules, state: State, b: int, stream: int) -> None:
    """Place the ego car, then the others on random free cells of a grid; each takes 16 cells of its column away."""
    layout = np.empty(1, np.int64)
    layout[0] = stream
    size = rules.lanes * rules.rows
    legal = np.ones(size, np.bool_)
    left, last = size, size - 1
    for i in range(rules.vehicles):
        row, column = rules.ego_row, rules.lanes // 2
        state.y[b, i] = rules.ego_y
        if i > 0:
            entry = nth_legal(legal, math.floor(left * draw(layout, 0)))
            row, column = entry // rules.lanes, entry % rules.lanes
            state.y[b, i] = math.floor(row / rules.rows * (rules.rows * 10.0))
        state.x[b, i] = 20.0 * column + 4.0
        state.lane[b, i] = column
        for r in range(row - 4, row + 12):
            entry = rules.lanes * r + column
            if not (0 <= entry < size and legal[entry]):
                while last >= 0 and not legal[last]:
                    last -= 1
                entry = last
            if entry >= 0:
                legal[entry] = False
                left -= 1
        if i <= rules.other_agents:
            state.speed_factor[b, i] = rules.ego_factor if i == 0 else rules.agent_factor


@compiled
def nth_legal(legal: np.ndarray, n: int) -> int:
    """Index of the n-th True entry, n from 0."""
    for entry in range(legal.size):
        if legal[entry]:
            if n == 0:
                return entry
            n -= 1
    return 0
