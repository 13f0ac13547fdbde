"""Experiment on capsule networks against convolutions and dense layers of similar size."""

import numpy as np
from gymnasium import spaces

from representation.beyond.capsules.model import CapsuleEncoder
from representation.comparison import NetworkComparison, Way
from representation.data.labels import SCENES, scene_class
from representation.data.recording import observe
from representation.encoder import Encoder
from representation.experiment import Metric, TrainingJob
from representation.fit import Arrays, FitConfig, Trainable
from representation.metrics import macro_f1
from representation.paradigms.convolutional.model import ConvEncoder
from representation.paradigms.feedforward.model import DenseEncoder
from representation.supervised import Classifier

EVERY = 6  # of the decisions of a run one in so many is taken: neighbours are alike


class CapsuleScene(NetworkComparison):
    """Scene classification from a grid: capsules, convolutions and dense layers on the same budget."""

    name, paradigm = "capsule-scene", "beyond"
    summary = (
        "Capsules against a convolutional network: the scene's class (free, following, boxed in, gaps) from a grid."
    )
    source = "Sabour, Frosst and Hinton 2017, arXiv:1710.09829, equations 1-2 and procedure 1"
    metric = Metric("macro-F1 of the scene's class", 0.0)
    config = FitConfig(epochs=8, batch_size=64, learning_rate=2e-3, learning_rate_end=2e-4, patience=0)
    observed = {"kind": "grid", "patches_ahead": 20, "patches_behind": 8}
    caption = "Scene classification from a grid on held-out runs: capsules and the baselines."

    def ways(self, job: TrainingJob) -> dict[str, Way]:
        """Return the three networks on the same scenes."""
        sets = [self._scenes(job, split, runs) for split, runs in (("train", 600), ("validation", 100), ("test", 300))]
        space = spaces.Box(0.0, 1.0, sets[0]["obs"].shape[1:], np.float32)

        def way(kind: type[Encoder]) -> Way:
            return Way(lambda: Classifier(kind(space, 64), len(SCENES)), *sets)

        return {"capsules": way(CapsuleEncoder), "convolutions": way(ConvEncoder), "dense layers": way(DenseEncoder)}

    def score(self, model: Trainable, test: Arrays) -> float:
        """Return the macro-F1."""
        assert isinstance(model, Classifier)
        return macro_f1(model.predict(test["obs"]).argmax(1), test["label"], len(SCENES))

    def _scenes(self, job: TrainingJob, split: str, runs: int) -> Arrays:
        recording = job.record(split, runs)
        states = recording.states[:, ::EVERY].reshape(-1)
        return {
            "obs": observe(recording.rules, states, self.observed),
            "label": scene_class(recording.rules, states),
        }
