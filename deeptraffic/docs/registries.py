"""Pages of the encoders, of a policy file's layers, of the examples and of the tutorials, from their own texts."""

import ast
import inspect
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from agents import examples
from agents.analysis.tables import markdown_table
from deeptraffic.docs.api import ROOT
from deeptraffic.docs.fields import settings_table, with_lists
from deeptraffic.policies.layers import LAYER_KINDS
from representation.registry import ENCODERS, encoder_class


def encoders_page() -> str:
    """Return the page of all encoders."""
    lines = [
        "# Encoders\n",
        "`deeptraffic train ppo --encoder NAME` puts an encoder between the observation and the agent; in Python, "
        "`representation.registry.make_encoder(NAME, observation_space, features_dim)`. "
        "[Perception](repository:representation/README.md) says what each is worth.\n",
    ]
    for name in ENCODERS:
        kind = encoder_class(name)
        module = sys.modules[kind.__module__]
        path = f"{kind.__module__.replace('.', '/')}.py"
        parameters = list(inspect.signature(kind).parameters.values())[2:]
        rows = [[f"`{each.name}`", f"`{each.default!r}`"] for each in parameters if each.default is not each.empty]
        lines += [f"## {name}\n", with_lists(kind.__doc__ or module.__doc__ or "") + "\n"]
        lines += [markdown_table([["option of `encoder.architecture`", "default"], *rows])] if rows else []
        lines.append(f"Source: [{path}](repository:{path})\n")
    return "\n".join(lines)


def layers_page() -> str:
    """Return the page of all layers of a policy file."""
    lines = [
        "# Layers of a policy file\n",
        "A policy file is a chain of these layers; [its format](repository:deeptraffic/policies/FORMAT.md) says how "
        "they are written and read.\n",
    ]
    for name, kind in LAYER_KINDS.items():
        lines += [f"## {name}\n", with_lists(kind.__doc__ or "") + "\n", settings_table(kind)]
    return "\n".join(lines)


def examples_page() -> str:
    """Return the page of the examples, one file each."""
    lines = [
        "# Other libraries: examples\n",
        "One file each, from an environment to a score, tested at a small size; `--help` of each names its options.\n",
    ]
    for file in sorted(Path(examples.__path__[0]).glob("[!_]*.py")):
        title, _, text = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")
        path = f"agents/examples/{file.name}"
        lines += [f"## {file.stem}\n", f"{title}\n{text}\n"]
        lines.append(f"Source: [{path}](repository:{path})\n")
    return "\n".join(lines)


def overview_page(notebooks: Sequence[str]) -> str:
    """Return the page of all tutorials: of each its title, its first paragraph and its first picture.

    notebooks: their paths in the checkout
    """
    lines = [
        "# Tutorials\n",
        "Seven notebooks, from a picture of the road to an official score. Each runs in minutes on a laptop, has "
        "exercises with answers, and stands here with its outputs.\n",
    ]
    for path in notebooks:
        cells = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
        title, first = "".join(cells[0]["source"]).removeprefix("# ").split("\n\n")[:2]
        words = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", first)
        lines += [
            f"## [{title}](repository:{path})\n",
            f'![{title}](figure:{Path(path).stem}-0.png){{ width="300" align="right" }}\n',
            f"{words[: words.rindex('.') + 1]}\n",
            '<br clear="right">\n',
        ]
    return "\n".join(lines)
