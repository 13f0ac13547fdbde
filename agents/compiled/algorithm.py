"""Algorithms that have a compiled learner beside one of torch, which is imported only for what torch trains."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from agents.algorithm import Algorithm, Learner, Notes
from agents.compiled.config import CompiledConfig
from agents.config import TrainConfig
from deeptraffic.policies.base import Policy


@dataclass(frozen=True, kw_only=True)
class CompiledAlgorithm(Algorithm):
    """An algorithm whose learner is compiled for the runs that it can train (`agents.compiled.config`).

    compiled: run -> learner
    torch: name of the module whose `ALGORITHM` trains all other runs
    """

    compiled: Callable[[TrainConfig], Learner]
    torch: str

    def load_torch(self) -> Algorithm:
        """Import the torch part and return it."""
        return importlib.import_module(self.torch).ALGORITHM

    def learner(self, config: TrainConfig, init_policy: Policy | None, is_new: bool) -> Learner:
        """Return a learner for a run; see `Algorithm.learner`."""
        if isinstance(config.agent, CompiledConfig) and config.agent.backend == "compiled":
            return self.compiled(config)
        return self.load_torch().learner(config, init_policy, is_new)

    def torch_policy(
        self, config: TrainConfig, weights: Mapping[str, NDArray[Any]], label: str, notes: Notes
    ) -> Policy:
        """Return a policy of `policy.*` weights."""
        return self.load_torch().torch_policy(config, weights, label, notes)
