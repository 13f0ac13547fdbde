"""Benchmark DeepTraffic-Vision: how fast policies drive by fixed, weak eyes (`deeptraffic.envs.observations.PRESETS`).

    $ deeptraffic bench-vision runs/mine

Every policy drives the same open reporting runs by the eye that it was made for. The floor is a policy that sees
nothing and always accelerates, the ceiling one that sees the true cells; a policy closes

    (mean - mean of the floor) / (mean of the ceiling - mean of the floor)

of the gap between them. Its 95% interval is a bootstrap over the runs, which all policies share.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.analysis.tables import markdown_table, replace_section
from agents.champions.registry import CHAMPIONS, FOLDER, PERCEPTION
from deeptraffic.envs.observations import PRESETS, preset_of
from deeptraffic.envs.other_agents import policy_observation
from deeptraffic.evaluation.statistics import bootstrap_interval
from deeptraffic.policies.base import Policy
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.sim.state import F64

FLOOR, CEILING = "accelerate", "champion-solo"
NOTHING, TRUE_CELLS = "nothing", "true cells"  # what these two see
VISION_PAGE = FOLDER / "VISION.md"
BEGIN, END = "<!-- leaderboard -->", "<!-- end of the leaderboard -->"


@dataclass(frozen=True)
class VisionRow:
    """One policy on the leaderboard.

    eye: preset; "nothing" for the floor, "true cells" for the ceiling
    policy: as it was named; label: its own name
    mean_mph, median_mph: of the runs; interval: 95% bootstrap interval of the mean
    gap_closed: 0 for the floor, 1 for the ceiling; gap_interval: its 95% bootstrap interval
    multiplications: of its network in one decision; None for a policy that is no network of a policy file
    """

    eye: str
    policy: str
    label: str
    mean_mph: float
    interval: tuple[float, float]
    median_mph: float
    gap_closed: float
    gap_interval: tuple[float, float]
    runs: int
    multiplications: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


def shipped() -> list[str]:
    """Return the champions on the leaderboard: those of kind perception that see by an eye of the benchmark."""
    return [
        name
        for name, champion in CHAMPIONS.items()
        if champion.kind == PERCEPTION and champion.by_seed is not None and champion.by_seed.eye in PRESETS
    ]


def eye_of(policy: Policy, name: str) -> str:
    """Return the eye that a policy was made for; ValueError if it is none of the benchmark's."""
    seen = policy_observation(policy)
    eye = preset_of(seen)
    if eye is None:
        raise ValueError(
            f"{name} observes {seen.kind} with options that are no eye of the benchmark; train a policy with --obs and "
            f"one of {', '.join(PRESETS)}"
        )
    return eye


def board_row(named: tuple[str, Policy], eye: str, speeds: F64, ends: tuple[F64, F64]) -> VisionRow:
    """Return a policy's row.

    named: the policy's name and the policy; speeds: (runs,) of its runs [mph]; ends: of the floor's and the ceiling's
    """
    name, policy = named
    floor, ceiling = ends

    def closed(some: Any, axis: int | None = None) -> Any:
        low = floor[some].mean(axis)
        return (speeds[some].mean(axis) - low) / (ceiling[some].mean(axis) - low)

    every = np.arange(speeds.size)
    return VisionRow(
        eye=eye,
        policy=name,
        label=policy.label,
        mean_mph=float(speeds.mean()),
        interval=bootstrap_interval(speeds, np.mean),
        median_mph=float(np.median(speeds)),
        gap_closed=float(closed(every)),
        gap_interval=bootstrap_interval(every, closed),
        runs=speeds.size,
        multiplications=policy.network.multiplications if isinstance(policy, NetworkPolicy) else None,
    )


def in_order(rows: Iterable[VisionRow]) -> list[VisionRow]:
    """Return rows by eye, as `PRESETS` lists them between floor and ceiling, the fastest first."""
    eyes = [NOTHING, *PRESETS, TRUE_CELLS]
    return sorted(rows, key=lambda row: (eyes.index(row.eye), -row.mean_mph))


# --- page -------------------------------------------------------------------------------------------------------------


def write_page(rows: Sequence[VisionRow], page: Path = VISION_PAGE) -> Path:
    """Write the leaderboard into the benchmark's page of this source checkout; return its path."""
    replace_section(page, BEGIN, END, board_table(rows))
    return page


def board_table(rows: Sequence[VisionRow]) -> str:
    """Return the leaderboard as a Markdown table, with a line for each eye by which no policy drives yet."""
    head = ["eye", "what it shows", "policy", "mean [mph]", "median", "gap closed", "multiplications"]
    shown = {NOTHING: "Nothing.", **{name: preset.summary for name, preset in PRESETS.items()}}
    shown[TRUE_CELLS] = "The true cells around the vehicle."
    lines = []
    for eye, words in shown.items():
        found = [row for row in rows if row.eye == eye]
        lines += [[eye, words, *_cells(row)] for row in found] or [[eye, words, "none yet", *["-"] * 4]]
    return markdown_table([head, *lines], left=3)


def _cells(row: VisionRow) -> list[str]:
    percent = [f"{100 * value:.0f}%" for value in (row.gap_closed, *row.gap_interval)]
    return [
        f"`{row.policy}`",
        f"{row.mean_mph:.2f} ({row.interval[0]:.2f} to {row.interval[1]:.2f})",
        f"{row.median_mph:.2f}",
        percent[0] if row.eye in (NOTHING, TRUE_CELLS) else f"{percent[0]} ({percent[1]} to {percent[2]})",
        "-" if row.multiplications is None else f"{row.multiplications:,}",
    ]
