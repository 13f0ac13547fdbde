"""Offline learning: gradient steps on a fixed data set, without a decision in the environment.

An algorithm adds a loss (`OfflineAlgorithm.loss`); minibatches, networks, learning rate and state are here. Where a run
counts decisions (`total_timesteps`, progress, checkpoints), an offline one counts transitions drawn from the data set,
`batch_size` for each gradient step. The newest network is kept, not the one that drove best on tuning seeds: choosing
by driving would not be offline (Fujimoto and Gu 2021, arXiv:2106.06860, section 4).

Letters in shapes: N transitions of a minibatch, D features, A actions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.algorithm import Algorithm, Learner, Notes
from agents.config import NetworkConfig, TrainConfig
from agents.datasets.store import Transitions, dataset_config, read_transitions
from agents.export import TrainedPolicy, Weights, reads_cells, weights_content
from agents.sb3_state import as_arrays, as_tensors
from deeptraffic.policies.base import Policy
from deeptraffic.settings import Settings, choice, integer, integers, real
from deeptraffic.sim.rules import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUND = 100  # gradient steps of a round
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}
DEFAULTS: Settings = {
    "total_timesteps": 5_120_000,
    "evaluate_every": 1_280_000,
    "evaluation_runs": 200,
    "checkpoint_every": 1_280_000,
}
PRESETS: dict[str, Settings] = {
    "quick": {"total_timesteps": 512_000, "evaluate_every": 512_000, "checkpoint_every": 512_000}
}


@dataclass(frozen=True)
class OfflineConfig(NetworkConfig):
    """Hyperparameters of every offline algorithm.

    dataset: name of a Minari data set of lane gaps or the sensor's cells, which `deeptraffic dataset` wrote
    batch_size: transitions of one gradient step
    weight_decay: of AdamW
    """

    max_grad_norm: float = real(10.0, 1e-6, 1e6)
    hidden: tuple[int, ...] = integers((128, 128), 1, 4096, 0, 8)
    activation: str = choice("relu", "tanh", "relu")
    dataset: str = ""
    batch_size: int = integer(256, 1, 1_000_000)
    weight_decay: float = real(0.0, 0.0, 1.0)

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if no dense layers over the cells can read this observation."""
        self.check_no_lanes(run)
        if not reads_cells(run.road, run.observation, run.encoder):
            raise ValueError(
                f"{run.algo} learns from gaps or vector without a temporal window, not from "
                f"kind={run.observation.kind!r}; record a data set of these"
            )


