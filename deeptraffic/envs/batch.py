"""Batch of envs: the part that the vector environments of Gymnasium and Stable-Baselines3 share.

A step is three compiled loops over all envs, spread over threads: drive to the next decision, reset where an episode
ended, observe. Nothing terminates, so counting steps tells which episodes end. Only envs that reset cost Python time,
for each draws its next run from its own generator.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeptraffic.envs.arguments import (
    ACTION_NAMES,
    ACTIONS,
    RulesLike,
    check_max_steps,
    check_reward,
    check_started,
    resolve_rules,
)
from deeptraffic.envs.observations import ObservationLike, Observer, make_observation
from deeptraffic.envs.other_agents import OtherDrivers, Others
from deeptraffic.envs.rendering import BatchRenderer, RenderOptions, check_batch_render_mode
from deeptraffic.envs.reward import REPORT, infos_of, mean_speed_mph, reward_of, write_report
from deeptraffic.envs.seeding import OfficialChain, OpenSeeds
from deeptraffic.settings import check_boolean, check_integer
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import FOREVER, Simulator, drive_period, run_in_chunks
from deeptraffic.sim.state import F64, I64, NOBODY, Games

JUST_RESET = -1  # in place of an action: the env was reset in this step


@compiled
def step_envs(rules: NDArray[Any], report: F64, games: Games, env_indices: I64, actions: I64) -> None:
    """Run each env to the ego car's next decision, actions (len(env_indices), A + 1), and write its report."""
    for k in range(env_indices.size):
        drive_period(rules[0], games[env_indices[k]], actions[k])
        write_report(games[env_indices[k]], report[env_indices[k]])


@compiled
def report_envs(rules: NDArray[Any], report: F64, games: Games, env_indices: I64) -> None:
    """Write the reports of envs as they are."""
    for k in range(env_indices.size):
        write_report(games[env_indices[k]], report[env_indices[k]])


# envs that reset to a run by seeds of their own -> (which of them start elsewhere, (k,); their states, (k,) records
# before frame 0 of this road). States that a learner may start from beside the road's own starts.
Starts = Callable[[I64], tuple[I64, Games]]


