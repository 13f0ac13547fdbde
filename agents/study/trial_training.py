"""Training of a sweep's trial: any algorithm, in memory, evaluated on the way.

    >>> config = build_config("deepqlearn", "mit-basic", settings={"gamma": 0.9})
    >>> trained = train_trial(config, stages=1, on_stage=lambda stage, policy: False)
    >>> evaluate_open(trained.policy, config.road).median_mph

The policy is that of the newest network: choosing the best of several evaluations would favour trials that drew luck.
"""

from collections.abc import Callable
from dataclasses import dataclass

from agents.config import TrainConfig
from deeptraffic.policies.base import Policy

OnStage = Callable[[int, Policy], bool]  # (stage from 1, the policy now) -> whether to stop training


@dataclass(frozen=True)
class TrainedNetwork:
    """Result of a training.

    network: content of the network's file, which `agents.loader.load_network` reads
    parameters, layers: of the network that drives; layers: hidden ones
    decisions: of training; stopped: whether it was asked to stop before its end
    """

    policy: Policy
    network: bytes
    parameters: int
    layers: int
    decisions: int
    stopped: bool


class StopTraining(Exception):
    """Training was asked to stop."""


def train_trial(config: TrainConfig, stages: int, on_stage: OnStage) -> TrainedNetwork:
    """Train, calling `on_stage` after 1, 2, ... stages - 1 of `stages` equal parts, and return the result.

    Raises RuntimeError if the weights diverge.
    """
    from agents.trainer import make_learner, torch_threads

    reached, stopped, total = 0, False, config.total_timesteps

    def between_rounds() -> None:
        nonlocal reached
        if learner.decisions >= total:
            return
        while reached + 1 < stages and learner.decisions >= total * (reached + 1) // stages:
            reached += 1
            if on_stage(reached, learner.policy(config.algo, {})):
                raise StopTraining

    with torch_threads(config.torch_threads):
        learner = make_learner(config)
        try:
            learner.learn(total, between_rounds)
        except StopTraining:
            stopped = True
    content = learner.content(config.algo, {"decisions": str(learner.decisions)})
    facts = (learner.parameters, config.agent.hidden_layers, learner.decisions)
    return TrainedNetwork(learner.policy(config.algo, {}), content, *facts, stopped)