class OfflineLearner:
    """Networks that learn from transitions, as `agents.algorithm.Learner`.

    config: of the run
    loss: see `OfflineAlgorithm.loss`
    data: the transitions
    acting, target: the network that drives, and its copy for targets, updated where a loss does so
    """

    def __init__(
        self, config: TrainConfig, loss: "Callable[[OfflineLearner, Minibatch], Tensor]", data: Transitions
    ) -> None:
        assert isinstance(config.agent, OfflineConfig)
        self.config, self.agent, self.loss, self.data = config, config.agent, loss, data
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            sizes = (data.obs.shape[1], *self.agent.hidden, len(Action))
            self.acting, self.target = dense(sizes, self.agent.activation), dense(sizes, self.agent.activation)
        self.target.load_state_dict(self.acting.state_dict())
        rate, decay = self.agent.learning_rate, self.agent.weight_decay
        self.optimizer = torch.optim.AdamW(self.acting.parameters(), rate, weight_decay=decay)
        self.arrays = [torch.from_numpy(array) for array in data[:4]]
        self.steps, self.losses = 0, [0.0]

    @property
    def decisions(self) -> int:
        """Transitions drawn so far."""
        return self.steps * self.agent.batch_size

    @property
    def parameters(self) -> int:
        """Number of weights and biases of the acting network."""
        return sum(part.numel() for part in self.acting.parameters())

    def learn(self, total_timesteps: int, between_rounds: Callable[[], None], logger: Any = None) -> None:
        """Train until `total_timesteps` transitions were drawn; see `agents.algorithm.Learner`."""
        if self.decisions < total_timesteps:
            between_rounds()
        while self.decisions < total_timesteps:
            batches = np.random.default_rng([self.config.seed, self.steps // ROUND])
            self.losses = []
            while len(self.losses) < ROUND and self.decisions < total_timesteps:
                chosen = torch.from_numpy(batches.integers(len(self.data.actions), size=self.agent.batch_size))
                self._gradient_step(Minibatch(*(part[chosen] for part in self.arrays)), total_timesteps)
            if not np.isfinite(self.losses).all():
                raise RuntimeError(f"the loss is not finite; lower learning_rate={self.agent.learning_rate:g}")
            if logger:
                logger.record("train/loss", float(np.mean(self.losses)))
            between_rounds()

    def _gradient_step(self, batch: "Minibatch", total_timesteps: int) -> None:
        progress = self.decisions / total_timesteps
        first, last = self.agent.learning_rate, self.agent.learning_rate_end
        for group in self.optimizer.param_groups:
            group["lr"] = first + (last - first) * progress
        loss = self.loss(self, batch)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.acting.parameters(), self.agent.max_grad_norm)
        self.optimizer.step()
        self.steps += 1
        self.losses.append(loss.item())

    def metrics(self) -> dict[str, float]:
        """Return the mean loss of the last round."""
        return {"loss": float(np.mean(self.losses))} if self.steps else {}

    def weights(self) -> Weights:
        """Return the acting network's weights, see `agents.export.to_network`."""
        layers = [module for module in self.acting if isinstance(module, nn.Linear)]
        return {
            f"{k}.{part}": getattr(layer, part).detach().numpy().copy()
            for k, layer in enumerate(layers)
            for part in ("weight", "bias")
        }

    def policy(self, label: str, notes: Notes) -> Policy:
        """Return the current network as a policy."""
        config = self.config
        return TrainedPolicy(label, self.weights(), config.road, config.observation, self.agent.activation, notes)

    def content(self, label: str, notes: Notes) -> bytes:
        """Return the network's weights as the content of a file."""
        return weights_content(self.weights(), notes)

    def state(self) -> dict[str, Any]:
        """Return all that the future of the training depends on."""
        state = {
            "steps": self.steps,
            "data": self.data.digest,
            "acting": self.acting.state_dict(),
            "target": self.target.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        return as_arrays(state)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state; ValueError if it was trained on other data."""
        if state["data"] != self.data.digest:
            raise ValueError(f"data set {self.agent.dataset!r} is not the one that this run began with")
        self.steps = state["steps"]
        self.acting.load_state_dict(as_tensors(state["acting"]))
        self.target.load_state_dict(as_tensors(state["target"]))
        self.optimizer.load_state_dict(as_tensors(state["optimizer"]))


@dataclass(frozen=True)
class Minibatch:
    """A minibatch: obs (N, D), actions (N,), rewards (N,), next_obs (N, D)."""

    obs: Tensor
    actions: Tensor
    rewards: Tensor
    next_obs: Tensor


@dataclass(frozen=True, kw_only=True)
class OfflineAlgorithm(Algorithm):
    """An algorithm that learns from a data set.

    loss: (learner, minibatch) -> the loss, a scalar
    """

    loss: Callable[[OfflineLearner, Minibatch], Tensor]

    def learner(self, config: TrainConfig, init_policy: Policy | None, is_new: bool) -> Learner:
        """Return a learner for a run; ValueError if its data set is missing, or has another road or observation."""
        assert isinstance(config.agent, OfflineConfig)
        name = config.agent.dataset
        if not name:
            raise ValueError(f"{config.algo} needs a data set: --dataset NAME, as `deeptraffic dataset` wrote it")
        recorded = dataset_config(name)
        if recorded.observation != config.observation:
            raise ValueError(
                f"data set {name!r} holds {recorded.observation}, the run is to observe {config.observation}; give the "
                "data set by --dataset, which takes its observation"
            )
        return OfflineLearner(config, self.loss, read_transitions(name))

    def torch_policy(self, config: TrainConfig, weights: "Mapping[str, Any]", label: str, notes: Notes) -> Policy:
        """There is none: every network of these algorithms is one of dense layers."""
        raise ValueError("an offline algorithm's network is one of dense layers; this file is of another algorithm")


def dense(sizes: tuple[int, ...], activation: str) -> nn.Sequential:
    """Return dense layers of these sizes with an activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def dataset_settings(name: str) -> Settings:
    """Return the settings of a run that learns from a data set: its observation and road."""
    recorded = dataset_config(name).to_json()
    sections = {section: recorded[section] for section in ("observation", "road")}
    given = {f"{section}.{key}": value for section, part in sections.items() for key, value in part.items()}
    return given | {"agent.dataset": name}
