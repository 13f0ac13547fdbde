"""Many games as one: what the vector environments of Gymnasium and Stable-Baselines3 are made of.

A step is three compiled loops over all games, spread over threads: drive to the next decision, start anew where an
episode ended, observe. Nothing terminates, so which games end is known by counting. Only games that end cost Python
time, for each draws its next run from its own generator.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeptraffic.envs.gym_env import write_report
from deeptraffic.envs.observations import ObservationLike, Observer, make_observation
from deeptraffic.envs.official_chain import OfficialChain
from deeptraffic.envs.open_seeds import OpenSeeds
from deeptraffic.envs.others import OtherDrivers, Others
from deeptraffic.envs.settings import check_max_steps, check_reward, resolve_rules, reward_of
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import FOREVER, Simulator, drive_period, run_in_chunks
from deeptraffic.sim.rules import Action, RoadConfig
from deeptraffic.sim.state import F64, I64, NOBODY, Games

CARRIED_OUT_NOTHING = -1  # in place of an action, for a game that has just been reset
REPORT = 6  # entries: reward, speed_mph, passed, lane, frame, blocked
BIG_PICTURES = 4  # games are painted at full size up to here, more games smaller
MIN_PICTURE = 32  # [pixels]
FULL_SPEED_MPH = 80.0  # the unit of the reward "speed"


@compiled
def step_rows(rules: NDArray[Any], report: F64, games: Games, rows: I64, actions: I64) -> None:
    """Run each row to the ego car's next decision, actions (len(rows), A + 1), and write its report[row]."""
    for k in range(rows.size):
        drive_period(rules[0], games[rows[k]], actions[k])
        write_report(games[rows[k]], report[rows[k]])


@compiled
def report_rows(rules: NDArray[Any], report: F64, games: Games, rows: I64) -> None:
    """Write report[row] of rows as they stand."""
    for k in range(rows.size):
        write_report(games[rows[k]], report[rows[k]])


# rows that begin a run by seeds of their own -> (which of them begin elsewhere, (k,); their games, (k,) records before
# frame 0 of this road). What a learner may start from beside the road's own starts.
Starts = Callable[[I64], tuple[I64, Games]]


