"""Page of how to cite the package, from CITATION.cff, and of the papers that the code names as its sources."""

import re
from typing import Any

import yaml  # type: ignore[import-untyped]  # of Zensical

from deeptraffic.docs.api import ROOT

ARXIV = "https://arxiv.org/abs/"
PAPER = re.compile(
    r"(?P<authors>(?:van den )?[A-Z][\w-]+(?:(?:, | and | et al\.|, et al\.)(?: ?[A-Z][\w-]+)?)*) (?P<year>\d{4}),?"
    r"(?: [A-Z]\w+,)?(?: \"(?P<title>[^\"]+)\",)? \(?arXiv:(?P<number>\d{4}\.\d{4,5})"
)


def citing_page(path: str) -> str:
    """Return the page of a citation file.

    path: of the file in the checkout
    """
    cited = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    work = {**cited, "year": re.findall(r"^## \[.+\] - (\d{4})", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)[0]}
    lines = [
        "# How to cite\n",
        f"{cited['message']}\n",
        bibtex("software", "deeptraffic", work, version=str(cited["version"]), license=cited["license"]),
    ]
    for paper in cited["references"]:
        number = paper["identifiers"][0]["value"].removeprefix("arXiv:")
        lines.append(bibtex("article", paper["authors"][0]["family-names"].lower(), paper, eprint=number))
    lines += [
        "## Sources\n",
        "Papers that algorithms, networks, losses and statistics are taken from, by first author:\n",
    ]
    return "\n".join([*lines, *sources()]) + "\n"


def bibtex(kind: str, key: str, work: dict[str, Any], **more: str) -> str:
    """Return a work of a citation file as a block of BibTeX."""
    names = [each.get("name") or f"{each['family-names']}, {each['given-names']}" for each in work["authors"]]
    authors = " and ".join(f"{{{name}}}" if "," not in name else name for name in names)
    fields = {"author": authors, "title": f"{{{work['title']}}}", "year": str(work["year"]), **more}
    if "eprint" in more:
        fields["archivePrefix"] = "arXiv"
    entries = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"```bibtex\n@{kind}{{{key}{work['year']},\n{entries}}}\n```\n"


def sources() -> list[str]:
    """Return a line of Markdown for every paper that a module names with its arXiv number, and the modules."""
    papers: dict[str, tuple[str, set[str]]] = {}
    for top in ("agents", "deeptraffic", "representation"):
        for file in sorted((ROOT / top).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            found_here = PAPER.finditer(re.sub(r"\s+(?:# )?", " ", text)) if "arXiv:" in text else ()
            module = file.parent.name if file.stem == "__init__" else file.stem
            for found in found_here:
                title = f", *{found['title']}*" if found["title"] else ""
                said, modules = papers.get(found["number"], ("", set()))
                said = max(said, f"{found['authors']} {found['year']}{title}", key=len)
                papers[found["number"]] = said, modules | {module}
    return [
        f"- {said}, [arXiv:{number}]({ARXIV}{number}): {', '.join(f'`{each}`' for each in sorted(modules))}"
        for number, (said, modules) in sorted(papers.items(), key=lambda item: item[1][0].lower())
    ]
