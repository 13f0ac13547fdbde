"""Stable-Baselines3 vector environment over the batched simulator.

    >>> from stable_baselines3 import PPO
    >>> from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
    >>> venv = DeepTrafficVecEnv(512, observation="gaps", stagger=True)
    >>> PPO("MlpPolicy", venv, n_steps=16, batch_size=2048).learn(200_000)

The vector observation is float64 as in the original game; learners do as well with half the memory,
observation={"kind": "vector", "dtype": "float32"}.

It needs no Monitor or VecMonitor around it: episode statistics are in the infos of envs whose episode ends. Import it
from its module, since Stable-Baselines3 loads torch.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from deeptraffic.envs.arguments import ACTIONS, MAX_STEPS, RulesLike, check_options, refuse_unknown
from deeptraffic.envs.batch import JUST_RESET, EnvBatch
from deeptraffic.envs.masks import Masks, action_masks
from deeptraffic.envs.observations import ObservationLike, select_env
from deeptraffic.envs.other_agents import Others
from deeptraffic.envs.rendering import Image, RenderOptions, check_batch_render_mode, render_fps
from deeptraffic.envs.seeding import check_seeds
from deeptraffic.render.layers import RoadLayer
from deeptraffic.sim.state import F64, I64

Indices = int | Iterable[int] | None
Info = dict[str, Any]


class DeepTrafficVecEnv(VecEnv):
    """B envs of DeepTraffic, which reset when their episode ends.

    Args:
        num_envs: B
        rules, other_agents, observation, reward, max_steps, others: as for `DeepTrafficEnv`
        threads: CPU threads; None takes DEEPTRAFFIC_THREADS or all cores of this process
        stagger: shorten the first episodes, so that they end evenly spread over max_steps steps. Learners bootstrap
            truncated episodes one by one, and would stall on all of them in the same step. Episode returns that are
            logged are too small until each env has ended once
        render_mode: None or "rgb_array"
        render_size, overlay, theme, layers: as for `DeepTrafficEnv`

    The info of an env whose episode continues is empty: one dict that these envs share, so do not write into it (get
    their speed_mph, passed, lane, frame and blocked by `get_attr`). An env whose episode ends has in its info:
    terminal_observation; TimeLimit.truncated (True: nothing terminates); episode, {"r": return, "l": steps, "t":
    seconds since this object was made, "mean_mph": mean speed}; speed_mph, passed, lane, frame, blocked at its end.

    `seed(s)` makes the next `reset` start env b as open run s + b; without it, and when envs reset by themselves, runs
    are drawn from each env's own generator. Every array that is returned is new.
    """

    # parameters: the keywords of gymnasium.make_vec
    def __init__(
        self,
        num_envs: int,
        rules: RulesLike = 2018,
        other_agents: int = 0,
        observation: ObservationLike = "vector",
        reward: str = "mit",
        max_steps: int | None = MAX_STEPS,
        render_mode: str | None = None,
        others: Others | None = None,
        *,
        threads: int | None = None,
        stagger: bool = False,
        render_size: tuple[int, int] | None = None,
        overlay: str = "none",
        theme: str = "dark",
        layers: Sequence[str | RoadLayer] = (),
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown)
        self.batch = EnvBatch(num_envs, rules, other_agents, observation, reward, max_steps, others, threads, stagger)
        self.batch.look(RenderOptions(render_size, overlay, theme, layers), render_mode)
        self.render_mode, self.spec = check_batch_render_mode(render_mode), None
        self._returns, self._speeds = np.zeros((2, self.batch.env_indices.size))  # summed since each episode's start
        self._given: I64 | None = None
        self._attributes: dict[str, list[Any]] = {}
        self._began = time.monotonic()
        super().__init__(self.batch.env_indices.size, self.batch.observer.space, spaces.Discrete(ACTIONS))
        self.metadata["render_fps"] = render_fps(self.batch.rules)  # type: ignore[assignment]  # typed as lists

    # --- Stable-Baselines3's interface --------------------------------------------------------------------------------

    def reset(self) -> Any:
        """Reset all envs; return their observations. Seeds and options count for this reset, even if it raises."""
        official_runs = [options.get("official_run") for options in self._options]
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        self._reset_seeds()
        self._reset_options()
        envs = self.batch.env_indices
        groups = {
            run: np.flatnonzero([other == run for other in official_runs]) if any(official_runs) else envs
            for run in official_runs
        }
        for run, some in groups.items():
            self.batch.chain.check(some, run)
        for run, some in groups.items():
            self.batch.reset(some, None if seeds is None else [seeds[env] for env in some], run, first=True)
        self._returns[:], self._speeds[:], self._given = 0.0, 0.0, None
        return self.batch.observe(None, None)

    def seed(self, seed: int | Sequence[int | None] | None = None) -> Sequence[int | None]:
        """Seed the next reset: env b with seed + b, or with an entry of a list; None draws a seed."""
        if seed is None:
            return super().seed()
        self._seeds = check_seeds(seed, self.num_envs)
        return self._seeds

    def set_options(self, options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None) -> None:
        """Set the options of the next reset, "official_run", of all envs or a list of one mapping per env."""
        each: Sequence[Any] = options if isinstance(options, list | tuple) else [options] * self.num_envs
        if len(each) != self.num_envs:
            raise ValueError(f"options must be one mapping, or {self.num_envs}, one per env, got {len(each)} of them")
        self._options = [dict(check_options(some, "official_run")) for some in each]

    def step_async(self, actions: ArrayLike) -> None:
        """Take one action per env."""
        self.batch.check_started("step()")
        self._given = self.batch.checked_actions(actions)

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[Info]]:
        """Carry the actions out; return (observations, rewards, dones, infos)."""
        given, self._given = self._given, None
        if given is None:
            self.batch.check_started("step_wait()")
            raise RuntimeError("step_wait() has no actions to carry out: call step_async(actions) first")
        return self._finish(*self.batch.step(self.batch.env_indices, given), given)

    def _finish(
        self, rewards: F64, dones: NDArray[np.bool_], given: I64
    ) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[Info]]:
        """Reset envs whose episode has ended; return what `step_wait` returns."""
        self._returns += rewards
        self._speeds += self.batch.mean_speed_mph()
        infos: list[Info] = [{}] * self.num_envs
        ended = np.flatnonzero(dones)
        if ended.size:
            for env, info in zip(ended.tolist(), self._last_infos(ended, given), strict=True):
                infos[env] = info
            self.batch.reset(ended)
            self._returns[ended] = self._speeds[ended] = 0.0
            given[ended] = JUST_RESET
        return self.batch.observe(None, given), rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Release nothing: there is nothing to release."""

    def get_images(self) -> Sequence[Image | None]:
        """Return an image (H, W, 3) of every env, smaller ones for more than four; `render` tiles them."""
        self.batch.check_started("render()")
        return self.batch.renderer.paint(self.batch.sim) if self.render_mode else [None] * self.num_envs

    def action_masks(self) -> Masks:
        """Return which actions could have an effect now, (B, 5) int8; see `deeptraffic/envs/masks.py`."""
        self.batch.check_started("action_masks()")
        return action_masks(self.batch.sim)

    # --- saving and restoring -----------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return the whole state of these envs, see `EnvBatch.get_state`; call it between steps."""
        return {"batch": self.batch.get_state(), "returns": self._returns.copy(), "speeds": self._speeds.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `get_state` returned, here or in another environment made with the same arguments."""
        self.batch.set_state(state["batch"])
        self._returns[:], self._speeds[:] = state["returns"], state["speeds"]

    # --- attributes and methods of single envs-------------------------------------------------------------------------

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute for each index: set by `set_attr`, an env's own (such as speed_mph), or shared by all."""
        chosen = self._checked_indices(indices)
        if attr_name in self._attributes:
            return [self._attributes[attr_name][env] for env in chosen]
        own = self.batch.infos()
        if attr_name in own:
            self.batch.check_started(attr_name)
            return [own[attr_name][env].item() for env in chosen]
        if attr_name.startswith("_") or not (hasattr(self, attr_name) or hasattr(self.batch, attr_name)):
            raise AttributeError(f"envs have no attribute {attr_name!r}; of their own they have {', '.join(own)}")
        shared = getattr(self, attr_name) if hasattr(self, attr_name) else getattr(self.batch, attr_name)
        return [shared for _ in chosen]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Keep a value under a new name for each index, for `get_attr`; attributes of the envs cannot be changed."""
        if attr_name.startswith("_") or hasattr(self, attr_name) or hasattr(self.batch, attr_name):
            raise AttributeError(f"{attr_name!r} cannot be changed; make a new DeepTrafficVecEnv with another value")
        kept = self._attributes.setdefault(attr_name, [None] * self.num_envs)
        for env in self._checked_indices(indices):
            kept[env] = value

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """Call a method of single envs: action_masks, or render."""
        methods = {"action_masks": self.action_masks, "render": self.get_images}
        if method_name not in methods:
            raise AttributeError(f"envs have no method {method_name!r}; choose one of {', '.join(methods)}")
        results: Sequence[Any] = methods[method_name](*args, **kwargs)  # type: ignore[assignment]
        return [results[env] for env in self._checked_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Indices = None) -> list[bool]:
        """Return True for Monitor, whose statistics the infos hold, and False for any other wrapper."""
        return [wrapper_class is Monitor for _ in self._checked_indices(indices)]

    # --- parts --------------------------------------------------------------------------------------------------------

    def _checked_indices(self, indices: Indices) -> list[int]:
        chosen = [int(env) for env in self._get_indices(indices)]
        for env in chosen:
            if not -self.num_envs <= env < self.num_envs:
                raise IndexError(f"env index must be in [0, {self.num_envs - 1}], got {env}")
        return chosen

    def _last_infos(self, ended: I64, given: I64) -> list[Info]:
        """Return the infos of envs whose episode has just ended."""
        last, now = self.batch.observe(ended, given[ended]), round(time.monotonic() - self._began, 6)
        columns = {name: values.tolist() for name, values in self.batch.infos(ended).items()}
        steps, returns = self.batch.steps[ended], self._returns[ended]
        speeds = self._speeds[ended] / steps
        return [
            {
                **{name: values[k] for name, values in columns.items()},
                "TimeLimit.truncated": True,
                "terminal_observation": select_env(last, k),
                "episode": {"r": float(returns[k]), "l": int(steps[k]), "t": now, "mean_mph": float(speeds[k])},
            }
            for k in range(ended.size)
        ]
