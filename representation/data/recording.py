"""Recorded driving: the complete state of every env at every decision, from which all data sets are made.

    >>> config = RecordingConfig(split="train", runs=300)
    >>> recording = record(config)                         # 300 runs x 60 decisions in about a second
    >>> grids = observe(recording.rules, recording.states, "grid")      # (300, 61, 4, 60, 7)
    >>> labels = scene_class(recording.rules, recording.states)         # representation/data/labels.py

The behaviour policy is a mixture: run r is driven by policy r % len(drivers), with random actions at a fixed rate. The
three splits take their runs from disjoint seeds (`deeptraffic.evaluation.seeds`): training from the training seeds,
validation from the tuning seeds, test from the reporting seeds. So no run of the training data is ever tested on.

Letters in shapes: R runs, T decisions, N vehicles.
"""

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.observations import ObservationLike, Observer, make_observation
from deeptraffic.envs.reward import mean_speed_mph
from deeptraffic.evaluation.seeds import SEED_SETS
from deeptraffic.policies.builtin import BUILTINS, make_builtin
from deeptraffic.run_dir import write_atomically
from deeptraffic.settings import Checked, choice, integer, real
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, RoadConfig, Rules, Sensor

SPLITS = {"train": "training", "validation": "tuning", "test": "reporting"}
# of the registry: the policies that drive recordings, the best one twice as often
DRIVERS = ("gap", "accelerate", "random", "gap", "idle")
CHUNK = 4096  # states observed at a time
CACHE_VERSION = 1  # increase it when the same configuration gives another recording


@dataclass(frozen=True)
class RecordingConfig(Checked):
    """Configuration of a recording.

    split: train, validation or test
    runs: R
    decisions: T of each run, 30 frames each
    first: runs of the split to skip, so that two recordings of a split can be disjoint
    exploration: probability of a random action
    drivers: built-in policies, which take turns from run to run
    road: the rules
    """

    split: str = choice("train", *SPLITS)
    runs: int = integer(300, 1, 100_000)
    decisions: int = integer(60, 1, 10_000)
    first: int = integer(0, 0, 1_000_000)
    exploration: float = real(0.15, 0.0, 1.0)
    drivers: tuple[str, ...] = DRIVERS
    road: RoadConfig = field(default_factory=RoadConfig)

    def check(self) -> None:
        """Raise ValueError for drivers that do not exist, or none."""
        object.__setattr__(self, "drivers", tuple(self.drivers))
        unknown = [name for name in self.drivers if name not in BUILTINS]
        if unknown or not self.drivers:
            raise ValueError(f"drivers={self.drivers!r} is not possible; choose from {', '.join(BUILTINS)}")

    @property
    def seeds(self) -> range:
        """Seeds of the runs."""
        return SEED_SETS[SPLITS[self.split]][self.first : self.first + self.runs]


@dataclass(frozen=True)
class Recording:
    """A recording.

    states: (R, T + 1) state records, each where the ego car waits for a decision
    actions: (R, T) int64 the decisions
    rewards: (R, T) float64 of the decisions, (N - 60) / 20
    speeds: (R, T) float64 [mph] mean speed until the next decision
    """

    config: RecordingConfig
    rules: Rules
    states: NDArray[Any]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    speeds: NDArray[np.float64]


def record(config: RecordingConfig, cache: str | Path | None = None) -> Recording:
    """Return a recording, deterministic on every machine.

    cache: folder of cached recordings; None for none
    """
    rules = config.road.build()
    arrays = _read_cache(config, rules, cache)
    if arrays is None:
        arrays = _drive(config, rules)
        _write_cache(config, arrays, cache)
    return Recording(config, rules, **arrays)


def observe(rules: Rules, states: NDArray[Any], observation: ObservationLike) -> Any:
    """Return the ego vehicle's observations in states (S...): an array (S..., *observation), or a dict of arrays."""
    config = make_observation(observation)
    flat = states.reshape(-1)
    sim = Simulator(rules, min(CHUNK, max(1, flat.size)))
    observer = Observer(rules, config, sim.num_envs)
    pieces = []
    for start in range(0, flat.size, CHUNK):
        piece = flat[start : start + CHUNK]
        rows = np.arange(piece.size)
        sim.games[rows] = piece
        observer.reset(rows)
        pieces.append(observer.observe(sim, rows))
    if isinstance(pieces[0], dict):
        return {name: _joined([piece[name] for piece in pieces], states.shape) for name in pieces[0]}
    return _joined(pieces, states.shape)


