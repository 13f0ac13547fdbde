"""Which open run each of many games plays next: every game draws from its own generator, as a single one does."""

import json
import operator
from collections.abc import Sequence

import gymnasium
import numpy as np
from gymnasium.utils import seeding

from deeptraffic.envs.settings import draw_open_seed
from deeptraffic.sim.state import I64


class OpenSeeds:
    """The generators `np_random` of B games, each made when it is first drawn from (that takes longer than a step).

    A game that was never given a seed gets one from the operating system.
    """

    def __init__(self, num_envs: int) -> None:
        self._seeds: list[int] = _entropy(num_envs)
        self._generators: list[np.random.Generator | None] = [None] * num_envs

    def plant(self, rows: I64, seeds: Sequence[int | None]) -> None:
        """Seed the generators of rows, one seed each; None leaves a generator as it is."""
        checked = [None if seed is None else check_seed(seed) for seed in seeds]
        for row, seed in zip(rows.tolist(), checked, strict=True):
            if seed is not None:
                self._seeds[row], self._generators[row] = seed, None

    def runs(self, rows: I64, seeds: Sequence[int | None] | None) -> list[int]:
        """Return the open run that each row plays next: its seed if it has just been given one, else a draw."""
        if seeds is None:
            return [draw_open_seed(self.generator(row)) for row in rows.tolist()]
        pairs = zip(rows.tolist(), seeds, strict=True)
        return [draw_open_seed(self.generator(row)) if seed is None else int(seed) for row, seed in pairs]

    def generator(self, row: int) -> np.random.Generator:
        """Return the generator of one game."""
        generator = self._generators[row]
        if generator is None:
            generator = self._generators[row] = seeding.np_random(self._seeds[row])[0]
        return generator

    @property
    def generators(self) -> tuple[np.random.Generator, ...]:
        """The generators of all games."""
        return tuple(self.generator(row) for row in range(len(self._seeds)))

    def get_state(self) -> str:
        """Return seeds and generators as JSON."""
        streams = [generator and generator.bit_generator.state for generator in self._generators]
        return json.dumps([self._seeds, streams])

    def set_state(self, state: str) -> None:
        """Continue from what `get_state` returned."""
        seeds, streams = json.loads(state)
        self._seeds[:], self._generators[:] = seeds, [None] * len(seeds)
        for row, stream in enumerate(streams):
            if stream:
                self.generator(row).bit_generator.state = stream

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each generator."""
        return tuple(self._seeds)


def check_seed(seed: int) -> int:
    """Return the seed as a Python integer if it is a whole number from 0."""
    try:
        given = operator.index(seed)
    except TypeError:
        given = -1
    if given < 0:
        raise gymnasium.error.Error(f"seed={seed!r} is not possible; give a whole number from 0, or None")
    return given


def _entropy(count: int) -> list[int]:
    return np.random.default_rng().integers(1 << 62, size=count).tolist()
