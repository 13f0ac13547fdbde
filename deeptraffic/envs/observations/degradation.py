"""Weak sensors: lost frames, hidden vehicles, missing or noisy readings, latency, as options of observations.

A weak sensor changes a copy of the scene before it is observed (`Scene`), so that every observation kind is weakened
alike, and a policy file's layers compute from weakened cells what the environment computes. The simulator and the
action masks are untouched.

Randomness is a hash of the game's random stream, its frame, the agent and `noise_seed`: a decision of an open run shows
the same noise to every policy and in every environment, single or vector, and saved states need no generator.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.settings import Checked, boolean, integer, real
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator, run_in_chunks
from deeptraffic.sim.noise import mix, normal, uniform
from deeptraffic.sim.rules import (
    CELL_LENGTH,
    FULL_SPEED,
    FULL_SPEED_MPH,
    MPH_PER_PX,
    VEHICLE_CELLS,
    VEHICLE_LENGTH,
    VEHICLE_WIDTH,
    Rules,
)
from deeptraffic.sim.state import I64, PAD, Game, Games

MAX_LATENCY = 15  # [decisions]
MAX_PERIOD = 15  # [decisions]
UNKNOWN_SPEED = FULL_SPEED / 2  # [px/frame] that every vehicle reads where the sensor shows no speeds
NO_RUN = -1  # key of an env that was reset and not observed since
NOWHERE = np.inf  # y of a hidden vehicle [px]
LOSS, SPEEDS, CELLS = 0, 16, 4096  # indices of draws of a key: of the frame, by vehicle, by cell


# --- options --------------------------------------------------------------------------------------------------------


class Weakness(NamedTuple):
    """The options of a weak sensor in compiled code, see `WeakCells`; speed_noise in px/frame."""

    drop_rate: float
    period: int
    occlusion: bool
    shows_speeds: bool
    speed_noise: float
    miss_rate: float
    ghost_rate: float
    noise_seed: int


PERFECT = Weakness(0.0, 1, False, True, 0.0, 0.0, 0.0, 0)


@dataclass(frozen=True, kw_only=True)
class WeakSensor(Checked):
    """Options of a weak sensor for every kind that is computed from the scene.

    drop_rate: probability that a frame is lost: every cell reads 0, an image is black, no vehicle is listed
    period: [decisions] between two frames of a slow sensor, such as a radar that turns; those between are lost. A frame
        comes at the first decision, and where frame // decision_period of the run is a multiple of the period
    latency: [decisions] age of what is seen; an episode's first observation stands for those before it
    occlusion: whether vehicles hide others: those whose middle the straight line from the agent's does not reach
    noise_seed: of the noise, beside the run's own seed
    """

    drop_rate: float = real(0.0, 0.0, 1.0)
    period: int = integer(1, 1, MAX_PERIOD)
    latency: int = integer(0, 0, MAX_LATENCY)
    occlusion: bool = boolean(False)
    noise_seed: int = integer(0, 0, 2**31 - 1)

    @property
    def weakness(self) -> Weakness | None:
        """How the sensor changes the scene; None if it does not."""
        weakness = self.changes()
        return None if weakness._replace(noise_seed=0) == PERFECT else weakness

    def changes(self) -> Weakness:
        """Return all options."""
        lossy = PERFECT._replace(drop_rate=self.drop_rate, period=self.period)
        return lossy._replace(occlusion=self.occlusion, noise_seed=self.noise_seed)


@dataclass(frozen=True, kw_only=True)
class WeakSpeeds(WeakSensor):
    """Options of a weak sensor for kinds that show the speeds of vehicles.

    shows_speeds: whether it reads speeds; otherwise every vehicle reads 40 mph
    speed_noise: [mph] standard deviation of a reading, which is clipped to 0..80 mph
    """

    shows_speeds: bool = boolean(True)
    speed_noise: float = real(0.0, 0.0, FULL_SPEED_MPH)

    def changes(self) -> Weakness:
        """Return all options."""
        noise = self.speed_noise / MPH_PER_PX
        return super().changes()._replace(shows_speeds=self.shows_speeds, speed_noise=noise)


@dataclass(frozen=True, kw_only=True)
class WeakCells(WeakSpeeds):
    """Options of a weak sensor for kinds that are computed from cells; the agent's own cells stay as they are.

    miss_rate: probability that an occupied cell reads as free
    ghost_rate: probability that a free cell reads as occupied, by a vehicle with the speed of one on the road
    """

    miss_rate: float = real(0.0, 0.0, 1.0)
    ghost_rate: float = real(0.0, 0.0, 1.0)

    def changes(self) -> Weakness:
        """Return all options."""
        return super().changes()._replace(miss_rate=self.miss_rate, ghost_rate=self.ghost_rate)


# --- the scene ------------------------------------------------------------------------------------------------------


class Scene(Simulator):
    """What a weak sensor perceives of the envs of a simulator: changed copies of their states.

    run_keys: (B,) int64 hashed from each run's start, for what is drawn once in a run, such as colours; `NO_RUN` before
    frame_keys: (B,) int64 of the noise in each frame
    lost: (B,) bool whether the frame was lost
    """

    def __init__(self, sim: Simulator, weakness: Weakness, run_keys: I64) -> None:
        super().__init__(sim.rules, sim.num_envs, sim.threads)
        self.weakness = weakness
        self.run_keys, self.frame_keys = run_keys, np.zeros(sim.num_envs, np.int64)
        self.lost = np.zeros(sim.num_envs, np.bool_)

    def perceive(self, sim: Simulator, env_indices: I64, agent: int) -> None:
        """Copy these envs from the simulator, as the agent perceives them."""
        arrays = self.games, self.run_keys, self.frame_keys, self.lost
        run_in_chunks(sim, perceive_envs, env_indices, (), (self.weakness, arrays), (agent,))


@compiled
def perceive_envs(
    rules: NDArray,
    weakness: Weakness,
    scene: tuple[Games, I64, I64, NDArray],
    games: Games,
    env_indices: I64,
    agent: int,
) -> None:
    """Write the agent's perception of each env to the scene: games, run_keys, frame_keys and lost."""
    seen, run_keys, frame_keys, lost = scene
    for k in range(env_indices.size):
        env = env_indices[k]
        seen[env] = games[env]
        game = seen[env]
        key = noise_key(game.rng, game.frame, agent, weakness.noise_seed)
        frame_keys[env] = key
        if run_keys[env] == NO_RUN:
            run_keys[env] = key
        is_due = game.frame // rules[0].decision_period % weakness.period == 0
        lost[env] = not is_due or uniform(key, LOSS) < weakness.drop_rate
        if lost[env]:
            lose_frame(game, agent)
        else:
            degrade(rules[0], weakness, game, agent, key)


