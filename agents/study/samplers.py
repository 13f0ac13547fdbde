"""Samplers, which draw trials, and pruners, which stop hopeless ones early: Optuna's, by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def _random(seed: int) -> "BaseSampler":
    """Draw every trial independently of all others (also where a grid leaves nothing to draw)."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed)


def _tpe(seed: int) -> "BaseSampler":
    """Tree-structured Parzen estimator (Bergstra et al. 2011); trials that are running count as bad ones meanwhile."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, constant_liar=True)


def _none(evaluations: int) -> "BasePruner":
    from optuna.pruners import NopPruner

    return NopPruner()


def _median(evaluations: int) -> "BasePruner":
    """Stop what is worse than the median of earlier trials after as many evaluations."""
    from optuna.pruners import MedianPruner

    return MedianPruner()


def _successive_halving(evaluations: int) -> "BasePruner":
    """Let the better quarter go on to four times as many evaluations (Li et al. 2018, arXiv:1810.05934)."""
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=1)


def _hyperband(evaluations: int) -> "BasePruner":
    """Successive halving at several paces (Li et al. 2018, JMLR 18:185)."""
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(min_resource=1, max_resource=evaluations)


SAMPLERS: dict[str, Callable[[int], "BaseSampler"]] = {"random": _random, "tpe": _tpe, "grid": _random}
PRUNERS: dict[str, Callable[[int], "BasePruner"]] = {
    "none": _none,
    "median": _median,
    "successive_halving": _successive_halving,
    "hyperband": _hyperband,
}
