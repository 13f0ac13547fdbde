"""Proximal policy optimisation, compiled beside the simulator where it can be, else Stable-Baselines3's."""

from agents.algorithms.ppo.compiled import CompiledPPO
from agents.algorithms.ppo.config import PPOConfig
from agents.compiled.algorithm import CompiledAlgorithm
from agents.registry import PROBABILITIES, Entry

ENTRY = Entry("ppo", "policy-based", "proximal policy optimisation", PROBABILITIES, can_warm_start=True)
ALGORITHM = CompiledAlgorithm(
    config=PPOConfig,
    compiled=CompiledPPO,
    torch="agents.algorithms.ppo.torch_learner",
    presets={"fast": {"total_timesteps": 400_000, "evaluate_every": 100_000, "checkpoint_every": 400_000}},
)
