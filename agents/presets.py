"""Settings by name: each algorithm's own defaults, and the presets of `deeptraffic train --preset`."""

from agents.algorithms import AGENTS
from deeptraffic.settings import Settings

_DQN_DEFAULTS: Settings = {
    "num_envs": 64,
    "learning_rate": 5e-4,
    "learning_rate_end": 5e-5,
    "total_timesteps": 300_000,
    "evaluate_every": 25_000,
    "checkpoint_every": 50_000,
}
_WORLD_MODEL_DEFAULTS: Settings = {
    "num_envs": 32,
    "total_timesteps": 10_000,
    "evaluate_every": 2_500,
    "checkpoint_every": 5_000,
}
_EXPERT_DEFAULTS: Settings = {
    "kind": "vector",
    "dtype": "float32",
    "num_envs": 512,
    "total_timesteps": 1_000_000,
    "evaluate_every": 100_000,
    "checkpoint_every": 500_000,
}
DEFAULTS: dict[str, Settings] = {
    "reinforce": {"learning_rate": 5e-3, "learning_rate_end": 5e-4, "num_envs": 64},
    "a2c": {"learning_rate": 2e-3, "learning_rate_end": 2e-4, "num_envs": 64},
    "ppo": {},
    "team_ppo": {"road.other_agents": 10, "num_envs": 64, "total_timesteps": 2_000_000, "evaluate_every": 200_000},
    "maskable_ppo": {},
    "recurrent_ppo": {},
    "dqn": _DQN_DEFAULTS,
    "qrdqn": _DQN_DEFAULTS,
    "pqn": {"num_envs": 128},
    "world_model": _WORLD_MODEL_DEFAULTS,
    "expert_iteration": _EXPERT_DEFAULTS,
}
_QUICK: Settings = {"total_timesteps": 120_000, "evaluate_every": 40_000, "checkpoint_every": 40_000}
_LONG: Settings = {"total_timesteps": 500_000, "evaluate_every": 50_000, "checkpoint_every": 100_000}
_FEWER_UPDATES: Settings = {"num_envs": 128, "updates_per_decision": 0.05, "learning_rate_end": 5e-5}
_TO_70_MPH: Settings = {"total_timesteps": 400_000, "evaluate_every": 100_000, "checkpoint_every": 400_000}
_TO_72_MPH: Settings = {
    "num_envs": 1024,
    "torch_threads": 2,
    "total_timesteps": 960_000,
    "evaluate_every": 140_000,
    "checkpoint_every": 480_000,
}
PRESETS: dict[str, dict[str, Settings]] = {
    "default": {algo: {} for algo in AGENTS},
    "demo": {algo: {} for algo in AGENTS} | {"world_model": {**_LONG, **_FEWER_UPDATES}},
    "quick": {algo: _QUICK for algo in AGENTS} | {"world_model": {**_QUICK, **_FEWER_UPDATES}},
    "fast": {algo: {} for algo in AGENTS} | {"ppo": _TO_70_MPH, "expert_iteration": _TO_72_MPH},
}
