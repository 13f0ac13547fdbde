"""Read the original game's JavaScript as text: tokens with their lines, and the statements that settings are made of.

Nothing is executed. `JSSettings` walks over the file once, evaluates plain values (numbers and sums of them, strings,
lists, objects, names defined above), and refuses every other statement with its line. Time is linear in the length of
the text, depth is bounded, and a file over MAX_CHARACTERS is not read at all.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

MAX_CHARACTERS = 16 * 1024 * 1024
MAX_DEPTH = 64

# Each alternative is a single pass without backtracking over what it matched.
_TOKEN = re.compile(
    r"""(?P<space>[^\S\n]+|\n)
      | (?P<comment>//[^\n]*|/\*|<!--[^\n]*|-->[^\n]*)
      | (?P<number>0[xX][0-9a-fA-F]{1,16}|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_$][\w$]*)
      | (?P<string>"[^"\\\n]*"|'[^'\\\n]*')
      | (?P<sign>=>|[=!]==?|[-+*/%]=|\+\+|--|&&|\|\||[<>]=?|[-+*/%=(){}\[\];,.:?!])""",
    re.VERBOSE,
)


class ConvNetJSError(ValueError):
    """A submission that cannot be read; the message names the line and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


class JSToken(NamedTuple):
    """kind: number, name, string, sign or end; text as written; its line, from 1; where it starts."""

    kind: str
    text: str
    line: int
    start: int


def tokenize(text: str, first_line: int = 1) -> list[JSToken]:
    """Split JavaScript text into tokens; raise ConvNetJSError at anything else."""
    tokens, at, line = [], 0, first_line
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ConvNetJSError(line, f"{text[at : at + 20]!r} is not JavaScript that settings are written in")
        kind, end = str(match.lastgroup), match.end()
        if kind == "comment" and match.group() == "/*":
            end = text.find("*/", end) + 2
            if end == 1:
                raise ConvNetJSError(line, "a comment opened by /* is never closed")
        elif kind not in ("space", "comment"):
            tokens.append(JSToken(kind, match.group(), line, at))
        line += text.count("\n", at, end)
        at = end
    tokens.append(JSToken("end", "the end of the file", line, at))
    return tokens


@dataclass
class BrainSettings:
    """A `new deepqlearn.Brain(num_inputs, num_actions, opt)` of the file."""

    num_inputs: Any
    num_actions: Any
    opt: Any
    line: int


