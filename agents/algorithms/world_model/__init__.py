"""World model: a learned latent model of the environment, and a policy improved by imagined decisions."""

from typing import Any

from agents.algorithms.world_model.agent import WorldModelAgent
from agents.algorithms.world_model.config import WorldModelConfig
from agents.export import Weights
from agents.registry import PROBABILITIES, Entry
from agents.sb3 import SB3Algorithm
from agents.sb3_network import dense_weights
from deeptraffic.settings import Settings

LONG: Settings = {"total_timesteps": 500_000, "evaluate_every": 50_000, "checkpoint_every": 100_000}
FEWER_UPDATES: Settings = {"num_envs": 128, "updates_per_decision": 0.05, "learning_rate_end": 5e-5}


def make(agent: WorldModelConfig, env: Any, common: dict[str, Any]) -> WorldModelAgent:
    """Return a new model."""
    named = {name: common[name] for name in ("policy", "learning_rate", "policy_kwargs", "seed", "device")}
    model = WorldModelAgent(env=env, config=agent, **named)
    if agent.mirror and not model.policy.is_frozen:
        model.mirror = env.batch.observation.mirror()
    return model


def weights(model: WorldModelAgent) -> Weights:
    """Return the layers of the encoder and of the policy head."""
    return dense_weights([*model.policy.encoder, *model.policy.policy_head])


ENTRY = Entry(
    "world_model", "model-based", "a learned latent model of the environment, and a policy trained in it", PROBABILITIES
)
ALGORITHM = SB3Algorithm(
    config=WorldModelConfig,
    make=make,
    weights=weights,
    state=lambda model: model.replay.state(),
    restore=lambda model, saved: model.replay.restore(saved),
    defaults={"num_envs": 32, "total_timesteps": 10_000, "evaluate_every": 2_500, "checkpoint_every": 5_000},
    presets={"demo": {**LONG, **FEWER_UPDATES}, "quick": FEWER_UPDATES},
)