def observe_runs(recording: Recording, observation: ObservationLike, every: int = 1) -> Any:
    """Return what the ego vehicle observed at every k-th state of each run, (R, ceil((T + 1) / k), *observation).

    Where one observation is a dict, so is the result.

    Unlike `observe`, which takes every state for the first of an episode, it follows the runs: stacks hold the
    decisions before, and a delayed observation is late.
    """
    config, states = make_observation(observation), recording.states
    sim = Simulator(recording.rules, len(states))
    observer = Observer(recording.rules, config, sim.num_envs)
    pieces = []
    for t in range(states.shape[1]):
        sim.games[:] = states[:, t]
        obs = observer.observe(sim, None, recording.actions[:, t - 1] if t else None)
        if t % every == 0:
            pieces.append(obs)
    if isinstance(pieces[0], dict):
        return {name: np.stack([piece[name] for piece in pieces], 1) for name in pieces[0]}
    return np.stack(pieces, 1)


def _joined(pieces: list[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.concatenate(pieces).reshape(*shape, *pieces[0].shape[1:])


def _drive(config: RecordingConfig, rules: Rules) -> dict[str, NDArray[Any]]:
    sim = Simulator(rules, config.runs)
    sim.reset_open(config.seeds)
    sim.step(sim.idle)  # to the first decision
    shape = (config.runs, config.decisions)
    states = np.zeros((config.runs, config.decisions + 1), sim.games.dtype)
    actions, rewards = np.empty(shape, np.int64), np.empty(shape)
    drivers = _Drivers(config, rules)
    for t in range(config.decisions):
        states[:, t] = sim.games
        actions[:, t] = drivers.decide(sim)
        sim.step(actions[:, t])
        rewards[:, t] = sim.games["reward"]
    states[:, -1] = sim.games
    speeds = mean_speed_mph(rewards)
    return {"states": states, "actions": actions, "rewards": rewards, "speeds": speeds}


class _Drivers:
    """The mixture of policies that drives R envs."""

    def __init__(self, config: RecordingConfig, rules: Rules) -> None:
        self.random = np.random.default_rng([config.seeds.start, config.runs])
        self.exploration, self.sensor = config.exploration, Sensor()
        count = len(config.drivers)
        self.parts = [
            (make_builtin(name, rules.year, seed=k), np.arange(k, config.runs, count))
            for k, name in enumerate(config.drivers)
        ]
        for policy, rows in self.parts:
            policy.reset(np.arange(rows.size))

    def decide(self, sim: Simulator) -> NDArray[np.int64]:
        """Return each run's action, (R,)."""
        obs, actions = sim.sense(self.sensor), np.empty(sim.num_envs, np.int64)
        for policy, rows in self.parts:
            if rows.size:
                actions[rows] = policy.act(np.ascontiguousarray(obs[rows]), np.arange(rows.size))
        explores = self.random.random(actions.size) < self.exploration
        return np.where(explores, self.random.integers(len(Action), size=actions.size), actions)


# --- on disk ----------------------------------------------------------------------------------------------------------


def _cache_file(config: RecordingConfig, cache: str | Path) -> Path:
    text = json.dumps([CACHE_VERSION, asdict(config)], sort_keys=True)
    return Path(cache) / f"recording-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def _write_cache(config: RecordingConfig, arrays: dict[str, NDArray[Any]], cache: str | Path | None) -> None:
    if cache is None:
        return
    Path(cache).mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomically(_cache_file(config, cache), content.getvalue())


def _read_cache(config: RecordingConfig, rules: Rules, cache: str | Path | None) -> dict[str, NDArray[Any]] | None:
    """Return a cached recording; None if it is missing or cannot be read."""
    if cache is None or not _cache_file(config, cache).is_file():
        return None
    try:
        with np.load(_cache_file(config, cache), allow_pickle=False) as file:
            return {name: file[name] for name in ("states", "actions", "rewards", "speeds")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
