"""The documentation site: every link leads somewhere, nothing is loaded from elsewhere, and axe finds nothing."""

import re
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

pytest.importorskip("latex2mathml")

from deeptraffic.docs import site as builder
from deeptraffic.docs.links import rewrite_links

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
SHOWN = (
    "index",
    "environments/index",
    "environments/grid",
    "agents/pqn",
    "api/environments",
    "tutorials/1_see",
    "faq",
    "coming_from/sb3",
)


class Links(HTMLParser):
    """Ids and links of a page of HTML; what a browser would load of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and (link := given.get("href")):
            self.links.append(link)
        loads = [given.get("src"), given.get("href") if tag == "link" else None]
        self.loaded += [link for link in loads if link]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages as Markdown, without the figures of observations."""
    return builder.stage(tmp_path_factory.mktemp("staged"), names=()).pages


def test_links_of_the_staged_pages_lead_to_files_that_are_there(staged: Path) -> None:
    missing = []
    for page in staged.rglob("*.md"):
        if "source" in page.relative_to(staged).parts[:1]:
            continue

        def check(link: str, page: Path = page) -> str:
            found = (
                (page.parent / link).exists()
                or "observation-" in link
                or "looks.png" in link
                or link.startswith("lab/")
            )
            missing.extend([] if found else [f"{page.relative_to(staged)}: {link}"])
            return link

        rewrite_links(page.read_text(encoding="utf-8"), check)
    assert missing == []


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a page links to agents/nothing.md, which does not exist"):
        builder.Staging(tmp_path).resolve("nothing.md", "agents/README.md", "agents/index.md")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](x.md#b)", "[a](<x.md>#b)"),
        ("![`a`](x.png)", "![`a`](<x.png>)"),
        ('<img src="x.png">', '<img src="<x.png>">'),
        ("[![a](x.png)](y.md)", "[![a](<x.png>)](<y.md>)"),
        ("[a](https://b.c) [d](#e)", "[a](https://b.c) [d](#e)"),
        ("```\n[a](x.md)\n```", "```\n[a](x.md)\n```"),
    ],
)
def test_links_are_rewritten_outside_of_code(text: str, expected: str) -> None:
    assert rewrite_links(text, lambda link: f"<{link}>") == expected


def test_a_tutorial_opens_in_colab_where_the_project_has_an_address() -> None:
    path = "agents/tutorials/07_driving_agents.ipynb"
    assert f"(site:files/{path})" in builder.notebook_links(path, "")
    line = builder.notebook_links(path, "https://github.com/somebody/deeptraffic")
    assert f"(https://colab.research.google.com/github/somebody/deeptraffic/blob/main/{path})" in line
    assert "git+https://github.com/somebody/deeptraffic'" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("| `ppo` | x |", "| [`ppo`](site:agents/ppo.md) | x |"),
        ("| `gaps` | x |", "| [`gaps`](site:environments/gaps.md) | x |"),
        ("| vector | `ppo` |", "| vector | `ppo` |"),
        ("```\n| `ppo` | arXiv:1506.02438 |\n```", "```\n| `ppo` | arXiv:1506.02438 |\n```"),
        ("(arXiv:1506.02438)", "([arXiv:1506.02438](https://arxiv.org/abs/1506.02438))"),
        (
            "[arXiv:1506.02438](https://arxiv.org/abs/1506.02438)",
            "[arXiv:1506.02438](https://arxiv.org/abs/1506.02438)",
        ),
    ],
)
def test_names_that_begin_a_row_and_numbers_of_papers_become_links(text: str, expected: str) -> None:
    assert builder.linked(text) == expected


def test_the_search_knows_whole_names_of_the_reference_and_no_files_of_the_checkout() -> None:
    locations = ("index.html", "api/agents.html#agents.trainer.train", "api/agents.html", "source/Makefile.html")
    found = builder.searchable({"items": [{"location": each, "title": "train"} for each in locations]})
    assert [item["title"] for item in found["items"]] == ["train", "agents.trainer.train", "train"]


def test_lists_and_comments_are_set_apart() -> None:
    assert builder.plain_markdown("text\n- a\n- b\n") == "text\n\n- a\n- b\n"
    assert builder.plain_markdown("<!-- x -->\n| a |\n") == "<!-- x -->\n\n| a |\n"
    assert builder.plain_markdown("```\ntext\n- a\n```\n") == "```\ntext\n- a\n```\n"


