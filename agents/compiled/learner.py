"""Base class of compiled learners: rounds of a rollout and an update, as `agents.algorithm.Learner`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.algorithm import Notes
from agents.compiled.envs import Envs
from agents.compiled.model import model_weights, new_model
from agents.compiled.rollout import new_rollout
from agents.config import NetworkConfig, TrainConfig
from agents.export import TrainedPolicy, Weights, weights_content
from deeptraffic.envs.reward import mean_speed_mph
from deeptraffic.policies.base import Policy


class CompiledLearner(ABC):
    """Trains a network in compiled code; a subclass draws its first weights.

    Args:
        config: of the run
        n_steps: decisions of each env in a round
        outputs: of each branch of the network, of which the first acts
        layer_norm: whether hidden layers are normalised

    envs: environments of the run; rollout: of the last round; order: of its samples in the last pass
    """

    def __init__(self, config: TrainConfig, n_steps: int, outputs: Sequence[int], layer_norm: bool = False) -> None:
        assert isinstance(config.agent, NetworkConfig)
        self.config, self.network_config, self.branches = config, config.agent, len(outputs)
        self.envs = Envs(config)
        self.model = new_model(config, self.envs.state.obs.shape[1], outputs, layer_norm)
        self.rollout = new_rollout(self.envs, n_steps)
        self.order = np.arange(self.rollout.actions.size)
        self.counts = np.zeros(2, np.int64)  # decisions, updates
        self.speeds = np.zeros(2)  # sum of mph and number of decisions since the last metrics

    @property
    def decisions(self) -> int:
        """Decisions of training made so far, over all envs."""
        return int(self.counts[0])

    @property
    def parameters(self) -> int:
        """Number of weights and biases of the acting network."""
        return sum(array.size for array in self.weights().values())

    def learn(self, total_timesteps: int, between_rounds: Callable[[], None], logger: Any = None) -> None:
        """Train until `total_timesteps` decisions, see `agents.algorithm.Learner`; a round is a rollout."""
        if self.decisions < total_timesteps:
            between_rounds()
        while self.decisions < total_timesteps:
            self.model.functions.prepare(self.model.net)
            reported = self.round(1.0 - self.decisions / self.config.total_timesteps)
            self.counts += self.rollout.actions.size, 1
            self.speeds += float(mean_speed_mph(self.rollout.mit).sum()), self.rollout.mit.size
            if not all(np.isfinite(array).all() for array in self.weights().values()):
                raise RuntimeError(
                    f"the weights grew beyond all bounds within {self.decisions:,} decisions; lower "
                    f"learning_rate={self.network_config.learning_rate:g}"
                )
            if logger:
                for name, value in reported.items():
                    logger.record(f"train/{name}", value)
            between_rounds()

    @abstractmethod
    def round(self, remaining: float) -> dict[str, float]:
        """Play a rollout, learn from it and return losses by name; remaining: fraction of training."""

    def weights(self) -> Weights:
        """Return the acting network's weights, see `agents.export.to_network`."""
        return model_weights(self.model, self.branches)

    def learning_rate(self, remaining: float) -> float:
        """Return the learning rate when this fraction of training remains."""
        first, last = self.network_config.learning_rate, self.network_config.learning_rate_end
        return last + (first - last) * remaining

    def metrics(self) -> dict[str, float]:
        """Return the mean speed of the exploring policy since the last call."""
        total, count = self.speeds
        self.speeds[:] = 0.0
        return {"train_mph": float(total / count)} if count else {}

    def policy(self, label: str, notes: Notes) -> Policy:
        """Return the current network as a policy."""
        config = self.config
        return TrainedPolicy(
            label, self.weights(), config.road, config.observation, self.network_config.activation, notes
        )

    def content(self, label: str, notes: Notes) -> bytes:
        """Return the network's weights as the content of a file, which holds no label."""
        return weights_content(self.weights(), notes)

    # --- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return copies of all that the future depends on, as arrays."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state of a learner with the same configuration; ValueError if it is of another."""
        for name, array in self._arrays().items():
            saved = state.get(name, np.zeros(0))
            if saved.shape != array.shape or saved.dtype != array.dtype:
                raise ValueError(f"the saved state's {name!r} is not of this configuration; train again")
            array[:] = saved

    def _arrays(self) -> dict[str, NDArray[Any]]:
        parts: dict[str, dict[str, NDArray[Any]]] = {
            "learner": {"counts": self.counts, "speeds": self.speeds, "order": self.order},
            "envs": self.envs.arrays(),
            "network": {"params": self.model.dense.params, **self.model.moments._asdict()},
        }
        return {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
