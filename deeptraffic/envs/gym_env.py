"""Gymnasium environment: one step is one decision and the 30 frames until the next.

    >>> import gymnasium, deeptraffic
    >>> env = gymnasium.make("DeepTraffic2018-v0", observation="gaps")
    >>> obs, info = env.reset(seed=7)
    >>> obs, reward, terminated, truncated, info = env.step(1)

The environment pauses inside a frame, where the ego car has sensed and its decision is due: `reset` runs frame 0 to
this point; `step` carries out the action, finishes the frame and runs on to the next decision.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from deeptraffic.envs.arguments import (
    ACTIONS,
    MAX_STEPS,
    RulesLike,
    check_action,
    check_max_steps,
    check_options,
    check_reward,
    check_started,
    refuse_unknown,
    resolve_rules,
)
from deeptraffic.envs.masks import Masks, action_masks
from deeptraffic.envs.observations import ObservationLike, Observer, make_observation, select_env
from deeptraffic.envs.other_agents import OtherDrivers, Others
from deeptraffic.envs.rendering import NO_RENDER_MODE, RENDER_MODES, EnvRenderer, Image, RenderOptions, render_fps
from deeptraffic.envs.reward import REPORT, reward_of, write_report
from deeptraffic.envs.seeding import OfficialChain, check_seed, open_run
from deeptraffic.episodes.keyboard import KEYS
from deeptraffic.render.layers import RoadLayer
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import FOREVER, Simulator, drive_period
from deeptraffic.sim.rules import Rules
from deeptraffic.sim.state import F64, I64, NOBODY, Games


@compiled
def step_env(rules: NDArray[Any], games: Games, actions: I64, report: F64) -> None:
    """Run env 0 to the ego car's next decision and report."""
    drive_period(rules[0], games[0], actions)
    write_report(games[0], report)


@compiled
def report_env(games: Games, report: F64) -> None:
    """Report on env 0 as it is."""
    write_report(games[0], report)


