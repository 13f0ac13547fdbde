"""A scene and a decision in one sentence: "slow car two cells ahead, left lane free, changing left".

The sentence is made of what the contest's sensor shows (the observation kind grid) by the rules below, so that every
sentence has one right wording: what is ahead, which neighbouring lane is free, what the driver does.

    >>> words = describe(observe(rules, states, "grid"), actions)          # (B, 13) token numbers
    >>> sentence(words[0])
    'slow car two cells ahead, left lane free, changing left'

Letters in shapes: B scenes, W = 13 words at most, the end mark included.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.sim.rules import VEHICLE_CELLS, Action
from representation.data.labels import GAP_AHEAD, GAP_BEHIND, LOOK_AHEAD

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SLOW_MPH = 48.0  # a car that drives slower is called slow
SIDES = ("no lane free", "left lane free", "right lane free", "both lanes free")  # left free + 2 * right free
ACTION_PHRASES = {
    Action.NOTHING: "keeping on",
    Action.ACCELERATE: "speeding up",
    Action.DECELERATE: "slowing down",
    Action.LEFT: "changing left",
    Action.RIGHT: "changing right",
}
END, COMMA = ".", ","
CLAUSES = ("road ahead free", "slow car cells ahead", "fast car cell ahead", *NUMBERS, *SIDES, *ACTION_PHRASES.values())
VOCABULARY = (END, COMMA, *sorted({word for clause in CLAUSES for word in clause.split()}))
TOKEN = {word: number for number, word in enumerate(VOCABULARY)}
WORDS = 13
SLOTS = ("car", "distance", "lanes", "doing")

I64 = NDArray[np.int64]


def describe(grids: NDArray[Any], actions: I64) -> I64:
    """Return the sentence of each grid (B, 4, H, W) and decision (B,), as token numbers (B, W), ended and filled by 0.

    A car within ten cells ahead in the own lane is named with its distance, the number of cells between. A lane is free
    if it is on the road and no car is in it from six cells ahead of the own front to one behind the own tail.
    """
    ahead = _ahead(grids)
    free = [_is_free(grids, side) for side in (-1, 1)]
    sides = free[0].astype(np.int64) + 2 * free[1]
    out = np.zeros((len(grids), WORDS), np.int64)
    for row, (car, side, action) in enumerate(zip(ahead, sides, actions, strict=True)):
        words = tokens(f"{car}, {SIDES[side]}, {ACTION_PHRASES[Action(action)]}")
        out[row, : len(words)] = words
    return out


def tokens(text: str) -> list[int]:
    """Return the token numbers of a sentence, without the end mark."""
    return [TOKEN[word] for word in text.replace(",", " ,").split()]


def sentence(words: I64) -> str:
    """Return the sentence that token numbers (W,) spell, up to the end mark."""
    ended = np.flatnonzero(words == TOKEN[END])
    spelled = words[: ended[0]] if len(ended) else words
    return " ".join(VOCABULARY[word] for word in spelled).replace(" ,", ",")


def slots(text: str) -> set[tuple[str, str]]:
    """Return what a sentence states, as (slot, value); a clause that says nothing known states nothing."""
    found: set[tuple[str, str]] = set()
    for clause in text.split(", "):
        words = clause.split()
        if clause == "road ahead free":
            found.add(("car", "none"))
        elif words[-1:] == ["ahead"] and len(words) == 5 and words[1] == "car":
            found |= {("car", words[0]), ("distance", words[2])}
        elif clause in SIDES:
            found.add(("lanes", clause))
        elif clause in ACTION_PHRASES.values():
            found.add(("doing", clause))
    return found


def _ahead(grids: NDArray[Any]) -> list[str]:
    """Return the clause on the own lane ahead of each grid."""
    ego_row, middle = _own_place(grids)
    reach = round(LOOK_AHEAD / 10)
    lane = grids[:, OCCUPIED, ego_row - reach - 1 : ego_row, middle][:, ::-1] > 0  # (B, 11), the nearest cell first
    speeds = 80.0 * grids[:, SPEED, ego_row - reach - 1 : ego_row, middle][:, ::-1]
    nearest = lane.argmax(1)
    clauses = []
    for row, cells in enumerate(nearest):
        if not lane[row, cells]:
            clauses.append("road ahead free")
            continue
        pace = "slow" if speeds[row, cells] < SLOW_MPH else "fast"
        clauses.append(f"{pace} car {NUMBERS[cells]} {'cell' if cells == 1 else 'cells'} ahead")
    return clauses


def _is_free(grids: NDArray[Any], side: int) -> NDArray[np.bool_]:
    ego_row, middle = _own_place(grids)
    reach = slice(ego_row - round(GAP_AHEAD / 10), ego_row + VEHICLE_CELLS + round(GAP_BEHIND / 10))
    lane = grids[:, :, reach, middle + side]
    return ~np.any(lane[:, [OCCUPIED, OFF_ROAD]] > 0, (1, 2))


def _own_place(grids: NDArray[Any]) -> tuple[int, int]:
    """Return the row of the own front and the own column, the same in all grids of one sensor."""
    row, column = np.argwhere(grids[0, OWN] > 0)[0]
    if row <= round(LOOK_AHEAD / 10) or not 1 <= column < grids.shape[3] - 1:
        raise ValueError(
            f"a grid of {grids.shape[2]} x {grids.shape[3]} cells shows too little to be described; "
            "give patches_ahead of at least 11 and lanes_side of at least 1"
        )
    return int(row), int(column)
