"""Tests of the house: no import cycle, one class of a name, short signatures, and docstrings whose names exist."""

import ast
import builtins
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from agents.champions.registry import CHAMPIONS
from agents.registry import ALGORITHMS
from deeptraffic.envs.observations import OBSERVATIONS
from deeptraffic.policies.builtin import BUILTINS
from deeptraffic.policies.layers import LAYER_KINDS
from representation.catalog import EXPERIMENTS
from representation.registry import ENCODERS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("deeptraffic", "agents", "representation")
MAX_PARAMETERS = 7
REASON = "# parameters:"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Module(NamedTuple):
    """A module of the product: its dotted name, whether it is a package, and its source."""

    name: str
    is_package: bool
    source: str

    @property
    def tree(self) -> ast.Module:
        return parse(self.source)


@cache
def parse(source: str) -> ast.Module:
    return ast.parse(source)


def product() -> list[Module]:
    modules = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            modules.append(Module(name, is_package, path.read_text(encoding="utf-8")))
    return modules


# --- import cycles ------------------------------------------------------------------------------------------------


def imports(module: Module, names: Iterable[str]) -> set[str]:
    """The modules of `names` that a module imports, inside functions and for type checking alone, too."""
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            members = {alias.name: f"{base}.{alias.name}" for alias in node.names}
            found |= {member if member in names else base for member in members.values()}
    return {name for name in found if name in names and name != module.name}


