"""Gradient steps of expert iteration in compiled code: two losses of a lane network, Adam, and a moving average.

Letters in shapes: N labelled states, M visited states, D cells, K candidate actions.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from agents.compiled.lane_net import (
    LaneNet,
    LaneTape,
    backward_lanes,
    finish_gradient,
    forward_lanes,
    load_lanes,
    new_lane_tape,
    prepare,
)
from agents.compiled.network import F32, TILE, outputs
from agents.compiled.optimiser import adam_step, clip
from agents.lane_network import MIRRORED, VALUE_SCALE, LanePolicy
from deeptraffic.sim.compiled import learner_compiled

ADAM_EPSILON = 1e-8  # torch's


class StateBatch(NamedTuple):
    """States of one gradient step.

    cells: (N, D) float32 of labelled states; returns: (N, K) float32 of their candidates
    visited: (M, D) float32 of others, or none; targets: (M,) float32 of their values
    """

    cells: F32
    returns: F32
    visited: F32
    targets: F32

    def part(self, k: int, parts: int) -> "StateBatch":
        """Return one of so many equal parts."""
        return StateBatch(*(array[len(array) * k // parts : len(array) * (k + 1) // parts] for array in self))


class Loss(NamedTuple):
    """Weights of the errors of advantages (Huber loss, linear beyond `scale`) and of values (squared)."""

    of_advantage: float
    of_value: float
    scale: float


class GradientSteps:
    """Gradient steps of a round, each spread over torch's number of CPU threads.

    Args:
        policy: whose networks learn
        loss: see `Loss`
        learning_rate, max_grad_norm: of the optimiser, Adam
        average_rate: of the moving average of the weights
    """

    def __init__(
        self, policy: LanePolicy, loss: Loss, learning_rate: float, max_grad_norm: float, average_rate: float
    ) -> None:
        self.policy, self.loss, self.learning_rate = policy, loss, learning_rate
        self.max_grad_norm, self.average_rate = max_grad_norm, np.float32(average_rate)
        self.threads = torch.get_num_threads()
        self.tapes = [new_lane_tape(policy.network.net, True) for _ in range(self.threads)]
        self.pool = ThreadPoolExecutor(self.threads)

    def step(self, cells: F32, returns: F32, states: tuple[F32, F32] | None) -> tuple[float, float]:
        """Take one gradient step, every second one mirrored; return the losses of advantages and values.

        cells (N, D), returns (N, K) of labelled states; states: cells (M, D) of others, with targets (M,) of values
        """
        net, loss = self.policy.network.net, self.loss
        visited, targets = states or (cells[:0], returns[:0, 0])
        batch, mirrored = StateBatch(cells, returns, visited, targets), np.random.random() < 0.5
        counts = np.array([returns.size, max(len(visited), 1)])
        means = Loss(loss.of_advantage / counts[0], loss.of_value / counts[1], loss.scale)
        prepare(net)
        parts = [batch.part(k, self.threads) for k in range(self.threads)]
        sums = self.pool.map(lambda part, tape: add_gradients(net, tape, part, means, mirrored), parts, self.tapes)
        of_advantage, of_value = np.sum([*sums], 0) / counts
        gradient, *others = (finish_gradient(net, tape) for tape in self.tapes)
        for other in others:
            gradient += other
            other[:] = 0.0
        clip(gradient, self.max_grad_norm)
        adam_step(net.dense.params, gradient, self.policy.moments, self.learning_rate, ADAM_EPSILON, False)
        average = self.policy.average.params
        average += self.average_rate * (net.dense.params - average)
        return float(of_advantage), float(of_value)


@learner_compiled
def add_gradients(net: LaneNet, tape: LaneTape, batch: StateBatch, loss: Loss, mirrored: bool) -> tuple[float, float]:
    """Add the gradients of a part of a batch to the tape's; return the sums of both losses without their weights."""
    found, deltas = outputs(net.dense, tape.dense)
    of_advantage, of_value, last = 0.0, 0.0, found.shape[0] - 1
    for begin in range(0, len(batch.cells), TILE):
        count = min(TILE, len(batch.cells) - begin)
        for s in range(count):
            load_lanes(net, tape, s, batch.cells[begin + s], mirrored)
        forward_lanes(net, tape, count)
        for s in range(count):
            of_advantage += advantage_loss(found[:, s], batch.returns[begin + s], loss, mirrored, deltas[:, s])
        backward_lanes(net, tape, count)
    for begin in range(0, len(batch.visited), TILE):
        count = min(TILE, len(batch.visited) - begin)
        for s in range(count):
            load_lanes(net, tape, s, batch.visited[begin + s], mirrored)
        forward_lanes(net, tape, count)
        deltas[:last, :count] = 0.0
        for s in range(count):
            error = VALUE_SCALE * found[last, s] - batch.targets[begin + s]
            of_value += error * error
            deltas[last, s] = 2.0 * VALUE_SCALE * loss.of_value * error
        backward_lanes(net, tape, count)
    return of_advantage, of_value


@learner_compiled
def advantage_loss(found: F32, returns: F32, loss: Loss, mirrored: bool, deltas: F32) -> float:
    """Write the derivatives by the outputs (K + 1,) to deltas; return the sum of the candidates' Huber losses.

    The errors are those of differences from the candidates' mean, whose derivatives have no mean either.
    """
    total, mean, slope = 0.0, 0.0, 0.0
    for k in range(returns.size):
        mean += (found[k] - returns[k]) / returns.size
    for k in range(returns.size):
        error = found[k] - returns[MIRRORED[k] if mirrored else k] - mean
        size = abs(error)
        total += 0.5 * error * error / loss.scale if size < loss.scale else size - 0.5 * loss.scale
        deltas[k] = loss.of_advantage * max(-1.0, min(1.0, error / loss.scale))
        slope += deltas[k] / returns.size
    for k in range(returns.size):
        deltas[k] -= slope
    deltas[returns.size] = 0.0
    return total
