"""Simulator of B games (envs) at once: owns the buffers, hands them to compiled loops, and uses several CPU threads.

    >>> from deeptraffic.sim.engine import Simulator
    >>> from deeptraffic.sim.rules import RULES_2018, Sensor
    >>> sim = Simulator(RULES_2018, num_envs=1024)
    >>> sim.reset_open(range(1024))
    >>> sim.step(sim.idle)                      # one decision period: 30 frames of every game
    >>> obs = sim.sense(Sensor(3, 50, 10))      # (1024, 420) float64

Threads are plain Python threads: the compiled loops release the interpreter's lock, an env's future depends on its own
state alone, and unlike OpenMP's pool they survive a fork (SubprocVecEnv, AsyncVectorEnv).
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeptraffic.settings import check_integer
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.observation import sense
from deeptraffic.sim.random import open_run_streams, seed_stream
from deeptraffic.sim.reset import reset_run, start_program
from deeptraffic.sim.rules import MPH_PER_PX, Action, Rules, Sensor
from deeptraffic.sim.state import F64, I64, Game, Games, State, make_games, rules_record

FOREVER = np.iinfo(np.int64).max
MIN_ENVS_PER_THREAD = 32


@compiled
def _start_envs(rules: NDArray, games: Games, env_indices: I64, streams: I64) -> None:
    for k in range(env_indices.size):
        start_program(rules[0], games[env_indices[k]], streams[k])


@compiled
def _reset_envs(rules: NDArray, games: Games, env_indices: I64, runs: I64) -> None:
    for k in range(env_indices.size):
        reset_run(rules[0], games[env_indices[k]], runs[k])


@compiled
def _drive_envs(rules: NDArray, games: Games, env_indices: I64, actions: I64, end_frames: I64) -> None:
    for k in range(env_indices.size):
        drive(rules[0], games[env_indices[k]], actions[k], end_frames[k])


@compiled
def drive_period(rules: Rules, game: Game, actions: I64) -> None:
    """Run to the ego car's next decision; actions (A + 1,) are the agents' decisions, entry 0 the ego car's."""
    agent = max(game.waiting, 0)
    while True:
        drive(rules, game, actions[agent], FOREVER)
        agent = game.waiting
        if agent == 0:
            return


@compiled
def _step_envs(rules: NDArray, games: Games, env_indices: I64, periods: int, actions: I64) -> None:
    for k in range(env_indices.size):
        for _ in range(periods):
            drive_period(rules[0], games[env_indices[k]], actions[k])


# parameters: called from Python for each observation, where a tuple would cost more than the sensing
@compiled
def _sense_envs(
    rules: NDArray, games: Games, env_indices: I64, lanes_side: int, ahead: int, behind: int, agent: int, out: F64
) -> None:
    sensor = Sensor(lanes_side, ahead, behind)  # as a tuple from Python it would cost more than the sensing
    for k in range(env_indices.size):
        sense(rules[0], sensor, games[env_indices[k]], agent, out[k])


