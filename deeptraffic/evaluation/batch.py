"""Batch evaluation: the scores of many policies, on all threads.

A policy's runs are one compiled loop, simulator and network together, that releases the interpreter's lock; each thread
takes the next policy when it is done with one. Every score is what the policy gets alone, to the last bit
(`evaluate_official`, `evaluate_open`): an official chain stays one chain, an open run keeps its seed and its index.

    >>> from deeptraffic.evaluation.batch import PolicySource, Plan, evaluate_many
    >>> sources = [PolicySource(name, partial(read_policy, name)) for name in names]
    >>> for outcome in evaluate_many(sources, Plan("open", runs=100)):
    ...     print(outcome.name, outcome.error or outcome.score.score)

A policy without a compiled loop is scored by the protocols themselves, one thread each. A file that holds no policy
stops nothing: its outcome is an error.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice

from deeptraffic.evaluation.play import play_serially
from deeptraffic.evaluation.protocol import OPEN_FRAMES, evaluate_official, evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.policies.base import Policy
from deeptraffic.settings import check_real
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RoadConfig
from deeptraffic.sim.runs import Runs

PROTOCOLS = ("official", "open")
DEFAULT_RULES = 2018
RUNS_BEFORE_STOP = 50  # open runs between two checks for cancellation
QUEUED = 4  # policies that wait for each thread


class EvaluationCancelled(Exception):
    """The evaluation was cancelled before this score was known."""


@dataclass(frozen=True)
class Plan:
    """How all policies are evaluated.

    protocol: "official" or "open"
    rules: 2018, 2017, or None for each policy's own
    other_agents: 0..10, or None for each policy's own (none of them under other rules than its own)
    runs, seed_set: of the protocol open
    epsilon: probability of a random action in each decision, or None for each policy's own
    """

    protocol: str = "official"
    rules: int | None = None
    other_agents: int | None = None
    runs: int = 1000
    seed_set: str = "tuning"
    epsilon: float | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"there is no protocol {self.protocol!r}; choose one of {', '.join(PROTOCOLS)}")
        if self.epsilon is not None:
            check_real("epsilon", self.epsilon, 0.0, 1.0)
        if self.protocol == "open":
            choose_seeds(self.seed_set, self.runs)
        if self.rules is not None or self.other_agents is not None:
            RoadConfig(rules=self.rules or DEFAULT_RULES, other_agents=self.other_agents or 0)

    def game(self, policy: Policy) -> tuple[int, int]:
        """Return (rules, other agents) that a policy is evaluated under."""
        own = policy.rules
        rules = own if self.rules is None else self.rules
        if self.other_agents is not None:
            return rules, self.other_agents
        return rules, policy.other_agents if rules == own else 0


@dataclass(frozen=True)
class PolicySource:
    """A policy to evaluate: its name, and the function that loads it, which raises ValueError or OSError for none."""

    name: str
    load: Callable[[], Policy]


@dataclass(frozen=True)
class Outcome:
    """Result of one policy: its score, or the error that it has instead."""

    name: str
    score: Score | None = None
    error: str | None = None


def evaluate_many(
    sources: Sequence[PolicySource],
    plan: Plan,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Outcome]:
    """Yield the outcome of every policy as soon as it is known, in no fixed order.

    Args:
        sources: of the policies, which are loaded one by one as their turn comes
        plan: how they are evaluated
        threads: that evaluate in parallel; None takes DEEPTRAFFIC_THREADS or all cores of this process
        progress: is called with (policies done, policies in all)
    """
    workers = Simulator(RoadConfig().build(), threads=threads).threads
    stop = threading.Event()
    waiting = iter(sources)
    with ThreadPoolExecutor(workers, thread_name_prefix="evaluate") as pool:
        running = {pool.submit(_outcome, source, plan, stop) for source in islice(waiting, QUEUED * workers)}
        finished = 0
        try:
            while running:
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    finished += 1
                    if progress:
                        progress(finished, len(sources))
                    yield future.result()
                    running |= {pool.submit(_outcome, source, plan, stop) for source in islice(waiting, 1)}
        finally:
            stop.set()


def _outcome(source: PolicySource, plan: Plan, stop: threading.Event) -> Outcome:
    if stop.is_set():
        raise EvaluationCancelled
    try:
        policy = source.load()
        policy.set_epsilon(plan.epsilon)
        score = score_policy(policy, plan, stop)
    except (ValueError, OSError) as error:
        return Outcome(source.name, error=str(error))
    headline_interval(score)  # remembered by the score: its thousands of resamples are this thread's work
    return Outcome(source.name, score)


def headline_interval(score: Score) -> tuple[float, float]:
    """Return the 95% interval that tables show [mph]: of the score in open runs, of the mean in official ones."""
    return score.median_interval if score.protocol == "open" else score.mean_interval


def score_policy(policy: Policy, plan: Plan, stop: threading.Event | None = None) -> Score:
    """Return one policy's score on one thread; EvaluationCancelled soon after `stop` is set."""
    rules, other_agents = plan.game(policy)

    def check_cancelled(*_: int) -> None:
        if stop is not None and stop.is_set():
            raise EvaluationCancelled

    if plan.protocol == "official":
        return evaluate_official(policy, rules, other_agents, check_cancelled)
    if policy.open_loop() is None:
        return evaluate_open(policy, rules, other_agents, plan.runs, plan.seed_set, progress=check_cancelled)
    road = RoadConfig(rules=rules, other_agents=other_agents)
    sim = Simulator(road.build(), threads=1)
    runs = Runs.open(sim, choose_seeds(plan.seed_set, plan.runs), OPEN_FRAMES)
    return Score.of(policy, road, play_serially(policy, sim, runs, RUNS_BEFORE_STOP, check_cancelled), plan.seed_set)
