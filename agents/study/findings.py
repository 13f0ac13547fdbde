"""What a study found, beside the five findings of the DeepTraffic paper: effects with intervals, from the table alone.

    >>> table = read_tables(["agents/study/study.csv"])
    >>> print(markdown(find(table)))                     # the table of agents/study/STUDY.md

The paper (Fridman, Terwilliger, Jenik: "DeepTraffic: Crowdsourced Hyperparameter Tuning of Deep Reinforcement Learning
Systems for Multi-Agent Dense Traffic Navigation", arXiv:1801.02805) drew its findings from what entrants chose to try.
Here trials are drawn at random, so that two groups that differ in one setting are alike in all others, and a difference
between them is that setting's effect. Scores are compared within trials of as many other agents, by taking their
mean away. Intervals are bootstrap percentiles (`deeptraffic.evaluation.statistics`), the groups resampled apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.study.table import StudyTable
from deeptraffic.sim.state import F64

RESAMPLES = 2000
LEAST = 5  # trials of a group below which nothing is said
Mask = NDArray[np.bool_]
Split = Callable[[F64], tuple[Mask, Mask]]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


@dataclass(frozen=True)
class Finding:
    """A finding of the paper, asked of one study.

    claim: the paper's; contrast: what was compared; study: whose trials; trials: of both groups
    effect: on the mean score [mph], or as the contrast says; best: on the score of the tenth best in a hundred
    verdict: "holds", "the opposite", or "open" where the interval of the effect holds 0
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
    """Two groups of trials: those that the paper's finding favours, and others.

    column: the setting; split: its values -> (favoured, others)
    """

    claim: str
    words: str
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
OWN_LENGTH, OWN_RATE = "asked here: longer training is better", "asked here: a higher learning rate is better"
CONTRASTS = (
    Contrast(SIZE, "parameters: most third - fewest third", "parameters", _thirds),
    Contrast(SIZE, "units of a layer: most third - fewest third", "units", _thirds),
    Contrast(SIZE, "hidden layers: most - fewest", "layers", _ends),
    Contrast(WINDOW, "temporal_window: 0 - more", "temporal_window", _none),
    Contrast(SIGHT, "patches_ahead: farthest third - nearest third", "patches_ahead", _thirds),
    Contrast(SIGHT, "lanes_side: widest - narrower", "lanes_side", _top),
    Contrast(GAMMA, "gamma: largest third - smallest third", "gamma", _thirds),
)
OWN_CONTRASTS = (
    Contrast(OWN_LENGTH, "decisions: longest - shortest", "decisions", _ends),
    Contrast(OWN_RATE, "learning_rate: highest third - lowest third", "learning_rate", _thirds),
)


def find(table: StudyTable) -> list[Finding]:
    """Return every finding that the studies' complete trials are enough for, the paper's in its order first."""
    studies = table.complete().studies()
    found = [_compare(contrast, name, study) for contrast in CONTRASTS for name, study in studies.items()]
    found += [_compare_runs(name, study) for name, study in studies.items()]
    found += [_compare(contrast, name, study) for contrast in OWN_CONTRASTS for name, study in studies.items()]
    return [finding for finding in found if finding is not None]


def adjusted_scores(study: StudyTable) -> F64:
    """Scores less the mean of the trials with as many other agents [mph]."""
    scores, others = study.numbers("score"), np.nan_to_num(study.numbers("other_agents"))
    means = {count: scores[others == count].mean() for count in np.unique(others)}
    return scores - np.array([means[count] for count in others])


def _compare(contrast: Contrast, name: str, study: StudyTable) -> Finding | None:
    values = study.numbers(contrast.column)
    if np.isnan(values).all() or np.nanmin(values) == np.nanmax(values):
        return None
    favoured, others = contrast.split(values)
    counts = int(favoured.sum()), int(others.sum())
    if min(counts) < LEAST:
        return None
    scores = adjusted_scores(study)
    groups = [scores[favoured], scores[others]]
    effect = estimate(groups, lambda a, b: a.mean(axis=-1) - b.mean(axis=-1))
    best = estimate(groups, lambda a, b: np.quantile(a, 0.9, axis=-1) - np.quantile(b, 0.9, axis=-1))
    return Finding(contrast.claim, contrast.words, name, counts, effect, best, verdict(effect))


def _compare_runs(name: str, study: StudyTable) -> Finding | None:
    """How much oftener 10 runs than 100 put two trials of the better half in another order than 1,000 do."""
    columns = [study.numbers(f"first_{count}") for count in (10, 100, 1000)]
    better = study.numbers("score") >= np.median(study.numbers("score"))
    chosen = np.stack(columns)[:, better]
    if np.isnan(chosen).any() or chosen.shape[1] < LEAST:
        return None
    errors = 100.0 * (_disorder(chosen[0], chosen[2]) - _disorder(chosen[1], chosen[2]))
    first, second = np.triu_indices(chosen.shape[1], 1)
    draws = np.random.default_rng(0).integers(chosen.shape[1], size=(RESAMPLES, chosen.shape[1]))
    resampled = [errors[draw[first], draw[second]][draw[first] != draw[second]].mean() for draw in draws]
    low, high = np.percentile(resampled, [2.5, 97.5])
    effect = Estimate(float(errors[first, second].mean()), float(low), float(high))
    words = "pairs of the better half in the wrong order: of 10 runs - of 100 runs [%]"
    return Finding(RUNS, words, name, (chosen.shape[1], chosen.shape[1]), effect, None, verdict(effect))


def _disorder(scores: F64, truth: F64) -> F64:
    """(n, n) 1 where two trials are in the wrong order, 1/2 where they are equal by these scores, else 0."""
    product = np.sign(scores[:, None] - scores) * np.sign(truth[:, None] - truth)
    return (1.0 - product) / 2.0


def estimate(groups: Sequence[F64], statistic: Callable[..., Any]) -> Estimate:
    """Return a statistic of groups, axis -1 their trials, with its bootstrap interval."""
    random = np.random.default_rng(0)
    drawn = [group[random.integers(group.size, size=(RESAMPLES, group.size))] for group in groups]
    low, high = np.percentile(statistic(*drawn), [2.5, 97.5])
    return Estimate(float(statistic(*groups)), float(low), float(high))


def verdict(effect: Estimate) -> str:
    """What an effect says about the finding that favours it."""
    if effect.low > 0:
        return "holds"
    return "the opposite" if effect.high < 0 else "open"


# --- as text ----------------------------------------------------------------------------------------------------------


def finding_rows(findings: Sequence[Finding]) -> list[list[str]]:
    """Return a table's cells, its head first; a finding of the paper is written once for the rows that share it."""
    rows = [["the paper's finding", "compared", "study", "trials", "effect", "effect on the best tenth", "it"]]
    last = ""
    for finding in findings:
        counts = " / ".join(map(str, dict.fromkeys(finding.trials)))
        best = "" if finding.best is None else str(finding.best)
        claim = "" if finding.claim == last else finding.claim
        rows.append([claim, finding.contrast, finding.study, counts, str(finding.effect), best, finding.verdict])
        last = finding.claim
    return rows


def markdown(findings: Sequence[Finding]) -> str:
    """Return findings as a table in Markdown."""
    header, *rows = finding_rows(findings)
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
