"""Driving by hand: the arrow keys as a driver, and what was driven as a demonstration to learn from.

Demonstration file, version 1: a NumPy .npz archive (no pickles) of one run's T decisions of the ego car, in order:
    observations  (T, D) float32, the contest's vector for the sensor, row by row from the far end, as seen at each
    actions       (T,) int64, what was done: 0 nothing, 1 accelerate, 2 decelerate, 3 left, 4 right
    rewards       (T,) float32, the contest's reward for each action: what the next decision was given, (N - 60) / 20
                  with N the 30 frames' speed summed up [px/frame]
    meta          () str, JSON: format "deeptraffic-demonstration", version 1, year, other_agents, sensor (lanes_side,
                  patches_ahead, patches_behind; D is their number of cells), label (who drove)
The last decision of an episode has no reward yet, and is left out: a run of 2,000 frames has T = 66. Nothing
terminates, so the next observation of row t is row t + 1.

    >>> with np.load("drive-1.npz") as drive:
    ...     obs, actions, rewards = drive["observations"], drive["actions"], drive["rewards"]
"""

import json
from pathlib import Path

import numpy as np

from deeptraffic.render.episode import Decide
from deeptraffic.render.recorder import whole_file
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, Sensor

KEYS = {"up": Action.ACCELERATE, "down": Action.DECELERATE, "left": Action.LEFT, "right": Action.RIGHT}


class ManualDriver:
    """Decides as the arrow keys say; a tap between two decisions counts for the next one, a key held down for all.

    others: drives the other agents; they do nothing without it
    """

    def __init__(self, others: Decide | None = None) -> None:
        self.others = others
        self._tapped: Action | None = None
        self._held: list[Action] = []

    def __call__(self, sim: Simulator, agent: int) -> int:
        """Return the action for an agent's decision."""
        if agent != 0:
            return self.others(sim, agent) if self.others is not None else int(Action.NOTHING)
        action = self.next_action
        self._tapped = None
        return int(action)

    @property
    def next_action(self) -> Action:
        """What the next decision will be if no more keys are pressed."""
        if self._tapped is not None:
            return self._tapped
        return self._held[-1] if self._held else Action.NOTHING

    def press(self, key: str) -> bool:
        """Take a key; False if it is none of the driver's."""
        if key not in KEYS:
            return False
        self._tapped = KEYS[key]
        self._held = [action for action in self._held if action != KEYS[key]] + [KEYS[key]]
        return True

    def release(self, key: str) -> None:
        """Take the letting go of a key."""
        self._held = [action for action in self._held if action != KEYS.get(key)]


class Demonstration:
    """A driver that drives as another and keeps what it saw, did and earned.

    Args:
        decide: the driver to keep
        sensor: what it saw
        label: its name
    """

    def __init__(self, decide: Decide, sensor: Sensor | None = None, label: str = "") -> None:
        self.decide, self.sensor, self.label = decide, sensor or Sensor(), label
        self._observations: list[np.ndarray] = []
        self._actions: list[int] = []
        self._rewards: list[float] = []
        self._game: tuple[int, int] = (0, 0)

    def __call__(self, sim: Simulator, agent: int) -> int:
        """Decide, and keep the ego car's decision."""
        action = self.decide(sim, agent)
        if agent == 0:
            if self._actions:
                self._rewards.append(float(sim.state.reward[0]))
            self._observations.append(sim.sense(self.sensor)[0].astype(np.float32))
            self._actions.append(int(action))
            self._game = (sim.rules.year, sim.rules.other_agents)
        return action

    def __len__(self) -> int:
        return len(self._rewards)

    def save(self, path: str | Path) -> Path:
        """Write the file; return its path. Raises ValueError before the second decision."""
        if len(self) == 0:
            raise ValueError("nothing was driven yet: a demonstration needs two decisions at least")
        path, steps = Path(path), len(self)
        year, other_agents = self._game
        meta = {
            "format": "deeptraffic-demonstration",
            "version": 1,
            "year": year,
            "other_agents": other_agents,
            "sensor": self.sensor._asdict(),
            "label": self.label,
        }
        with whole_file(path) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(
                file,
                observations=np.array(self._observations[:steps], np.float32),
                actions=np.array(self._actions[:steps], np.int64),
                rewards=np.array(self._rewards, np.float32),
                meta=np.array(json.dumps(meta)),
            )
        return path