class JSSettings:
    """The values that a submission's code sets.

    names: every name that the code assigns, with its value
    lines: where each was assigned last
    brain: the Brain that is built, None if none is
    has_learn: whether a standard `learn` was found
    """

    def __init__(self, tokens: list[JSToken]) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0
        self.names: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self.brain: BrainSettings | None = None
        self.has_learn = False
        while self.next.kind != "end":
            self._statement()

    # --- moving over tokens ---------------------------------------------------------------------------------------

    @property
    def next(self) -> JSToken:
        """The token to be read."""
        return self.tokens[self.at]

    def _take(self, text: str | None = None) -> JSToken:
        token = self.next
        if text is not None and (token.text != text or token.kind == "string"):
            self._fail(f"{text!r} expected, found {token.text!r:.40}")
        self.at += token.kind != "end"
        return token

    def _skip(self, text: str) -> bool:
        found = self.next.text == text and self.next.kind != "string"
        self.at += found
        return found

    def _fail(self, reason: str, line: int = 0) -> NoReturn:
        raise ConvNetJSError(line or self.next.line, reason)

    # --- statements -----------------------------------------------------------------------------------------------

    def _statement(self) -> None:
        token = self.next
        if self._skip(";"):
            return
        if token.text in ("var", "let", "const"):
            self._take()
            self._declarations()
        elif token.text == "if":
            self._if_brain()
        elif token.text == "function":
            self._take()
            name = self._take().text
            self._function(name)
        elif token.kind == "name":
            self._assignment_or_call()
        elif token.kind == "string":  # 'use strict'
            self._take()
        else:
            self._fail(f"{token.text!r:.40} does not begin a statement that settings are made of")
        if self.next.kind != "end" and self.next.text != "}":
            self._end_of_statement(token)

    def _end_of_statement(self, begin: JSToken) -> None:
        before = self.tokens[self.at - 1]
        if not self._skip(";") and before.line == self.next.line and before.text != "}":
            self._fail(f"';' expected after the statement that begins with {begin.text!r:.40}")

    def _declarations(self) -> None:
        while True:
            name = self._take()
            if name.kind != "name":
                self._fail(f"a name expected, found {name.text!r:.40}", name.line)
            if self._skip("="):
                self._assign_name(name)
            if not self._skip(","):
                return

    def _assignment_or_call(self) -> None:
        name = self._take()
        path = [name.text]
        while self._skip("."):
            path.append(self._take().text)
        if self._skip("("):
            self._call(path, name.line)
        elif self._skip("["):
            key = self._value()
            self._take("]")
            self._take("=")
            self._set([*path, str(key)], self._value(), name.line)
        elif self.next.text in ("+=", "-=", "*=", "/="):
            operator = self._take().text[0]
            old = self.names.get(name.text) if len(path) == 1 else None
            self._set(path, self._arithmetic(operator, old, self._value()), name.line)
        else:
            self._take("=")
            if len(path) == 1:
                self._assign_name(name)
            else:
                self._set(path, self._value(), name.line)

    def _assign_name(self, name: JSToken) -> None:
        if self.next.text == "function" or (name.text == "learn" and self.next.text == "("):
            self._skip("function")
            if self.next.kind == "name":
                self._take()
            self._function(name.text)
        elif self._skip("new"):
            self._new(name)
        else:
            self._set([name.text], self._value(), name.line)

    def _set(self, path: list[str], value: Any, line: int) -> None:
        if path[0] == "window" and len(path) > 1:
            path = path[1:]
        self.lines[path[0]] = line
        if len(path) == 1:
            self.names[path[0]] = value
            return
        target = self.names.get(path[0])
        for key in path[1:-1]:
            target = target.get(key) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            if path[0] == "brain":  # a setting of the built Brain, such as brain.epsilon_test_time
                self.names.setdefault("brain settings", {})[".".join(path[1:])] = value
                return
            self._fail(f"{'.'.join(path)} is set, but {'.'.join(path[:-1])} is no object defined above", line)
        target[path[-1]] = value

    def _call(self, path: list[str], line: int) -> None:
        target = self.names.get(path[0])
        if path[-1] == "push" and len(path) == 2 and isinstance(target, list):
            while not self._skip(")"):
                target.append(self._value())
                self._skip(",")
            return
        if path == ["brain", "value_net", "fromJSON"]:
            self._fail("weights in the middle of the code; put the fromJSON statement at the end", line)
        if path[0] == "console":  # prints, and changes nothing
            while not self._skip(")"):
                self._value()
                self._skip(",")
            return
        self._fail(f"{'.'.join(path)}(...) is called, which settings do not need; remove the call", line)

    def _new(self, name: JSToken) -> None:
        made = [self._take().text]
        while self._skip("."):
            made.append(self._take().text)
        if made != ["deepqlearn", "Brain"]:
            self._fail(f"new {'.'.join(made)}: only deepqlearn.Brain can be built", name.line)
        self._take("(")
        given = []
        while not self._skip(")"):
            given.append(self._value())
            self._skip(",")
        if len(given) != 3:
            self._fail(
                f"deepqlearn.Brain takes 3 arguments (num_inputs, num_actions, opt), got {len(given)}", name.line
            )
        if name.text != "brain":
            self._fail(f"the Brain is called {name.text!r}; the game expects the name brain", name.line)
        self.brain = BrainSettings(given[0], given[1], given[2], name.line)
        self.lines["brain"] = name.line

    def _if_brain(self) -> None:
        line = self._take("if").line
        self._take("(")
        condition = []
        while self.next.text != ")" and self.next.kind != "end":
            condition.append(self._take().text)
        self._take(")")
        self._take("{")
        if condition != ["brain"] or not self._skip("}"):
            self._fail("an if statement, which settings do not need; write the values as they are", line)

    # --- learn ----------------------------------------------------------------------------------------------------

    def _function(self, name: str) -> None:
        line = self.next.line
        if name != "learn":
            self._fail(f"a function {name!r:.40}, which settings do not need; the game calls only learn", line)
        self._take("(")
        parameters = []
        while not self._skip(")"):
            parameters.append(self._take().text)
            self._skip(",")
        self._skip("=>")
        self._take("{")
        if len(parameters) != 2:
            self._fail(f"learn must take 2 parameters (state, lastReward), got {len(parameters)}", line)
        self._learn_body(*parameters)
        self.has_learn = True

    def _learn_body(self, state: str, reward: str) -> None:
        forward, answer = ["brain", ".", "forward", "(", state, ")"], ""
        returned = False
        while not self._skip("}"):
            line, words = self.next.line, self._learn_statement()
            if words[:1] in (["var"], ["let"], ["const"]):
                words = words[1:]
            if words in ([], ["draw_net", "(", ")"], ["draw_stats", "(", ")"], [words[0]] if answer == "?" else []):
                continue
            if words == ["brain", ".", "backward", "(", reward, ")"]:
                continue
            if words[1:] == ["=", *forward]:
                answer = words[0]
            elif words == ["return", *forward] or (answer and words == ["return", answer]):
                returned = True
            elif len(words) == 1 and words[0].isidentifier() and words[0] != "return":
                continue  # a declaration without a value
            else:
                self._fail(
                    f"learn does more than the standard call: {' '.join(words)!r:.80}; the actions must be the "
                    "network's alone: brain.backward(lastReward), action = brain.forward(state), return action",
                    line,
                )
        if not returned:
            self._fail("learn does not return what brain.forward(state) answers")

    def _learn_statement(self) -> list[str]:
        words: list[str] = []
        line = self.next.line
        while self.next.text not in (";", "}") and self.next.kind != "end":
            if self.next.line != line and words and words[-1] not in "=(,.":
                break
            line = self.next.line
            words.append(self._take().text)
        if self.next.kind == "end":
            self._fail("learn is never closed by }")
        self._skip(";")
        return words

    # --- values ---------------------------------------------------------------------------------------------------

    def _value(self) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._fail(f"values nested more than {MAX_DEPTH} deep")
        value = self._product()
        while self.next.text in ("+", "-") and self.next.kind == "sign":
            operator = self._take().text
            value = self._arithmetic(operator, value, self._product())
        self.depth -= 1
        return value

    def _product(self) -> Any:
        value = self._operand()
        while self.next.text in ("*", "/", "%") and self.next.kind == "sign":
            operator = self._take().text
            value = self._arithmetic(operator, value, self._operand())
        return value

    def _operand(self) -> Any:
        signs = 1
        while self.next.text in ("+", "-") and self.next.kind == "sign":
            signs = -signs if self._take().text == "-" else signs
        token = self._take()
        if token.kind == "number":
            return signs * number(token)
        if signs < 0:
            self.at -= 1
            return self._arithmetic("*", -1, self._operand())
        if token.kind == "string":
            return token.text[1:-1]
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            value = self._value()
            self._take(")")
            return value
        if token.text == "[":
            return self._list()
        if token.text == "{":
            return self._object()
        self._fail(f"a value expected, found {token.text!r:.40}", token.line)

    def _list(self) -> list[Any]:
        items = []
        while not self._skip("]"):
            items.append(self._value())
            if not self._skip(",") and self.next.text != "]":
                self._fail(f"',' or ']' expected in a list, found {self.next.text!r:.40}")
        return items

    def _object(self) -> dict[str, Any]:
        record: dict[str, Any] = {}
        while not self._skip("}"):
            key = self._take()
            name = key.text[1:-1] if key.kind == "string" else key.text
            record[name] = self._value() if self._skip(":") else self._named(key)
            if not self._skip(",") and self.next.text != "}":
                self._fail(f"',' or '}}' expected in an object, found {self.next.text!r:.40}")
        return record

    def _named(self, token: JSToken) -> Any:
        constants = {"true": True, "false": False, "null": None, "undefined": None, "Infinity": math.inf}
        if token.text in constants:
            return constants[token.text]
        path = [token.text]
        while self._skip("."):
            path.append(self._take().text)
        if path[0] == "Math" and len(path) == 2 and self._skip("("):
            return self._maths(path[1], token.line)
        if self.next.text == "(":
            self._fail(f"{'.'.join(path)}(...) is called, which a setting's value must not need", token.line)
        value: Any = self.names
        for key in path:
            if key == "length" and isinstance(value, list):
                value = len(value)
            elif isinstance(value, dict) and key in value:
                value = value[key]
            else:
                self._fail(f"{'.'.join(path)} is not defined above; write its value", token.line)
        return value

    def _maths(self, name: str, line: int) -> Any:
        functions = {"floor": math.floor, "ceil": math.ceil, "round": lambda x: math.floor(x + 0.5), "abs": abs}
        given = []
        while not self._skip(")"):
            given.append(self._value())
            self._skip(",")
        if name in ("min", "max") and given and all(map(is_number, given)):
            return (min if name == "min" else max)(given)
        if name == "pow" and len(given) == 2 and all(is_number(x) and abs(x) <= 1000 for x in given):
            return self._arithmetic("*", float(given[0]) ** min(given[1], 64), 1)
        if name not in functions or len(given) != 1 or not is_number(given[0]) or not math.isfinite(given[0]):
            self._fail(f"Math.{name} of {given!r:.40} is not supported; write its value", line)
        return functions[name](given[0])

    def _arithmetic(self, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return left + right
        if not is_number(left) or not is_number(right):
            self._fail(f"{left!r:.40} {operator} {right!r:.40} is not a sum of numbers")
        if operator in "/%" and right == 0:
            self._fail(f"{left} {operator} 0")
        value = {"+": left + right, "-": left - right, "*": left * right}.get(operator)
        if value is None:
            value = left / right if operator == "/" else math.fmod(left, right)
        if abs(value) > 1e300:
            self._fail(f"{left} {operator} {right} is too large")
        return int(value) if float(value).is_integer() and abs(value) < 2**53 else value


def number(token: JSToken) -> int | float:
    """The value of a number token: an int where it is integral."""
    if token.text[:2] in ("0x", "0X"):
        return int(token.text, 16)
    value = float(token.text)
    if not math.isfinite(value):
        raise ConvNetJSError(token.line, f"the number {token.text[:40]} is too large")
    return int(value) if value.is_integer() and value < 2**53 else value


def is_number(value: Any) -> bool:
    """Whether a value is a number (true and false are none here)."""
    return isinstance(value, int | float) and not isinstance(value, bool)
