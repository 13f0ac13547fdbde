"""Facts that JavaScript reads from the module: records, rules, protocols, presets of the learner."""

import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from agents.algorithms.deepqlearn.config import ACTIVATIONS
from agents.algorithms.deepqlearn.loop import ARRAYS, TALLY
from agents.algorithms.deepqlearn.network import LearningSettings
from agents.config import build_config
from agents.registry import ALGORITHMS
from deeptraffic.evaluation.protocol import OFFICIAL, OPEN_FRAMES
from deeptraffic.evaluation.seeds import SEED_SETS
from deeptraffic.lab.compile import source_digest
from deeptraffic.lab.entries import ENTRIES, SAFETY_CELLS
from deeptraffic.lab.memory import GAME, LEARNER, POLICY, RULES, RUNS
from deeptraffic.policies.file import KEY
from deeptraffic.policies.manifest import FORMAT_VERSION
from deeptraffic.sim.rules import CONTESTS, MPH_PER_PX, Action
from deeptraffic.sim.state import NOBODY, PAD

RECORDS = {"rules": RULES, "game": GAME, "policy": POLICY, "runs": RUNS, "learner": LEARNER, "tally": TALLY}


def layout() -> dict[str, Any]:
    """Return everything as JSON values."""
    return {
        "digest": source_digest(),
        "versions": versions(),
        "records": {name: fields_of(dtype) for name, dtype in RECORDS.items()},
        "contests": {year: rules._asdict() for year, rules in CONTESTS.items()},
        "official": {year: vars(protocol) for year, protocol in OFFICIAL.items()},
        "open_frames": OPEN_FRAMES,
        "seed_sets": {name: [seeds.start, seeds.stop] for name, seeds in SEED_SETS.items()},
        "actions": [action.name.lower() for action in Action],
        "nobody": NOBODY,
        "pad": PAD,
        "safety_cells": SAFETY_CELLS,
        "mph_per_px": MPH_PER_PX,
        "file": {"key": KEY, "format": FORMAT_VERSION},
        "deepqlearn": deepqlearn(),
        "entries": [each.function.__name__ for each in ENTRIES],
    }


def versions() -> dict[str, str]:
    """Return the versions that a module's bytes, and its digest, depend on."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {name: version(name) for name in ("numba", "llvmlite", "numpy")} | {"python": python}


def fields_of(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return a record's size [bytes] and for each field [type, place, number of elements]."""
    assert dtype.fields is not None
    found = {}
    for name, (kind, place, *_) in dtype.fields.items():
        item, shape = kind.subdtype if kind.subdtype else (kind, ())
        found[name] = [item.str[1:], place, int(np.prod(shape, dtype=int))]
    return {"size": dtype.itemsize, "fields": found}


def deepqlearn() -> dict[str, Any]:
    """Return the learner's arrays, activations and presets."""
    presets = [None, *ALGORITHMS["deepqlearn"].presets]
    arrays = {name: [kind if isinstance(kind, str) else "tally", shape] for name, (kind, shape) in ARRAYS.items()}
    return {
        "arrays": arrays,
        "activations": ACTIVATIONS,
        "settings": list(LearningSettings._fields),
        "presets": {name or "mit-basic": preset(name) for name in presets},
    }


def preset(name: str | None) -> dict[str, Any]:
    """Return the settings of a preset, None for MIT's basic network, by their names in a run's configuration."""
    config = build_config("deepqlearn", name)
    seen, agent = config.observation, vars(config.agent)
    window = {**seen.sensor._asdict(), "temporal_window": seen.temporal_window}
    learning = {field: agent[field] for field in LearningSettings._fields}
    return {
        **{"rules": config.road.rules, "other_agents": config.road.other_agents, "seed": config.seed},
        **{**window, "layers": agent["layers"], "experience_size": agent["experience_size"], **learning},
        "total_timesteps": config.total_timesteps,
    }
