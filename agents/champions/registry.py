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
KINDS = ("policy-based", "value-based", "model-based", "planner")


@dataclass(frozen=True)
class Champion:
    """An entry of the registry.

    name: on the command line; file: beside the registry's file; kind: one of KINDS
    algorithm: as the tables name it; commands: that made it, in order
    config: every setting of the last run, {} if unknown
    seeds: of the training; chosen_on: the runs on which checkpoint and settings were chosen
    decisions, cpu_minutes: of the whole training, None if unknown; parameters: of the network
    other_agents: vehicles that copies of the policy drive; access: "contest", or "privileged" for a planner
    official_mph: the contest's score; reporting: `Score.to_json` of open runs on reporting seeds, without the runs
    planner: settings of a planner (`agents.planner.PlannerConfig`), None for a policy file
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
    official_mph: float
    reporting: dict[str, Any]
    planner: dict[str, Any] | None = None


def read_champions(folder: Path = FOLDER) -> dict[str, Champion]:
    """Return the champions of a folder by name, in the order of the tables; none where there is no registry's file."""
    path = folder / REGISTRY_FILE
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: Champion(**entry) for name, entry in entries.items()}


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
    from deeptraffic.policies.file import read_policy

    return read_policy(folder / champion.file).policy()