@compiled
def lose_frame(game: Game, agent: int) -> None:
    """Let every cell read 0, and list no other vehicle."""
    game.cells[:] = 1
    game.map_speed[:] = 0.0
    for j in range(game.y.size):
        if j != agent:
            game.y[j] = NOWHERE


@compiled
def degrade(rules: Rules, weakness: Weakness, game: Game, agent: int, key: int) -> None:
    """Change the readings of other vehicles, hide vehicles, then change cells."""
    for j in range(game.y.size):
        if j == agent:
            continue
        if not weakness.shows_speeds:
            set_speed(game, j, UNKNOWN_SPEED, UNKNOWN_SPEED)
        elif weakness.speed_noise > 0.0:
            error = weakness.speed_noise * normal(key, SPEEDS + 2 * j)
            set_speed(game, j, game.map_speed[j + 1] + error, game.following_speed[j] * game.speed_factor[j] + error)
    if weakness.occlusion:
        hidden = np.zeros(game.y.size, np.bool_)
        for j in range(game.y.size):
            hidden[j] = j != agent and is_hidden(game, agent, j)
        for j in range(game.y.size):
            if hidden[j]:
                game.y[j] = NOWHERE
                game.map_speed[j + 1] = rules.empty
    if weakness.miss_rate > 0.0 or weakness.ghost_rate > 0.0:
        change_cells(rules, weakness, game, agent, key)


@compiled
def set_speed(game: Game, j: int, reading: float, speed: float) -> None:
    """Set what the cells of vehicle j read and its speed [px/frame], within 0..80 mph."""
    game.map_speed[j + 1] = min(max(reading, 0.0), FULL_SPEED)
    game.following_speed[j] = 1.0
    game.speed_factor[j] = min(max(speed, 0.0), FULL_SPEED)


@compiled
def is_hidden(game: Game, agent: int, j: int) -> bool:
    """Whether a third vehicle lies on the straight line between the middles of the agent's car and vehicle j."""
    across, along = game.x[j] - game.x[agent], game.y[j] - game.y[agent]
    for m in range(game.y.size):
        if m in (agent, j):
            continue
        # the line runs from 0 to 1; a vehicle's box is crossed where both its sides are
        first, last = 0.0, 1.0
        for way, offset, half in (
            (across, game.x[m] - game.x[agent], VEHICLE_WIDTH / 2),
            (along, game.y[m] - game.y[agent], VEHICLE_LENGTH / 2),
        ):
            if way == 0.0:
                if abs(offset) > half:
                    last = -1.0
            else:
                a, b = (offset - half) / way, (offset + half) / way
                first, last = max(first, min(a, b)), min(last, max(a, b))
        if first < last:
            return True
    return False


@compiled
def change_cells(rules: Rules, weakness: Weakness, game: Game, agent: int, key: int) -> None:
    """Free occupied cells and occupy free ones, but none that the agent's car marks or covers."""
    own_row = int(math.floor(rules.ego_y / CELL_LENGTH))
    if rules.sense_from_own_row and abs(game.y[agent]) < 1e6:
        own_row = int(math.floor(game.y[agent] / CELL_LENGTH))
    for column in range(game.cells.shape[0]):
        for row in range(rules.rows):
            number = int(game.cells[column, PAD + row])
            if number == agent + 1 or (column == game.lane[agent] and 0 <= row - own_row < VEHICLE_CELLS):
                continue
            index = CELLS + 2 * (column * rules.rows + row)
            if number != 0:
                if uniform(key, index) < weakness.miss_rate:
                    game.cells[column, PAD + row] = 0
            elif uniform(key, index) < weakness.ghost_rate:
                j = int(uniform(key, index + 1) * (game.y.size - 1))
                game.cells[column, PAD + row] = (j if j < agent else j + 1) + 1


@compiled
def noise_key(stream: int, frame: int, agent: int, seed: int) -> int:
    """Return the key of the noise that an agent perceives in a game's frame."""
    return mix(mix(mix(mix(int(seed)) + int(stream)) + int(frame)) + int(agent))
