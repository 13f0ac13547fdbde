"""Parser of the original game's JavaScript: text to a syntax tree, with the weights' JSON cut out of it.

tree-sitter parses the code; nothing is executed. The weights, nearly all of a file, are cut out first and read as JSON
(`read.py`): each object that begins with `"layers":` becomes `{"layers": i}`, with i its index among them. So the code
is small, and what its parsing costs is bounded by MAX_CODE and MAX_LINE, whatever it holds.
"""

import re
from dataclasses import dataclass

import tree_sitter
import tree_sitter_javascript

from deeptraffic.policies.convnetjs.tree import Node

MAX_CHARACTERS = 16 * 1024 * 1024
MAX_CODE = 100_000  # [bytes] without weights; a file as the game saves it has about 2,000
MAX_LINE = 5_000  # [bytes] of code; strings and regular expressions that are not closed cost a line's length squared
MAX_DEPTH = 64
MAX_OPEN = 3  # weights or comments that are not closed

LANGUAGE = tree_sitter.Language(tree_sitter_javascript.language())
WEIGHTS = re.compile(r'\{\s{0,99}"layers"\s{0,99}:')
BRACKETS = re.compile(r'[{}\[\];=(]|"(?:[^"\\]|\\.)*+"|"')
COMMENTS = ("comment", "html_comment", "hash_bang_line")
CONFLICT = re.compile(r"^(<<<<<<<|=======|>>>>>>>)", re.MULTILINE)
HTML = re.compile(r"\s{0,999}<(!doctype|html|head|body|script|div|p|pre)\b", re.IGNORECASE)


class ConvNetJSError(ValueError):
    """A submission that cannot be read; the message names the line and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


@dataclass(frozen=True)
class Source:
    """A parsed file.

    root: of the syntax tree of its code
    weights: text and first line of each weights' JSON that was cut out
    """

    root: Node
    weights: list[tuple[str, int]]


def parse(text: str) -> Source:
    """Parse a submission's text; ConvNetJSError if it is no JavaScript, or too large or too deep to be a submission."""
    if len(text) > MAX_CHARACTERS:
        raise ConvNetJSError(1, f"the file has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    _refuse_what_is_no_code(text)
    code, weights, broken_line = _cut_weights(text)
    content = code.encode("utf-8", "replace")
    try:
        root = _parse_code(content)
    except ConvNetJSError:
        if broken_line:
            _refuse_broken_weights(broken_line)
        raise
    return Source(_syntax_tree(root, content), weights)


def _parse_code(content: bytes) -> tree_sitter.Node:
    """The syntax tree of code within the bounds, which keep the time that any text takes near a second."""
    if len(content) > MAX_CODE:
        raise ConvNetJSError(1, f"the code without its weights has {len(content)} bytes; at most {MAX_CODE} are read")
    for number, line in enumerate(content.split(b"\n"), start=1):
        if len(line) > MAX_LINE:
            raise ConvNetJSError(number, f"the line has {len(line)} bytes of code; at most {MAX_LINE} are read")
    if content.count(b"/*", content.rfind(b"*/") + 1) > MAX_OPEN:  # each would be searched for its end
        raise ConvNetJSError(content.count(b"\n") + 1, "a comment opened by /* is never closed")
    root = tree_sitter.Parser(LANGUAGE).parse(content).root_node
    if root.has_error:
        error = _first_error(root)
        found = content[error.start_byte :][:30].decode("utf-8", "replace").split("\n")[0]
        reason = f"this is not JavaScript from here on: {found!r}"
        if found.startswith("/*"):
            reason = "a comment opened by /* is never closed"
        raise ConvNetJSError(error.start_point.row + 1, reason)
    return root


def _refuse_what_is_no_code(text: str) -> None:
    if conflict := CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise ConvNetJSError(line, f"{conflict.group()} is a merge conflict's mark; resolve it and save the file again")
    if html := HTML.match(text):
        raise ConvNetJSError(
            text.count("\n", 0, html.start(1)) + 1, "this is a web page, not a submission; save the code in its editor"
        )
    if not text.strip():
        raise ConvNetJSError(1, "the file is empty")
    if (at := text.find("\0")) >= 0:
        raise ConvNetJSError(text.count("\n", 0, at) + 1, "a zero byte, which JavaScript does not have")


def _refuse_broken_weights(line: int) -> None:
    raise ConvNetJSError(line, "the weights break off: brain.value_net.fromJSON({...}) is never closed")


def _cut_weights(text: str) -> tuple[str, list[tuple[str, int]], int]:
    """The code without weights; the weights and their lines; the line of the first that are not closed, or 0."""
    code: list[str] = []
    weights: list[tuple[str, int]] = []
    at, line, open_lines = 0, 1, []
    while found := WEIGHTS.search(text, at):
        line += text.count("\n", at, found.start())
        end = _closing_bracket(text, found.start(), line)
        code.append(text[at : found.start()])
        if end == 0:  # in a comment, or broken off
            open_lines.append(line)
            if len(open_lines) > MAX_OPEN:
                _refuse_broken_weights(open_lines[0])
            end = found.end()
            code.append(found.group())
        else:
            body = text[found.start() : end]
            lines = "\n" * body.count("\n")  # so that what follows keeps its line
            code.append(f'{{"layers": {len(weights)}{lines}}}')
            weights.append((body, line))
        line += text.count("\n", found.start(), end)
        at = end
    return "".join([*code, text[at:]]), weights, open_lines[0] if open_lines else 0


def _closing_bracket(text: str, start: int, line: int) -> int:
    """The index behind the bracket that closes the one at `start`; 0 if none does, or if this is not JSON."""
    depth = 0
    for match in BRACKETS.finditer(text, start):
        mark = match.group()
        if mark in ('"', ";", "=", "("):
            return 0
        depth += (mark in "{[") - (mark in "}]")
        if depth > MAX_DEPTH:
            raise ConvNetJSError(line, f"the weights are nested more than {MAX_DEPTH} deep")
        if depth == 0:
            return match.end()
    return 0


def _first_error(root: tree_sitter.Node) -> tree_sitter.Node:
    """The first node, from the root down, that is no JavaScript."""
    node = root
    inner: tree_sitter.Node | None = root
    while inner is not None and not (node.is_error or node.is_missing):
        node = inner
        inner = next((child for child in node.children if child.has_error or child.is_missing), None)
    return node


def _syntax_tree(root: tree_sitter.Node, content: bytes) -> Node:
    """The tree as nodes of our own, which are quicker to read and know each other."""
    cursor = root.walk()
    made = Node(root.type, 1, "")
    above: list[Node] = [made]
    down = cursor.goto_first_child()
    while True:
        if down:
            found = cursor.node
            assert found is not None
            node = Node(found.type, found.start_point.row + 1, "")
            _attach(above[-1], node, cursor.field_name, found.is_named)
            if found.is_named and cursor.goto_first_child():
                above.append(node)
                continue
            node.text = content[found.start_byte : found.end_byte].decode("utf-8")
        down = cursor.goto_next_sibling()
        if not down:
            above.pop()
            if not above or not cursor.goto_parent():
                return made


def _attach(parent: Node, node: Node, name: str | None, named: bool) -> None:
    if node.kind in COMMENTS:
        return
    if named:
        parent.parts.append(node)
    elif node.kind in ("async", "*") and name is None:
        parent.marks += node.kind
    if name is not None:
        parent.fields.setdefault(name, node)  # a semicolon may follow under the same name
