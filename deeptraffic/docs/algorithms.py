"""Pages of the algorithms: idea, learning curve, command, settings and presets, all from the registry."""

import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import Any

from agents.analysis.tables import markdown_table
from agents.config import TrainConfig
from agents.registry import Entry
from agents.settings import SHARED_PRESETS, build_config
from deeptraffic.docs.curves import SEEDS, Row, preset_of, read_curves
from deeptraffic.docs.fields import settings_table, with_lists
from deeptraffic.settings import flatten

DOCUMENTED = ("networks", "losses", "learner", "torch_learner")  # modules of a package in reading order
OFFLINE = "offline"  # kind of the algorithms that learn from a data set
SECTIONS = ("road", "observation", "encoder", "envs", "agent")


def algorithm_page(entry: Entry) -> str:
    """Return the page of an algorithm."""
    algorithm = entry.load()
    config = build_config(entry.name)
    return "\n".join(
        [
            f"# {entry.name}\n",
            f"{entry.summary[0].upper()}{entry.summary[1:]}. *{entry.kind.capitalize()}*.\n",
            f"```sh\n{command(entry)}\n```\n",
            *curve_section(entry, read_curves()),
            "## Idea\n",
            idea(entry) + "\n",
            f"Source: [{source_path(entry)}](repository:{source_path(entry)})\n",
            "## Presets\n",
            presets_table(entry, algorithm.presets),
            "## Settings\n",
            "`--set agent.NAME=value`; the name alone is enough where only one section has it. "
            "Settings of the run, which all algorithms share, are [on their own page](site:agents/settings.md).\n",
            settings_table(algorithm.config, vars(config.agent)),
        ]
    )


def command(entry: Entry) -> str:
    """Return the command that trains with the preset of the learning curve."""
    data = " --dataset deeptraffic/gap-v0" if entry.kind == OFFLINE else ""
    return f"deeptraffic train {entry.name} --preset {preset_of(entry)}{data} -o runs/{entry.name}"


def curve_section(entry: Entry, rows: list[Row]) -> list[str]:
    """Return the learning curve, and how it was made; without one, where its scores are."""
    own = [row for row in rows if row["algorithm"] == entry.name]
    if not own:
        return ["[Data sets](repository:agents/datasets/DATASETS.md) has its scores on each of them.\n"]
    last = [row for row in own if row["decisions"] == own[-1]["decisions"]]
    cpu = sum(float(row["cpu_seconds"]) for row in last) / len(last)
    return [
        f"![Learning curve of {entry.name}](figure:curve-{entry.name}.svg)\n",
        f"Preset `{preset_of(entry)}`, {int(own[-1]['decisions']):,} decisions, {cpu:.0f} CPU seconds of one thread, "
        f"mean over seeds {', '.join(map(str, SEEDS))} (grey) with the 95% interval of the mean, on tuning runs. "
        f"Made by `python -m deeptraffic.docs.curves {entry.name}`.\n",
    ]


def idea(entry: Entry) -> str:
    """Return the documentation of the algorithm's module and of those of its package that hold losses."""
    package = importlib.import_module(f"agents.algorithms.{entry.name}")
    modules = [importlib.import_module(f"{package.__name__}.{part}") for part in DOCUMENTED if _has(package, part)]
    texts = [with_lists(inspect.getdoc(module) or "") for module in (package, *modules)]
    return "\n\n".join(re.sub(r"^ {4}[>$].*(\n {4}.*)*", "", text, flags=re.MULTILINE).strip() for text in texts)


def _has(package: ModuleType, part: str) -> bool:
    return any(module.name == part for module in pkgutil.iter_modules(getattr(package, "__path__", [])))


def source_path(entry: Entry) -> str:
    """Return the path of the algorithm's module or package in the repository."""
    file = importlib.import_module(f"agents.algorithms.{entry.name}").__file__ or ""
    path = f"agents/algorithms/{entry.name}"
    return path if file.endswith("__init__.py") else f"{path}.py"


def presets_table(entry: Entry, presets: Any) -> str:
    """Return a table of the algorithm's presets and what they change."""
    rows = []
    for name in entry.presets:
        changed = {**SHARED_PRESETS.get(name, {}), **dict(flatten(presets.get(name, {})))}
        settings = ", ".join(f"`{key}={value}`" for key, value in changed.items())
        rows.append([f"`{name}`", settings or "the defaults"])
    return markdown_table([["preset", "settings"], *rows])


def run_settings_page() -> str:
    """Return the page of the settings that all algorithms share."""
    config = build_config("ppo")
    lines = ["# Settings of a run\n", settings_table(TrainConfig, vars(config), SECTIONS)]
    for section, name in (("road", "The road"), ("envs", "The environments"), ("encoder", "The encoder")):
        lines += [f"## {name}: `{section}.`\n", settings_table(type(getattr(config, section)))]
    lines.append("The observation has the options of its [kind](site:environments/index.md#observations).\n")
    return "\n".join(lines)
