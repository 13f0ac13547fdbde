"""Facts that JavaScript reads from the module: records, rules, protocols, presets of the learner."""

import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from agents.algorithms.deepqlearn.config import ACTIVATIONS
from agents.algorithms.deepqlearn.loop import ARRAYS, TALLY
from agents.algorithms.deepqlearn.network import LearningSettings
from agents.algorithms.pqn.config import PQNConfig
from agents.compiled.network import ACTIVATIONS as COMPILED_ACTIVATIONS
from agents.registry import ALGORITHMS
from agents.settings import build_config
from deeptraffic.evaluation.protocol import OFFICIAL, OPEN_FRAMES
from deeptraffic.evaluation.seeds import SEED_SETS
from deeptraffic.lab.compile import source_digest
from deeptraffic.lab.entries import ENTRIES, SAFETY_CELLS
from deeptraffic.lab.memory import GAME, LEARNER, POLICY, RULES, RUNS
from deeptraffic.lab.pqn import LAYER_COLUMNS, PQN, ROLLOUT, STATE, RoundSettings
from deeptraffic.lab.pqn import TALLY as PQN_TALLY
from deeptraffic.policies.file import KEY
from deeptraffic.policies.gaps import GAP_FEATURES
from deeptraffic.policies.manifest import FORMAT_VERSION
from deeptraffic.sim.rules import CONTESTS, MPH_PER_PX, Action
from deeptraffic.sim.state import NOBODY, PAD

RECORDS = {"rules": RULES, "game": GAME, "policy": POLICY, "runs": RUNS, "learner": LEARNER, "tally": TALLY}
RECORDS |= {"pqn": PQN, "pqn_tally": PQN_TALLY}
PQN_PRESETS = {  # in a page: no run waits there for an evaluation
    "pqn-quick": {"total_timesteps": 100_000},
    "pqn-long": {"total_timesteps": 1_000_000},
}


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
        "pqn": pqn(),
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


def pqn() -> dict[str, Any]:
    """Return the arrays, activations and presets of the compiled PQN."""
    return {
        "state": STATE,
        "rollout": ROLLOUT,
        "activations": COMPILED_ACTIVATIONS,
        "settings": list(RoundSettings._fields),
        "layer_columns": LAYER_COLUMNS,
        "gap_features": GAP_FEATURES,
        "presets": {name: pqn_preset(settings) for name, settings in PQN_PRESETS.items()},
    }


def pqn_preset(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run of PQN by their names in its configuration."""
    config = build_config("pqn", "fast", settings=settings)
    seen, agent = config.observation, config.agent
    assert isinstance(agent, PQNConfig)
    learning = {name: value for name, value in vars(agent).items() if name not in ("backend", "dueling", "lane_units")}
    return {
        **{"algo": config.algo, "rules": config.road.rules, "other_agents": config.road.other_agents},
        **{"seed": config.seed, "kind": seen.kind, **seen.sensor._asdict()},
        **{"num_envs": config.envs.num_envs, "max_steps": config.envs.max_steps},
        **{**learning, "hidden": list(agent.hidden), "total_timesteps": config.total_timesteps},
    }
