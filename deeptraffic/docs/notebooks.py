"""Notebooks as pages: text and code as they stand, with the stored outputs and pictures below each cell."""

import base64
import json
import re
from html import escape
from pathlib import Path

from latex2mathml.converter import convert

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
