"""Proximal policy optimisation, compiled beside the simulator where it can be, else Stable-Baselines3's."""

from agents.algorithms.ppo.compiled import CompiledPPO
from agents.algorithms.ppo.config import PPOConfig
from agents.algorithms.ppo.torch_learner import initialise, make
from agents.sb3 import SB3Algorithm
from agents.sb3_network import actor_weights

ALGORITHM = SB3Algorithm(
    config=PPOConfig,
    make=make,
    compiled=CompiledPPO,
    weights=actor_weights,
    initialise=initialise,
    presets={"fast": {"total_timesteps": 400_000, "evaluate_every": 100_000, "checkpoint_every": 400_000}},
)
