"""Settings of a dataclass as documented: "name: meaning" lines of its docstring beside defaults and limits."""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from itertools import groupby
from typing import Any

from agents.analysis.tables import markdown_table

LINE = re.compile(r"^([a-z_]\w*(?:, [a-z_]\w*)*): (\S.*)$")
INDENT = "    "


def meanings(docstring: str) -> dict[str, str]:
    """Return what a docstring says of each name, in its lines "name: meaning" or "name, other: meaning"."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        if match := LINE.match(line):
            names = match[1].split(", ")
            found |= {name: match[2] for name in names}
        elif names and line.startswith(INDENT):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        else:
            names = []
    return found


def with_lists(docstring: str) -> str:
    """Return a docstring in which runs of "name: meaning" lines are Markdown lists."""
    lines: list[str] = []
    inside = False
    for line in inspect.cleandoc(docstring).splitlines():
        match = LINE.match(line)
        is_item = match is not None and (inside or not lines or not lines[-1].strip())
        if is_item and match is not None:
            names = ", ".join(f"`{name}`" for name in match[1].split(", "))
            lines += ([] if inside else [""]) + [f"- {names}: {match[2]}"]
            inside = True
        else:
            inside = inside and line.startswith(INDENT)
            lines.append(line)
    return "\n".join(lines)


def prose(docstring: str) -> str:
    """Return a docstring's paragraphs without "name: meaning" lines, which tables show, and without their captions."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    kept = [each for each in paragraphs if not each.endswith(":") and not any(map(LINE.match, each.splitlines()))]
    return "\n\n".join(kept)


def arguments_table(function: Callable[..., Any], docstring: str) -> str:
    """Return a Markdown table of a function's parameters: name, default, and what the docstring's `Args` say."""
    given = inspect.cleandoc(docstring).partition("Args:\n")[2].partition("\n\n")[0]
    documented = meanings(textwrap.dedent(given))
    parameters = inspect.signature(function).parameters
    rows = []
    for meaning, same in groupby((name for name in parameters if name in documented), documented.__getitem__):
        names = list(same)
        defaults = [f"`{parameters[name].default!r}`".replace("'", '"') for name in names]
        rows.append([", ".join(f"`{name}`" for name in names), ", ".join(defaults), meaning])
    return markdown_table([["keyword", "default", "meaning"], *rows])


def limits(each: "Field[Any]") -> str:
    """Return a field's limits as a cell of a table."""
    schema = each.metadata.get("schema", {})
    if "enum" in schema:
        return ", ".join(f"`{value!r}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"{schema['minItems']} to {schema['maxItems']} of {_interval(schema['items'])}"
    return _interval(schema) if "minimum" in schema else "`False`, `True`" if schema else ""


def _interval(schema: dict[str, Any]) -> str:
    return f"{schema['type']} in [{schema['minimum']:g}, {schema['maximum']:g}]"


def settings_table(kind: type, defaults: dict[str, Any] | None = None, left_out: tuple[str, ...] = ()) -> str:
    """Return a Markdown table of a dataclass's fields: name, default, limits, meaning.

    defaults: values that take the place of the fields' own defaults
    left_out: names of fields without a row
    """
    documented: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        documented |= meanings(base.__dict__.get("__doc__") or "")
    rows = []
    for each in fields(kind):
        if not each.init or each.name in left_out:
            continue
        value = (defaults or {}).get(each.name, each.default)
        default = "" if value is MISSING else f"`{value!r}`"
        rows.append([f"`{each.name}`", default, limits(each), documented.get(each.name, "")])
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return markdown_table([["setting", "default", "limits", "meaning"], *escaped]) if rows else "It has no settings.\n"
