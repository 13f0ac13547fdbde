"""The two rule sets of DeepTraffic as data: every number of the game, once.

Source: the 2017 contest and the 2018/19 contest ("version 2.0") of MIT DeepTraffic, arXiv:1801.02805.
The simulator (`kernel.py`) reads a `Rules` and never asks which contest it is: the contests differ by fields named
for what they do.

    >>> from deeptraffic.sim.rules import RULES_2018, RoadConfig
    >>> RoadConfig(rules=2018, other_agents=3, lanes=5).build().lanes
    5
"""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from deeptraffic.settings import Checked, check_integer, check_real, choice, integer, real

LANE_WIDTH = 20.0  # [px]
CELL_LENGTH = 10.0  # [px] along the road
VEHICLE_WIDTH = 15.0  # [px]
VEHICLE_LENGTH = 34.0  # [px]
LANE_MARGIN = 4.0  # [px] from a lane's left edge to the left side of a vehicle in its middle
VEHICLE_CELLS = 4  # rows of cells that a vehicle covers
MPH_PER_PX = 20.0  # [mph] per [px/frame]
FULL_SPEED_MPH = 80.0  # [mph] of the contests' fastest traffic, following speed 2 at speed factor 2
FULL_SPEED = FULL_SPEED_MPH / MPH_PER_PX  # [px/frame]
MAX_FOLLOWING_SPEED = 2.0  # c on a free road
MAX_SPEED_FACTOR = 2.0  # a at which accelerating has no effect
THROTTLE = 0.02  # change of a in a frame
BASE_SCROLL = 1.5  # [px/frame] of the road while the ego car is on its line
TURN_TOLERANCE = 0.5  # [px] from the middle of its lane within which a vehicle may change lanes
MAX_OTHER_AGENTS = 10
CONTEST_LANES_SIDE = 3  # lanes to each side that a contest's sensor shows at most
MAX_LANES = 16
MAX_LANES_SIDE = 50  # of a sensor; cells beyond the road read 0
MAX_VEHICLES = 200
MAX_ROWS = 1000


class Action(IntEnum):
    """What a driver can do at a decision; the values are the original game's."""

    NOTHING = 0
    ACCELERATE = 1
    DECELERATE = 2
    LEFT = 3
    RIGHT = 4


class Rules(NamedTuple):
    """All numbers of one game; scalars only, so that compiled code can take it as it is.

    year: the contest whose rules these are (a label; nothing branches on it)
    other_agents: vehicles 1..other_agents are driven by copies of the ego car's policy
    lanes, vehicles, rows: sizes; a row is one cell of 10 px, rows * 10 px of road are simulated
    decision_period: [frames] between two decisions of one agent
    agent_stagger: [frames] agent i decides `i * agent_stagger` frames after the ego car
    empty: what an empty cell of the speed map reads; a cell is free if it reads at least this
    ego_mark_gain: the ego car marks itself with (ego_mark_gain * c) * a before it senses
    ego_y: [px] the line the scrolling holds the ego car at, and where passing is counted
    ego_row: the row that the layout gives to the ego car
    sense_from_own_row: sensors are centred on the vehicle's own row (else on the row of ego_y)
    action_persists: the ego car repeats its last action in every frame until the next decision
    controlled_keep_factor: a driven vehicle that re-enters the road keeps its speed factor
    grid_layout: a reset reseeds the streams and places vehicles on a grid (else draws everything from the one stream)
    score_clamps: a negative speed counts as 0 in the score
    traffic_factor_min, traffic_factor_range, traffic_factor_share: a = min + range * (share * draw)
    ego_factor, agent_factor: speed factors at the start of a run (grid layout)
    turn_threshold, turn_slope: traffic tries a lane change where a draw exceeds threshold + slope * c
    """

    year: int
    other_agents: int
    lanes: int
    vehicles: int
    rows: int
    decision_period: int
    agent_stagger: int
    empty: float
    ego_mark_gain: float
    ego_y: float
    ego_row: int
    sense_from_own_row: bool
    action_persists: bool
    controlled_keep_factor: bool
    grid_layout: bool
    score_clamps: bool
    traffic_factor_min: float
    traffic_factor_range: float
    traffic_factor_share: float
    ego_factor: float
    agent_factor: float
    turn_threshold: float
    turn_slope: float

    @property
    def road_length(self) -> float:
        """[px] of road that are simulated."""
        return self.rows * CELL_LENGTH

    @property
    def road_width(self) -> float:
        """[px] from the left edge of the leftmost lane to the right edge of the rightmost."""
        return self.lanes * LANE_WIDTH


