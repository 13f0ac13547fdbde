"""Registry of algorithms: name, kind and summary of each; a module is imported only when its algorithm is loaded.

    >>> ALGORITHMS["a2c"].load().config                  # imports agents/algorithms/a2c.py, and torch with it
    <class 'agents.algorithms.a2c.A2CConfig'>

To add an algorithm, write `agents/algorithms/NAME.py` with an `ALGORITHM` (`agents.algorithm.Algorithm`) and an
`ENTRY`, which is read here: `deeptraffic train`, its help, presets, sweeps and tests take it from this list.
"""

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deeptraffic.policies.base import PROBABILITY, ValueKind

if TYPE_CHECKING:
    from agents.algorithm import Algorithm

FOLDER = Path(__file__).parent / "algorithms"
KINDS = ("policy-based", "value-based", "model-based", "imitation", "offline")
PRESETS = ("default", "demo", "quick", "fast")
PROBABILITIES, RETURNS, LEADS = PROBABILITY, ValueKind("value", "reward"), ValueKind("difference", "reward")


@dataclass(frozen=True)
class Entry:
    """What is known of an algorithm before its module is imported.

    name: of the algorithm and of its module
    kind: one of `KINDS`
    summary: one line
    outputs: what its network's outputs are
    can_warm_start: whether its network can be initialised from a policy (`--init`), and so follow a curriculum
    presets: names of its presets; the first is taken where none is given
    """

    name: str
    kind: str
    summary: str
    outputs: ValueKind
    can_warm_start: bool = False
    presets: tuple[str, ...] = PRESETS

    def load(self) -> "Algorithm":
        """Import the algorithm's module and return the algorithm."""
        return importlib.import_module(f"agents.algorithms.{self.name}").ALGORITHM


def read_entry(path: Path) -> Entry:
    """Return the entry that an algorithm's source assigns to `ENTRY`; no line of the module runs.

    Raises ValueError if there is none, or one of another name than the module's.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    entry = eval(compile(ast.Expression(assigned["ENTRY"]), path, "eval")) if "ENTRY" in assigned else None
    name = path.parent.name if path.name == "__init__.py" else path.stem
    if not isinstance(entry, Entry) or entry.name != name:
        raise ValueError(f"{path} must define ENTRY = Entry({name!r}, ...), see agents/registry.py")
    return entry


def _entries() -> tuple[Entry, ...]:
    """Return the entries of all modules and packages of agents/algorithms, by kind and name."""
    paths = [path for pattern in ("[!_]*.py", "*/__init__.py") for path in FOLDER.glob(pattern)]
    return tuple(sorted(map(read_entry, paths), key=lambda entry: (KINDS.index(entry.kind), entry.name)))


ENTRIES = _entries()
ALGORITHMS: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}
WARM_STARTABLE = tuple(entry.name for entry in ENTRIES if entry.can_warm_start)
PRESET_NAMES = tuple(dict.fromkeys(preset for entry in ENTRIES for preset in entry.presets))


def entry_of(name: str) -> Entry:
    """Return an algorithm's entry; ValueError, with the names there are, if there is none."""
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm {name!r} does not exist; choose one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]
