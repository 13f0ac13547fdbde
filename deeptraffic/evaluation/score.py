"""Score: the result of an evaluation, which tables print and `--json` writes."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from deeptraffic.evaluation.play import Played
from deeptraffic.evaluation.statistics import QUANTILES, bootstrap_interval, contest_median, mean_speed, run_score
from deeptraffic.policies.base import Policy
from deeptraffic.sim.rules import RoadConfig
from deeptraffic.sim.state import F64, I64


@dataclass(frozen=True)
class Score:
    """What a policy scored in a number of runs.

    policy: the policy's label
    protocol: "official", one chain of runs as in the contest; or "open", independent runs
    rules: 2017 or 2018
    other_agents: vehicles that copies of the policy drive
    access: "contest", "open" or "privileged": what the policy may know; only the first compares with contest scores
    run_scores: (runs,) float64 [mph] floor(mean * 2000) / 100 of each run
    run_passed: (runs,) int64 vehicles passed minus vehicles that passed, at the end of each run
    frames: of one run
    seconds: the evaluation took
    seed_set: of open runs: training, tuning or reporting; private for seeds that were given one by one
    epsilon: probability with which the policy acts at random
    run_speeds: (runs,) float64 [mph] mean speed of each run, not rounded, which decides between equal scores
    """

    policy: str
    protocol: str
    rules: int
    other_agents: int
    access: str
    run_scores: F64 = field(repr=False)
    run_passed: I64 = field(repr=False)
    frames: int
    seconds: float
    seed_set: str | None = None
    epsilon: float = 0.0
    run_speeds: F64 | None = field(default=None, repr=False)

    @classmethod
    def of(cls, policy: Policy, road: RoadConfig, played: Played, seed_set: str | None = None) -> Self:
        """Return the score of runs that a policy has played, open ones where there is a seed set."""
        return cls(
            policy=policy.label,
            protocol="open" if seed_set else "official",
            rules=road.rules,
            other_agents=road.other_agents,
            access=policy.access,
            run_scores=run_score(played.speed_sums, played.frames),
            run_passed=played.passed,
            frames=played.frames,
            seconds=played.seconds,
            seed_set=seed_set,
            epsilon=policy.epsilon,
            run_speeds=mean_speed(played.speed_sums, played.frames),
        )

    @property
    def runs(self) -> int:
        """Number of runs."""
        return self.run_scores.size

    @cached_property
    def score(self) -> float:
        """The headline [mph]: official, the median as the game took it; open, the usual median."""
        return contest_median(self.run_scores) if self.protocol == "official" else self.median_mph

    @cached_property
    def median_mph(self) -> float:
        """Median of the run scores [mph]."""
        return float(np.median(self.run_scores))

    @cached_property
    def mean_mph(self) -> float:
        """Mean of the run scores [mph]."""
        return float(np.mean(self.run_scores))

    @cached_property
    def unrounded_mean_mph(self) -> float:
        """Mean of the runs before each was rounded down [mph], in any order; of the run scores if unknown."""
        return self.mean_mph if self.run_speeds is None else math.fsum(self.run_speeds) / self.runs

    @cached_property
    def sd_mph(self) -> float:
        """Standard deviation between runs [mph]; 0 for a single run."""
        return float(np.std(self.run_scores, ddof=1)) if self.runs > 1 else 0.0

    @cached_property
    def quantiles_mph(self) -> dict[str, float]:
        """Quantiles of the run scores [mph] by name: p05, p10, ... p95."""
        values = np.percentile(self.run_scores, QUANTILES)
        return {f"p{percent:02d}": float(value) for percent, value in zip(QUANTILES, values, strict=True)}

    @cached_property
    def median_interval(self) -> tuple[float, float]:
        """95% bootstrap interval of the median [mph]."""
        return bootstrap_interval(self.run_scores, np.median)

    @cached_property
    def mean_interval(self) -> tuple[float, float]:
        """95% bootstrap interval of the mean [mph]."""
        return bootstrap_interval(self.run_scores, np.mean)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; numbers that are not finite become None."""
        return {
            "policy": self.policy,
            "protocol": self.protocol,
            "rules": self.rules,
            "other_agents": self.other_agents,
            "access": self.access,
            "seed_set": self.seed_set,
            "epsilon": self.epsilon,
            "score": finite(self.score),
            "mean_mph": finite(self.mean_mph),
            "median_mph": finite(self.median_mph),
            "sd_mph": finite(self.sd_mph),
            "median_interval": [finite(value) for value in self.median_interval],
            "mean_interval": [finite(value) for value in self.mean_interval],
            "quantiles_mph": {name: finite(value) for name, value in self.quantiles_mph.items()},
            "passed": int(self.run_passed.sum()),
            "runs": self.runs,
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "run_scores": [finite(value) for value in self.run_scores.tolist()],
        }


def finite(value: float) -> float | None:
    """Return the number, or None in place of what JSON cannot hold."""
    return value if np.isfinite(value) else None