RULES_2018 = Rules(
    year=2018,
    other_agents=0,
    lanes=7,
    vehicles=20,
    rows=70,
    decision_period=30,
    agent_stagger=3,
    empty=100.0,
    ego_mark_gain=1.0,
    ego_y=525.0,
    ego_row=56,
    sense_from_own_row=True,
    action_persists=False,
    controlled_keep_factor=True,
    grid_layout=True,
    score_clamps=True,
    traffic_factor_min=1.0,
    traffic_factor_range=0.7,
    traffic_factor_share=0.5,
    ego_factor=2.0,
    agent_factor=1.7,
    turn_threshold=0.99,
    turn_slope=0.004,
)

RULES_2017 = RULES_2018._replace(
    year=2017,
    empty=7.0,
    ego_mark_gain=10.0,
    sense_from_own_row=False,
    action_persists=True,
    controlled_keep_factor=False,
    grid_layout=False,
    score_clamps=False,
    traffic_factor_share=1.0,
)

CONTESTS = {2017: RULES_2017, 2018: RULES_2018}


@dataclass(frozen=True)
class RoadConfig(Checked):
    """A validated choice of rules: a contest's, or a research road derived from it.

    rules: 2017 or 2018
    other_agents: 0..10 driven copies of the policy in the traffic (2018 only)
    lanes: 1..16
    vehicles: 1..200, the ego car and the other agents included; None: the contests' 20, or fewer where the road has
        no room for them
    rows: 20..1000 cells of 10 px (contests: 70)
    decision_period: 10..300 [frames], a multiple of 10 (contests: 30)
    traffic_factor_min: slowest traffic's speed factor (contests: 1.0; speed = 2 * factor [px/frame] on a free road)
    traffic_factor_range: how far the fastest traffic is above that, before the contest's share of it (0.7)
    lane_change_rate: 0..1, chance per frame that a standing traffic car tries a lane change (contests: 0.01)

    Raises ValueError with the value, the limit and the remedy for whatever cannot be built.
    """

    rules: int = choice(2018, *CONTESTS)
    other_agents: int = integer(0, 0, MAX_OTHER_AGENTS)
    lanes: int = integer(7, 1, MAX_LANES)
    vehicles: int = integer(None, 1, MAX_VEHICLES)
    rows: int = integer(70, 20, MAX_ROWS)
    decision_period: int = integer(30, 10, 300)
    traffic_factor_min: float = real(1.0, 0.01, 2.0)
    traffic_factor_range: float = real(0.7, 0.0, 2.0)
    lane_change_rate: float = real(0.01, 0.0, 1.0)

    strict: ClassVar[bool] = True

    def build(self) -> Rules:
        """Return the `Rules` of this road; with the contests' values they equal RULES_2017 or RULES_2018."""
        contest = CONTESTS[self.rules]
        return contest._replace(
            other_agents=self.other_agents,
            lanes=self.lanes,
            vehicles=self.vehicles,
            rows=self.rows,
            decision_period=self.decision_period,
            agent_stagger=self.decision_period // 10,
            ego_y=0.75 * (self.rows * CELL_LENGTH),
            ego_row=self.rows * 4 // 5,
            traffic_factor_min=float(self.traffic_factor_min),
            traffic_factor_range=float(self.traffic_factor_range),
            turn_threshold=1.0 - self.lane_change_rate,
            turn_slope=0.4 * self.lane_change_rate,
        )

    @classmethod
    def of(cls, rules: Rules) -> "RoadConfig":
        """Return the configuration that builds these rules; ValueError if none does."""
        own = {name: value for name, value in rules._asdict().items() if name in cls.__dataclass_fields__}
        rate = check_real("turn_slope", rules.turn_slope, 0.0, 0.4) / 0.4
        rates = (rate, math.nextafter(rate, 0.0), math.nextafter(rate, 1.0))  # divided, it may be rounded another way
        configs = [cls(rules=rules.year, **own, lane_change_rate=rate) for rate in rates]
        for config in configs:
            if config.build() == rules:
                return config
        values = zip(Rules._fields, rules, configs[0].build(), strict=True)
        name, value, buildable = next(each for each in values if each[1] != each[2])
        raise ValueError(
            f"no RoadConfig builds rules of {name}={value!r:.80}: it would be {buildable!r}; give a RoadConfig"
        )

    def check(self) -> None:
        """Raise ValueError where the vehicles do not fit onto the road, or other agents into the decision period."""
        # Each vehicle that the grid layout places takes 16 cells away, and the last one still needs a cell to stand on.
        room = (self.lanes * self.rows - 1) // 16 + 1 if self.rules == 2018 else MAX_VEHICLES
        given: int | None = self.vehicles
        if given is None:
            object.__setattr__(self, "vehicles", min(CONTESTS[self.rules].vehicles, room))
        if self.rules == 2017 and self.other_agents != 0:
            raise ValueError(
                f"other_agents must be 0 under the 2017 rules, which have none, got {self.other_agents}; use rules=2018"
            )
        if self.decision_period % 10:
            raise ValueError(
                f"decision_period={self.decision_period} [frames] is not a multiple of 10, "
                f"so that other agents cannot take turns in it; use {max(10, round(self.decision_period, -1))}"
            )
        if self.other_agents >= self.vehicles:
            raise ValueError(
                f"other_agents={self.other_agents} do not fit into vehicles={self.vehicles}, "
                f"of which one is the ego car; raise vehicles above {self.other_agents} or lower other_agents"
            )
        if self.vehicles > room:
            raise ValueError(
                f"vehicles={self.vehicles} cannot be placed on lanes={self.lanes} x rows={self.rows}, "
                f"which holds {room}; lower vehicles or raise lanes or rows"
            )


