"""Registry of the shipped champions: trained policies by name, with the commands that made them and their scores.

    $ deeptraffic evaluate champion-solo                # wherever a POLICY is expected
    >>> policy = load_champion("champion-solo")         # a `deeptraffic.policies.base.Policy`

`agents/champions/champions.json` is the registry's file; the policy files lie beside it. `agents/champions/shipping.py`
adds a champion, `agents/champions/pages.py` writes the tables of them. This module imports nothing heavy, because the
command line reads the names for its help.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeptraffic.policies.base import Policy

FOLDER = Path(__file__).resolve().parent
REGISTRY_FILE = "champions.json"
PERCEPTION = "perception"
KINDS = ("policy-based", "value-based", "model-based", "planner", PERCEPTION)


@dataclass(frozen=True)
class SeedScores:
    """What one way of training reaches by its eye with several training seeds, on the same open reporting runs [mph].

    eye: name of the observation's preset, or its kind; observation: in words
    shipped_seed: of the network that was best on tuning runs
    tuning_means: mean of the tuning runs on which it was chosen, by training seed as `Champion.seeds`; [] for one seed
    means: mean of the reporting runs by training seed; mean: of these, None for one seed
    interval: Student's 95% interval of that mean, [] for one seed
    teacher: policy that it is compared with, "" for none; teacher_mean: its mean on the same runs
    cost: mean difference of the teacher's runs and the students', run by run
    cost_interval: 95% bootstrap interval of it over training seeds and runs
    multiplications: of the network in one decision, about
    """

    eye: str
    observation: str
    shipped_seed: int
    tuning_means: list[float]
    means: list[float]
    mean: float | None
    interval: list[float]
    teacher: str
    teacher_mean: float | None
    cost: float | None
    cost_interval: list[float]
    multiplications: int


@dataclass(frozen=True)
class Champion:
    """An entry of the registry.

    name: on the command line; file: beside the registry's file; kind: one of KINDS
    algorithm: as the tables name it; commands: that made it, in order
    config: every setting of the last run, {} if unknown
    seeds: of the training; chosen_on: the runs on which checkpoint and settings were chosen
    decisions, cpu_minutes: of the whole training, None if unknown; parameters: of the network
    other_agents: vehicles that copies of the policy drive; access: "contest", or "privileged" for a planner
    official_mph: the contest's score, None for a weakened sensor, which the contest does not have
    reporting: `Score.to_json` of open runs on reporting seeds, without the runs
    planner: settings of a planner (`agents.planner.PlannerConfig`), None for a policy file
    by_seed: scores by training seed, for kind perception
    """

    name: str
    file: str
    kind: str
    algorithm: str
    commands: list[str]
    config: dict[str, Any]
    seeds: list[int]
    chosen_on: str
    decisions: int | None
    cpu_minutes: float | None
    parameters: int
    other_agents: int
    access: str
    official_mph: float | None
    reporting: dict[str, Any]
    planner: dict[str, Any] | None = None
    by_seed: SeedScores | None = None


def read_champions(folder: Path = FOLDER) -> dict[str, Champion]:
    """Return the champions of a folder by name, in the order of the tables; none where there is no registry's file."""
    path = folder / REGISTRY_FILE
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: _champion(entry) for name, entry in entries.items()}


def _champion(entry: dict[str, Any]) -> Champion:
    by_seed = entry["by_seed"]
    return Champion(**{**entry, "by_seed": None if by_seed is None else SeedScores(**by_seed)})


CHAMPIONS = read_champions()


def load_champion(name: str, folder: Path = FOLDER) -> "Policy":
    """Return a champion's policy; ValueError if there is none of that name."""
    champions = CHAMPIONS if folder == FOLDER else read_champions(folder)
    if name not in champions:
        raise ValueError(f"there is no champion {name!r}; choose one of {', '.join(champions)}")
    champion = champions[name]
    if champion.planner is not None:
        from agents.planner import PlannerConfig, load_planner

        return load_planner(folder / champion.file, PlannerConfig(**champion.planner), name)
    from agents.registry import ALGORITHMS
    from deeptraffic.policies.file import read_policy

    policy = read_policy(folder / champion.file).policy()
    trained = champion
    if not trained.config and trained.by_seed is not None and trained.by_seed.teacher in champions:
        trained = champions[trained.by_seed.teacher]  # a perception model in front of that policy's layers
    if "algo" in trained.config:
        policy.value_kind = ALGORITHMS[trained.config["algo"]].outputs
    return policy
