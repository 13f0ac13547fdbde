"""Speed losses by cause: each frame's loss is 80 mph less the agents' mean speed.

    $ deeptraffic report losses gap runs/mine                   # a table, JSON and figures
    >>> losses = measure_losses(make_builtin("gap"), runs=500)
    >>> losses.lost_mph.sum() + losses.mean_mph                 # 80: every loss has exactly one cause

The causes are defined in `deeptraffic.evaluation.loss_causes`.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deeptraffic.evaluation.loss_causes import BIN, CAUSES, LONGEST, loss_records, run_and_record
from deeptraffic.evaluation.play import PolicyRunner, Progress
from deeptraffic.evaluation.protocol import OPEN_FRAMES
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.evaluation.statistics import bootstrap_interval, mean_speed
from deeptraffic.policies.base import Policy
from deeptraffic.sim.engine import Simulator, run_in_chunks
from deeptraffic.sim.rules import FULL_SPEED_MPH, MPH_PER_PX, RoadConfig, Rules
from deeptraffic.sim.state import F64, I64, NOBODY, Games

START = 300  # [frames] that count as the start of a run
STUCK = (0, 50, 100, 200, 400, 2001)  # [frames] edges of the bins of `Losses.by_time_stuck`
WORST = 6  # runs whose boxed-in scene is drawn


@dataclass(frozen=True)
class Losses:
    """Speed that a policy lost in its runs.

    lost: (runs, bins, causes) float64 [mph] mean over the frames of a bin
    run_mph: (runs,) float64 mean speed
    slow, boxed: (runs,) int64 [frames] longest time of the ego agent below 60 mph, and boxed in
    scenes: (runs,) simulator states at a decision within the longest time that the ego agent was boxed in
    """

    policy: str
    rules: Rules
    access: str
    seed_set: str
    lost: F64 = field(repr=False)
    run_mph: F64 = field(repr=False)
    slow: I64 = field(repr=False)
    boxed: I64 = field(repr=False)
    scenes: Games = field(repr=False)

    @property
    def mean_mph(self) -> float:
        """Mean speed of all runs."""
        return float(self.run_mph.mean())

    @property
    def name(self) -> str:
        """The policy, and the number of other agents if there are any."""
        others = self.rules.other_agents
        return f"{self.policy}, {others} others" if others else self.policy

    @property
    def lost_mph(self) -> F64:
        """Loss by cause, (causes,)."""
        return self.lost.mean((0, 1))

    def lost_between(self, begin: int, end: int | None = None) -> F64:
        """Loss by cause from frame `begin` to `end`, both multiples of BIN, (causes,) [mph]."""
        return self.lost[:, begin // BIN : None if end is None else end // BIN].mean((0, 1))

    def worst(self) -> I64:
        """Return the slowest runs that were boxed in at all, the slowest first."""
        order = np.argsort(self.run_mph, kind="stable")
        return order[self.boxed[order] > 0][:WORST]

    def by_time_stuck(self) -> list[dict[str, Any]]:
        """Fraction of all runs and mean speed, by the longest time below 60 mph."""
        rows = []
        for low, high in zip(STUCK[:-1], STUCK[1:], strict=True):
            chosen = (self.slow >= low) & (self.slow < high)
            mean = float(self.run_mph[chosen].mean()) if chosen.any() else None
            rows.append({"frames": [low, high - 1], "fraction": float(chosen.mean()), "mean_mph": mean})
        return rows

    def to_json(self) -> dict[str, Any]:
        """Everything but runs and scenes, as JSON values."""
        per_run = self.lost.mean(1)
        start, steady = self.lost_between(0, START), self.lost_between(START)
        causes = {
            name: {
                "mph": float(per_run[:, k].mean()),
                "interval": list(bootstrap_interval(per_run[:, k], np.mean)),
                "start_mph": float(start[k]),
                "steady_mph": float(steady[k]),
            }
            for k, name in enumerate(CAUSES)
        }
        return {
            "policy": self.policy,
            "rules": self.rules.year,
            "other_agents": self.rules.other_agents,
            "access": self.access,
            "seed_set": self.seed_set,
            "runs": self.run_mph.size,
            "mean_mph": self.mean_mph,
            "start_mph": FULL_SPEED_MPH - float(start.sum()),
            "steady_mph": FULL_SPEED_MPH - float(steady.sum()),
            "causes": causes,
            "time_stuck": self.by_time_stuck(),
        }


def measure_losses(
    policy: Policy,
    rules: int = 2018,
    other_agents: int = 0,
    runs: int = 500,
    seed_set: str = "tuning",
    progress: Progress | None = None,
) -> Losses:
    """Play open runs, the first `runs` of a seed set, and attribute every frame's loss to a cause.

    progress: called with (frames played, frames in total) of all runs
    """
    road = RoadConfig(rules=rules, other_agents=other_agents).build()
    sim = Simulator(road, runs)
    sim.reset_open(choose_seeds(seed_set, runs))
    runner = PolicyRunner(policy, sim)
    recorder = LossRecorder(sim)
    agent = recorder.step(np.zeros(runs, np.int64))
    while agent != NOBODY:  # the envs are in step: the same agent decides in all of them
        agent = recorder.step(runner.decide(agent))
        if progress:
            progress(int(sim.state.frame[0]) * runs, OPEN_FRAMES * runs)
    records = recorder.records
    return Losses(
        policy=policy.label,
        rules=road,
        access=policy.access,
        seed_set=seed_set,
        lost=records["lost"] * (MPH_PER_PX / BIN),
        run_mph=mean_speed(sim.state.score_sum, OPEN_FRAMES),
        slow=records["slow"][:, LONGEST].copy(),
        boxed=records["boxed"][:, LONGEST].copy(),
        scenes=recorder.scenes,
    )


class LossRecorder:
    """Steps a simulator and records the losses of its envs (`loss_records`)."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.records = loss_records(sim.num_envs, sim.rules.other_agents + 1, OPEN_FRAMES // BIN)
        self.scenes = sim.games.copy()

    def step(self, actions: I64) -> int:
        """Take the deciding agent's actions (B,); return the agent that decides next in all envs, NOBODY at the end."""
        sim = self.sim
        run_in_chunks(sim, run_and_record, sim.env_indices, (actions, self.records), scalars=(OPEN_FRAMES,))
        now, longest = self.records["boxed"].T
        is_longest = (now > 0) & (now == longest)
        self.scenes[is_longest] = sim.games[is_longest]
        return int(sim.games["waiting"][0])
