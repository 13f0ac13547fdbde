"""Builder of the site: stages Markdown and figures, has Zensical make HTML of them, and completes it for offline use.

    python -m deeptraffic.docs build/docs

Needs the extra `docs`. The result holds no address of another host that a page loads: fonts are the system's, search
runs in the browser, also from a folder (file://).
"""

import json
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from PIL import Image

from agents.registry import ENTRIES
from deeptraffic import __version__
from deeptraffic.docs.api import OPTIONS, ROOT
from deeptraffic.docs.citing import ARXIV, citing_page
from deeptraffic.docs.contents import ALL_PAGES, NAMED, PATHS, Page, navigation
from deeptraffic.docs.curves import draw_curve, read_curves
from deeptraffic.docs.links import relative, rewrite_links
from deeptraffic.docs.notebooks import notebook_page
from deeptraffic.docs.observations import draw_looks, draw_observation
from deeptraffic.envs.observations import OBSERVATIONS, PRESETS
from deeptraffic.extras import require_extra
from deeptraffic.figure import save_figure
from deeptraffic.lab.site import write_site

THEME = Path(__file__).parent / "theme"
FIGURES = "figures"
FILES = "files"  # of the checkout that pages show
SOURCES = "source"  # pages of the checkout's other files that pages link to
GITHUB = "https://github.com/"
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".js": "javascript", ".csv": "text", ".sh": "sh"}
IMAGES = {".png", ".webp", ".svg", ".gif", ".jpg"}
INNER = 'class="md-nav"'  # a navigation within the sidebar's
IMAGE = re.compile(r'<img\b(?=[^>]*\bsrc="([^":]+)")')
SHIM = "https://unpkg.com/iframe-worker/shim"  # what the theme would load for search in a folder
LISTED = re.compile(r"^(?!\s*(?:[-*+]|\d+\.) )(\S.*)\n((?:[-*+]|\d+\.) )", re.MULTILINE)
NUMBER = re.compile(r"(?<![\[/])\barXiv:(\d{4}\.\d{4,5})")
ROW = re.compile(rf"^\| (`({'|'.join(NAMED)})`) \|", re.MULTILINE)
LOGO = re.compile(r'<a href="[^"]*"(?= title="[^"]*" class="[^"]*\bmd-logo\b)')
COMMENT = re.compile(r"^(<!--.*?-->)\n(?=\S)", re.MULTILINE)


class Staging:
    """The folder of Markdown that the site is made from.

    Args:
        folder: an empty one, `pages` below it
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages = folder / "docs"
        self.sources: dict[str, str] = {}  # pages of files by their paths in the checkout
        self.copied: set[str] = set()

    def write(self, path: str, content: bytes) -> None:
        """Write a file of the site."""
        target = self.pages / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def add(self, page: Page) -> None:
        """Write a page, its links as the site has them."""
        text, origin = self.text_of(page)
        text = rewrite_links(plain_markdown(linked(text)), lambda link: self.resolve(link, origin, page.path))
        self.write(page.path, text.encode())

    def text_of(self, page: Page) -> tuple[str, str]:
        """Return a page's Markdown and the path that its links are relative to."""
        if not isinstance(page.source, str):
            return page.source(), ""
        if page.source.endswith(".ipynb"):
            text, pictures = notebook_page(ROOT / page.source, FIGURES)
            for path, content in pictures.items():
                self.write(path, content)
            self.write(f"{FILES}/{page.source}", (ROOT / page.source).read_bytes())
            title, _, rest = text.partition("\n")
            return f"{title}\n\n{notebook_links(page.source, source_address())}\n{rest}", page.source
        if page.source.endswith(".cff"):
            return citing_page(page.source), ""
        return (ROOT / page.source).read_text(encoding="utf-8"), page.source

    def resolve(self, link: str, origin: str, page: str) -> str:
        """Return a link's place in the site, as seen from a page.

        origin: path in the checkout of the file that holds the link
        """
        scheme, _, rest = link.partition(":")
        if scheme == "figure":
            return relative(f"{FIGURES}/{rest}", page)
        if scheme == "site":
            return relative(rest, page)
        path = rest if scheme == "repository" else posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
        return relative(self.place(path), page)

    def place(self, path: str) -> str:
        """Return where the site shows a file or folder of the checkout, and have it shown there."""
        file = ROOT / path
        if not file.exists():
            raise ValueError(f"a page links to {path}, which does not exist")
        for candidate in (path, f"{path}/README.md"):
            if candidate in PATHS:
                return PATHS[candidate]
        if file.suffix in IMAGES:
            if path not in self.copied:
                self.copied.add(path)
                self.write(f"{FILES}/{path}", file.read_bytes())
            return f"{FILES}/{path}"
        self.sources.setdefault(path, f"{SOURCES}/{path}.md")
        return self.sources[path]

    def add_sources(self) -> None:
        """Write the pages of the files and folders that other pages link to."""
        for path, page in self.sources.items():
            self.write(page, source_page(path).encode())


