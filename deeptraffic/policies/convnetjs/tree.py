"""Syntax tree of a submission's code, and what can be told from it without evaluating anything."""

from collections.abc import Iterator
from dataclasses import dataclass, field

PAGE = ("window", "self", "globalThis", "this")  # whose members are the global names
FUNCTIONS = (
    "function_declaration", "function_expression", "arrow_function", "method_definition",
    "generator_function_declaration", "generator_function", "class_declaration", "class",
)  # fmt: skip
TARGETS = {  # kinds of nodes that set a name or a member, and the part that says which
    "assignment_expression": "left",
    "augmented_assignment_expression": "left",
    "update_expression": "argument",
    "variable_declarator": "name",
    "for_in_statement": "left",
    "function_declaration": "name",
    "generator_function_declaration": "name",
    "class_declaration": "name",
}
LEAVES = ("return_statement", "break_statement", "continue_statement", "throw_statement")
NAMES = ("identifier", "shorthand_property_identifier_pattern")


@dataclass(eq=False, slots=True)
class Node:
    """A node of the syntax tree.

    kind: as tree-sitter-javascript names it; line: that it starts in, from 1
    text: its code, "" if it has parts
    parts: its named parts, without comments; fields: parts and operators by name, in the order of the text
    marks: `async` and `*` of a function
    """

    kind: str
    line: int
    text: str
    parts: list["Node"] = field(default_factory=list)
    fields: dict[str, "Node"] = field(default_factory=dict)
    marks: str = ""


def walk(node: Node, into_functions: bool = True) -> Iterator[Node]:
    """A node and all its parts; without those of the functions in it unless into_functions."""
    work = [node]
    while work:
        part = work.pop()
        yield part
        if into_functions or part is node or part.kind not in FUNCTIONS:
            work.extend(part.parts)


def leftmost(node: Node) -> Node:
    """The first name of a path such as a.b[0].c(...)."""
    paths = {"member_expression": "object", "subscript_expression": "object", "call_expression": "function"}
    while node.kind in paths:
        node = node.fields[paths[node.kind]]
    return node


def path_of(node: Node) -> str:
    """The code of a path of names such as Math.floor; "" for anything else."""
    names: list[str] = []
    while node.kind == "member_expression":
        names.append(node.fields["property"].text)
        node = node.fields["object"]
    return ".".join([node.text, *names[::-1]]) if node.kind == "identifier" else ""


def is_global(node: Node) -> bool:
    """Whether a node is a member of the page, such as window.lanesSide: a global name."""
    return node.kind == "member_expression" and node.fields["object"].text in PAGE


def set_names(node: Node) -> list[str]:
    """The names, not members, that a node itself sets."""
    if node.kind not in TARGETS:
        return []
    target = node.fields[TARGETS[node.kind]]
    if is_global(target):
        return [target.fields["property"].text]
    if target.kind in ("member_expression", "subscript_expression"):
        return []
    return [part.text for part in walk(target) if part.kind in NAMES]


def declared_variables(body: Node) -> list[str]:
    """The names that a function declares with var."""
    parts = (part for part in walk(body, into_functions=False) if part.kind == "variable_declaration")
    return [name for part in parts for declarator in part.parts for name in set_names(declarator)]


def leaves(node: Node) -> bool:
    """Whether code may return, break or continue out of itself."""
    return any(part.kind in LEAVES for part in walk(node, into_functions=False))
