"""Links of Markdown pages: found, and rewritten from the checkout's paths to the site's."""

import posixpath
import re
from collections.abc import Callable

LINK = re.compile(r"(\]\()([^)\s]+)(\))|((?:src|href)=\")([^\"]+)(\")")
FENCED = re.compile(r"^(```|~~~).*?^\1$", re.MULTILINE | re.DOTALL)
EXTERNAL = re.compile(r"(?!(?:figure|repository|site):)[a-z][a-z0-9+.-]*:|//")

Resolve = Callable[[str], str]


def rewrite_links(text: str, resolve: Resolve) -> str:
    """Return a page with every relative link replaced by what `resolve` gives for it; blocks of code are left alone.

    resolve: gets a link's path, "" for a link within the page, and returns the new one; fragments are kept
    """

    def replace(match: re.Match[str]) -> str:
        before, link, after = match.group(1, 2, 3) if match[1] else match.group(4, 5, 6)
        path, mark, fragment = link.partition("#")
        if EXTERNAL.match(link) or not path:
            return match[0]
        return f"{before}{resolve(path)}{mark}{fragment}{after}"

    parts, at = [], 0
    for code in FENCED.finditer(text):
        parts += [LINK.sub(replace, text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, LINK.sub(replace, text[at:])])


def relative(target: str, page: str) -> str:
    """Return the link from a page of the site to another file of it."""
    return posixpath.relpath(target, posixpath.dirname(page) or ".")
