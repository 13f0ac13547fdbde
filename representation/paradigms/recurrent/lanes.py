"""Lanes as the autoregressive model of scenes reads them: the last car of each, and where the next one is expected.

Letters in shapes: B scenes, S steps (the cars and the end), L lanes, W width, (M...) any batch shape.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from deeptraffic.sim.rules import RULES_2018, VEHICLE_LENGTH
from representation.data.tokens import (
    EGO_PLACE,
    EGO_STEP,
    END,
    FACTORS,
    LANES,
    PLACE,
    factor_values,
    following_values,
)

REACH = 80  # bins: cars further back are read as this far
AHEAD, BEHIND = 60, 20  # bins ahead of and behind the ego front that are told apart
SIDES = 4  # one lane to the left of the ego lane, the ego lane, one to the right, any other
NEAR = SIDES * (AHEAD + BEHIND + 1)
STAND = 16  # bins in which the last car of a lane stands
STANDS = (AHEAD + BEHIND + 1) // STAND + 1
LONG = int(VEHICLE_LENGTH / PLACE) + 1  # bins that two cars of a lane are apart
NO_FACTOR, FREE_ROAD = FACTORS, 4  # read in a lane without a car so far
NEVER, SLACK = 10_000, 16  # place of no expected car; bins by which one may be elsewhere
PERIOD = RULES_2018.decision_period  # [frames] between two scenes

Before = tuple[Tensor, Tensor] | None  # the tokens of the scenes before


class Lanes(NamedTuple):
    """The last car of each lane, (M..., L).

    place: [bins] from the road's far end, int64; factor: its token, FACTORS for the ego car or none
    speed: [px/frame]; side: of the lane, an index of SIDES
    expected, expected_factor: place and factor of the next car by the scene before; NEVER and FACTORS for none
    """

    place: Tensor
    factor: Tensor
    speed: Tensor
    side: Tensor
    expected: Tensor
    expected_factor: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> "Lanes":
        """Return the lanes with a function applied to every part."""
        return Lanes(*(change(part) for part in self))

    def near(self, place: Tensor) -> Tensor:
        """Return what places are relative to the ego car, on their lanes' sides, an index below NEAR."""
        away = (place - EGO_PLACE).clamp(-AHEAD, BEHIND) + AHEAD
        return away + (AHEAD + BEHIND + 1) * self.side

    def stand(self) -> Tensor:
        """Return where the last car of each lane is relative to the ego car, roughly, an index below STANDS."""
        return ((self.place - EGO_PLACE).clamp(-AHEAD - 1, BEHIND) + AHEAD + 1) // STAND

    def behind(self, place: Tensor) -> Tensor:
        """Return how far behind its last car a place (M...) of each lane is, 0..REACH bins."""
        return (place[..., None] - self.place).clamp(0, REACH)

    def until(self, place: Tensor) -> Tensor:
        """Return how far behind a place (M..., 1) the next car of each lane is expected, 0..2 * SLACK + 1 bins.

        SLACK: here; less: it is overdue; the last for none that is near.
        """
        return (self.expected - place).clamp(-SLACK, SLACK + 1) + SLACK


