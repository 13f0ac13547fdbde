"""With how many copies of itself in the traffic does a policy score best? The number that an entrant then asks for.

In the 2018 contest an entrant chose how many other agents drive with copies of the entry, from 0 to 10, and the score
is the mean speed over all of them. The choice is made on tuning seeds, never on those that a result is reported on.

    $ deeptraffic others runs/team -o best.png
    >>> numbers = score_numbers(load_policy("runs/team"))
    >>> numbers.best.other_agents, numbers.best.median_mph
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeptraffic.evaluation.protocol import evaluate_open
from deeptraffic.evaluation.score import Score
from deeptraffic.figure import BLUE, GREEN, ORANGE, new_figure, save_figure
from deeptraffic.policies.base import Policy
from deeptraffic.sim.rules import MAX_OTHER_AGENTS

EVERY_NUMBER = tuple(range(MAX_OTHER_AGENTS + 1))
RUNS = 1000


@dataclass(frozen=True)
class Numbers:
    """The scores of one policy with several numbers of copies, on the same seeds."""

    scores: tuple[Score, ...]

    @property
    def best(self) -> Score:
        """The one with the greatest median, the contest's headline; of equal ones that with the greater mean."""
        return max(self.scores, key=lambda score: (score.median_mph, score.mean_mph))

    def to_json(self) -> dict[str, Any]:
        """The scores without their runs, as JSON values."""
        listed = [{name: v for name, v in score.to_json().items() if name != "run_scores"} for score in self.scores]
        return {"policy": self.best.policy, "best": self.best.other_agents, "scores": listed}


def score_numbers(
    policy: Policy,
    numbers: Sequence[int] = EVERY_NUMBER,
    runs: int = RUNS,
    seed_set: str = "tuning",
    progress: Callable[[Score], None] | None = None,
) -> Numbers:
    """Return a policy's open scores with each number of copies, by the 2018 rules.

    progress: is called with each score. Raises ValueError for numbers that the contest did not have.
    """
    for number in numbers:
        if not 0 <= number <= MAX_OTHER_AGENTS:
            raise ValueError(f"other_agents={number} is not possible; give numbers from 0 to {MAX_OTHER_AGENTS}")
    if not numbers:
        raise ValueError("there is no number of other agents to score; give at least one")
    scores = []
    for number in dict.fromkeys(numbers):
        scores.append(evaluate_open(policy, other_agents=number, runs=runs, seed_set=seed_set))
        if progress:
            progress(scores[-1])
    return Numbers(tuple(scores))


def save_numbers(numbers: Numbers, path: str | Path) -> Path:
    """Draw median and mean over the number of copies, with their 95% intervals and the best marked; return the path."""
    scores, best = sorted(numbers.scores, key=lambda score: score.other_agents), numbers.best
    figure, axes = new_figure(f"{best.policy}: speed with copies of itself in the traffic")
    x = [score.other_agents for score in scores]
    for values, intervals, colour, marker, name in (
        ([s.median_mph for s in scores], [s.median_interval for s in scores], BLUE, "o", "median"),
        ([s.mean_mph for s in scores], [s.mean_interval for s in scores], ORANGE, "s", "mean"),
    ):
        low, high = np.array(intervals).T
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, values, color=colour, marker=marker, linestyle="-" if name == "median" else "--", label=name)
    axes.plot(best.other_agents, best.median_mph, "o", color=GREEN, markersize=13, fillstyle="none", markeredgewidth=2)
    axes.annotate(
        f"best: {best.other_agents}, median {best.median_mph:.2f}",
        (best.other_agents, best.median_mph),
        xytext=(-10, 8),
        textcoords="offset points",
        ha="right" if best.other_agents > MAX_OTHER_AGENTS // 2 else "left",
        color=GREEN,
        fontweight="bold",
    )
    axes.set_xticks(x)
    axes.set_xlabel("other agents, driven by copies")
    axes.set_ylabel(f"speed of all driven cars [mph], {best.runs:,} {best.seed_set} runs")
    axes.margins(y=0.15)
    axes.legend(frameon=False, loc="lower right")
    return save_figure(figure, path)
