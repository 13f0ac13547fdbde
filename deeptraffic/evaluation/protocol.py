"""Evaluation protocols: the contests' official evaluation, exactly, and open evaluation on independent runs.

    >>> from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
    >>> from deeptraffic.policies.builtin import make_builtin
    >>> evaluate_official(make_builtin("idle")).score
    51.57
    >>> evaluate_open(make_builtin("gap"), runs=1000, seed_set="reporting").median_interval

Official (2018): 500 runs of 2,000 frames, resets 1..500 in one program, so that each run starts where the one before
left the random stream, and a policy keeps its memory from run to run. Hence serial: one game, one decision at a time.
2017: 10 runs of 100,000 frames. Open: N independent runs of 2,000 frames, all at once, every memory empty at its start.
Source of the official one: `deeptraffic/sim/RULES.md`, "The official score".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deeptraffic.envs.other_agents import policy_observation
from deeptraffic.evaluation.play import Progress, play_serially, play_together
from deeptraffic.evaluation.score import Score
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.policies.base import Policy
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RoadConfig
from deeptraffic.sim.runs import Runs


@dataclass(frozen=True)
class Protocol:
    """A contest's official evaluation: `runs` runs of `frames` frames, reported in steps of `block` runs."""

    runs: int
    frames: int
    block: int


OFFICIAL = {2017: Protocol(runs=10, frames=100_000, block=1), 2018: Protocol(runs=500, frames=2_000, block=5)}
OPEN_FRAMES = 2_000
PRIVATE_SET = "private"  # seed set of a score whose seeds were given one by one
# (name, other agents, official 2018 score [mph]), as published for the contest; that of idle is measured.
KNOWN_SCORES = (
    ("all-time contest record", 10, 76.45),
    ("best published entry with no other agents", 0, 73.1),
    ("MIT's basic network", 0, 66.8),
    ("pass mark of the course", 0, 65.0),
    ("idle: does nothing", 0, 51.57),
)


def evaluate_official(
    policy: Policy, rules: int = 2018, other_agents: int = 0, progress: Progress | None = None
) -> Score:
    """Return the official score of a policy.

    Args:
        policy: drives the ego car and, each with its own memory, the other agents
        rules: 2017 or 2018
        other_agents: 0..10 (2018)
        progress: is called now and then with frames played and frames in total; it may raise, which ends the evaluation

    Raises ValueError for a policy that observes through a weakened sensor, which the contests do not have.
    """
    seen = policy_observation(policy)
    if seen.is_weak:
        raise ValueError(
            f"policy {policy.label} observes {seen.kind} through a weakened sensor, which the official evaluation does "
            "not have; evaluate it in open runs (--protocol open)"
        )
    road = RoadConfig(rules=rules, other_agents=other_agents)
    protocol = OFFICIAL[rules]
    sim = Simulator(road.build(), threads=1)
    sim.start_program(1)
    runs = Runs.official(sim, 1, protocol.runs, protocol.frames)
    return Score.of(policy, road, play_serially(policy, sim, runs, protocol.block, progress))


def evaluate_open(
    policy: Policy,
    rules: int | RoadConfig = 2018,
    other_agents: int = 0,
    runs: int = 1000,
    seed_set: str = "tuning",
    frames: int = OPEN_FRAMES,
    progress: Progress | None = None,
) -> Score:
    """Return the score of a policy in independent runs, the first `runs` of a seed set (`seeds.py`).

    rules: a contest's, or a research road (which then says other_agents itself). Other arguments as above.
    """
    road = rules if isinstance(rules, RoadConfig) else RoadConfig(rules=rules, other_agents=other_agents)
    return evaluate_seeds(policy, road, choose_seeds(seed_set, runs), seed_set, frames, progress)


def evaluate_seeds(
    policy: Policy,
    road: RoadConfig,
    seeds: Sequence[int],
    seed_set: str = PRIVATE_SET,
    frames: int = OPEN_FRAMES,
    progress: Progress | None = None,
) -> Score:
    """Return the score of a policy in independent runs with these seeds, as `evaluate_open`."""
    if frames < 1:
        raise ValueError(f"frames={frames} is not possible; give at least 1")
    sim = Simulator(road.build(), num_envs=len(seeds))
    sim.reset_open(seeds)
    return Score.of(policy, road, play_together(policy, sim, frames, progress), seed_set)
