"""Envs of a compiled learner: they drive, observe and start anew in compiled code, over threads.

The simulator, the observations and the episode lengths are those of `deeptraffic.envs.batch.EnvBatch`; what is left out
is what learners of dense networks do not use: other agents' policies, official runs, temporal windows, images.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations.gaps import GapsObservation, write_gaps
from deeptraffic.envs.observations.vector import VectorObservation, write_vector
from deeptraffic.envs.seeding import FIRST_DRAWN_SEED
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator, drive_period
from deeptraffic.sim.random import GOLDEN, hash_run, mix
from deeptraffic.sim.reset import reset_run
from deeptraffic.sim.rules import Rules, Sensor
from deeptraffic.sim.state import I64, Game, Games

if TYPE_CHECKING:
    from agents.config import TrainConfig

U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]


class EnvState(NamedTuple):
    """State of B envs beside their games.

    obs: (B, D) float32 what each ego car observes now
    steps: (B,) int64 decisions carried out in the episode; limits: (B,) int64 after how many it is truncated
    passed: (B,) int64 vehicles passed until now, minus vehicles that passed
    random: (B,) uint64 SplitMix64 streams, from which runs and exploration are drawn
    """

    obs: F32
    steps: I64
    limits: I64
    passed: I64
    random: U64


class Envs:
    """A run's B envs.

    sim: the simulator; state: see `EnvState`; sensor, shows_gaps: see `observe`
    """

    def __init__(self, config: "TrainConfig") -> None:
        observation, count = config.observation, config.envs.num_envs
        assert isinstance(observation, GapsObservation | VectorObservation)
        self.sim = Simulator(config.road.build(), count)
        self.sensor, self.shows_gaps = observation.sensor, isinstance(observation, GapsObservation)
        longest = config.envs.max_steps
        self.state = EnvState(
            obs=np.zeros((count, observation.size), np.float32),
            steps=np.zeros(count, np.int64),
            limits=longest - np.arange(count) * longest // count,  # the first episodes end evenly spread
            passed=np.zeros(count, np.int64),
            random=np.random.default_rng(config.seed).integers(1 << 63, size=count).astype(np.uint64),
        )
        self.max_steps = longest
        self.sim.reset_open(range(config.seed, config.seed + count))
        self.sim.step(self.sim.idle)
        observe(self.sim.table, self.sensor, self.shows_gaps, self.sim.games, self.sim.env_indices, self.state.obs)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that the future depends on, themselves; games as bytes."""
        return {"games": self.sim.games.view(np.uint8).reshape(-1), **self.state._asdict()}


@compiled
def observe(rules: NDArray[Any], sensor: Sensor, shows_gaps: bool, games: Games, env_indices: I64, obs: F32) -> None:
    """Write what the ego car of each env observes to obs (len(env_indices), D): lane gaps, or the sensor's cells."""
    if shows_gaps:
        write_gaps(rules, sensor, games, env_indices, 0, obs)
    else:
        write_vector(rules, sensor, games, env_indices, 0, obs)


@compiled
def start_episode(rules: Rules, game: Game, state: EnvState, k: int, max_steps: int) -> None:
    """Start env k's next episode, an open run drawn from its stream, and run to the first decision."""
    state.random[k] += GOLDEN
    seed = mix(state.random[k]) >> np.uint64(1) | np.uint64(FIRST_DRAWN_SEED)
    game.rng, run = hash_run(seed)
    game.action = 0
    reset_run(rules, game, run)
    state.steps[k], state.limits[k], state.passed[k] = 0, max_steps, 0
    drive_period(rules, game, np.zeros(rules.other_agents + 1, np.int64))


@compiled
def draw_uniform(state: EnvState, k: int) -> float:
    """Return a number in [0, 1) from env k's stream."""
    state.random[k] += GOLDEN
    return np.float64(mix(state.random[k]) >> np.uint64(11)) * 2.0**-53