def source_address() -> str:
    """Return the project's address on GitHub, `[project.urls] Source` of pyproject.toml; "" if it has none."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        address = tomllib.load(file)["project"]["urls"].get("Source", "")
    return str(address).rstrip("/") if str(address).startswith(GITHUB) else ""


def notebook_links(path: str, address: str) -> str:
    """Return the line above a tutorial: the notebook as a file, and in Colab where the project has an address."""
    link = f"[the notebook](site:{FILES}/{path})"
    if not address:
        return f"As a file: {link}, for Jupyter or [Colab](https://colab.research.google.com/) (*Upload*).\n"
    colab = f"https://colab.research.google.com/github/{address.removeprefix(GITHUB)}/blob/main/{path}"
    install = f"%pip install 'deeptraffic[agents] @ git+{address}'"
    return f"[Open in Colab]({colab}) and run `{install}` first; as a file: {link}.\n"


def plain_markdown(text: str) -> str:
    """Return GitHub's Markdown as Python-Markdown reads it: a blank line before each list and after each comment."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [COMMENT.sub(r"\1\n\n", LISTED.sub(r"\1\n\n\2", part)) for part in parts[::2]]
    return "".join(parts)


def linked(text: str) -> str:
    """Return a page with links from arXiv numbers, and from names that have a page where they begin a table's row."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [
        NUMBER.sub(rf"[\g<0>]({ARXIV}\1)", ROW.sub(lambda match: f"| [{match[1]}](site:{NAMED[match[2]]}) |", part))
        for part in parts[::2]
    ]
    return "".join(parts)


def source_page(path: str) -> str:
    """Return the page of a file's text, or of a folder's files."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(
            each.name + ("/" if each.is_dir() else "") for each in file.iterdir() if each.name[0] not in "._"
        )
        return "\n".join([f"# {path}/\n", *(f"- `{name}`" for name in names)]) + "\n"
    text = file.read_text(encoding="utf-8")
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text) or ["``"]))
    return f"# {path}\n\n{fence}{LANGUAGES.get(file.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


def stage(folder: Path, names: Collection[str] = (*OBSERVATIONS, *PRESETS)) -> Staging:
    """Write all pages and figures into a folder.

    names: of the observations to draw; without any, no moment of the road is drawn
    """
    staging = Staging(folder)
    for page in ALL_PAGES:
        staging.add(page)
    staging.add_sources()
    for name in names:
        save_figure(draw_observation(name), _made(staging.pages / FIGURES / f"observation-{name}.png"))
    if names:
        save_figure(draw_looks(), _made(staging.pages / FIGURES / "looks.png"))
    rows = read_curves()
    for entry in ENTRIES:
        if own := [row for row in rows if row["algorithm"] == entry.name]:
            save_figure(draw_curve(entry.name, own), _made(staging.pages / FIGURES / f"curve-{entry.name}.svg"))
    for name in ("extra.css", "accessible.js", "iframe-worker.js", "iframe-worker-LICENSE.txt"):
        staging.write(f"assets/{name}", (THEME / name).read_bytes())
    (folder / "mkdocs.yml").write_text(json.dumps(configuration(), indent=1), encoding="utf-8")  # JSON is YAML
    return staging


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def configuration() -> dict[str, object]:
    """Return the generator's configuration."""
    toggles = [
        {"media": f"(prefers-color-scheme: {name})", "scheme": scheme, "toggle": {"icon": icon, "name": f"To {other}"}}
        for name, scheme, icon, other in (
            ("light", "default", "lucide/moon", "dark colours"),
            ("dark", "slate", "lucide/sun", "light colours"),
        )
    ]
    return {
        "site_name": f"DeepTraffic {__version__}",
        "site_dir": "site",
        **({"repo_url": address} if (address := source_address()) else {}),
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "palette": toggles,
            "features": [
                "navigation.tabs",
                "navigation.top",
                "navigation.footer",
                "navigation.indexes",
                "content.code.copy",
                "toc.follow",
            ],
        },
        "extra": {"generator": False},
        "extra_css": ["assets/extra.css"],
        "extra_javascript": ["assets/accessible.js"],
        "plugins": [
            "search",
            "offline",
            {"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT)], "options": OPTIONS}}}},
        ],
        "markdown_extensions": [
            "abbr",
            "admonition",
            "attr_list",
            "footnotes",
            "md_in_html",
            "tables",
            "pymdownx.details",
            "pymdownx.superfences",
            "pymdownx.highlight",
            {"toc": {"permalink": True}},
        ],
        "nav": navigation(),
    }


