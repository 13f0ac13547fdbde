"""Behaviour cloning: the actions of a data set as labels of their observations.

    $ deeptraffic dataset gap --epsilon 0.2 -o deeptraffic/medium-v0
    $ deeptraffic train bc --dataset deeptraffic/medium-v0

Source: Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation", Neural Computation
3(1).
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from agents.datasets.offline import DEFAULTS, PRESETS, Minibatch, OfflineAlgorithm, OfflineConfig, OfflineLearner
from agents.registry import PROBABILITIES, Entry


@dataclass(frozen=True)
class BCConfig(OfflineConfig):
    """Hyperparameters of behaviour cloning; see `OfflineConfig`."""


def loss(learner: OfflineLearner, batch: Minibatch) -> Tensor:
    """Return the cross-entropy of the data set's actions."""
    return functional.cross_entropy(learner.acting(batch.obs), batch.actions)


ENTRY = Entry("bc", "offline", "behaviour cloning of a data set", PROBABILITIES)
ALGORITHM = OfflineAlgorithm(config=BCConfig, loss=loss, defaults=DEFAULTS, presets=PRESETS)