def import_cycles(modules: Iterable[Module]) -> list[list[str]]:
    """Groups of modules that import each other, directly or not (Tarjan's strongly connected components)."""
    by_name = {module.name: module for module in modules}
    edges = {name: sorted(imports(module, by_name)) for name, module in by_name.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in edges[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for name in by_name:
        if name not in index:
            visit(name)
    return groups


# --- class names --------------------------------------------------------------------------------------------------


def repeated_classes(modules: Iterable[Module]) -> list[str]:
    """Names of classes that more than one module defines, with the modules."""
    places: dict[str, list[str]] = {}
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module.name)
    return [f"{name}: {', '.join(where)}" for name, where in places.items() if len(where) > 1]


# --- parameters ---------------------------------------------------------------------------------------------------


def count_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return len(given) - (given[:1] in (["self"], ["cls"])) + len(function.args.kwonlyargs)


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether Typer makes options of the parameters."""
    defaults = [*function.args.defaults, *(default for default in function.args.kw_defaults if default)]
    return any("typer." in ast.unparse(default) for default in defaults)


def long_signatures(modules: Iterable[Module]) -> list[str]:
    """Functions of more than seven parameters without a reason in the line above; commands may have any number."""
    found = []
    for module in modules:
        lines = module.source.splitlines()
        for node in ast.walk(module.tree):
            if not isinstance(node, FUNCTIONS) or count_parameters(node) <= MAX_PARAMETERS:
                continue
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            above = lines[first - 2].strip() if first > 1 else ""
            exempt = module.name.startswith("deeptraffic.cli.") and is_command(node)
            if not exempt and not (above.startswith(REASON) and len(above) > len(REASON) + 3):
                found.append(f"{module.name}:{node.lineno} {node.name} takes {count_parameters(node)}")
    return found


# --- names in docstrings ------------------------------------------------------------------------------------------

QUOTED = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FILE = re.compile(r"[\w./-]*\w\.(?:py|md|toml|ipynb|html|css|js|csv|json|safetensors)")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?:\(\))?")
CALL = re.compile(r"[A-Za-z_]\w*\(\)")
CLASS = re.compile(r"[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)+")


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield node.body[0].lineno, text


class Names:
    """What a docstring of the product may name.

    members: module or class -> what it defines; a class that inherits from outside the product may have any member
    """

    def __init__(self, modules: list[Module]) -> None:
        self.modules = {module.name: module for module in modules}
        self.members: dict[str, set[str]] = {}
        self.open_classes: set[str] = set()
        self.bases: dict[str, list[str]] = {}
        self.imported: set[str] = set()
        self.arguments: set[str] = set()
        for module in modules:
            self.members.setdefault(module.name, set()).update(self._defined(module.tree.body))
            self.members.setdefault(module.name.rpartition(".")[0], set()).add(module.name.rpartition(".")[2])
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    self._add_class(node)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    self.imported |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.arg):
                    self.arguments.add(node.arg)
        self.leaves = {name.rpartition(".")[2] for name in self.modules}
        self.all = set().union(*self.members.values())

    def _add_class(self, node: ast.ClassDef) -> None:
        members = self.members.setdefault(node.name, set())
        members |= self._defined(node.body)
        for child in ast.walk(node):
            if isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store):
                members.add(child.attr)
        self.bases.setdefault(node.name, []).extend(
            ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases
        )

    @staticmethod
    def _defined(body: list[ast.stmt]) -> set[str]:
        found: set[str] = set()
        for statement in body:
            for node in ast.walk(statement):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    found.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.add(node.id)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        return found

    def has(self, owner: str, member: str) -> bool:
        """Whether a module or class has a member, inherited ones included."""
        if member in self.members.get(owner, ()):
            return True
        return any(base not in self.members or self.has(base, member) for base in self.bases.get(owner, ()))

    def resolves(self, text: str, module: Module) -> bool:
        """Whether a quoted text names something that exists; texts that are no names always do."""
        if FILE.fullmatch(text):
            return is_file(text, module)
        if DOTTED.fullmatch(text):
            return self._resolves_dotted(text.removesuffix("()").split("."), module)
        if CALL.fullmatch(text):
            name = text.removesuffix("()")
            return name in self.all or name in self.imported or hasattr(builtins, name)
        if CLASS.fullmatch(text):
            return text in self.all or text in self.imported or hasattr(builtins, text)
        return True

    def _resolves_dotted(self, parts: list[str], module: Module) -> bool:
        if parts[0] in PACKAGES:
            length = max((k for k in range(1, len(parts) + 1) if ".".join(parts[:k]) in self.modules), default=0)
            owner, rest = ".".join(parts[:length]), parts[length:]
            return bool(length) and self._chain(owner, rest)
        if parts[0] in self.leaves and parts[0] not in self.arguments:
            owners = [name for name in self.modules if name.rpartition(".")[2] == parts[0]]
            return any(self._chain(owner, parts[1:]) for owner in owners)
        if parts[0] in self.members:
            return self._chain(parts[0], parts[1:])
        known = parts[0] in self.imported | self.arguments | self.all | {"self"}
        return known or importlib.util.find_spec(parts[0]) is not None

    def _chain(self, owner: str, rest: list[str]) -> bool:
        if not rest:
            return True
        if not self.has(owner, rest[0]):
            return False
        inner = rest[0] if rest[0] in self.members and owner in self.modules else None
        return self._chain(inner, rest[1:]) if inner else True


@cache
def files() -> frozenset[str]:
    tops = [ROOT / name for name in (*PACKAGES, "tests", ".ci")]
    found = [path for top in tops for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return frozenset(path.relative_to(ROOT).as_posix() for path in [*found, *ROOT.glob("*.*")])


# Files that a run, a sweep or a user writes: their names are no paths of the repository.
WRITTEN = re.compile(
    r"(?:.*/)?(?:config|versions|metrics|winner|best|study|scores|imagined|weights|encoder|outcome|result|sweep|runs|mine"
    r"|policy|net|submission|recordings|trials|names|people|accounts)[\w-]*\.(?:json|toml|csv|safetensors|js)|runs/.*"
)


def is_file(text: str, module: Module) -> bool:
    """Whether a path is that of a file of the repository, from any of its folders, or of one that is written later."""
    if "NAME" in text:  # a file that the reader will write
        return is_file_of_folder(text)
    return any(file == text or file.endswith(f"/{text}") for file in files()) or bool(WRITTEN.fullmatch(text))


def is_file_of_folder(text: str) -> bool:
    """Whether the folder of a path exists."""
    return (ROOT / text).parent.is_dir()


def dead_names(modules: list[Module], names: Names) -> list[str]:
    """Names in backticks in docstrings that stand for nothing."""
    found = []
    for module in modules:
        for line, text in docstrings(module.tree):
            found += [
                f"{module.name}:{line} `{one}`" for one in QUOTED.findall(text) if not names.resolves(one, module)
            ]
    return found


# --- registries ---------------------------------------------------------------------------------------------------

COPIED = 3  # names that make a literal a copy of a registry, if they are half of it, in a text three quarters


def literal_names(node: ast.AST) -> set[str]:
    """The texts in a list, tuple, set or dictionary's keys, or the words of a text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return set(re.findall(r"[\w-]+", node.value))
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return {item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)}
    if isinstance(node, ast.Dict):
        return {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return set()


def copied_registries(modules: Iterable[Module], registries: Mapping[str, tuple[Iterable[str], str]]) -> list[str]:
    """Literals that list names of a registry (name -> its names, its module) outside the registry's module."""
    found = []
    for module in modules:
        lines = module.source.splitlines()
        texts = {
            id(node.body[0].value)
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(module.tree):
            names = set() if id(node) in texts else literal_names(node)
            if len(names) < COPIED:
                continue
            for registry, (entries, home) in registries.items():
                copied = names & set(entries)
                line = getattr(node, "lineno", 0)
                part = 0.75 if isinstance(node, ast.Constant) else 0.5
                explained = line > 1 and lines[line - 2].strip().startswith("# of the registry:")
                if len(copied) >= max(COPIED, part * len(set(entries))) and module.name != home and not explained:
                    found.append(f"{module.name}:{line} lists {registry}: {', '.join(sorted(copied))}")
    return found


# --- the tests ----------------------------------------------------------------------------------------------------


def crafted(**sources: str) -> list[Module]:
    return [Module(name.replace("__", "."), False, source) for name, source in sources.items()]


def test_no_modules_import_each_other() -> None:
    assert import_cycles(product()) == []


def test_a_cycle_through_a_function_or_for_type_checking_is_found() -> None:
    late = "def f():\n    from agents.a import x\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import agents.a\n"
    for second in (late, typed):
        modules = crafted(agents__a="from agents import b\n", agents__b=second, agents__c="from agents.a import y\n")
        assert import_cycles(modules) == [["agents.a", "agents.b"]]


def test_a_class_name_is_defined_once() -> None:
    assert repeated_classes(product()) == []


def test_a_second_class_of_a_name_is_found() -> None:
    assert repeated_classes(crafted(agents__a="class X: ...", agents__b="class X: ...\nclass Y: ...")) == [
        "X: agents.a, agents.b"
    ]


def test_signatures_are_short_or_say_why_not() -> None:
    assert long_signatures(product()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(a, b, c, d, e, f, g): ...", 0),
        ("def f(a, b, c, d, e, f, g, h): ...", 1),
        ("class X:\n    def f(self, a, b, c, d, e, f, g): ...", 0),
        ("class X:\n    def f(self, a, b, c, d, e, *, f, g, h): ...", 1),
        ("# parameters: the keywords of gymnasium.make\ndef f(a, b, c, d, e, f, g, h): ...", 0),
        ("# parameters: the keywords of gymnasium.make\n@x\ndef f(a, b, c, d, e, f, g, h): ...", 0),
        ("# parameters:\ndef f(a, b, c, d, e, f, g, h): ...", 1),
        ("def f(a=typer.Option(1), *, b, c, d, e, f, g, h): ...", 1),
    ],
)
def test_long_signatures_are_found(source: str, found: int) -> None:
    assert len(long_signatures(crafted(agents__a=source))) == found
    assert long_signatures(crafted(deeptraffic__cli__a="def f(a=typer.Option(1), *, b, c, d, e, f, g, h): ...")) == []


def test_names_in_docstrings_exist() -> None:
    modules = product()
    assert dead_names(modules, Names(modules)) == []


@pytest.mark.parametrize(
    ("quoted", "exists"),
    [
        ("agents.a", True),
        ("agents.a.Learner.learn", True),
        ("agents.a.Learner.teach", False),
        ("agents.gone", False),
        ("Learner.learn", True),
        ("Learner.rate", True),
        ("Learner.forget", False),
        ("Wrapped.anything", True),
        ("learn()", True),
        ("forget()", False),
        ("BigLearner", False),
        ("numpy.float64", True),
        ("nowhere.float64", False),
        ("deeptraffic/sim/kernel.py", True),
        ("kernel.py", True),
        ("sim/gone.py", False),
        ("agents/algorithms/NAME.py", True),
        ("agents/gone/NAME.py", False),
        ("--set gamma=0.9", True),
        ("obs", True),
    ],
)
def test_dead_names_are_found(quoted: str, exists: bool) -> None:
    source = (
        f'"""See `{quoted}`."""\nimport gymnasium\nclass Learner:\n    rate: float = 0\n    def learn(self): ...\n'
        "class Wrapped(gymnasium.Env): ...\n"
    )
    modules = crafted(agents__a=source)
    assert (dead_names(modules, Names(modules)) == []) == exists


def registries() -> dict[str, tuple[Iterable[str], str]]:
    return {
        "algorithms": (ALGORITHMS, "agents.registry"),
        "observations": (OBSERVATIONS, "deeptraffic.envs.observations"),
        "built-in policies": (BUILTINS, "deeptraffic.policies.builtin"),
        "layers": (LAYER_KINDS, "deeptraffic.policies.layers"),
        "champions": (CHAMPIONS, "agents.champions.registry"),
        "encoders": (ENCODERS, "representation.registry"),
        "experiments": (EXPERIMENTS, "representation.catalog"),
    }


def test_registries_are_the_only_lists() -> None:
    assert copied_registries(product(), registries()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("X = ('ppo', 'dqn', 'pqn')", 1),
        ("X = {'ppo': 1, 'dqn': 2, 'pqn': 3}", 1),
        ("X = 'one of ppo, dqn or pqn'", 1),
        ("X = ('ppo', 'dqn')", 0),
        ('"""Of ppo, dqn and pqn."""', 0),
        ("# of the registry: those with a replay buffer\nX = ('ppo', 'dqn', 'pqn')", 0),
    ],
)
def test_a_second_list_is_found(source: str, found: int) -> None:
    algorithms = {"algorithms": (("ppo", "dqn", "pqn", "a2c"), "agents.registry")}
    assert len(copied_registries(crafted(agents__a=source), algorithms)) == found
    assert copied_registries(crafted(agents__registry=source), algorithms) == []