def build(folder: Path) -> int:
    """Build the site into a folder, in place of an older site there; return its size [bytes]."""
    require_extra("docs")
    if folder.exists() and any(folder.iterdir()) and not (folder / "objects.inv").is_file():
        raise ValueError(f"{folder} is not empty and holds no documentation; give a new folder")
    with tempfile.TemporaryDirectory() as staged:
        staging = stage(Path(staged))
        command = [sys.executable, "-m", "zensical", "build", "--config-file", "mkdocs.yml", "--strict"]
        made = subprocess.run(command, cwd=staging.folder, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(f"Zensical could not build the site:\n{made.stdout}{made.stderr}")
        site = staging.folder / "site"
        for page in site.rglob("*.html"):
            depth = len(page.relative_to(site).parents) - 1
            text = finished(page.read_text(encoding="utf-8"), depth)
            page.write_text(IMAGE.sub(partial(as_card, page.parent), text), encoding="utf-8")
        missing = site / "404.html"
        missing.write_text(not_found(missing.read_text(encoding="utf-8")), encoding="utf-8")
        found = searchable(json.loads((site / "search.json").read_text(encoding="utf-8")))
        (site / "search.json").write_text(json.dumps(found), encoding="utf-8")
        (site / "search.js").write_text(f"var __index = {json.dumps(found)}", encoding="utf-8")  # of a folder
        write_site(site / "lab")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(site, folder)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def searchable(index: dict[str, Any]) -> dict[str, Any]:
    """Return the index of the search without files of the checkout, and with whole names of the reference.

    Of equal words a short title counts most: `train` then finds the pages on training before every method `train`.
    """
    items = [item for item in index["items"] if not item["location"].startswith(f"{SOURCES}/")]
    for item in items:
        page, _, name = item["location"].partition("#")
        if page.startswith("api/") and "." in name:
            item["title"] = name
    return {**index, "items": items}


def not_found(page: str) -> str:
    """Return the page that a host shows for a missing one: at whatever address, its links lead into the site."""
    folders = sorted({top for page in ALL_PAGES for top, mark, _ in [page.path.partition("/")] if mark})
    base = (
        f"<script>const found = location.pathname.match(/^(.*?\\/)(?:{'|'.join(folders)})\\//)\n"
        'document.write(`<base href="${found ? found[1] : location.pathname.replace(/[^/]*$/, "")}">`)</script>'
    )
    text = (
        "<h1>There is no such page</h1><p>It may have moved: press <kbd>/</kbd> to search, or go on from the "
        '<a href="index.html">first page</a>, the <a href="quickstart.html">quickstart</a>, the '
        '<a href="environments/index.html">environments</a>, the <a href="agents/index.html">agents</a> or the '
        '<a href="api/names.html">index of names</a>.</p>'
    )
    return re.sub(r"<h1>404.*?</h1>", text, page).replace("<head>", f"<head>{base}", 1)


def as_card(folder: Path, tag: re.Match[str]) -> str:
    """Return the beginning of an image's tag, with the class `card` if the image has white edges, as figures do."""
    return f'{tag[0]} class="card"' if is_white_at_edges((folder / unquote(tag[1])).resolve()) else tag[0]


@cache
def is_white_at_edges(path: Path) -> bool:
    """Whether an image's upper left pixel is white; drawn figures in SVG are."""
    if path.suffix == ".svg" or not path.is_file():
        return path.suffix == ".svg"
    with Image.open(path) as image:
        return image.convert("L").crop((0, 0, 1, 1)).tobytes()[0] > 250


def finished(page: str, depth: int) -> str:
    """Return an HTML page that loads nothing from another host, with one landmark for each navigation."""
    local = page.replace(SHIM, f"{'../' * depth}assets/iframe-worker.js")
    local = LOGO.sub(f'<a href="{"../" * depth}index.html"', local)
    inner: list[bool] = []  # of the open navigations, whether each is part of another

    def mark(match: re.Match[str]) -> str:
        if match[0] == "</nav>":
            return "</div>" if inner.pop() else "</nav>"
        inner.append(INNER in match[0])
        return match[0].replace("<nav", '<div role="group"') if inner[-1] else match[0]

    return re.sub(r"<nav\b[^>]*>|</nav>", mark, local)
