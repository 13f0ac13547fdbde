"""Run B games at once: owns the buffers, hands rows to compiled loops, and spreads them over CPU threads.

    >>> from deeptraffic.sim.engine import Simulator
    >>> from deeptraffic.sim.rules import RULES_2018, Sensor
    >>> sim = Simulator(RULES_2018, num_envs=1024)
    >>> sim.reset_open(range(1024))
    >>> sim.step(sim.idle)                      # one decision period: 30 frames of every game
    >>> obs = sim.sense(Sensor(3, 50, 10))      # (1024, 420) float64

Threads are plain Python threads: the compiled loops release the interpreter's lock, a row's future depends on its own
state alone, and unlike OpenMP's pool they survive a fork (SubprocVecEnv, AsyncVectorEnv).
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.kernel import drive
from deeptraffic.sim.observation import sense
from deeptraffic.sim.random import open_run_streams, seed_stream
from deeptraffic.sim.reset import reset_run, start_program
from deeptraffic.sim.rules import MPH_PER_PX, Action, Rules, Sensor
from deeptraffic.sim.state import F64, I64, Game, Games, State, make_games, rules_record

FOREVER = np.iinfo(np.int64).max
MIN_ROWS_PER_THREAD = 32


@compiled
def _start_rows(rules: NDArray, games: Games, rows: I64, streams: I64) -> None:
    for k in range(rows.size):
        start_program(rules[0], games[rows[k]], streams[k])


@compiled
def _reset_rows(rules: NDArray, games: Games, rows: I64, runs: I64) -> None:
    for k in range(rows.size):
        reset_run(rules[0], games[rows[k]], runs[k])


@compiled
def _drive_rows(rules: NDArray, games: Games, rows: I64, actions: I64, end_frames: I64) -> None:
    for k in range(rows.size):
        drive(rules[0], games[rows[k]], actions[k], end_frames[k])


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
def _step_rows(rules: NDArray, games: Games, rows: I64, periods: int, actions: I64) -> None:
    for k in range(rows.size):
        for _ in range(periods):
            drive_period(rules[0], games[rows[k]], actions[k])


@compiled
def _sense_rows(
    rules: NDArray, games: Games, rows: I64, lanes_side: int, ahead: int, behind: int, agent: int, out: F64
) -> None:
    sensor = Sensor(lanes_side, ahead, behind)  # as a tuple from Python it would cost more than the sensing
    for k in range(rows.size):
        sense(rules[0], sensor, games[rows[k]], agent, out[k])


class Simulator:
    """B games under one set of rules.

    Args:
        rules: the game's numbers; `RoadConfig(...).build()`, RULES_2017 or RULES_2018
        num_envs: B, at least 1
        threads: CPU threads to spread rows over; None takes DEEPTRAFFIC_THREADS or all cores of this process

    A new simulator is in no defined game: call a reset first.
    """

    def __init__(self, rules: Rules, num_envs: int = 1, threads: int | None = None) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs} games cannot be simulated; give at least 1")
        self.rules = rules
        self.num_envs = num_envs
        self.threads = _count_threads(threads)
        self.games = make_games(rules, num_envs)
        self.state = self.games.view(np.recarray)
        self.table = rules_record(rules)
        self.rows = np.arange(num_envs)
        self.idle = np.full((num_envs, rules.other_agents + 1), int(Action.NOTHING), np.int64)
        self._pool: ThreadPoolExecutor | None = None
        self._pool_process = 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the threads, and `state`, which must go on sharing memory with `games`."""
        return {"rules": self.rules, "num_envs": self.num_envs, "threads": self.threads, "games": self.games}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        """Build a simulator around the saved games."""
        Simulator.__init__(self, saved["rules"], saved["num_envs"], saved["threads"])
        self.games[:] = saved["games"]

    # --- starting games -------------------------------------------------------------------------------------------

    def start_program(self, seed: int = 1, rows: ArrayLike | None = None) -> None:
        """Bring rows to where a freshly loaded game stands before its first reset (official runs: seed 1)."""
        rows = self._rows(rows)
        run_in_chunks(self, _start_rows, rows, (np.full(rows.size, seed_stream(seed)),))

    def reset(self, run: ArrayLike, rows: ArrayLike | None = None) -> None:
        """Reset rows as reset number `run`, a number or one per row, >= 0; their streams go on from where they are."""
        rows = self._rows(rows)
        run_in_chunks(self, _reset_rows, rows, (_per_row(run, rows),))

    def reset_open(self, seeds: Iterable[int], rows: ArrayLike | None = None) -> None:
        """Start rows as open runs, one seed each: independent of each other and of everything before."""
        rows = self._rows(rows)
        streams = np.array([open_run_streams(int(seed)) for seed in seeds], np.int64).reshape(-1, 2)
        if len(streams) != rows.size:
            raise ValueError(f"{len(streams)} seeds for {rows.size} games; give one seed per game")
        self.games["rng"][rows] = streams[:, 0]
        self.games["action"][rows] = int(Action.NOTHING)
        run_in_chunks(self, _reset_rows, rows, (np.ascontiguousarray(streams[:, 1]),))

    # --- driving --------------------------------------------------------------------------------------------------

    def run_to_decision(self, actions: ArrayLike = 0, rows: ArrayLike | None = None) -> I64:
        """Hand each row's waiting agent its action and run to the next decision of any agent.

        actions: (B,) or one number, ignored by rows that wait for nobody. Returns the agents now waiting, (B,).
        """
        return self.run_to_frame(FOREVER, actions, rows)

    def run_to_frame(self, end_frame: ArrayLike, actions: ArrayLike = 0, rows: ArrayLike | None = None) -> I64:
        """As `run_to_decision`, but stop between two frames once `end_frame` have ended; waiting is then NOBODY."""
        rows = self._rows(rows)
        run_in_chunks(self, _drive_rows, rows, (_per_row(actions, rows), _per_row(end_frame, rows)))
        return self.games["waiting"][rows]

    def step_frame(self, actions: ArrayLike = 0, rows: ArrayLike | None = None) -> I64:
        """As `run_to_decision`, but stop at the end of the frame each row is in or about to begin."""
        rows = self._rows(rows)
        return self.run_to_frame(self.games["frame"][rows] + 1, actions, rows)

    def step(self, actions: ArrayLike, rows: ArrayLike | None = None, periods: int = 1) -> None:
        """Run to the ego car's next decision (the first call after a reset: to its first), `periods` times.

        actions: (B,) the ego car's decisions (other agents then decide to do nothing), or (B, A + 1), agent i's at i.
        """
        rows = self._rows(rows)
        given = np.asarray(actions, np.int64)
        if given.shape == (rows.size,):
            alone = given
            given = np.zeros((rows.size, self.rules.other_agents + 1), np.int64)
            given[:, 0] = alone
        elif given.shape != (rows.size, self.rules.other_agents + 1):
            raise ValueError(
                f"actions of shape {given.shape} for {rows.size} games; "
                f"give shape ({rows.size},) or ({rows.size}, {self.rules.other_agents + 1})"
            )
        run_in_chunks(self, _step_rows, rows, (np.ascontiguousarray(given),), scalars=(periods,))

    def sense(
        self, sensor: Sensor, agent: int = 0, rows: ArrayLike | None = None, out: NDArray[np.floating] | None = None
    ) -> NDArray[np.floating]:
        """Return what `agent` sees in each row: (B, sensor.size) float64, or written into `out` of that shape."""
        rows = self._rows(rows)
        sensor.check(self.rules)
        if not 0 <= agent <= self.rules.other_agents:
            raise ValueError(f"agent={agent} does not drive here; agents are 0..{self.rules.other_agents}")
        shape = (rows.size, sensor.size)
        if out is None:
            out = np.empty(shape)
        elif out.shape != shape or out.dtype.kind != "f":  # compiled loops would write past its end
            raise ValueError(
                f"out of shape {out.shape} and type {out.dtype} does not fit; give {shape} of a float type"
            )
        run_in_chunks(self, _sense_rows, rows, (out,), scalars=(*sensor, agent))
        return out

    def speed_mph(self, rows: ArrayLike | None = None) -> F64:
        """Current speed of the ego car of each row [mph], (B,)."""
        rows = self._rows(rows)
        return MPH_PER_PX * self.games["following_speed"][rows, 0] * self.games["speed_factor"][rows, 0]

    # --- saving and restoring -------------------------------------------------------------------------------------

    def get_state(self, rows: ArrayLike | None = None) -> State:
        """Return a copy of rows (all by default), (B,) records that share no memory with the simulator."""
        return self.games[self._rows(rows)].view(np.recarray)

    def set_state(self, state: State, rows: ArrayLike | None = None) -> None:
        """Write copied records into rows, one each or one for all; also from another simulator of the same sizes."""
        if state.dtype != self.games.dtype:
            raise ValueError(
                f"these records are of another road ({state.dtype['cells'].shape} cells, "
                f"{state.dtype['x'].shape} vehicles); take them from a simulator with the same lanes, rows and vehicles"
            )
        rows = self._rows(rows)
        self.games[rows] = state
        self.games["map_speed"][rows, 0] = self.rules.empty  # the other contest's records hold its own

    def _rows(self, rows: ArrayLike | None) -> I64:
        """Return rows as (B,) numbers, all by default; checked, since compiled loops write wherever they are told."""
        if rows is None or rows is self.rows:
            return self.rows
        given = np.atleast_1d(np.asarray(rows))
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(f"rows of type {given.dtype} are no row numbers; for a mask give np.flatnonzero(mask)")
        for row in (given.min(initial=0), given.max(initial=0)):
            if not 0 <= row < self.num_envs:
                raise IndexError(f"row {row} is not there; this simulator has rows 0..{self.num_envs - 1}")
        return given.astype(np.int64, copy=False)


def _per_row(values: ArrayLike, rows: I64) -> I64:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.int64), rows.shape))


def run_in_chunks(sim: Simulator, loop: Any, rows: I64, per_row: tuple, fixed: tuple = (), scalars: tuple = ()) -> None:
    """Call loop(rules, *fixed, games, rows, *scalars, *per_row) on up to `sim.threads` slices of rows and per_row."""

    def call(piece: slice) -> None:
        loop(sim.table, *fixed, sim.games, rows[piece], *scalars, *(array[piece] for array in per_row))

    chunks = min(sim.threads, max(1, rows.size // MIN_ROWS_PER_THREAD))
    if chunks == 1 or not loop.overloads:  # a loop that was never called compiles first
        call(slice(None))
        return
    if sim._pool is None or sim._pool_process != os.getpid():  # a fork copies the pool, but not its threads
        sim._pool_process = os.getpid()
        sim._pool = ThreadPoolExecutor(sim.threads - 1, thread_name_prefix="deeptraffic")
    ends = [rows.size * k // chunks for k in range(chunks + 1)]
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
    if threads < 1:
        raise ValueError(f"threads={threads} cannot run anything; give at least 1")
    return threads
