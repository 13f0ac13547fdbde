"""Number of other agents, self-play copies of a policy, with which it scores best.

In the 2018 contest an entrant chose from 0 to 10 other agents, and the score is the mean speed of all agents. Choose on
tuning seeds, never on those that a result is reported on.

    $ deeptraffic others runs/team -o best.png
    >>> scored = score_numbers(load_policy("runs/team"))
    >>> scored.best.other_agents, scored.best.median_mph
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
from deeptraffic.settings import check_integer
from deeptraffic.sim.rules import MAX_OTHER_AGENTS


@dataclass(frozen=True)
class ScoresByNumber:
    """Scores of one policy with several numbers of other agents, on the same seeds."""

    scores: tuple[Score, ...]

    @property
    def best(self) -> Score:
        """The score with the greatest median; of equal ones that with the greater mean."""
        return max(self.scores, key=lambda score: (score.median_mph, score.mean_mph))

    def to_json(self) -> dict[str, Any]:
        """The scores without their runs, as JSON values."""
        listed = [{name: v for name, v in score.to_json().items() if name != "run_scores"} for score in self.scores]
        return {"policy": self.best.policy, "best": self.best.other_agents, "scores": listed}


def score_numbers(
    policy: Policy,
    numbers: Sequence[int] = range(MAX_OTHER_AGENTS + 1),
    runs: int = 1000,
    seed_set: str = "tuning",
    progress: Callable[[Score], None] | None = None,
) -> ScoresByNumber:
    """Return a policy's scores in open runs with each number of other agents, by the 2018 rules.

    progress: called with each score. Raises ValueError for numbers that the contest did not allow.
    """
    for number in numbers:
        check_integer("other_agents", number, 0, MAX_OTHER_AGENTS)
    if not numbers:
        raise ValueError("numbers must have at least one number of other agents, got none")
    scores = []
    for number in dict.fromkeys(numbers):
        scores.append(evaluate_open(policy, other_agents=number, runs=runs, seed_set=seed_set))
        if progress:
            progress(scores[-1])
    return ScoresByNumber(tuple(scores))


def save_scores(scored: ScoresByNumber, path: str | Path) -> Path:
    """Draw median and mean by number of other agents, with 95% intervals and the best marked; return the path."""
    scores, best = sorted(scored.scores, key=lambda score: score.other_agents), scored.best
    figure, axes = new_figure(f"{best.policy}: speed by number of other agents")
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
    axes.set_xlabel("other agents")
    axes.set_ylabel(f"speed of all agents [mph], {best.runs:,} {best.seed_set} runs")
    axes.margins(y=0.15)
    axes.legend(frameon=False, loc="lower right")
    return save_figure(figure, path)