class EnvBatch:
    """B envs with their observers, other agents' policies, episode lengths and seeds.

    Args: those of `DeepTrafficVectorEnv`

    env_indices: (B,) all of them
    starts: other states that envs start from when they reset by themselves; None for none
    steps: (B,) int64 decisions carried out in the episode, -1 before the first reset
    limits: (B,) int64 decisions after which the episode is truncated
    renderer: of `render`
    report: (B, 6) float64 what the envs returned last, see `deeptraffic.envs.reward.REPORT`
    """

    # parameters: the keywords of gymnasium.make_vec that it checks for both vector environments
    def __init__(
        self,
        num_envs: int,
        rules: RulesLike,
        other_agents: int,
        observation: ObservationLike,
        reward: str,
        max_steps: int | None,
        others: Others | None,
        threads: int | None,
        stagger: bool,
    ) -> None:
        num_envs = check_integer("num_envs", num_envs, 1)
        self.rules = resolve_rules(rules, other_agents)
        self.reward, self.max_steps, self.stagger = (
            check_reward(reward),
            check_max_steps(max_steps),
            check_boolean("stagger", stagger),
        )
        if stagger and self.max_steps is None:
            raise ValueError("stagger=True cannot shorten episodes that never end (max_steps=None); give max_steps")
        self.sim = Simulator(self.rules, num_envs, threads)
        self.observation = make_observation(observation).on_road(self.rules)
        self.observer = Observer(self.rules, self.observation, num_envs)
        self.others = OtherDrivers(others, self.sim, self.observation) if others is not None else None
        self.seeds = OpenSeeds(num_envs)
        self.chain = OfficialChain(num_envs, self.rules.year)
        self.env_indices = self.sim.env_indices
        self.steps = np.full(num_envs, -1)
        self.limits = np.full(num_envs, FOREVER)
        self.report = np.zeros((num_envs, REPORT))
        self.starts: Starts | None = None
        self._passed = np.zeros(num_envs)
        self.look(RenderOptions(None, "none", "dark"), None)

    def look(self, options: RenderOptions, render_mode: str | None) -> None:
        """Render images of another size, overlay, theme or layers; a render mode records every frame for the trail."""
        sensor, num_envs = self.observation.sensor, self.env_indices.size
        self.renderer = BatchRenderer(self.rules, sensor, num_envs, options.check())
        self._is_watched = check_batch_render_mode(render_mode) is not None

    def check_started(self, wanted: str) -> None:
        """Raise ResetNeeded before the first reset, which resets all envs; wanted: what needs an episode."""
        check_started(self.steps[0] >= 0, wanted)

    # --- running ----------------------------------------------------------------------------------------------------

    def reset(
        self,
        env_indices: I64,
        seeds: Sequence[int | None] | None = None,
        official_run: int | None = None,
        first: bool = False,
    ) -> None:
        """Reset envs and run them to the ego car's first decision.

        seeds: one per env, None to draw from the env's generator; official_run: that run instead of an open one;
        first: these may be the shortened first episodes that `stagger` asks for
        """
        self.chain.check(env_indices, official_run)
        if seeds is not None:
            self.seeds.plant(env_indices, seeds)
        if official_run is None:
            self.sim.reset_open(self.seeds.runs(env_indices, seeds), env_indices)
            self.chain.leave(env_indices)
            if self.starts and seeds is None:
                some, games = self.starts(env_indices)
                self.sim.set_state(games.view(np.recarray), some)
        else:
            self.chain.start(self.sim, env_indices, official_run)
        self.steps[env_indices], self._passed[env_indices] = 0, 0.0
        self.limits[env_indices] = self._first_limits()[env_indices] if first else self.max_steps or FOREVER
        self.observer.reset(env_indices)
        if self.others:
            self.others.reset(env_indices)
        self.renderer.histories.forget(env_indices)
        self._drive(env_indices, np.zeros(env_indices.size, np.int64))

    def step(self, env_indices: I64, actions: I64) -> tuple[F64, NDArray[np.bool_]]:
        """Carry out actions and run to the next decision; return (rewards, truncated), (len(env_indices),) each."""
        self._drive(env_indices, actions)
        return self.finish_step(env_indices)

    def finish_step(self, env_indices: I64) -> tuple[F64, NDArray[np.bool_]]:
        """Count a step of envs that are at the ego car's decision again; return what `step` returns."""
        self.steps[env_indices] += 1
        report = self.report[env_indices] if env_indices is not self.env_indices else self.report
        passed = report[:, 2].copy()
        rewards = reward_of(self.reward, report[:, 0].copy(), passed - self._passed[env_indices])
        self._passed[env_indices] = passed
        return rewards, self.steps[env_indices] >= self.limits[env_indices]

    def observe(self, env_indices: I64 | None, actions: I64 | None) -> Any:
        """Return new observations of envs (None for all); actions: carried out before, `JUST_RESET` after a reset."""
        return self.observer.observe(self.sim, env_indices, actions)

    def infos(self, env_indices: I64 | None = None) -> dict[str, NDArray[Any]]:
        """Return what a single environment's info holds, of envs (all by default): new arrays (len(env_indices),)."""
        return infos_of(self.report if env_indices is None else self.report[env_indices])

    def mean_speed_mph(self) -> F64:
        """Return each env's mean speed between its last two decisions [mph], (B,)."""
        return mean_speed_mph(self.report[:, 0])

    def checked_actions(self, actions: ArrayLike) -> I64:
        """Return actions as (B,) int64, or raise ValueError."""
        try:
            given = np.asarray(actions)
        except ValueError:  # a ragged list
            given = np.asarray(actions, object)
        if given.shape != self.env_indices.shape or given.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be integers of shape ({self.env_indices.size},), one per env, "
                f"got {given.dtype} of shape {given.shape}"
            )
        if given.min() < 0 or given.max() >= ACTIONS:
            env = int(np.flatnonzero((given < 0) | (given >= ACTIONS))[0])
            raise ValueError(f"action of env {env} must be one of {ACTION_NAMES}, got {given[env]}")
        return np.array(given, np.int64)  # a copy: the callers mark what was ignored

    def _first_limits(self) -> I64:
        """Episode lengths after a reset of all envs; staggered ones end evenly spread over `max_steps` steps."""
        if not self.stagger or self.max_steps is None:
            return np.full(self.env_indices.size, self.max_steps or FOREVER)
        return self.max_steps - self.env_indices * self.max_steps // self.env_indices.size

    def _drive(self, env_indices: I64, actions: I64) -> None:
        """Run envs to the ego car's next decision and report."""
        if self.others is not None or self._is_watched or self._is_end_near(env_indices):
            self._drive_in_turns(env_indices, actions)
            run_in_chunks(self.sim, report_envs, env_indices, (), (self.report,))
            return
        given = actions[:, None]
        if self.rules.other_agents:
            given = np.zeros((env_indices.size, self.rules.other_agents + 1), np.int64)
            given[:, 0] = actions
        run_in_chunks(self.sim, step_envs, env_indices, (given,), (self.report,))

    def _is_end_near(self, env_indices: I64) -> bool:
        """Whether an official run of these envs ends in this period."""
        last = self.sim.games["frame"][env_indices] + self.rules.decision_period
        return self.chain.playing and bool((last >= self.chain.end[env_indices]).any())

    def _drive_in_turns(self, env_indices: I64, actions: I64) -> None:
        """As `_drive`, pausing for each other agent's decision, where an official run ends, and to record frames."""
        given = actions
        while env_indices.size:
            end, frames = self.chain.end[env_indices], self.sim.games["frame"][env_indices]
            pause = np.where(frames < end, end, FOREVER)
            if self._is_watched:
                waiting = self.renderer.histories.run_to_frame(self.sim, pause, given, env_indices)
            else:
                waiting = self.sim.run_to_frame(pause, given, env_indices)
            if self.chain.playing:
                is_end = (waiting == NOBODY) & (self.sim.games["frame"][env_indices] == end)
                self.chain.mark_end(self.sim, env_indices[is_end])
            env_indices, waiting = env_indices[waiting != 0], waiting[waiting != 0]
            given = np.zeros(env_indices.size, np.int64)
            if self.others is None:
                continue
            for agent in np.unique(waiting[waiting > 0]):
                asked = waiting == agent
                given[asked] = self.others.decide(self.sim, int(agent), env_indices[asked])

    # --- saving and restoring ---------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return the whole state of these envs, as nested dicts of arrays and JSON strings (copies).

        Not held: `starts`. ResetNeeded before the first reset.
        """
        self.check_started("get_state()")
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
            "histories": self.renderer.histories.get_state(),
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
        self.renderer.histories.set_state(state["histories"])