class GameBatch:
    """B games with their observers, other drivers, episode lengths and seeds.

    Args: those of `DeepTrafficVectorEnv`

    starts: other states that games begin in when they start anew unasked; None for none
    steps: (B,) int64 decisions carried out in the episode, -1 before the first reset
    limits: (B,) int64 decisions after which the episode is cut
    report: (B, 6) float64 what the games returned last, see `REPORT`
    """

    def __init__(
        self,
        num_envs: int,
        rules: int | RoadConfig,
        other_agents: int,
        observation: ObservationLike,
        reward: str,
        max_steps: int | None,
        others: Others | None,
        threads: int | None,
        stagger: bool,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer):
            raise ValueError(f"num_envs={num_envs!r} is not possible; give a whole number from 1")
        self.rules = resolve_rules(rules, other_agents)
        self.reward, self.max_steps, self.stagger = check_reward(reward), check_max_steps(max_steps), stagger
        if stagger and self.max_steps is None:
            raise ValueError("stagger=True cannot shorten episodes that never end (max_steps=None); give max_steps")
        self.sim = Simulator(self.rules, int(num_envs), threads)
        self.observation = make_observation(observation)
        self.observer = Observer(self.rules, self.observation, self.sim.num_envs)
        self.others = OtherDrivers(others, self.sim, self.observation) if others is not None else None
        self.seeds = OpenSeeds(self.sim.num_envs)
        self.chain = OfficialChain(self.sim.num_envs, self.rules.year)
        self.rows = self.sim.rows
        self.steps = np.full(self.rows.size, -1)
        self.limits = np.full(self.rows.size, FOREVER)
        self.report = np.zeros((self.rows.size, REPORT))
        self.starts: Starts | None = None
        self._passed = np.zeros(self.rows.size)
        self._painter: Any = None

    # --- running ----------------------------------------------------------------------------------------------------

    def reset(
        self, rows: I64, seeds: Sequence[int | None] | None = None, official_run: Any = None, first: bool = False
    ) -> None:
        """Start rows anew and run them to the ego car's first decision.

        seeds: one per row, None to draw from the row's generator; official_run: that run instead of an open one;
        first: these may be the shortened first episodes that `stagger` asks for
        """
        if seeds is not None:
            self.seeds.plant(rows, seeds)
        if official_run is None:
            self.sim.reset_open(self.seeds.runs(rows, seeds), rows)
            self.chain.leave(rows)
            if self.starts and seeds is None:
                some, games = self.starts(rows)
                self.sim.set_state(games.view(np.recarray), some)
        else:
            self.chain.start(self.sim, rows, official_run)
        self.steps[rows], self._passed[rows] = 0, 0.0
        self.limits[rows] = self._first_limits()[rows] if first else self.max_steps or FOREVER
        self.observer.reset(rows)
        if self.others:
            self.others.reset(rows)
        if self._painter:
            for row in rows.tolist():
                self._painter.forget(row)
        self._drive(rows, np.zeros(rows.size, np.int64))

    def step(self, rows: I64, actions: I64) -> tuple[F64, NDArray[np.bool_]]:
        """Carry out actions (len(rows),) and run to the next decision; return (rewards, truncated), (len(rows),)."""
        self._drive(rows, actions)
        return self.finish_step(rows)

    def finish_step(self, rows: I64) -> tuple[F64, NDArray[np.bool_]]:
        """Count a step of rows that wait for the ego car again, by their report; return what `step` returns."""
        self.steps[rows] += 1
        report = self.report[rows] if rows is not self.rows else self.report
        passed = report[:, 2].copy()
        rewards = reward_of(self.reward, report[:, 0].copy(), passed - self._passed[rows])
        self._passed[rows] = passed
        return rewards, self.steps[rows] >= self.limits[rows]

    def observe(self, rows: I64 | None, actions: I64 | None) -> Any:
        """Return new observations of rows (None for all); actions: carried out before, -1 for a game just reset."""
        return self.observer.observe(self.sim, rows, actions)

    def infos(self, rows: I64 | None = None) -> dict[str, NDArray[Any]]:
        """Return what a single environment's info holds, of rows (all by default): new arrays (len(rows),)."""
        report = self.report if rows is None else self.report[rows]
        return {
            "speed_mph": report[:, 1].copy(),
            "passed": report[:, 2].astype(np.int64),
            "lane": report[:, 3].astype(np.int64),
            "frame": report[:, 4].astype(np.int64),
            "blocked": report[:, 5] != 0.0,
        }

    def mean_speed_mph(self) -> F64:
        """Return each game's mean speed between its last two decisions [mph], (B,)."""
        return FULL_SPEED_MPH * reward_of("speed", self.report[:, 0], None)

    def checked_actions(self, actions: ArrayLike) -> I64:
        """Return actions as (B,) int64, or raise ValueError."""
        given = np.asarray(actions)
        if given.shape != self.rows.shape or given.dtype.kind not in "iu":
            raise ValueError(
                f"actions of shape {given.shape} and type {given.dtype} for {self.rows.size} games; "
                f"give {self.rows.size} whole numbers, shape ({self.rows.size},)"
            )
        if given.min() < 0 or given.max() >= len(Action):
            row = int(np.flatnonzero((given < 0) | (given >= len(Action)))[0])
            names = ", ".join(f"{a.value} {a.name.lower()}" for a in Action)
            raise ValueError(f"action {given[row]} for game {row} is not possible; give one of {names}")
        return np.array(given, np.int64)  # a copy: the callers mark what was ignored

    def _first_limits(self) -> I64:
        """Episode lengths after a reset of everything; staggered ones end evenly spread over `max_steps` steps."""
        if not self.stagger or self.max_steps is None:
            return np.full(self.rows.size, self.max_steps or FOREVER)
        return self.max_steps - self.rows * self.max_steps // self.rows.size

    def _drive(self, rows: I64, actions: I64) -> None:
        """Run rows to the ego car's next decision and report."""
        if self.others is not None or self._is_cut_near(rows):
            self._drive_in_turns(rows, actions)
            run_in_chunks(self.sim, report_rows, rows, (), (self.report,))
            return
        given = actions[:, None]
        if self.rules.other_agents:
            given = np.zeros((rows.size, self.rules.other_agents + 1), np.int64)
            given[:, 0] = actions
        run_in_chunks(self.sim, step_rows, rows, (given,), (self.report,))

    def _is_cut_near(self, rows: I64) -> bool:
        frames = self.sim.games["frame"]
        return self.chain.playing and bool((frames[rows] + self.rules.decision_period >= self.chain.cut[rows]).any())

    def _drive_in_turns(self, rows: I64, actions: I64) -> None:
        """As `_drive`, pausing for each other agent's decision and where an official run ends."""
        given = actions
        while rows.size:
            cut = self.chain.cut[rows]
            waiting = self.sim.run_to_frame(np.where(self.sim.games["frame"][rows] < cut, cut, FOREVER), given, rows)
            if self.chain.playing:
                self.chain.mark_end(self.sim, rows[waiting == NOBODY])
            rows, waiting = rows[waiting != 0], waiting[waiting != 0]
            given = np.zeros(rows.size, np.int64)
            if self.others is None:
                continue
            for agent in np.unique(waiting[waiting > 0]):
                asked = waiting == agent
                given[asked] = self.others.decide(self.sim, int(agent), rows[asked])

    # --- saving and restoring ---------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return all that the future of these games depends on, as nested dicts of arrays and JSON texts (copies).

        Not held: `starts`, and the memory of a policy that drives the other agents.
        """
        return {
            "games": self.sim.games.view(np.uint8).ravel().copy(),
            "steps": self.steps.copy(),
            "limits": self.limits.copy(),
            "report": self.report.copy(),
            "passed": self._passed.copy(),
            "seeds": self.seeds.get_state(),
            "chain": self.chain.get_state(),
            "observer": self.observer.get_state(),
            "others": self.others.get_state() if self.others else {},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned, here or in another batch made with the same arguments."""
        self.sim.set_state(state["games"].view(self.sim.games.dtype).view(np.recarray))
        self.steps[:], self.limits[:] = state["steps"], state["limits"]
        self.report[:], self._passed[:] = state["report"], state["passed"]
        self.seeds.set_state(state["seeds"])
        self.chain.set_state(state["chain"])
        self.observer.set_state(state["observer"])
        if self.others:
            self.others.set_state(state["others"])
        self._painter = None

    # --- pictures ---------------------------------------------------------------------------------------------------

    def paint(self) -> list[NDArray[np.uint8]]:
        """Return a picture (H, W, 3) of every game; the more games, the smaller."""
        if self._painter is None:
            from deeptraffic.render.painter import Painter, default_size

            scale = min(1.0, (BIG_PICTURES / self.rows.size) ** 0.5)
            width, height = (max(MIN_PICTURE, round(side * scale)) for side in default_size(self.rules))
            self._painter = Painter(self.rules, (width, height), sensor=self.observation.sensor)
        return [self._painter.paint(self.sim.state, row) for row in self.rows.tolist()]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the painter behind: a copy makes its own."""
        return {**self.__dict__, "_painter": None}


def check_batch_render_mode(render_mode: str | None) -> str | None:
    """Return the render mode if many games can be shown in it."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(
            f"render_mode={render_mode!r} does not exist for many games; choose 'rgb_array' or None "
            "(gymnasium.wrappers.vector.HumanRendering shows 'rgb_array' in a window)"
        )
    return render_mode
