"""deepqlearn: the original game's own learner, ConvNetJS's Q-learning."""

from dataclasses import dataclass

from agents.algorithm import Algorithm
from agents.algorithms.deepqlearn.config import DeepQLearnConfig
from agents.algorithms.deepqlearn.learner import DeepQLearn
from agents.config import TrainConfig
from agents.registry import RETURNS, Entry
from deeptraffic.policies.base import Policy


@dataclass(frozen=True, kw_only=True)
class DeepQLearnAlgorithm(Algorithm):
    """deepqlearn, compiled and without torch."""

    def learner(self, config: TrainConfig, init_policy: Policy | None, is_new: bool) -> DeepQLearn:
        """Return a new learner."""
        return DeepQLearn(config)


ENTRY = Entry(
    "deepqlearn", "value-based", "the original game's own learner", RETURNS, presets=("mit-basic", "mit-default", "lab")
)
ALGORITHM = DeepQLearnAlgorithm(
    config=DeepQLearnConfig,
    keeps_newest=True,
    defaults={
        "kind": "vector",
        "lanes_side": 1,
        "patches_ahead": 10,
        "patches_behind": 0,
        "num_envs": 1,
        "total_timesteps": 30_000,
        "evaluate_every": 10**12,
        "checkpoint_every": 100_000,
    },
    presets={
        "mit-default": {
            "lanes_side": 0,
            "patches_ahead": 1,
            "temporal_window": 3,
            "layers": [[1, "relu"]],
            "gamma": 0.7,
            "total_timesteps": 10_000,
        },
        # chosen on 200 tuning runs among six settings: above 65 mph within 20,000 decisions
        "lab": {
            "lanes_side": 1,
            "patches_ahead": 30,
            "patches_behind": 5,
            "layers": [[16, "relu"]],
            "gamma": 0.8,
            "learning_steps_total": 15_000,
            "total_timesteps": 20_000,
        },
    },
)
