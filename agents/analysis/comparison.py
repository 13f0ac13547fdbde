"""Comparison of policies on the same runs: intervals, distributions and learning curves, as tables, JSON and figures.

    deeptraffic compare runs/ppo-0 runs/ppo-1 runs/pqn-0 gap --runs 5000

Run directories whose settings differ only in the seed are one group, drawn as one curve with the range of its seeds.
The statistics are those of `deeptraffic.evaluation.comparison`.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.config import TrainConfig
from agents.run import RunFolder, is_run_folder
from deeptraffic.evaluation.comparison import GroupStatistics, PairStatistics, compare
from deeptraffic.evaluation.score import Score
from deeptraffic.run_dir import write_json

F64 = NDArray[np.float64]


@dataclass
class Group:
    """Policies of one training configuration with different seeds, or a single policy.

    scores: one per policy; folders: their run directories, if they have any
    """

    name: str
    scores: list[Score] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    @property
    def speeds(self) -> F64:
        """(policies, runs) [mph]."""
        return np.stack([score.run_scores for score in self.scores])


@dataclass(frozen=True)
class Comparison:
    """Statistics, and the files that show them.

    runs, seed_set: of every policy; access, epsilon: of the policies, by group
    """

    groups: list[GroupStatistics]
    pairs: list[PairStatistics]
    files: list[Path]
    runs: int
    seed_set: str | None
    access: dict[str, str]
    epsilon: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**asdict(self), "files": [str(file) for file in self.files]}


SaveFigures = Callable[[Sequence[Group], Sequence[GroupStatistics], Path], list[Path]]


def group_policies(scored: Sequence[tuple[str, Score]]) -> list[Group]:
    """Return groups of (POLICY argument, its score): run directories that differ only in the seed together."""
    groups: list[tuple[TrainConfig | None, Group]] = []
    for policy, score in scored:
        config = _seedless_config(policy)
        group = next((group for other, group in groups if config is not None and config == other), None)
        if group is None:
            group = Group(_free_name(Path(policy).name or policy, {group.name for _, group in groups}))
            groups.append((config, group))
        group.scores.append(score)
        if config is not None:
            group.folders.append(Path(policy))
    return [group for _, group in groups]


def write_comparison(groups: Sequence[Group], folder: Path, save_figures: SaveFigures | None = None) -> Comparison:
    """Compare groups and write comparison.json, and the figures.

    save_figures: `agents.analysis.comparison_figures.save_figures`; None for no figures
    """
    folder.mkdir(parents=True, exist_ok=True)
    singles, pairs = compare({group.name: group.speeds for group in groups})
    files = save_figures(groups, singles, folder) if save_figures else []
    first = {group.name: group.scores[0] for group in groups}
    comparison = Comparison(
        singles,
        pairs,
        [*files, folder / "comparison.json"],
        runs=singles[0].runs,
        seed_set=groups[0].scores[0].seed_set,
        access={name: score.access for name, score in first.items()},
        epsilon={name: score.epsilon for name, score in first.items()},
    )
    write_json(folder / "comparison.json", comparison.to_json())
    return comparison


def _seedless_config(policy: str) -> TrainConfig | None:
    """Return a run directory's configuration with seed 0; None for any other policy."""
    if not is_run_folder(policy):
        return None
    try:
        return replace(RunFolder(policy).config(), seed=0)
    except ValueError:  # deepqlearn has a configuration of its own
        return None


def _free_name(name: str, taken: set[str]) -> str:
    return next(free for free in (name, *(f"{name} ({k})" for k in range(2, 1000))) if free not in taken)
