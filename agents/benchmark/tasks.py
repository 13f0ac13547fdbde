"""Tasks of the benchmark, and scores normalised by those of a random policy and of a reference policy.

    normalised score = 100 (v - v_random) / (v_reference - v_random)

with v the mean speed [mph] of 2,000 frames over reporting runs: 0 is the built-in policy `random`, 100 the reference.
The contest's reward is linear in the speed, so normalised returns are the same. Source of the formula: Fu, Kumar,
Nachum, Tucker and Levine 2020, "D4RL: Datasets for Deep Data-Driven Reinforcement Learning", arXiv:2004.07219.
"""

from dataclasses import dataclass

from deeptraffic.envs.observations import Observation, make_observation
from deeptraffic.sim.rules import RoadConfig


@dataclass(frozen=True)
class BenchmarkTask:
    """One task: a road, and what is observed.

    seen: kind of observation or preset
    random_mph, reference_mph: mean speeds of the policies `random` and `reference` on the first 1,000 reporting runs
    """

    name: str
    summary: str
    road: RoadConfig
    seen: str
    random_mph: float
    reference: str
    reference_mph: float

    @property
    def observation(self) -> Observation:
        """What is observed."""
        return make_observation(self.seen).on_road(self.road.build())

    def normalised(self, mph: float) -> float:
        """Return the normalised score of a mean speed."""
        return 100.0 * (mph - self.random_mph) / (self.reference_mph - self.random_mph)


SOLO, WIDE = RoadConfig(), RoadConfig(lanes=10, vehicles=40)
TASKS = {
    task.name: task
    for task in (
        BenchmarkTask("solo", "2018, alone", SOLO, "gaps", 59.832, "champion-solo", 72.685),
        BenchmarkTask(
            "team", "2018, among ten copies of itself", RoadConfig(other_agents=10), "gaps", 64.767, "champion", 76.486
        ),
        BenchmarkTask("2017", "2017", RoadConfig(rules=2017), "gaps", 39.919, "gap", 74.822),
        BenchmarkTask(
            "wide", "a research road of ten lanes and 40 vehicles", WIDE, "gaps", 53.786, "champion-solo", 60.698
        ),
        BenchmarkTask(
            "pixels", "2018, alone, two small grey images", SOLO, "two-frames", 59.832, "champion-solo", 72.685
        ),
        BenchmarkTask(
            "weak", "2018, alone, a sensor that sends every fourth frame", SOLO, "slow", 59.832, "champion-solo", 72.685
        ),
    )
}


def task_of(road: RoadConfig) -> BenchmarkTask | None:
    """Return the first task on a road; None if none is."""
    return next((task for task in TASKS.values() if task.road.build() == road.build()), None)


def normalised_score(mph: float, road: RoadConfig) -> float | None:
    """Return the normalised score of a mean speed on a task's road; None if no task has this road."""
    task = task_of(road)
    return None if task is None else task.normalised(mph)
