"""Policy distillation by DAgger: a student learns a teacher's action probabilities in the states that it gets into.

    $ deeptraffic train distil --teacher champion-solo --encoder conv --obs two-frames -o runs/frames
    $ deeptraffic train distil --preset frames -o runs/hinted              # with hints, an encoder made for roads
    $ deeptraffic train distil --preset vehicles -o runs/attention         # attention over the set of all vehicles

The teacher observes what it was made for; the student observes what the run configures, through any encoder. In the
first rounds the teacher acts, then the student; in every state the teacher tells the values of all actions
(`agents.algorithms.distil.teacher`), and the student minimises the Kullback-Leibler divergence of its probabilities
from their softmax, on all decisions of the last rounds. With hints (`hint_weight`) its last layers begin as the
teacher's, and its features also learn what these read.

Sources: Ross, Gordon and Bagnell 2011, "A reduction of imitation learning and structured prediction to no-regret online
learning", arXiv:1011.0686 (DAgger); Rusu et al. 2016, "Policy Distillation", arXiv:1511.06295 (softmax of action values
as targets, section 3); Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement learning"
(burn-in, section 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray

from agents.algorithm import Algorithm, Learner, Notes
from agents.algorithms.distil.config import DistilConfig
from agents.algorithms.distil.learner import DistilLearner
from agents.algorithms.distil.student import Student, student_policy
from agents.config import TrainConfig
from agents.export import TORCH
from agents.registry import PRESETS, PROBABILITIES, Entry
from deeptraffic.policies.base import Policy
from deeptraffic.settings import Settings


@dataclass(frozen=True, kw_only=True)
class DistilAlgorithm(Algorithm):
    """Policy distillation."""

    def learner(self, config: TrainConfig, init_policy: Policy | None, is_new: bool) -> Learner:
        """Return a learner for a run."""
        return DistilLearner(config, is_new)

    def torch_policy(
        self, config: TrainConfig, weights: Mapping[str, NDArray[Any]], label: str, notes: Notes
    ) -> Policy:
        """Return the policy of a student's weights; the global random streams stay as they are."""
        with torch.random.fork_rng(devices=[]):
            student = Student(config, config.observation.space(config.road.build()), is_new=False)
        tensors = {name.removeprefix(TORCH): torch.from_numpy(array) for name, array in weights.items()}
        student.load_state_dict(tensors)
        return student_policy(config, student, label, notes)


# What students of images and of sets are trained with: small batches of a few rounds.
SMALL_BATCHES: Settings = {
    "learning_rate": 2e-3,
    "batch_size": 128,
    "buffer_rounds": 4,
    "total_timesteps": 240_128,
    "evaluate_every": 120_064,
    "evaluation_runs": 300,
    "checkpoint_every": 120_064,
}
# Two small images of the road. A filter of the first layer sees one lane, 4 columns of pixels; of the third, a whole
# lane; of the fourth, all lanes around one. The maximum over lanes then selects the ego vehicle's. The sizes behind it
# are champion-solo's, of which the features learn hints.
FRAMES: Settings = {
    **SMALL_BATCHES,
    "observation.kind": "two-frames",
    "encoder.name": "conv",
    "encoder.features_dim": 256,
    "encoder.architecture": {
        "channels": [12, 16, 48, 128],
        "windows": [[4, 6, 2, 4, 1, 1], [5, 1, 1, 1, 2, 0], [35, 1, 1, 1, 0, 0], [1, 7, 1, 1, 0, 3]],
        "reading": "max",
    },
    "hint_weight": 1.0,
}
# The set of all vehicles, through one layer of attention.
VEHICLES: Settings = {
    **SMALL_BATCHES,
    "observation.kind": "vehicles",
    "encoder.name": "attention",
    "encoder.features_dim": 256,
    "encoder.architecture": {"layers": 1, "width": 64, "point_units": 64},
}
ENTRY = Entry(
    "distil",
    "imitation",
    "imitation of any policy through any encoder (DAgger)",
    PROBABILITIES,
    presets=(*PRESETS, "frames", "vehicles"),
)
ALGORITHM = DistilAlgorithm(
    config=DistilConfig,
    defaults={
        "num_envs": 512,
        "total_timesteps": 274_432,
        "evaluate_every": 68_608,
        "checkpoint_every": 68_608,
    },
    presets={"fast": {"total_timesteps": 137_216}, "frames": FRAMES, "vehicles": VEHICLES},
)
