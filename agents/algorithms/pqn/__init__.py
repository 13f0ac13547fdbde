"""Parallelised Q-network, compiled beside the simulator where it can be, else in torch."""

from agents.algorithms.pqn.compiled import CompiledPQN
from agents.algorithms.pqn.config import PQNConfig
from agents.compiled.algorithm import CompiledAlgorithm
from agents.registry import PRESETS, RETURNS, Entry
from deeptraffic.settings import Settings

LONG: Settings = {
    "total_timesteps": 2_000_000,
    "learning_rate_end": 1e-5,
    "evaluate_every": 500_000,
    "evaluation_runs": 1000,
    "checkpoint_every": 1_000_000,
}

# The sensor's cells through a layer shared by all lanes.
LANES: Settings = {
    "observation.kind": "vector",
    "observation.dtype": "float32",
    "lane_units": 32,
    "hidden": [128, 64],
    "learning_rate_end": 1e-5,
    "total_timesteps": 1_200_000,
    "evaluate_every": 400_000,
    "evaluation_runs": 1000,
    "checkpoint_every": 1_200_000,
}

ENTRY = Entry(
    "pqn", "value-based", "Q-learning without replay buffer or target network", RETURNS, presets=(*PRESETS, "lanes")
)
ALGORITHM = CompiledAlgorithm(
    config=PQNConfig,
    compiled=CompiledPQN,
    torch="agents.algorithms.pqn.torch_learner",
    defaults={"num_envs": 128},
    presets={"fast": LONG, "demo": LONG, "lanes": LANES},
)
