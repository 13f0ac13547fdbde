"""Rewards of a decision period, and the report that a compiled step writes for each env."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import FULL_SPEED_MPH, MPH_PER_PX
from deeptraffic.sim.state import F64, Game

REWARDS = ("mit", "speed", "passed")
REPORT = 6  # entries: reward, speed_mph, passed, lane, frame, blocked


@compiled
def write_report(game: Game, report: F64) -> None:
    """Write the contest's reward and the values of an info to report (6,): see `REPORT`."""
    report[0] = game.reward
    report[1] = MPH_PER_PX * game.following_speed[0] * game.speed_factor[0]
    report[2] = game.passed
    report[3] = game.lane[0]
    report[4] = game.frame
    report[5] = game.blocked


def infos_of(report: F64) -> dict[str, NDArray[Any]]:
    """Return the infos in reports (B, 6) as new arrays (B,)."""
    return {
        "speed_mph": report[:, 1].copy(),
        "passed": report[:, 2].astype(np.int64),
        "lane": report[:, 3].astype(np.int64),
        "frame": report[:, 4].astype(np.int64),
        "blocked": report[:, 5] != 0.0,
    }


def reward_of(reward: str, mit: Any, passed: Any) -> Any:
    """Return the chosen reward, of one env or (B,) of many.

    reward: one of `REWARDS`; mit: the contest's own, (N - 60) / 20; passed: vehicles passed in the period
    """
    if reward == "mit":
        return mit
    if reward == "speed":
        return 0.5 + mit / 6.0  # N = 60 + 20 mit over 30 frames; 20 N / 30 [mph] / 80
    return passed


def mean_speed_mph(mit: Any) -> Any:
    """Return the mean speed [mph] in the period of the contest's reward `mit`."""
    return FULL_SPEED_MPH * reward_of("speed", mit, None)