class Simulator:
    """B games under one set of rules.

    Args:
        rules: the game's numbers; `RoadConfig(...).build()`, RULES_2017 or RULES_2018
        num_envs: B, at least 1
        threads: CPU threads to spread envs over; None takes DEEPTRAFFIC_THREADS or all cores of this process

    A new simulator is in no defined game: call a reset first.
    """

    def __init__(self, rules: Rules, num_envs: int = 1, threads: int | None = None) -> None:
        num_envs = check_integer("num_envs", num_envs, 1)
        self.rules = rules
        self.num_envs = num_envs
        self.threads = _count_threads(threads)
        self.games = make_games(rules, num_envs)
        self.state = self.games.view(np.recarray)
        self.table = rules_record(rules)
        self.starts = np.zeros((num_envs, 2), np.int64)  # random stream and reset number that each run started from
        self.env_indices = np.arange(num_envs)
        self.idle = np.full((num_envs, rules.other_agents + 1), int(Action.NOTHING), np.int64)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_process = 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the threads, and `state`, which must keep sharing memory with `games`."""
        kept = ("rules", "num_envs", "threads", "games", "starts")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        """Build a simulator around the saved games."""
        Simulator.__init__(self, saved["rules"], saved["num_envs"], saved["threads"])
        self.games[:] = saved["games"]
        self.starts = saved["starts"]  # the same array as policies hold that are attached to it

    # --- starting games -------------------------------------------------------------------------------------------

    def start_program(self, seed: int = 1, env_indices: ArrayLike | None = None) -> None:
        """Bring envs to where a freshly loaded game stands before its first reset (official runs: seed 1)."""
        env_indices = self._indices(env_indices)
        run_in_chunks(self, _start_envs, env_indices, (np.full(env_indices.size, seed_stream(seed)),))

    def reset(self, run: ArrayLike, env_indices: ArrayLike | None = None) -> None:
        """Reset envs as reset number `run`, a number or one per env, >= 0; their streams continue."""
        env_indices = self._indices(env_indices)
        runs = _per_env(run, env_indices)
        self.starts[env_indices, 0], self.starts[env_indices, 1] = self.games["rng"][env_indices], runs
        run_in_chunks(self, _reset_envs, env_indices, (runs,))

    def reset_open(self, seeds: Iterable[int], env_indices: ArrayLike | None = None) -> None:
        """Start envs as open runs, one seed each: independent of each other and of everything before."""
        env_indices = self._indices(env_indices)
        streams = np.array([open_run_streams(int(seed)) for seed in seeds], np.int64).reshape(-1, 2)
        if len(streams) != env_indices.size:
            raise ValueError(f"{len(streams)} seeds for {env_indices.size} games; give one seed per game")
        self.games["rng"][env_indices] = streams[:, 0]
        self.games["action"][env_indices] = int(Action.NOTHING)
        self.reset(streams[:, 1], env_indices)

    # --- driving --------------------------------------------------------------------------------------------------

    def run_to_decision(self, actions: ArrayLike = 0, env_indices: ArrayLike | None = None) -> I64:
        """Hand each env's waiting agent its action and run to the next decision of any agent.

        actions: (B,) or one number, ignored by envs that wait for no agent. Returns the agents now waiting, (B,).
        """
        return self.run_to_frame(FOREVER, actions, env_indices)

    def run_to_frame(self, end_frame: ArrayLike, actions: ArrayLike = 0, env_indices: ArrayLike | None = None) -> I64:
        """As `run_to_decision`, but stop between two frames once `end_frame` have ended; waiting is then NOBODY."""
        env_indices = self._indices(env_indices)
        run_in_chunks(
            self, _drive_envs, env_indices, (_per_env(actions, env_indices), _per_env(end_frame, env_indices))
        )
        return self.games["waiting"][env_indices]

    def step_frame(self, actions: ArrayLike = 0, env_indices: ArrayLike | None = None) -> I64:
        """As `run_to_decision`, but stop at the end of the frame each env is in or about to begin."""
        env_indices = self._indices(env_indices)
        return self.run_to_frame(self.games["frame"][env_indices] + 1, actions, env_indices)

    def step(self, actions: ArrayLike, env_indices: ArrayLike | None = None, periods: int = 1) -> None:
        """Run to the ego car's next decision (the first call after a reset: to its first), `periods` times.

        actions: (B,) the ego car's decisions (other agents then decide to do nothing), or (B, A + 1), agent i's at i.
        """
        env_indices = self._indices(env_indices)
        given = np.asarray(actions, np.int64)
        if given.shape == (env_indices.size,):
            alone = given
            given = np.zeros((env_indices.size, self.rules.other_agents + 1), np.int64)
            given[:, 0] = alone
        elif given.shape != (env_indices.size, self.rules.other_agents + 1):
            raise ValueError(
                f"actions of shape {given.shape} for {env_indices.size} games; "
                f"give shape ({env_indices.size},) or ({env_indices.size}, {self.rules.other_agents + 1})"
            )
        run_in_chunks(self, _step_envs, env_indices, (np.ascontiguousarray(given),), scalars=(periods,))

    def sense(
        self,
        sensor: Sensor,
        agent: int = 0,
        env_indices: ArrayLike | None = None,
        out: NDArray[np.floating] | None = None,
    ) -> NDArray[np.floating]:
        """Return what `agent` observes in each env: (B, sensor.size) float64, or written into `out` of that shape."""
        env_indices = self._indices(env_indices)
        sensor.check()
        if not 0 <= agent <= self.rules.other_agents:
            raise ValueError(f"agent={agent} does not drive here; agents are 0..{self.rules.other_agents}")
        shape = (env_indices.size, sensor.size)
        if out is None:
            out = np.empty(shape)
        elif out.shape != shape or out.dtype.kind != "f":  # compiled loops would write past its end
            raise ValueError(
                f"out of shape {out.shape} and type {out.dtype} does not fit; give {shape} of a float type"
            )
        run_in_chunks(self, _sense_envs, env_indices, (out,), scalars=(*sensor, agent))
        return out

    def speed_mph(self, env_indices: ArrayLike | None = None) -> F64:
        """Current speed of the ego car of each env [mph], (B,)."""
        env_indices = self._indices(env_indices)
        return MPH_PER_PX * self.games["following_speed"][env_indices, 0] * self.games["speed_factor"][env_indices, 0]

    # --- saving and restoring -------------------------------------------------------------------------------------

    def get_state(self, env_indices: ArrayLike | None = None) -> State:
        """Return a copy of envs (all by default), (B,) records that share no memory with the simulator."""
        return self.games[self._indices(env_indices)].view(np.recarray)

    def set_state(self, state: State, env_indices: ArrayLike | None = None) -> None:
        """Write copied records into envs, one each or one for all; also from another simulator of the same sizes."""
        if state.dtype != self.games.dtype:
            raise ValueError(
                f"these records are of another road ({state.dtype['cells'].shape} cells, "
                f"{state.dtype['x'].shape} vehicles); take them from a simulator with the same lanes, rows and vehicles"
            )
        env_indices = self._indices(env_indices)
        self.games[env_indices] = state
        self.games["map_speed"][env_indices, 0] = self.rules.empty  # the other contest's records hold its own

    def _indices(self, env_indices: ArrayLike | None) -> I64:
        """Return env indices as (B,), all by default; checked, since compiled loops write wherever they point."""
        if env_indices is None or env_indices is self.env_indices:
            return self.env_indices
        given = np.atleast_1d(np.asarray(env_indices))
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(
                f"env_indices must be integers, got type {given.dtype}; for a mask give np.flatnonzero(mask)"
            )
        for index in (given.min(initial=0), given.max(initial=0)):
            if not 0 <= index < self.num_envs:
                raise IndexError(f"env_indices must lie in [0, {self.num_envs - 1}], got {index}")
        return given.astype(np.int64, copy=False)


def _per_env(values: ArrayLike, env_indices: I64) -> I64:
    return np.full(env_indices.shape, values, np.int64)


def run_in_chunks(
    sim: Simulator, loop: Any, env_indices: I64, per_env: tuple, fixed: tuple = (), scalars: tuple = ()
) -> None:
    """Call loop(rules, *fixed, games, env_indices, *scalars, *per_env) on up to `sim.threads` slices of the envs."""

    def call(piece: slice) -> None:
        loop(sim.table, *fixed, sim.games, env_indices[piece], *scalars, *(array[piece] for array in per_env))

    chunks = min(sim.threads, max(1, env_indices.size // MIN_ENVS_PER_THREAD))
    if chunks == 1 or not loop.overloads:  # a loop that was never called compiles first
        call(slice(None))
        return
    if sim._pool is None or sim._pool_process != os.getpid():  # a fork copies the pool, but not its threads
        sim._pool_process = os.getpid()
        sim._pool = ThreadPoolExecutor(sim.threads - 1, thread_name_prefix="deeptraffic")
    ends = [env_indices.size * k // chunks for k in range(chunks + 1)]
    futures = [sim._pool.submit(call, slice(a, b)) for a, b in zip(ends[1:-1], ends[2:], strict=True)]
    try:
        call(slice(0, ends[1]))  # this thread takes its share
    finally:
        wait(futures)
    for future in futures:
        future.result()


def _count_threads(threads: int | None) -> int:
    if threads is None:
        given = os.environ.get("DEEPTRAFFIC_THREADS", "")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if given and not given.isdigit():
            raise ValueError(f"DEEPTRAFFIC_THREADS={given!r} is not a number of threads; give 1 or more, or unset it")
        threads = int(given or cores)
    return check_integer("threads", threads, 1)