def test_figures_with_a_white_background_are_marked_and_others_are_not(tmp_path: Path) -> None:
    for name, colour in (("white", "#ffffff"), ("dark", "#111111")):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{name}.png")
    text = '<p><img alt="a" src="white.png" /><img src="dark.png"><img src="x.svg"><img src="https://a.b/c.png"></p>'
    marked = builder.IMAGE.sub(partial(builder.as_card, tmp_path), text)
    card = 'img class="card"'
    assert marked == text.replace("img alt", f"{card} alt").replace('img src="x', f'{card} src="x')


# --- built by Zensical --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical")
    folder = tmp_path_factory.mktemp("built")
    builder.build(folder)
    return folder


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[Path, Links]:
    """Every page of the site but the lab's own."""
    files = [path for path in built.rglob("*.html") if path.relative_to(built).parts[0] != "lab"]
    return {path: Links(path.read_text(encoding="utf-8")) for path in files}


@pytest.mark.slow
def test_every_internal_link_and_anchor_resolves(built: Path, pages: dict[Path, Links]) -> None:
    broken = []
    for page, found in pages.items():
        if page.name == "404.html":
            continue
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = pages.get(target)
            if not target.exists() or (parts.fragment and known and unquote(parts.fragment) not in known.ids):
                broken.append(f"{page.relative_to(built)}: {link}")
    assert broken == []


@pytest.mark.slow
def test_a_page_loads_nothing_from_another_host(pages: dict[Path, Links]) -> None:
    loaded = {link for found in pages.values() for link in found.loaded if re.match(r"(https?:)?//", link)}
    assert loaded == set()


@pytest.fixture
def browser(chromium: Callable[[Path], Any], requires_system: Callable[..., Path]) -> Any:
    return chromium(requires_system("chromium", "chromium"))


@pytest.mark.slow
def test_search_finds_a_page_in_a_folder_without_a_network(built: Path, browser: Any) -> None:
    context = browser.new_context(viewport=DESKTOP, offline=True)
    tab = context.new_page()
    tab.goto((built / "index.html").as_uri())
    tab.keyboard.press("/")
    tab.keyboard.type("quantile regression", delay=20)
    tab.locator("a[href*='agents/qrdqn']:visible").first.wait_for(timeout=10_000)
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("train", "quickstart"),
        ("observation", "environments/index"),
        ("render_mode", "environments/rendering"),
        ("leaderboard", "competition"),
        ("cite", "citing"),
    ],
)
def test_search_leads_from_common_words_to_their_pages(query: str, page: str, built: Path, browser: Any) -> None:
    context = browser.new_context(viewport=DESKTOP, offline=True)
    tab = context.new_page()
    tab.goto((built / "index.html").as_uri())
    tab.keyboard.press("/")
    tab.keyboard.type(query, delay=20)
    tab.locator(f"ol a[href*='{page}.html']:visible").first.wait_for(timeout=10_000)
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("address", ["/sub/agents/nothing.html", "/sub/nothing.html"])
def test_the_page_for_a_missing_one_leads_into_the_site_from_every_address(
    address: str, built: Path, browser: Any
) -> None:
    context = browser.new_context(viewport=DESKTOP)

    def answer(route: Any) -> None:
        path = built / urlsplit(route.request.url).path.removeprefix("/sub/")
        route.fulfill(path=path if path.is_file() else built / "404.html", status=200 if path.is_file() else 404)

    context.route("http://docs.example/**", answer)
    tab = context.new_page()
    tab.goto(f"http://docs.example{address}")
    tab.get_by_role("link", name="quickstart", exact=True).click()
    tab.get_by_role("heading", name="Quickstart").wait_for()
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize(("viewport", "theme"), [(DESKTOP, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("name", SHOWN)
def test_axe_finds_nothing(name: str, viewport: dict[str, int], theme: str, built: Path, browser: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    context = browser.new_context(viewport=viewport, color_scheme=theme, reduced_motion="reduce")
    tab = context.new_page()
    tab.goto((built / f"{name}.html").as_uri())
    tab.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = tab.evaluate(
        """async () => (await axe.run(document)).violations.map(
          ({ id, nodes }) => `${id}: ${nodes.length} such as ${nodes[0].html.slice(0, 200)}`)"""
    )
    assert found == []
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= viewport["width"]
    context.close()
