"""Gymnasium vector environment over the batched simulator.

    >>> import gymnasium, deeptraffic
    >>> envs = gymnasium.make_vec("DeepTraffic2018-v0", num_envs=1024, observation="gaps")
    >>> obs, infos = envs.reset(seed=7)
    >>> obs, rewards, terminations, truncations, infos = envs.step(envs.action_space.sample())

Step by step it returns what `gymnasium.vector.SyncVectorEnv` returns for as many single environments, in each of the
three autoreset modes, but no Python code runs per env.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from deeptraffic.envs.arguments import ACTIONS, MAX_STEPS, RulesLike, check_max_steps, check_options, refuse_unknown
from deeptraffic.envs.batch import JUST_RESET, EnvBatch
from deeptraffic.envs.masks import Masks, action_masks
from deeptraffic.envs.observations import ObservationLike, select_env
from deeptraffic.envs.other_agents import Others
from deeptraffic.envs.rendering import NO_RENDER_MODE, Image, RenderOptions, check_batch_render_mode, render_fps
from deeptraffic.envs.seeding import check_seeds
from deeptraffic.render.layers import RoadLayer
from deeptraffic.settings import check_choice
from deeptraffic.sim.state import F64, I64

Bools = NDArray[np.bool_]
MODES = [mode.value for mode in AutoresetMode]
Infos = dict[str, Any]


class DeepTrafficVectorEnv(VectorEnv):
    """B envs of DeepTraffic.

    Args:
        num_envs: B
        rules, other_agents, observation, reward, max_steps, others: as for `DeepTrafficEnv`
        autoreset_mode: NEXT_STEP (Gymnasium's default: the step after an end resets), SAME_STEP (the last observation
            is in infos["final_obs"]) or DISABLED (call `reset(options={"reset_mask": truncations})`); a member or its
            value
        max_episode_steps: `make_vec`'s limit on top of max_steps; the smaller of both counts, -1 is none
        threads: CPU threads; None takes DEEPTRAFFIC_THREADS or all cores of this process
        stagger: shorten the first episodes after a reset of all envs, so that they end evenly spread over max_steps
            steps instead of all in the same one
        render_mode: None or "rgb_array": `render` returns an image of every env, smaller ones for more than four
        render_size, overlay, theme, layers: as for `DeepTrafficEnv`

    `reset(seed=s)` starts env b as open run s + b; `reset()` and the automatic resets draw runs from each env's own
    generator. `options={"reset_mask": (B,) bool}` resets some envs only, `options={"official_run": k}` is as for
    `DeepTrafficEnv`. Every array that is returned is new.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.NEXT_STEP}

    # parameters: the keywords of gymnasium.make_vec
    def __init__(
        self,
        num_envs: int = 1,
        rules: RulesLike = 2018,
        other_agents: int = 0,
        observation: ObservationLike = "vector",
        reward: str = "mit",
        max_steps: int | None = MAX_STEPS,
        render_mode: str | None = None,
        others: Others | None = None,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
        threads: int | None = None,
        stagger: bool = False,
        render_size: tuple[int, int] | None = None,
        overlay: str = "none",
        theme: str = "dark",
        layers: Sequence[str | RoadLayer] = (),
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown)
        made = None if max_episode_steps == -1 else max_episode_steps
        limits = [check_max_steps(limit) for limit in (max_steps, made) if limit is not None]
        limit = min((limit for limit in limits if limit is not None), default=None)
        self.batch = EnvBatch(num_envs, rules, other_agents, observation, reward, limit, others, threads, stagger)
        self.batch.look(RenderOptions(render_size, overlay, theme, layers), render_mode)
        self.num_envs = self.batch.sim.num_envs
        self.autoreset_mode = check_autoreset_mode(autoreset_mode)
        self.render_mode = check_batch_render_mode(render_mode)
        fps = render_fps(self.batch.rules)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode, "render_fps": fps}
        self.single_observation_space = self.batch.observer.space
        self.single_action_space = spaces.Discrete(ACTIONS)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._ended = np.zeros(self.num_envs, np.bool_)  # envs that ended in the last step and were not reset in it

    # --- Gymnasium's interface ----------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Any, Infos]:
        """Reset all envs, or those of options["reset_mask"]; return (observations, infos) at their first decisions."""
        self._check_open()
        known = check_options(options, "reset_mask", "official_run")
        mask = self._checked_mask(known["reset_mask"]) if "reset_mask" in known else None
        chosen = self.batch.env_indices if mask is None else np.flatnonzero(mask)
        each = None if seed is None else check_seeds(seed, self.num_envs)
        seeds = None if each is None else [each[env] for env in chosen.tolist()]
        self.batch.reset(chosen, seeds, known.get("official_run"), first=mask is None)
        self._ended[chosen] = False
        return self.batch.observe(None, None), self._masked(self.batch.infos(), mask)

    def step(self, actions: ArrayLike) -> tuple[Any, F64, Bools, Bools, Infos]:
        """Carry out one action per env; return (observations, rewards, terminations, truncations, infos)."""
        self._check_open()
        self.batch.check_started("step()")
        given = self.batch.checked_actions(actions)
        infos: Infos = {}
        if self._ended.any():
            rewards, truncations = self._step_some(given)
        else:
            rewards, truncations = self.batch.step(self.batch.env_indices, given)
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._ended = truncations.copy()
        elif truncations.any():
            infos = self._reset_ended(truncations, given)
        obs = self.batch.observe(None, given)
        infos.update(self._masked(self.batch.infos(), None))
        return obs, rewards, np.zeros(self.num_envs, np.bool_), truncations, infos

    def render(self) -> tuple[Image, ...] | None:
        """Return an image (H, W, 3) of every env."""
        self._check_open()
        self.batch.check_started("render()")
        if self.render_mode is None:
            gymnasium.logger.warn(NO_RENDER_MODE)
            return None
        return tuple(self.batch.renderer.paint(self.batch.sim))

    def action_masks(self) -> Masks:
        """Return which actions could have an effect now, (B, 5) int8; see `deeptraffic/envs/masks.py`."""
        self._check_open()
        self.batch.check_started("action_masks()")
        return action_masks(self.batch.sim)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]  # as SyncVectorEnv
        """The generator of each env, from which it draws its runs."""
        return self.batch.seeds.generators

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]  # as SyncVectorEnv
        """The seed of each env's generator."""
        return self.batch.seeds.seeds

    # --- resetting envs that ended ------------------------------------------------------------------------------------

    def _step_some(self, given: I64) -> tuple[F64, Bools]:
        """NEXT_STEP: reset the envs that ended in the step before, step the others; `given` loses what was ignored."""
        if self.autoreset_mode is AutoresetMode.DISABLED:
            raise gymnasium.error.ResetNeeded(
                f"the episodes of envs {np.flatnonzero(self._ended).tolist()} have ended; before the next step call "
                'reset(options={"reset_mask": truncations})'
            )
        rewards, truncations = np.zeros(self.num_envs), np.zeros(self.num_envs, np.bool_)
        running = np.flatnonzero(~self._ended)
        if running.size:
            rewards[running], truncations[running] = self.batch.step(running, given[running])
        ended = np.flatnonzero(self._ended)
        self.batch.reset(ended)
        given[ended] = JUST_RESET
        return rewards, truncations

    def _reset_ended(self, truncations: Bools, given: I64) -> Infos:
        """SAME_STEP: reset envs in the step that ended them; return their last observations and infos."""
        ended = np.flatnonzero(truncations)
        last = self.batch.observe(ended, given[ended])
        infos = self._masked(self.batch.infos(), truncations)
        final_obs = np.full(self.num_envs, None, object)
        for k, env in enumerate(ended):
            final_obs[env] = select_env(last, k)
        self.batch.reset(ended)
        given[ended] = JUST_RESET
        return {
            "final_obs": final_obs,
            "_final_obs": truncations.copy(),
            "final_info": infos,
            "_final_info": truncations.copy(),
        }

    def _masked(self, infos: Infos, mask: Bools | None) -> Infos:
        """Add to each info which envs have it; the others' entries become 0."""
        has = np.ones(self.num_envs, np.bool_) if mask is None else mask
        masked: Infos = {}
        for name, values in infos.items():
            if mask is not None:
                values[~mask] = 0
            masked[name], masked[f"_{name}"] = values, has.copy()
        return masked

    # --- checks -------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError("this environment was closed; make a new one")

    def _checked_mask(self, mask: Any) -> Bools:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (self.num_envs,):
            raise ValueError(f"reset_mask must be a bool array of shape ({self.num_envs},), got {mask!r:.80}")
        if not mask.any():
            raise ValueError("reset_mask resets no env; set at least one entry to True")
        if (self.batch.steps[~mask] < 0).any():
            raise gymnasium.error.ResetNeeded("the first reset must reset all envs: leave reset_mask out")
        return mask


def check_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Return the mode from itself or its value."""
    return AutoresetMode(mode if isinstance(mode, AutoresetMode) else check_choice("autoreset_mode", mode, MODES))
