"""Notebooks as pages: text and code as they stand, with the stored outputs and pictures below each cell."""

import base64
import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from latex2mathml.converter import convert

from deeptraffic.docs.api import ROOT

MATH = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\d)", re.DOTALL)
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def with_mathml(text: str) -> str:
    """Return Markdown with its TeX formulas as MathML, which browsers draw without a library."""

    def draw(match: re.Match[str]) -> str:
        if match[1]:
            return f'\n\n<div class="formula" tabindex="0">{convert(match[1].strip(), display="block")}</div>\n\n'
        return convert(match[2])

    parts, at = [], 0
    for code in CODE.finditer(text):
        parts += [MATH.sub(draw, text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, MATH.sub(draw, text[at:])])


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


def notebook_page(path: Path, figures: str) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its pictures by their paths in the site.

    figures: folder of the pictures in the site; the page refers to them by "figure:NAME"
    """
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(with_mathml(source.replace("<details>", '<details markdown="1">')))
            continue
        parts.append(f"```python\n{source}\n```")
        printed = "".join("".join(output.get("text", "")) for output in cell["outputs"])
        if printed:
            parts.append(f'<pre class="output"><code>{escape(printed)}</code></pre>')
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{len(pictures)}.png"
                pictures[f"{figures}/{name}"] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![Output of the cell above](figure:{name})")
            elif "<video" in (html := "".join(data.get("text/html", ""))):
                parts.append(re.sub(r"^\s+", "", html, flags=re.MULTILINE))
    return "\n\n".join(parts) + "\n", pictures
