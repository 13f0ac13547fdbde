"""Pages of the API reference: the public modules, each documented from its docstrings by mkdocstrings; their index.

Compiled functions are documented with the simulator; elsewhere they are details of what calls them.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARKUP, ESCAPED = re.compile(r"[*|]"), r"\\\g<0>"  # what a table of Markdown does not show as it is, and what it does
MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "environments": (
        "API: environments",
        (
            "deeptraffic.envs.gym_env",
            "deeptraffic.envs.vector_env",
            "deeptraffic.envs.sb3_vec_env",
            "deeptraffic.envs.aec_env",
            "deeptraffic.envs.observations",
            "deeptraffic.envs.observations.observation",
            "deeptraffic.envs.reward",
            "deeptraffic.envs.masks",
            "deeptraffic.envs.rendering",
        ),
    ),
    "simulator": (
        "API: simulator",
        (
            "deeptraffic.sim.rules",
            "deeptraffic.sim.engine",
            "deeptraffic.sim.state",
            "deeptraffic.sim.kernel",
            "deeptraffic.sim.observation",
            "deeptraffic.sim.random",
        ),
    ),
    "policies": (
        "API: policies and evaluation",
        (
            "deeptraffic.policies.base",
            "deeptraffic.policies.builtin",
            "deeptraffic.policies.file",
            "deeptraffic.policies.manifest",
            "deeptraffic.policies.torch_export",
            "deeptraffic.evaluation.model",
            "deeptraffic.evaluation.protocol",
            "deeptraffic.evaluation.comparison",
            "deeptraffic.evaluation.statistics",
        ),
    ),
    "agents": (
        "API: agents",
        (
            "agents.algorithm",
            "agents.config",
            "agents.trainer",
            "agents.run",
            "agents.loader",
            "agents.export",
            "agents.planner",
            "agents.champions.registry",
        ),
    ),
    "perception": (
        "API: perception",
        (
            "representation.encoder",
            "representation.registry",
            "representation.perception",
            "representation.fit",
            "representation.experiment",
            "representation.data.recording",
        ),
    ),
    "images": (
        "API: images and recordings",
        (
            "deeptraffic.render.painter",
            "deeptraffic.render.layers",
            "deeptraffic.render.recorder",
            "deeptraffic.render.notebook",
            "deeptraffic.episodes.trace",
            "deeptraffic.episodes.track",
        ),
    ),
}
OPTIONS = {
    "show_source": False,
    "show_root_heading": True,
    "show_root_full_path": True,
    "show_if_no_docstring": False,
    "show_signature_annotations": True,
    "separate_signature": True,
    "members_order": "source",
    "heading_level": 2,
    "warn_unknown_params": False,
    "extensions": ["deeptraffic.docs.griffe_lists"],
}


def api_page(title: str, name: str) -> str:
    """Return the page of a group of modules."""
    return "\n".join([f"# {title}\n", *map(_directive, MODULES[name][1])])


def _directive(module: str) -> str:
    """Return the lines that have mkdocstrings document a module."""
    details = [f"!^{node.name}$" for node in _definitions(module) if _is_detail(module, node)]
    return f"::: {module}\n    options: {json.dumps({'filters': ['!^_[^_]', *details]})}\n"


def index_page() -> str:
    """Return the page that lists every class and function of the reference by name, with the first line on it."""
    found = sorted(
        (name.lower(), name, module, group, summary)
        for group, (_, modules) in MODULES.items()
        for module in modules
        for name, summary in public_names(module)
    )
    rows = [
        f"| [`{name}`](site:api/{group}.md#{module}.{name}) | `{module}` | {MARKUP.sub(ESCAPED, summary)} |"
        for _, name, module, group, summary in found
    ]
    return "\n".join(["# Index of names\n", "| name | module | what it is |", "| --- | --- | --- |", *rows]) + "\n"


def public_names(module: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring's first line of every class and function of a module that its page documents."""
    for node in _definitions(module):
        text = ast.get_docstring(node)
        if text and not node.name.startswith("_") and not _is_detail(module, node):
            yield node.name, text.splitlines()[0]


def _definitions(module: str) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Yield the classes and functions of a module."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node


def _is_detail(module: str, node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Return whether a compiled function stands outside the simulator."""
    return not module.startswith("deeptraffic.sim.") and "compiled" in map(ast.unparse, node.decorator_list)
