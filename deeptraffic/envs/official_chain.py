"""The chain of official runs in many games: run k goes on from the random stream that run k - 1 left.

An official run is 2,000 frames long (2017: 100,000), which need not be a multiple of the decision period: a game drives
on to its next decision, and the chain keeps the stream and the pending action as they stood where the run ended.
"""

from typing import Any

import numpy as np

from deeptraffic.envs.settings import OFFICIAL_FRAMES
from deeptraffic.sim.engine import FOREVER, Simulator
from deeptraffic.sim.state import I64


class OfficialChain:
    """Where B games stand in the chain of official runs.

    run: (B,) int64 number of the official run that is being played, 0 for an open run
    cut: (B,) int64 [frames] where it ends; never, in an open run
    """

    def __init__(self, num_envs: int, year: int) -> None:
        self.frames = OFFICIAL_FRAMES[year]
        self.run = np.zeros(num_envs, np.int64)
        self.cut = np.full(num_envs, FOREVER)
        self._left = np.zeros((num_envs, 2), np.int64)  # stream and pending action at the cut
        self._ended = np.zeros(num_envs, np.bool_)

    @property
    def playing(self) -> bool:
        """Whether any game plays an official run."""
        return bool(self.run.any())

    def leave(self, rows: I64) -> None:
        """These rows play open runs from now on."""
        self.run[rows], self.cut[rows], self._ended[rows] = 0, FOREVER, False

    def start(self, sim: Simulator, rows: I64, run: Any) -> None:
        """Reset these rows as official run `run`: 1 from a fresh program, k > 1 only directly after run k - 1."""
        if isinstance(run, bool) or not isinstance(run, int | np.integer) or run < 1:
            raise ValueError(f"official_run={run!r} is not possible; give a whole number from 1")
        if run == 1:
            sim.start_program(1, rows)
        else:
            self._check_follows(rows, int(run))
            done = rows[self._ended[rows]]
            sim.state.rng[done], sim.state.action[done] = self._left[done].T
        sim.reset(int(run), rows)
        self.run[rows], self.cut[rows], self._ended[rows] = run, self.frames, False

    def mark_end(self, sim: Simulator, rows: I64) -> None:
        """Remember stream and pending action of rows that stand between two frames where their run ends."""
        self._left[rows, 0], self._left[rows, 1] = sim.state.rng[rows], sim.state.action[rows]
        self._ended[rows] = True

    def get_state(self) -> dict[str, np.ndarray]:
        """Return copies of the arrays that say where each game stands."""
        return {name: getattr(self, name).copy() for name in ("run", "cut", "_left", "_ended")}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `get_state` returned."""
        for name, values in state.items():
            getattr(self, name)[:] = values

    def _check_follows(self, rows: I64, run: int) -> None:
        strays = rows[self.run[rows] != run - 1]
        if strays.size:
            last = int(self.run[strays[0]])
            place = f"after official run {last}" if last else "outside the official chain"
            raise ValueError(
                f"official_run={run} goes on from where run {run - 1} ended, but game {int(strays[0])} resets {place}; "
                f"drive run {run - 1} first, or start the chain with official_run=1"
            )
