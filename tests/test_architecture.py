"""The architecture: imports go one way, the core stays light, and names follow the house style."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("deeptraffic", "agents", "representation")

# A module may import from a layer of a lower number, or from its own part; the longest matching prefix counts.
LAYERS = {
    "deeptraffic.settings": -1,
    "deeptraffic.run_dir": -2,
    "deeptraffic.extras": -1,
    "deeptraffic.figure": -0.5,
    "deeptraffic.sim": 0,
    "deeptraffic.episodes": 1,
    "deeptraffic.render": 2,
    "deeptraffic.policies": 2,
    "deeptraffic.envs": 3,
    "deeptraffic": 5,  # the package itself registers the environments and evaluates
    "deeptraffic.evaluation": 4,
    "deeptraffic.bench": 6,
    "deeptraffic.doctor": 5.5,
    "deeptraffic.competition": 6,
    "deeptraffic.insight": 6,
    "representation": 7,
    "agents": 8,
    "deeptraffic.lab": 9,
    "deeptraffic.docs": 10,
    "deeptraffic.cli": 10,  # the roof: nothing imports it
}
HEAVY = ("torch", "pygame", "stable_baselines3", "matplotlib")
CAMEL_CASE = re.compile(r"_*[a-z][a-z0-9]*[A-Z]")


def source_files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imported_names(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import in a module, those inside functions and import_module included."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                member = f"{base}.{alias.name}"
                yield node.lineno, member if is_module(member) else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            arguments = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield from ((node.lineno, name) for name in arguments if isinstance(name, str))


def part_of(module: str) -> str | None:
    """The longest prefix of a module's name which LAYERS names; None for other people's modules."""
    matches = [part for part in LAYERS if f"{module}.".startswith(f"{part}.")]
    return max(matches, key=len, default=None)


def backward_imports(source: str, module: str, is_package: bool = False) -> list[str]:
    own = part_of(module)
    assert own is not None, f"{module} belongs to no layer"
    breaches = []
    for line, name in imported_names(ast.parse(source), module, is_package):
        part = part_of(name)
        if part is not None and part != own and LAYERS[part] >= LAYERS[own]:
            breaches.append(f"{module}:{line} imports {name}: {part} is not below {own}")
    return breaches


def test_imports_point_down() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in source_files()}
    found = [backward_imports(text, module_name(path), path.name == "__init__.py") for path, text in texts.items()]
    assert sum(found, []) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("deeptraffic.sim.engine", "import deeptraffic.render.painter"),
        ("deeptraffic.sim.engine", "from .. import envs"),
        ("deeptraffic.sim.engine", "from ..envs.gym_env import make"),
        ("deeptraffic.sim.engine", "from deeptraffic import competition"),
        ("deeptraffic.sim.engine", "from deeptraffic import __doc__"),
        ("deeptraffic.render.painter", "import deeptraffic.policies"),
        ("deeptraffic.envs.gym_env", "def late():\n    from agents import planner"),
        ("representation.encoders", "import importlib\nimportlib.import_module('agents.planner')"),
        ("agents.export", "import deeptraffic.cli"),
        ("deeptraffic.bench", "from deeptraffic.cli import main"),
    ],
)
def test_backward_import_is_found_in_every_form(module: str, source: str) -> None:
    assert len(backward_imports(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("deeptraffic.sim.engine", "from .rules import RULES_2018\nimport numpy"),
        ("deeptraffic.cli", "from deeptraffic.bench import run\nimport agents.planner"),
        ("agents.planner", "from deeptraffic.sim import engine\nfrom representation.encoders import Encoder"),
    ],
)
def test_downward_import_is_accepted(module: str, source: str) -> None:
    assert backward_imports(source, module) == []


def core_modules() -> list[str]:
    """Modules which must import without torch or pygame; the SB3 adapter subclasses SB3, which imports torch."""
    core = ("deeptraffic.sim", "deeptraffic.policies", "deeptraffic.envs", "deeptraffic.cli")
    names = [module_name(path) for path in source_files()]
    return ["deeptraffic", *(name for name in names if name.startswith(core) and "sb3" not in name)]


@pytest.mark.parametrize("modules", [["deeptraffic"], core_modules()], ids=["deeptraffic", "core"])
def test_core_imports_no_heavy_library(modules: list[str]) -> None:
    program = f"import sys, {', '.join(modules)}; print(*(name for name in {HEAVY} if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == []


def defined_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def camel_case_names(source: str) -> list[str]:
    return [f"line {line}: {name}" for line, name in defined_names(ast.parse(source)) if CAMEL_CASE.match(name)]


def test_names_are_not_camel_case() -> None:
    paths = [path for path in source_files() if path.parent.name != "convnetjs"]
    found = {module_name(path): camel_case_names(path.read_text(encoding="utf-8")) for path in paths}
    assert {name: names for name, names in found.items() if names} == {}


def test_camel_case_is_found_in_every_kind_of_definition() -> None:
    source = "def laneSpeed(otherAgents):\n    patchesAhead = otherAgents\n    self.tailSize = patchesAhead\n"
    assert len(camel_case_names(source)) == 4
    assert camel_case_names("class QNetwork:\n    MAX_SPEED = 2\n    def do_GET(self): ...\n") == []