class DeepTrafficEnv(gymnasium.Env):
    """Single-agent environment of the ego car.

    Args:
        rules: 2018, 2017, or a RoadConfig for a research road (a mapping of its fields, or `Rules` that one builds)
        other_agents: 0..10 other driven cars (2018 only)
        observation: a kind of `deeptraffic.envs.observations.OBSERVATIONS`, a dict of kind and options, or an
            `Observation`
        reward: "mit" (N - 60) / 20 with N the ego car's speed summed over the period [px/frame], "speed" its mean speed
            / 80 mph, "passed" vehicles passed in the period minus those that passed
        max_steps: `truncated` after this many steps (67 cover 2,000 frames); None for never
        render_mode: None, "rgb_array" (an image), "rgb_array_list" (those of all frames since the last call of
            `render`, 30 for a step) or "human" (a window that shows every frame)
        others: what drives the other agents: a policy, the name of a built-in one, a function from one of their
            observations to an action, or None: their actions are 0, nothing
        render_size, overlay, theme, layers: of the images, see `deeptraffic.envs.rendering.RenderOptions`

    Actions: 0 nothing, 1 accelerate, 2 decelerate, 3 left, 4 right. `terminated` is always False.

    `reset(seed=s)` is open run s, `reset()` draws s from `np_random`. `options={"official_run": 1}` starts the chain of
    official runs; run k > 1 follows only directly after run k - 1, whose random stream it continues (as it was after
    2,000 frames, 2017: 100,000; or where the run was left if that was earlier).

    info: speed_mph (at this instant), passed (since the reset), lane, frame, blocked (the safety system refused the
    lane change just decided on)
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 2}

    # parameters: the keywords of gymnasium.make
    def __init__(
        self,
        rules: RulesLike = 2018,
        other_agents: int = 0,
        observation: ObservationLike = "vector",
        reward: str = "mit",
        max_steps: int | None = MAX_STEPS,
        render_mode: str | None = None,
        others: Others | None = None,
        *,
        render_size: tuple[int, int] | None = None,
        overlay: str = "none",
        theme: str = "dark",
        layers: Sequence[str | RoadLayer] = (),
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown)
        self.rules: Rules = resolve_rules(rules, other_agents)
        self.reward, self.max_steps = check_reward(reward), check_max_steps(max_steps)
        self._last_step = FOREVER if self.max_steps is None else self.max_steps
        self.metadata = {**self.metadata, "render_fps": render_fps(self.rules, render_mode)}
        self.sim = Simulator(self.rules, num_envs=1, threads=1)
        self.observation = make_observation(observation).on_road(self.rules)
        self.observer = Observer(self.rules, self.observation, num_envs=1)
        self.observation_space = self.observer.space
        self.action_space = spaces.Discrete(ACTIONS)
        self.render_mode = render_mode
        look = RenderOptions(render_size, overlay, theme, layers).check()
        sensor = self.observation.sensor
        self.renderer = EnvRenderer(self.rules, sensor, render_mode, look) if render_mode is not None else None
        self.others = OtherDrivers(others, self.sim, self.observation) if others is not None else None
        self._actions = np.zeros(self.rules.other_agents + 1, np.int64)
        self._report = np.zeros(REPORT)
        self._steps = -1  # before the first reset
        self._passed = self._frame = 0.0
        self._chain = OfficialChain(1, self.rules.year)
        self._run_end = FOREVER  # [frames] where an official run ends

    # --- Gymnasium's interface ------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start a run and return (observation, info) at the ego car's first decision."""
        seed = None if seed is None else check_seed(seed)
        run = check_options(options, "official_run").get("official_run")
        self._chain.check(self.sim.env_indices, run)
        super().reset(seed=seed)
        if run is not None:
            self._chain.start(self.sim, self.sim.env_indices, run)
        else:
            self.sim.reset_open([open_run(seed, self.np_random)])
            self._chain.leave(self.sim.env_indices)
        self._run_end, self._steps = int(self._chain.end[0]), 0
        self.observer.reset()
        if self.others:
            self.others.reset(self.sim.env_indices)
        if self.renderer:
            self.renderer.start()
        self._drive_watched(0)
        report_env(self.sim.games, self._report)
        obs = self._observe(None)
        _, info = self._read_report()
        return obs, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Carry out the action and run to the next decision; return (observation, reward, False, truncated, info)."""
        if self._steps < 0:
            check_started(False, "step()")
        given = check_action(action)
        is_plain = self.others is None and self.renderer is None
        if is_plain and self._frame + self.rules.decision_period < self._run_end:
            self._actions[0] = given
            step_env(self.sim.table, self.sim.games, self._actions, self._report)
        else:
            self._drive_watched(given)
            report_env(self.sim.games, self._report)
        self._steps += 1
        obs = self._observe(given)
        reward, info = self._read_report()
        return obs, reward, False, self._steps >= self._last_step, info

    def render(self) -> Image | list[Image] | None:  # type: ignore[override]  # Gymnasium's type has no such union
        """Return an image (H, W, 3), or a list of them in mode "rgb_array_list"; None where a window shows them."""
        check_started(self._steps >= 0, "render()")
        if self.renderer is None:
            gymnasium.logger.warn(NO_RENDER_MODE)
            return None
        return self.renderer.render(self.sim)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self.renderer is not None:
            self.renderer.close()

    def action_masks(self) -> Masks:
        """Return which actions could have an effect now, (5,) int8; see `deeptraffic/envs/masks.py`."""
        check_started(self._steps >= 0, "action_masks()")
        return action_masks(self.sim)[0]

    def get_keys_to_action(self) -> dict[tuple[int, ...], int]:
        """Return the actions of the arrow keys for `gymnasium.utils.play.play`; of two keys, the lane change counts."""
        import pygame

        keys = {name: getattr(pygame, f"K_{name.upper()}") for name in KEYS}
        pairs = {(keys[speed], keys[side]): KEYS[side] for speed in ("up", "down") for side in ("left", "right")}
        alone = {(key,): KEYS[name] for name, key in keys.items()}
        return {pressed: int(action) for pressed, action in (alone | pairs).items()}

    # --- running --------------------------------------------------------------------------------------------------

    def _drive_watched(self, action: int) -> None:
        """Run to the ego car's next decision, pausing for other agents, the renderer and an official run's end."""
        sim, given, frame = self.sim, action, int(self.sim.state.frame[0])
        while True:
            end = self._run_end if frame < self._run_end else FOREVER
            agent = (
                self.renderer.run_to_frame(sim, end, given) if self.renderer else int(sim.run_to_frame(end, given)[0])
            )
            if agent == 0:
                if self.renderer:
                    self.renderer.watch(sim, is_waiting=True)
                return
            given = 0
            frame = int(sim.state.frame[0])
            if agent != NOBODY:
                given = int(self.others.decide(sim, agent, sim.env_indices)[0]) if self.others else 0
            elif self.renderer is not None:
                self.renderer.watch(sim)
            if agent == NOBODY and frame == self._run_end:
                self._chain.mark_end(sim, sim.env_indices)

    def _observe(self, action: int | None) -> Any:
        return select_env(self.observer.observe(self.sim, actions=None if action is None else (action,)), 0)

    def _read_report(self) -> tuple[float, dict[str, Any]]:
        """Return (reward, info) from the report, and remember what the next step counts from."""
        mit, speed_mph, passed, lane, frame, blocked = self._report.tolist()
        gained, self._passed, self._frame = passed - self._passed, passed, frame
        info = {
            "speed_mph": speed_mph,
            "passed": int(passed),
            "lane": int(lane),
            "frame": int(frame),
            "blocked": blocked != 0.0,
        }
        return reward_of(self.reward, mit, gained), info
