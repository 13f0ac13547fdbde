"""Findings of the DeepTraffic paper, checked on a study's trials: effects of settings with bootstrap intervals.

    >>> table = read_tables(["agents/study/study.csv"])
    >>> print(claims_table(check_claims(table)))         # the table of agents/study/STUDY.md

The paper (Fridman, Terwilliger, Jenik: "DeepTraffic: Crowdsourced Hyperparameter Tuning of Deep Reinforcement Learning
Systems for Multi-Agent Dense Traffic Navigation", arXiv:1801.02805) draws its findings from what entrants chose to try.
Here trials are drawn at random, so that two groups that differ in one setting are alike in all others, and a difference
between them is that setting's effect. Scores are compared within trials of the same number of other agents, by
subtracting the mean of those. Intervals are percentiles of a bootstrap that resamples each group.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.analysis.tables import markdown_table
from agents.study.table import StudyTable
from deeptraffic.evaluation.comparison import Estimate
from deeptraffic.evaluation.statistics import bootstrap_interval
from deeptraffic.sim.state import F64

LEAST = 5  # trials of a group; with fewer a claim is not checked
Mask = NDArray[np.bool_]
Split = Callable[[F64], tuple[Mask, Mask]]


@dataclass(frozen=True)
class ClaimCheck:
    """A claim, checked on one study.

    claim: the paper's, or one of our own; contrast: what was compared; study: whose trials; trials: of both groups
    effect: on the mean score [mph], or as the contrast says; best: on the 90% quantile of the scores
    verdict: "holds", "the opposite", or "open" where the interval of the effect contains 0
    """

    claim: str
    contrast: str
    study: str
    trials: tuple[int, int]
    effect: Estimate
    best: Estimate | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Contrast:
    """Two groups of trials: those that the claim favours, and others.

    label: of both groups; column: the setting; split: its values -> (favoured, others)
    """

    claim: str
    label: str
    column: str
    split: Split


def _thirds(values: F64) -> tuple[Mask, Mask]:
    """The third of the highest values, and the third of the lowest."""
    low, high = np.nanquantile(values, [1 / 3, 2 / 3])
    return values >= high, values <= low


def _ends(values: F64) -> tuple[Mask, Mask]:
    return values == np.nanmax(values), values == np.nanmin(values)


def _top(values: F64) -> tuple[Mask, Mask]:
    return values == np.nanmax(values), values < np.nanmax(values)


def _none(values: F64) -> tuple[Mask, Mask]:
    return values == 0, values > 0


SIZE, WINDOW, SIGHT, GAMMA = (
    "1 the size of the network matters",
    "2 a temporal window of 0 is best",
    "3 look far ahead, three lanes to the side",
    "4 a large gamma is best",
)
RUNS = "5 an evaluation needs many runs"
OWN_LENGTH, OWN_RATE = "added here: longer training is better", "added here: a higher learning rate is better"
CONTRASTS = (
    Contrast(SIZE, "parameters: largest third - smallest third", "parameters", _thirds),
    Contrast(SIZE, "units of a layer: largest third - smallest third", "units", _thirds),
    Contrast(SIZE, "hidden layers: most - fewest", "layers", _ends),
    Contrast(WINDOW, "temporal_window: 0 - more", "temporal_window", _none),
    Contrast(SIGHT, "patches_ahead: largest third - smallest third", "patches_ahead", _thirds),
    Contrast(SIGHT, "lanes_side: largest - smaller", "lanes_side", _top),
    Contrast(GAMMA, "gamma: largest third - smallest third", "gamma", _thirds),
)
OWN_CONTRASTS = (
    Contrast(OWN_LENGTH, "decisions: most - fewest", "decisions", _ends),
    Contrast(OWN_RATE, "learning_rate: largest third - smallest third", "learning_rate", _thirds),
)


def check_claims(table: StudyTable) -> list[ClaimCheck]:
    """Check every claim for which the studies have enough complete trials, the paper's first."""
    studies = table.complete().studies()
    checks = [_compare(contrast, name, study) for contrast in CONTRASTS for name, study in studies.items()]
    checks += [_compare_runs(name, study) for name, study in studies.items()]
    checks += [_compare(contrast, name, study) for contrast in OWN_CONTRASTS for name, study in studies.items()]
    return [check for check in checks if check is not None]