class LaneReader(nn.Module):
    """Reads lanes at a place, (M..., L, W).

    hidden: size of a state that is read as well, if any
    follows: whether the expected cars are read
    """

    def __init__(self, width: int, hidden: int = 0, follows: bool = False) -> None:
        super().__init__()
        self.until = nn.Embedding(2 * SLACK + 2, width) if follows else None
        self.lane, self.behind = nn.Embedding(LANES, width), nn.Embedding(REACH + 1, width)
        self.place, self.last = nn.Embedding(NEAR, width), nn.Embedding(NEAR, width)
        for table in (self.behind, self.place, self.last):
            nn.init.normal_(table.weight, 0.0, 0.3)
        self.speeds = nn.Linear(2, width)
        self.hidden = nn.Linear(hidden, width) if hidden else None

    def forward(self, lanes: Lanes, place: Tensor, lane: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Return features of lanes (M..., L) of these numbers, at a place (M...)."""
        near = lanes.near(place[..., None])
        out = self.behind(lanes.behind(place)) + self.place(near) + self.last(lanes.near(lanes.place)) + self.lane(lane)
        out = out + self.speeds(torch.stack([lanes.speed, lanes.factor / FACTORS], -1))
        if self.until is not None:
            out = out + self.until(lanes.until(place[..., None]))
        if self.hidden is not None:
            assert hidden is not None, "this reader also reads a state"
            out = out + self.hidden(hidden)[..., None, :]
        return torch.relu(out)


def lanes_before(ego: Tensor, cars: Tensor, before: Before = None) -> tuple[Lanes, Tensor]:
    """Return (the last car of each lane before each of cars (B, S, 4), (B, S, L); the place of the car before, (B, S)).

    The ego car is among them from its place on.
    """
    steps, own_lane = cars.shape[1], one_hot(ego[:, 1], LANES).bool()[:, None]  # (B, 1, L)
    after = cars[..., 0].cumsum(1)  # places of the cars
    place = torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], 1)
    here = one_hot(cars[..., 1], LANES).bool()  # (B, S, L)
    count = torch.arange(1, steps + 1, device=cars.device)[:, None]
    last = torch.where(here, count, 0).cummax(1).values  # the last car up to each step, counted from 1
    last = torch.cat([torch.zeros_like(last[:, :1]), last[:, :-1]], 1)

    def pick(values: Tensor, without: int) -> Tensor:
        padded = torch.cat([torch.full_like(values[:, :1], without), values], 1)
        return padded[:, :, None].expand(-1, -1, LANES).gather(1, last)

    where, factor, following = pick(after, -REACH), pick(cars[..., 2], NO_FACTOR), pick(cars[..., 3], FREE_ROAD)
    table = torch.from_numpy(following_values()).float().to(cars.device)
    speed = torch.from_numpy(factor_values()).float().to(cars.device)[factor] * table[following]
    passed = (place[..., None] >= EGO_PLACE) & (where <= EGO_PLACE) & own_lane
    own_speed = (EGO_STEP * ego[:, 2] * table[ego[:, 3]])[:, None, None]
    side = torch.arange(LANES, device=cars.device) - ego[:, 1:2]  # (B, L)
    side = torch.where(side.abs() < 2, side + 1, SIDES - 1)[:, None].expand(-1, steps, -1)
    where, factor = torch.where(passed, EGO_PLACE, where), torch.where(passed, NO_FACTOR, factor)
    expected = torch.full_like(where, NEVER), torch.full_like(where, FACTORS)
    if before is not None:
        expected = _expected(where, place, before, (own_speed[:, 0, 0], table))
    return Lanes(where, factor, torch.where(passed, own_speed, speed) / 2.0, side, *expected), place


def _expected(
    last: Tensor, place: Tensor, before: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return (place, factor) of the next car of each lane at constant speed, (B, S, L), behind its last car.

    now: the ego car's speed (B,) [px/frame], and following speeds by token
    """
    (ego, cars), (own_speed, table) = before, now
    there = (cars[..., 0] == END).cumsum(1) == 0
    speed = torch.from_numpy(factor_values()).float().to(cars.device)[cars[..., 2]] * table[cars[..., 3]]
    mean = 0.5 * (own_speed + EGO_STEP * ego[:, 2] * table[ego[:, 3]])  # of the ego car, in the period between
    where = cars[..., 0].cumsum(1) - torch.round((speed - mean[:, None]) * PERIOD / PLACE).long()  # (B, E)
    where = torch.where(there, where, NEVER)[:, None, None]  # (B, 1, 1, E)
    in_lane = cars[:, None, None, :, 1] == torch.arange(LANES, device=cars.device)[:, None]  # (B, 1, L, E)
    is_next = in_lane & (where > last[..., None] + LONG // 2) & (where >= place[..., None, None] - SLACK)
    found, which = torch.where(is_next, where, NEVER).min(-1)  # (B, S, L)
    factor = cars[:, None, None, :, 2].expand(*found.shape, -1).gather(-1, which[..., None])[..., 0]
    return found, torch.where(found < NEVER, factor, FACTORS)
