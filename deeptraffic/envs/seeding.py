"""Runs that envs play next: open runs by seed, drawn from a generator of each env, and the chain of official runs.

An open run is named by its seed, and two envs of one seed play the same run. Official run k starts from the random
stream that run k - 1 left. It is 2,000 frames long (2017: 100,000), which need not be a multiple of the decision
period: an env runs on to its next decision, and the chain keeps the stream and the pending action as they were at the
run's end.
"""

import json
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding

from deeptraffic.settings import check_integer
from deeptraffic.sim.engine import FOREVER, Simulator
from deeptraffic.sim.state import I64

OFFICIAL_FRAMES = {2017: 100_000, 2018: 2_000}  # length of an official run, by contest
MAX_SEED = (1 << 63) - 1
FIRST_DRAWN_SEED = 1 << 32  # below, seeds are reserved for users and evaluations


def open_run(seed: int | None, np_random: np.random.Generator) -> int:
    """Return the open run of a reset: its seed if one is given, else a draw from the env's generator."""
    return int(np_random.integers(FIRST_DRAWN_SEED, MAX_SEED)) if seed is None else seed


class SeedError(gymnasium.error.Error, ValueError):
    """A seed that no environment takes."""


def check_seed(seed: Any) -> int:
    """Return a seed, an integer of any type (0-d arrays included), as int; SeedError unless it is in [0, MAX_SEED]."""
    try:
        return check_integer("seed", seed, 0, MAX_SEED)
    except ValueError:
        raise SeedError(
            f"seed must be an integer in [0, {MAX_SEED}], or None for a random run, got {seed!r:.80}"
        ) from None


def check_seeds(seed: Any, num_envs: int) -> list[int | None]:
    """Return a seed for each env from one seed s, which gives s + b to env b, or from a list of a seed (or None) each.

    Raises SeedError for anything else.
    """
    is_list = isinstance(seed, Sequence) and not isinstance(seed, str | bytes)
    if is_list or (isinstance(seed, np.ndarray) and seed.ndim == 1):
        if len(seed) != num_envs:
            raise SeedError(f"seed must be one integer, or {num_envs}, one per env, got {len(seed)}: {seed!r:.80}")
        return [None if each is None else check_seed(each) for each in seed]
    first = check_seed(seed)
    if first + num_envs - 1 > MAX_SEED:
        raise SeedError(
            f"seed must be at most {MAX_SEED - num_envs + 1} for {num_envs} envs, which take a seed each from it on, "
            f"got {first}"
        )
    return list(range(first, first + num_envs))


class OpenSeeds:
    """Generators `np_random` of B envs, each made when it is first drawn from (that takes longer than a step).

    An env that was never given a seed gets one from the operating system.
    """

    def __init__(self, num_envs: int) -> None:
        self._seeds: list[int] = np.random.default_rng().integers(1 << 62, size=num_envs).tolist()
        self._generators: list[np.random.Generator | None] = [None] * num_envs

    def plant(self, env_indices: I64, seeds: Sequence[int | None]) -> None:
        """Seed the generators of these envs, one checked seed each; None leaves a generator as it is."""
        for env, seed in zip(env_indices.tolist(), seeds, strict=True):
            if seed is not None:
                self._seeds[env], self._generators[env] = seed, None

    def runs(self, env_indices: I64, seeds: Sequence[int | None] | None) -> list[int]:
        """Return the open run that each env plays next: its seed if it has just been given one, else a draw."""
        given = [None] * env_indices.size if seeds is None else seeds
        pairs = zip(env_indices.tolist(), given, strict=True)
        return [open_run(None, self.generator(env)) if seed is None else seed for env, seed in pairs]

    def generator(self, env: int) -> np.random.Generator:
        """Return the generator of one env."""
        generator = self._generators[env]
        if generator is None:
            generator = self._generators[env] = seeding.np_random(self._seeds[env])[0]
        return generator

    @property
    def generators(self) -> tuple[np.random.Generator, ...]:
        """The generators of all envs."""
        return tuple(self.generator(env) for env in range(len(self._seeds)))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each generator."""
        return tuple(self._seeds)

    def get_state(self) -> str:
        """Return seeds and generators as JSON."""
        streams = [generator and generator.bit_generator.state for generator in self._generators]
        return json.dumps([self._seeds, streams])

    def set_state(self, state: str) -> None:
        """Continue from what `get_state` returned."""
        seeds, streams = json.loads(state)
        self._seeds[:], self._generators[:] = seeds, [None] * len(seeds)
        for env, stream in enumerate(streams):
            if stream:
                self.generator(env).bit_generator.state = stream


class OfficialChain:
    """Place of B envs in the chain of official runs.

    run: (B,) int64 index of the official run that is being played, from 1; 0 for an open run
    end: (B,) int64 [frames] where it ends; never, in an open run
    """

    def __init__(self, num_envs: int, year: int) -> None:
        self.frames = OFFICIAL_FRAMES[year]
        self.run = np.zeros(num_envs, np.int64)
        self.end = np.full(num_envs, FOREVER)
        self._left = np.zeros((num_envs, 2), np.int64)  # stream and pending action at the run's end
        self._ended = np.zeros(num_envs, np.bool_)

    @property
    def playing(self) -> bool:
        """Whether any env plays an official run."""
        return bool(self.run.any())

    def check(self, env_indices: I64, run: int | None) -> None:
        """Raise ValueError if these envs cannot reset to this official run next; None: an open run."""
        strays = env_indices[self.run[env_indices] != (run or 1) - 1]
        if run is not None and run > 1 and strays.size:
            last = int(self.run[strays[0]])
            place = f"after official run {last}" if last else "outside the official chain"
            raise ValueError(
                f"official_run={run} continues from the end of run {run - 1}, but env {int(strays[0])} resets {place}; "
                f"play run {run - 1} first, or start the chain with official_run=1"
            )

    def leave(self, env_indices: I64) -> None:
        """Let these envs play open runs from now on."""
        self.run[env_indices], self.end[env_indices], self._ended[env_indices] = 0, FOREVER, False

    def start(self, sim: Simulator, env_indices: I64, run: int) -> None:
        """Reset these envs to official run `run`, which was checked: 1 from a fresh program, k > 1 after run k - 1."""
        if run == 1:
            sim.start_program(1, env_indices)
        else:
            done = env_indices[self._ended[env_indices]]
            sim.state.rng[done], sim.state.action[done] = self._left[done].T
        sim.reset(run, env_indices)
        self.run[env_indices], self.end[env_indices], self._ended[env_indices] = run, self.frames, False

    def mark_end(self, sim: Simulator, env_indices: I64) -> None:
        """Keep stream and pending action of envs that are between two frames where their run ends."""
        self._left[env_indices, 0], self._left[env_indices, 1] = (
            sim.state.rng[env_indices],
            sim.state.action[env_indices],
        )
        self._ended[env_indices] = True

    def get_state(self) -> dict[str, np.ndarray]:
        """Return copies of the arrays that hold each env's place."""
        return {name: getattr(self, name).copy() for name in ("run", "end", "_left", "_ended")}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `get_state` returned."""
        for name, values in state.items():
            getattr(self, name)[:] = values