class Sensor(NamedTuple):
    """The window of cells that an agent sees: (2*lanes_side + 1) columns x (patches_ahead + patches_behind) rows."""

    lanes_side: int = 3
    patches_ahead: int = 50
    patches_behind: int = 10

    @property
    def columns(self) -> int:
        """Cells across."""
        return 2 * self.lanes_side + 1

    @property
    def contest(self) -> bool:
        """Whether the contests allowed it."""
        return self.lanes_side <= CONTEST_LANES_SIDE

    @property
    def length(self) -> int:
        """Cells along the road."""
        return self.patches_ahead + self.patches_behind

    @property
    def size(self) -> int:
        """Entries of the observation vector."""
        return self.columns * self.length

    def narrowed(self, rules: Rules) -> "Sensor":
        """Return the part of it that the road has room for: what is left out would always lie off the road."""
        limits = (rules.lanes - 1, rules.rows, rules.rows)
        return Sensor(*(min(side, limit) for side, limit in zip(self, limits, strict=True)))

    def check(self) -> "Sensor":
        """Return self, or raise ValueError if the sensor is empty or larger than the game takes, on whichever road."""
        for name, limit in zip(self._fields, (MAX_LANES_SIDE, MAX_ROWS, MAX_ROWS), strict=True):
            check_integer(name, getattr(self, name), 0, limit)
        if self.length == 0:
            raise ValueError("patches_ahead=0 and patches_behind=0 see nothing; raise one of them")
        return self