def adjusted_scores(study: StudyTable) -> F64:
    """Scores minus the mean of the trials with the same number of other agents [mph]."""
    scores, others = study.numbers("score"), np.nan_to_num(study.numbers("other_agents"))
    means = {count: scores[others == count].mean() for count in np.unique(others)}
    return scores - np.array([means[count] for count in others])


def _compare(contrast: Contrast, name: str, study: StudyTable) -> ClaimCheck | None:
    values = study.numbers(contrast.column)
    if np.isnan(values).all() or np.nanmin(values) == np.nanmax(values):
        return None
    favoured, others = contrast.split(values)
    counts = int(favoured.sum()), int(others.sum())
    if min(counts) < LEAST:
        return None
    scores = adjusted_scores(study)
    groups = [scores[favoured], scores[others]]
    effect, best = estimate(groups, mean_difference), estimate(groups, best_difference)
    return ClaimCheck(contrast.claim, contrast.label, name, counts, effect, best, verdict(effect))


def mean_difference(first: F64, second: F64, axis: int = -1) -> F64:
    """Return the difference of two groups' means."""
    return first.mean(axis=axis) - second.mean(axis=axis)


def best_difference(first: F64, second: F64, axis: int = -1) -> F64:
    """Return the difference of two groups' 90% quantiles."""
    return np.quantile(first, 0.9, axis=axis) - np.quantile(second, 0.9, axis=axis)


def estimate(groups: Sequence[F64], statistic: Callable[..., F64]) -> Estimate:
    """Return a statistic of groups with its bootstrap interval."""
    return Estimate(float(statistic(*groups)), bootstrap_interval(groups, statistic))


def _compare_runs(name: str, study: StudyTable) -> ClaimCheck | None:
    """How much more often 10 runs than 100 order two trials of the better half otherwise than 1,000 do."""
    columns = [study.numbers(f"first_{count}") for count in (10, 100, 1000)]
    better = study.numbers("score") >= np.median(study.numbers("score"))
    chosen = np.stack(columns)[:, better]
    count = chosen.shape[1]
    if np.isnan(chosen).any() or count < LEAST:
        return None
    errors = 100.0 * (_disorder(chosen[0], chosen[2]) - _disorder(chosen[1], chosen[2]))
    first, second = np.triu_indices(count, 1)

    def mean_error(trials: NDArray[np.int64], axis: int = -1) -> F64:
        pairs = [(draw[first], draw[second]) for draw in np.atleast_2d(trials)]
        return np.array([errors[a, b][a != b].mean() for a, b in pairs])

    trials = np.arange(count)
    effect = Estimate(float(mean_error(trials)[0]), bootstrap_interval(trials, mean_error))
    contrast = "pairs of the better half in the wrong order: of 10 runs - of 100 runs [%]"
    return ClaimCheck(RUNS, contrast, name, (count, count), effect, None, verdict(effect))


def _disorder(scores: F64, truth: F64) -> F64:
    """(n, n) 1 where two trials are in the wrong order, 1/2 where they are equal by these scores, else 0."""
    product = np.sign(scores[:, None] - scores) * np.sign(truth[:, None] - truth)
    return (1.0 - product) / 2.0


def verdict(effect: Estimate) -> str:
    """Return what an effect says about the claim that predicts a positive one."""
    low, high = effect.interval
    return "holds" if low > 0 else "the opposite" if high < 0 else "open"


# --- as text ----------------------------------------------------------------------------------------------------------


def claim_rows(checks: Sequence[ClaimCheck]) -> list[list[str]]:
    """Return a table's cells, its head first; a claim is written once for the rows that share it."""
    rows = [["claim", "compared", "study", "trials", "effect", "effect on the best tenth", "verdict"]]
    last = ""
    for check in checks:
        counts = " / ".join(map(str, dict.fromkeys(check.trials)))
        best = "" if check.best is None else _cell(check.best)
        claim = "" if check.claim == last else check.claim
        rows.append([claim, check.contrast, check.study, counts, _cell(check.effect), best, check.verdict])
        last = check.claim
    return rows


def _cell(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{estimate.value:+.2f} [{low:+.2f}, {high:+.2f}]"


def claims_table(checks: Sequence[ClaimCheck]) -> str:
    """Return the checks as a Markdown table."""
    return markdown_table(claim_rows(checks))
