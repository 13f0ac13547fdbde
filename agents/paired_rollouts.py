"""Paired rollouts: returns of an agent's candidate plans on copies of the simulator, with common random numbers.

A rollout carries out a plan of one or more actions, then continues with the network's policy (the other agents always
do) for some decisions of this agent, and adds the value of the state it reaches. Its rewards are the mean speed over
all controlled cars, which is what the contest counts, as its reward: (mean - 60 mph) / 20 mph for each period.

The real future is not used: traffic continues with newly drawn random numbers. All plans of an env share these
numbers (common random numbers), which reduces the variance of their differences.

A return is the lambda return of the rollout's rewards and values (Sutton and Barto 2018, equation 12.9).

Letters in shapes: B envs, C copies, D cells, K plans, L actions of a plan, R rollouts of each.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.masks import action_masks
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import MODULUS
from deeptraffic.sim.rules import Rules, Sensor
from deeptraffic.sim.state import F64, I64

COPIES = 4096  # envs copied at a time
ZERO_REWARD = 90.0  # [px/frame] sum of the speeds over a period of 30 frames at 60 mph, where the reward is 0

# cells (C, D) float32 -> (actions (C,) int64, values (C,) [reward]); the cells are overwritten after the call
RolloutPolicy = Callable[[NDArray[np.float32]], tuple[I64, NDArray[np.floating]]]


def draw_streams(random: np.random.Generator, envs: int, rollouts: int) -> I64:
    """Return states of the simulator's random stream, (B, R)."""
    return random.integers(1, MODULUS - 1, size=(envs, rollouts))


def candidate_masks(sim: Simulator, env_indices: I64, candidates: I64, agent: int = 0) -> NDArray[np.bool_]:
    """Return which candidates may differ from the first (accelerate) in envs where `agent` decides next, (B, K).

    A lane change of the ego car that the safety system would refuse has no other effect; one of another agent is
    executed by the agents that come after it, too.
    """
    possible = np.ones((env_indices.size, len(candidates)), np.bool_)
    if agent == 0:
        possible[:, 1:] = action_masks(sim, 0, env_indices)[:, candidates[1:]]
    return possible


class PairedRollouts:
    """Rollouts from a decision of the ego car or of another agent.

    Args:
        rules: of the simulated road
        sensor: that the policy reads
        policy: chooses the actions after the plan, and values states
        depth: decisions of a rollout, those of the plan included
        gamma: discount per decision
        lambda_: weight of longer returns, 0 for the value one decision ahead, 1 for the one at the end
        threads: CPU threads of the simulator; None for all
    """

    def __init__(
        self,
        rules: Rules,
        sensor: Sensor,
        policy: RolloutPolicy,
        depth: int,
        gamma: float,
        lambda_: float,
        threads: int | None = None,
    ) -> None:
        self.sensor, self.policy, self.depth, self.gamma, self.lambda_ = sensor, policy, depth, gamma, lambda_
        self.sim = Simulator(rules, COPIES, threads)
        self.cells = np.empty((COPIES, sensor.size), np.float32)

    def returns(
        self, sim: Simulator, env_indices: I64, tried: NDArray[np.bool_], plans: I64, streams: I64, agent: int = 0
    ) -> F64:
        """Return the return of each plan in envs where `agent` decides next, (B, K, R); NaN where it is not tried.

        env_indices: (B,) of `sim`, all in the same frame of their decision period; tried: (B, K)
        plans: (K, L) of `Action`; streams: (B, R), `draw_streams`
        """
        results = np.full((*tried.shape, streams.shape[1]), np.nan)
        env, plan, rollout = np.nonzero(np.broadcast_to(tried[:, :, None], results.shape))
        for start in range(0, env.size, COPIES):
            some = slice(start, start + COPIES)
            b, k, r = env[some], plan[some], rollout[some]
            self.sim.games[: b.size] = sim.games[env_indices[b]]
            self.sim.games["rng"][: b.size] = streams[b, r]
            results[b, k, r] = self._play(np.arange(b.size), plans[k], agent)
        return results

    def decide(self, sim: Simulator, env_indices: I64, agent: int = 0) -> tuple[I64, NDArray[np.floating]]:
        """Return the policy's actions for `agent`, and its values of the states, (B,) each."""
        cells = self.cells[: env_indices.size]
        sim.sense(self.sensor, agent, env_indices, out=cells)
        return self.policy(cells)

    def _play(self, env_indices: I64, plans: I64, agent: int) -> F64:
        """Play the copies on, first by the plans (C, L) of `agent`; return their lambda returns (C,)."""
        rewards, result = np.zeros(env_indices.size), np.zeros(env_indices.size)
        counted = self.sim.games["score_sum"][env_indices]
        discount = weight = 1.0
        actions = plans[:, 0]
        for step in range(1, self.depth + 1):
            self._to_next_decision(env_indices, actions, agent)
            before, counted = counted, self.sim.games["score_sum"][env_indices]
            rewards += discount * (counted - before - ZERO_REWARD) / (ZERO_REWARD / 3.0)
            discount *= self.gamma
            actions, values = self.decide(self.sim, env_indices, agent)
            if step < plans.shape[1]:  # values are of the network's policy, not of the rest of a plan
                actions = plans[:, step]
                continue
            last = 1.0 - self.lambda_ if step < self.depth else 1.0
            result += weight * last * (rewards + discount * values)
            weight *= self.lambda_
        return result

    def _to_next_decision(self, env_indices: I64, actions: I64, agent: int) -> None:
        """Carry out the actions of `agent` and run to its next decision; the copies stay in step with each other."""
        waiting = int(self.sim.run_to_decision(actions, env_indices)[0])
        while waiting != agent:
            waiting = int(self.sim.run_to_decision(self.decide(self.sim, env_indices, waiting)[0], env_indices)[0])
