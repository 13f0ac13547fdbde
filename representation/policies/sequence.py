"""Driving by a network that answers after every step, under a sensor as poor as we like.

    >>> driver = SequencePolicy(model, DEGRADED, "gru")               # model: an `ActionModel`
    >>> evaluate_open(driver, runs=1000).median_mph

It takes the grid of the contest's sensor and spoils it itself: the same frames are lost however many games run side by
side. Each driver has a memory of its own, which is emptied when its run starts.

Letters in shapes: B games, T decisions, n numbers of one step, S numbers of one state.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeptraffic.envs.observations import make_observation
from deeptraffic.envs.reward import mean_speed_mph
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.policies.base import Policy
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.state import I64
from representation.data.recording import Recording, RecordingConfig
from representation.data.sequences import NO_ACTION, SensorConfig, lane_features, step_inputs
from representation.paradigms.recurrent import StatefulEncoder
from representation.paradigms.sequence_model import ActionModel


class SequencePolicy(Policy):
    """Drives by the network's most likely action.

    Args:
        model: trained on rows (T, n) of this sensor
        sensor: what is left of each frame
        label: name in tables
        seed: of the frames that are lost
    """

    def __init__(self, model: ActionModel, sensor: SensorConfig, label: str, seed: int = 0) -> None:
        self.model, self.sensor_config, self.label, self.seed = model.eval().cpu(), sensor, label, seed
        self.observation = make_observation("grid")
        self.decisions = 0
        self.before: I64 = np.zeros(0, np.int64)
        self.memory = torch.zeros(0)

    def reset(self, rows: I64) -> None:
        """Empty the memories of these slots."""
        missing = int(np.max(rows, initial=-1)) + 1 - self.before.size
        if missing > 0:
            self.before = np.concatenate([self.before, np.zeros(missing, np.int64)])
            empty = self._empty(missing)
            self.memory = torch.cat([self.memory, empty]) if self.memory.numel() else empty
        self.before[rows] = NO_ACTION
        self.memory[torch.from_numpy(rows)] = self._empty(len(rows))

    def act(self, obs: NDArray[np.floating], rows: I64) -> I64:
        """Return the actions (B,) for grids (B, 4, H, L) of the drivers with slots `rows` (B,)."""
        draws = np.random.default_rng([self.seed, self.decisions]).random(self.before.size)[rows]
        self.decisions += 1
        step = step_inputs(
            self.sensor_config, lane_features(obs), self.before[rows], draws >= self.sensor_config.drop_rate
        )  # (B, n)
        with torch.no_grad():
            logits = self._answer(torch.from_numpy(step), torch.from_numpy(rows))  # (B, 5)
        actions = logits.argmax(1).numpy().astype(np.int64)
        self.before[rows] = actions
        return actions

    def _answer(self, step: Tensor, rows: Tensor) -> Tensor:
        encoder = self.model.encoder
        if isinstance(encoder, StatefulEncoder):
            features, self.memory[rows] = encoder.step(step, self.memory[rows])
        else:
            self.memory[rows] = torch.cat([self.memory[rows][:, 1:], step[:, None]], 1)  # (B, K, n)
            features = encoder(self.memory[rows])
        return self.model.head(features)

    def _empty(self, count: int) -> Tensor:
        encoder = self.model.encoder
        if isinstance(encoder, StatefulEncoder):
            return encoder.initial_state(count).detach()
        return torch.zeros(count, *(encoder.observation_space.shape or ()))


def record_policy(policy: Policy, config: RecordingConfig) -> Recording:
    """Return what a policy drives in the runs that `config` names, whose own drivers are not asked."""
    rules = config.road.build()
    sim = Simulator(rules, config.runs)
    sim.reset_open(config.seeds)
    sim.step(sim.idle)  # to the first decision
    runner, shape = PolicyRunner(policy, sim), (config.runs, config.decisions)
    states = np.empty((config.runs, config.decisions + 1), sim.games.dtype)
    actions, rewards = np.empty(shape, np.int64), np.empty(shape)
    for t in range(config.decisions):
        states[:, t] = sim.games
        actions[:, t] = runner.decide(0)
        sim.step(actions[:, t])
        rewards[:, t] = sim.games["reward"]
    states[:, -1] = sim.games
    return Recording(config, rules, states, actions, rewards, mean_speed_mph(rewards))
