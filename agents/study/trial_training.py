"""One training of a trial: any algorithm, in memory, evaluated on the way.

    >>> config = configure("deepqlearn", "mit-basic", {"gamma": 0.9})
    >>> trained = train_trial(config, stages=1, on_stage=lambda stage, policy: False)
    >>> evaluate_open(trained.policy, config.road).median_mph

The policy is that of the newest network: choosing the best of several evaluations would favour trials that drew luck.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.algorithms import AGENTS
from agents.config import TrainConfig, build_config
from agents.deepqlearn import BlockReport, DeepQLearn
from agents.deepqlearn_config import DeepQLearnConfig, build_deepqlearn_config
from deeptraffic.policies.base import Policy
from deeptraffic.policies.file import policy_content, read_policy

ORIGINAL = "deepqlearn"
ALGORITHMS = (ORIGINAL, *AGENTS)
RunConfig = TrainConfig | DeepQLearnConfig
OnStage = Callable[[int, Policy], bool]  # (stage from 1, the policy now) -> whether to stop training


@dataclass(frozen=True)
class Trained:
    """What a training left.

    network: its weights, which `read_network` makes a policy of again
    parameters, layers: of the network that drives; layers: hidden ones
    decisions: of training; stopped: whether it was asked to stop before its end
    """

    policy: Policy
    network: bytes
    parameters: int
    layers: int
    decisions: int
    stopped: bool


def configure(algorithm: str, preset: str, settings: Mapping[str, Any]) -> RunConfig:
    """Return what a training is told; ValueError for whatever is unknown or impossible."""
    if algorithm == ORIGINAL:
        return build_deepqlearn_config(preset or "mit-basic", settings)
    return build_config(algorithm, preset or "default", settings=settings)


def decisions_of(config: RunConfig) -> int:
    """Decisions of a whole training."""
    return config.iterations if isinstance(config, DeepQLearnConfig) else config.total_timesteps


def train_trial(config: RunConfig, stages: int, on_stage: OnStage) -> Trained:
    """Train, calling `on_stage` after 1, 2, ... stages - 1 of `stages` equal parts, and return what came of it.

    Raises RuntimeError if the weights grow beyond all bounds.
    """
    if isinstance(config, DeepQLearnConfig):
        return _train_original(config, stages, on_stage)
    return _train_agent(config, stages, on_stage)


def read_network(config: RunConfig, network: bytes, label: str) -> Policy:
    """Return the policy of a training's network."""
    if isinstance(config, DeepQLearnConfig):
        return read_policy(network).policy()
    from safetensors.numpy import load

    from agents.export import make_policy

    return make_policy(config, load(network), label)


# --- the original's learner -------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """Training was asked to stop."""


def _train_original(config: DeepQLearnConfig, stages: int, on_stage: OnStage) -> Trained:
    learner, reached, stopped = DeepQLearn(config), 0, False

    def on_block(report: BlockReport) -> None:
        nonlocal reached
        while reached + 1 < stages and report.decisions >= config.iterations * (reached + 1) // stages:
            reached += 1
            if on_stage(reached, learner.export().policy()):
                raise _Stopped

    try:
        learner.train(on_block)
    except _Stopped:
        stopped = True
    exported = learner.export()
    parameters = sum(tensor.size for tensor in exported.network.tensors.values())
    return Trained(
        exported.policy(), policy_content(exported), parameters, len(config.layers), learner.decisions, stopped
    )


# --- the others -------------------------------------------------------------------------------------------------------


def _train_agent(config: TrainConfig, stages: int, on_stage: OnStage) -> Trained:
    from agents.export import make_policy, weights_content
    from agents.sb3 import make_games, make_model, network_weights
    from agents.training import torch_threads

    with torch_threads(config.torch_threads):
        model = make_model(config, make_games(config))
        watcher = _watcher(stages, config.total_timesteps, lambda stage: on_stage(stage, policy()))

        def policy() -> Policy:
            return make_policy(config, network_weights(model, config), config.algo)

        model.learn(config.total_timesteps, watcher, log_interval=None)  # type: ignore[arg-type]
        weights = network_weights(model, config)
    parameters = sum(tensor.size for tensor in weights.values())
    content = weights_content(weights, {"decisions": str(model.num_timesteps)})
    return Trained(policy(), content, parameters, len(config.agent.hidden), model.num_timesteps, watcher.stopped)


def _watcher(stages: int, decisions: int, on_stage: Callable[[int], bool]) -> Any:
    """Return a callback of Stable-Baselines3 that counts the stages of a training, between two rollouts."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Watcher(BaseCallback):
        """Calls on_stage when a stage is reached; `stopped` says that it asked to stop."""

        reached, stopped = 0, False

        def _on_rollout_start(self) -> None:
            while self.reached + 1 < stages and self.num_timesteps >= decisions * (self.reached + 1) // stages:
                self.reached += 1
                self.stopped = self.stopped or on_stage(self.reached)

        def _on_step(self) -> bool:
            return not self.stopped

    return Watcher()
