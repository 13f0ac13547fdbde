"""Keyboard policy (the arrow keys), and demonstrations of its runs for imitation learning.

Demonstration file, version 1: a NumPy .npz archive (no pickles) of the ego vehicle's T decisions in one run, in order:
    observations  (T, D) float32, the contest's vector for the sensor at each decision, row by row from the far end
    actions       (T,) int64: 0 nothing, 1 accelerate, 2 decelerate, 3 left, 4 right
    rewards       (T,) float32, the contest's reward of each action, (N - 60) / 20 with N the sum of the speeds of its
                  30 frames [px/frame]
    meta          () str, JSON: format "deeptraffic-demonstration", version 1, year, other_agents, sensor (lanes_side,
                  patches_ahead, patches_behind; D is their number of cells), label (the driver)
The last decision of an episode has no reward yet and is left out: a run of 2,000 frames has T = 66. Episodes do not
terminate, so the next observation of row t is row t + 1.

    >>> with np.load("drive-1.npz") as run:
    ...     obs, actions, rewards = run["observations"], run["actions"], run["rewards"]
"""

import json
from pathlib import Path

import numpy as np

from deeptraffic.episodes.episode import Decide
from deeptraffic.run_dir import whole_file
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, Sensor

KEYS = {"up": Action.ACCELERATE, "down": Action.DECELERATE, "left": Action.LEFT, "right": Action.RIGHT}


class KeyboardPolicy:
    """Takes the actions of the arrow keys: a tap counts for the next decision, a key held down for all.

    others: policy of the other agents, to be set; None for no action
    """

    def __init__(self) -> None:
        self.others: Decide | None = None
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
        """The next action if no more keys are pressed."""
        if self._tapped is not None:
            return self._tapped
        return self._held[-1] if self._held else Action.NOTHING

    def press(self, key: str) -> bool:
        """Handle a key press; False for a key without an action."""
        if key not in KEYS:
            return False
        self._tapped = KEYS[key]
        self._held = [action for action in self._held if action != KEYS[key]] + [KEYS[key]]
        return True

    def release(self, key: str) -> None:
        """Handle the release of a key."""
        self._held = [action for action in self._held if action != KEYS.get(key)]


class Demonstration:
    """Listener of an episode that records the ego vehicle's observations, actions and rewards.

    Args:
        sensor: of the recorded observations
        label: name of the driver
    """

    def __init__(self, sensor: Sensor | None = None, label: str = "") -> None:
        self.sensor, self.label = sensor or Sensor(), label
        self._observations: list[np.ndarray] = []
        self._actions: list[int] = []
        self._rewards: list[float] = []
        self._contest: tuple[int, int] = (0, 0)

    def after_decision(self, sim: Simulator, action: int) -> None:
        """Record a decision, and the reward of the one before."""
        if self._actions:
            self._rewards.append(float(sim.state.reward[0]))
        self._observations.append(sim.sense(self.sensor)[0].astype(np.float32))
        self._actions.append(action)
        self._contest = (sim.rules.year, sim.rules.other_agents)

    def __len__(self) -> int:
        return len(self._rewards)

    def save(self, path: str | Path) -> Path:
        """Write the file; return its path. Raises ValueError before the second decision."""
        if len(self) == 0:
            raise ValueError("a demonstration needs at least two decisions; drive for longer")
        path, steps = Path(path), len(self)
        year, other_agents = self._contest
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
