"""Planner on the true simulator: policy improvement of a network by rollouts, weighed against its prior.

Privileged: it copies the simulator, which no entrant could, so its scores are labelled as privileged and it has no
policy file. It does not use the real future: every rollout draws its own random numbers, the same for all actions of a
state (`agents.paired_rollouts`). A learned network chooses the actions of the rollouts and values their final states.

The maximum of a few noisy returns would be worse than the network's own choice (its prior). So the planner takes the
action with the greatest

    log prior(a) + (q(a) - q(a*)) / (temperature + standard error of that difference)

where a* is the prior's own action and q the mean return: the policy improvement of Danihelka et al. 2022, "Policy
improvement by planning with Gumbel" (section 3, equation 8, without the Gumbel noise, which is for training), with a
transformation of q that grows with its certainty. The value of an action is that of the best plan that begins with it:
plans are all sequences of `plan_length` actions, after which the network chooses. Half of the rollouts go to all
plans whose first action could have an effect, the other half to the best `BEST` of them (sequential halving, Karnin et
al. 2013).

    >>> from agents.planner import load_planner
    >>> evaluate_open(load_planner("runs/expert"), runs=100).mean_mph      # its score is labelled privileged

Letters in shapes: B env_indices, C copies, D cells, A candidate actions, K plans, L actions of a plan, R rollouts.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.export import read_weights
from agents.lane_network import CANDIDATES, LaneNetwork, load_lane_network
from agents.paired_rollouts import PairedRollouts, RolloutSettings, candidate_masks, draw_streams
from deeptraffic.policies.base import PROBABILITY, Access, Policy
from deeptraffic.settings import Checked, integer, real
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.state import F64, I64

BEST = 3  # plans left for the second half of the rollouts
NEVER = -1e9  # stands for the logarithm of probability 0


@dataclass(frozen=True)
class PlannerConfig(Checked):
    """Settings of the planner.

    rollouts: of each plan in the first half; the best get as many again
    plan_length: actions of a plan, after which the network chooses
    depth: decisions of a rollout, the first included
    gamma, rollout_lambda: of returns, see `agents.paired_rollouts`
    prior_temperature: [reward, 1 is 20 mph for one decision] differences of the prior's values that count as one in its
        logarithm
    temperature: [reward] differences of returns that count as one, however sure
    seed: random seed of the planner
    """

    rollouts: int = integer(16, 1, 4096)
    plan_length: int = integer(2, 1, 6)
    depth: int = integer(8, 1, 200)
    gamma: float = real(0.96, 0.0, 1.0)
    rollout_lambda: float = real(0.8, 0.0, 1.0)
    prior_temperature: float = real(1.0, 1e-6, 1e6)
    temperature: float = real(0.02, 1e-6, 1e6)
    seed: int = integer(0, 0, 2**31 - 1)


class Planner(Policy):
    """Plans for the ego car and its self-play copies; in rollouts the network chooses for all of them.

    Args:
        network: prior and values, from the sensor's cells
        sensor: of the network
        config: see `PlannerConfig`

    plans: (K, L) indices of candidates
    searched: after `plan`, (B, K) the mean return of each plan, NaN where it was not tried
    scores: after `plan`, (B, A) the score by which each candidate was chosen: that of the best plan that begins with it
    """

    access: Access = "privileged"
    value_kind = PROBABILITY

    def __init__(
        self, network: LaneNetwork, sensor: Sensor, config: PlannerConfig | None = None, label: str = ""
    ) -> None:
        self.network, self.observation, self.config = network, sensor, config or PlannerConfig()
        self.label = label or "planner"
        self.random = np.random.default_rng(self.config.seed)
        self.plans = np.array(list(itertools.product(range(len(CANDIDATES)), repeat=self.config.plan_length)))
        self.searched: F64 = np.empty((0, len(self.plans)))
        self.scores: F64 = np.empty((0, len(CANDIDATES)))
        self._sim: Simulator | None = None
        settings = (self.config.depth, self.config.gamma, self.config.rollout_lambda)
        self._rollouts = PairedRollouts(network, RolloutSettings(sensor, *settings))

    def attach(self, sim: Simulator) -> None:
        """Attach the simulator that is copied."""
        self._sim = sim
        self.random = np.random.default_rng(self.config.seed)

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the actions (B,) of these agents for cells (B, D)."""
        assert self._sim is not None, "attach a simulator first"
        agents = self._sim.rules.other_agents + 1
        prior, _ = self.network.evaluate(obs.astype(np.float32))
        chosen = np.zeros(agent_indices.size, np.int64)
        values = np.full((agent_indices.size, len(Action)), -np.inf)
        for agent in np.unique(agent_indices % agents):
            of_agent = np.flatnonzero(agent_indices % agents == agent)
            chosen[of_agent] = self.plan(agent_indices[of_agent] // agents, prior[of_agent], int(agent))
            values[of_agent[:, None], CANDIDATES] = np.where(self.scores > 0.1 * NEVER, self.scores, -np.inf)
        self.values = values
        return CANDIDATES[chosen]

    def plan(self, env_indices: I64, prior: NDArray[np.float32], agent: int = 0) -> I64:
        """Return improved candidates (B,) where `agent` decides next; prior (B, A): the network's advantages."""
        assert self._sim is not None, "attach a simulator first"
        possible = candidate_masks(self._sim, env_indices, CANDIDATES, agent)
        first = self.plans[:, 0]
        log_prior = log_probabilities(prior / self.config.prior_temperature, possible)[:, first]
        choice = possible.sum(1) > 1
        self.searched = np.full(log_prior.shape, np.nan)
        scores = log_prior.copy()
        if choice.any():
            some, tried = env_indices[choice], possible[choice][:, first]
            scores[choice], self.searched[choice] = self._search(some, log_prior[choice], tried, agent)
        self.scores = np.stack([scores[:, first == k].max(1) for k in range(len(CANDIDATES))], 1)
        return first[scores.argmax(1)]

    def tried_plans(self) -> I64 | None:
        """Return the plans (K, L) of actions that were tried for the first env's last decision."""
        return CANDIDATES[self.plans[~np.isnan(self.searched[0])]] if len(self.searched) else None

    def rollout_policy(self) -> Policy:
        """Return the network alone, which chooses the actions of the rollouts."""
        return NetworkAlone(self.network, self.observation)

    def _search(self, env_indices: I64, log_prior: F64, tried: NDArray[np.bool_], agent: int) -> tuple[F64, F64]:
        """Return (score, mean return) of each plan, (B, K) each, in envs where there is a choice.

        A plan that was dropped after the first half keeps its score of then, but not above that of the best one.
        """
        early = self._returns(env_indices, tried, agent)
        baseline = np.where(tried, mean_of(early) + NEVER * (log_prior < log_prior.max(1, keepdims=True)), -np.inf)
        dropped = log_prior + evidence(early, np.nanargmax(baseline, axis=1), self.config.temperature)
        left = np.zeros_like(tried)
        np.put_along_axis(left, np.argsort(-dropped, axis=1)[:, :BEST], True, axis=1)
        returns = np.concatenate([early, self._returns(env_indices, left & tried, agent)], axis=2)
        baseline = np.where(left, log_prior, NEVER).argmax(1)
        scores = np.where(left, log_prior + evidence(returns, baseline, self.config.temperature), NEVER)
        below = np.nextafter(scores.max(1, keepdims=True), -np.inf)
        return np.where(left, scores, np.minimum(dropped, below)), mean_of(returns)

    def _returns(self, env_indices: I64, tried: NDArray[np.bool_], agent: int) -> F64:
        assert self._sim is not None
        streams = draw_streams(self.random, env_indices.size, self.config.rollouts)
        return self._rollouts.returns(self._sim, env_indices, tried, CANDIDATES[self.plans], streams, agent)


class NetworkAlone(Policy):
    """Takes the candidate with the network's greatest advantage."""

    label = "network of a planner"

    def __init__(self, network: LaneNetwork, sensor: Sensor) -> None:
        self.network, self.observation = network, sensor

    def act(self, obs: F64, agent_indices: I64) -> I64:
        """Return the actions (B,) of these agents for cells (B, D)."""
        return CANDIDATES[self.network.evaluate(obs.astype(np.float32))[0].argmax(1)]


def load_planner(path: str | Path, config: PlannerConfig | None = None, label: str = "") -> Planner:
    """Return a planner on the network of a run of expert_iteration: its folder, or its weights file.

    Raises ValueError if it holds no such network.
    """
    path = Path(path)
    if path.is_dir():
        from agents.run import RunFolder

        path = RunFolder(path).best_file
    weights, _ = read_weights(path)
    return Planner(load_lane_network(weights, Sensor()), Sensor(), config, label)


def log_probabilities(scores: NDArray[Any], tried: NDArray[np.bool_]) -> F64:
    """Return the log softmax (B, K) over the actions that are tried."""
    masked = np.where(tried, scores.astype(np.float64), NEVER)
    masked -= masked.max(1, keepdims=True)
    return masked - np.log(np.exp(masked).sum(1, keepdims=True))


def mean_of(returns: F64) -> F64:
    """Return the mean over rollouts (B, K) of returns (B, K, R), NaN where there are none."""
    count = (~np.isnan(returns)).sum(2)
    return np.where(count > 0, np.nansum(returns, 2) / np.maximum(count, 1), np.nan)


def evidence(returns: F64, baseline: I64, temperature: float) -> F64:
    """Return by how much each plan exceeds the baseline (B,), in units of the standard error, (B, K).

    returns: (B, K, R), paired by common random numbers along R; NaN where it was not tried: NEVER
    """
    lead = returns - np.take_along_axis(returns, baseline[:, None, None], 1)
    mean = mean_of(lead)
    count = np.maximum((~np.isnan(lead)).sum(2), 1)
    spread = np.sqrt(np.nansum(np.square(lead - mean[:, :, None]), 2) / count)
    return np.where(np.isnan(mean), NEVER, mean / (temperature + spread / np.sqrt(count)))
