"""Values that the evaluator gives are those of JavaScript (V8's, recorded); all else is unknown, and spoils its use."""

import math
from typing import Any

import pytest

from deeptraffic.policies.convnetjs.evaluate import evaluate
from deeptraffic.policies.convnetjs.parse import ConvNetJSError, parse
from deeptraffic.policies.convnetjs.values import UNDEFINED, Unknown

NAN = math.nan


def x_of(code: str) -> Any:
    """The global x after the code has run."""
    return evaluate(parse(code).root).settings.get("x", UNDEFINED)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("x = 1 + 2 * 3 - 4 / 5 % 2", 6.2),
        ("x = 0.1 + 0.2", 0.30000000000000004),
        ("x = [7 % -3, -7 % 3, 1 / 0, 0 / 0, 2 ** 10]", [1.0, -1.0, math.inf, NAN, 1024.0]),
        ("x = ['3' * '4' + 1, '3' + 4 + 1, 1 + null + true, 1 + undefined]", [13.0, "341", 2.0, NAN]),
        ("x = [Math.floor(-1.5), Math.round(2.5), Math.round(-2.5), Math.trunc(-4.7)]", [-2.0, 3.0, -2.0, -4.0]),
        ("x = [Math.round(0.49999999999999994), Math.max(), Math.min(NaN, 1)]", [0.0, -math.inf, NAN]),
        ("x = [Math.sqrt(2), Math.PI, Math.pow(3, 4), Math.sign(-3)]", [math.sqrt(2), math.pi, 81.0, -1.0]),
        ("x = ['a' < 'b', '10' < 9, null == undefined, null == 0, '1' == 1]", [True, False, True, False, True]),
        ("x = [1 === 1.0, NaN == NaN, '' == 0, true == 1, 'a' == NaN]", [True, False, True, True, False]),
        ("x = [5 & 3, 5 | 3, 5 ^ 3, ~5, 1 << 31, -1 >>> 28, -9 >> 1]", [1, 7, 6, -6, -2147483648, 15, -5]),
        ("x = [3.7 | 0, 4294967297 | 0, NaN | 0]", [3.0, 1.0, 0.0]),
        ("x = [parseInt('42px'), parseInt('x'), parseFloat('3.5e1z'), Number('0x10')]", [42.0, NAN, 35.0, 16.0]),
        (
            "x = [Number(''), Number(' 12 '), Number('1_0'), Number('e5'), parseInt('-7.9')]",
            [0.0, 12.0, NAN, NAN, -7.0],
        ),
        ("x = 0x1F + 0b101 + 0o17 + 1e3 + .5 + 5.", 1056.5),
        ("x = 9007199254740993", 9007199254740992.0),
        ("var a = 1; { let a = 2; a++; } x = a", 1.0),
        ("function f(n) { return n < 2 ? n : f(n - 1) + f(n - 2); } x = f(10)", 55.0),
        (
            "x = (function () { var s = 0; for (var i = 0; i < 9; i++) { if (i == 3) continue; s += i } return s })()",
            33,
        ),
        ("var s = 0, i = 0; while (true) { i++; if (i > 5) break; s += i; } x = s", 15.0),
        ("var i = 0; do { i += 2; } while (i < 7); x = i", 8.0),
        ("x = 0; for (const k of [1, 2, 3]) x += k; for (let k in {a: 1, bc: 2}) x += k.length;", 9.0),
        ("var f = []; for (let i = 0; i < 3; i++) f.push(() => i); x = f.map(g => g())", [0.0, 1.0, 2.0]),
        ("var f = []; for (var i = 0; i < 3; i++) f.push(() => i); x = f.map(g => g())", [3.0, 3.0, 3.0]),
        ("var a = b = 3; x = a + b", 6.0),
        ("var o = {a: 1, 'b': {c: [1]}, 5: 2}; o.b.c.push(4, 5); o.d = o.b.c.length; x = o.d + o[5]", 5.0),
        ("var o = {n: 1, add: function (k) { this.n += k; return this; }}; o.add(2).add(3); x = o.n", 6.0),
        ("const sum = (a, b = 10) => a + b; x = sum(1) + sum(1, 2)", 14.0),
        ("x = [...[1, 2], 3].concat([9], 8)", [1.0, 2.0, 3.0, 9.0, 8.0]),
        ("x = {...{a: 1}, b: 2}", {"a": 1.0, "b": 2.0}),
        ("x = `a${1 + 1}b`.length + 'abc'[1]", "3b"),
        ("x = JSON.parse('{\"a\": [1, 2.5, null, true]}')", {"a": [1.0, 2.5, None, True]}),
        ("x = typeof undefined + typeof 1 + typeof {} + typeof null", "undefinednumberobjectobject"),
        ("var i = 5; x = [i++, ++i, i--, --i, null ?? 5, 0 || 4, 1 && 0, (1, 2)]", [5, 7, 7, 5, 5, 4, 0, 2]),
        ("x = 1; if (x > 2) x = 9; else if (x == 1) { x = 7 } else x = 8", 7.0),
        ("x = 3; function g() { x = 5; } (function () { var x = 4; })(); g();", 5.0),
        ("function h() { q = 3; var q; } var q = 1; h(); x = q", 1.0),
        ("x = [0, -0].map(v => 1 / v)", [math.inf, -math.inf]),
        ("var a = [1, 2]; var b = a; b.push(3); x = a.length", 3.0),
        ("x = [{a: 1}.b, [1][5], void 0]", [UNDEFINED] * 3),
    ],
)
def test_values_are_those_of_javascript(code: str, value: Any) -> None:
    found = x_of(code)
    assert repr(found) == repr(value) or found == value


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x = Math.random()", "Math.random"),
        ("x = Math.exp(1)", "Math.exp"),
        ("x = 1.5 ** 2", "a power of fractions"),
        ("x = [3, 1].sort()", "sort"),
        ("x = document.title.length", "document"),
        ("x = 1;\nif (window) {\nx = 2;\n}", "window"),
        ("x = 1;\nfoo(function () { x = 2; });", "foo"),
        ("x = {a: 1}; foo(x); x = x.a", "foo"),
        ("var o = {a: 1}, p = {o: o}; foo(p); x = o.a", "foo"),
        ("var o = {a: 1}; if (window) { var q = o; q.a = 2; } x = o.a", "window"),
        ("x = 1; function set() { x = 2; } if (window) set();", "window"),
        ("x = 1; window && (x = 2)", "window"),
        ("x = 1; while (window) { x = 2; }", "window"),
        ("x = 1; for (k in window) { x = 2; }", "window"),
        ("function f() { if (window) return 1; return 2; } x = f()", "window"),
        ("x = 0; for (i = 0; i < 3; i++) { if (window) break; x++; }", "window"),
        ("switch (1) { case 1: x = 1; }", "switch statement"),
        ("try { x = 1 } catch (e) { x = 2 }", "try statement"),
        ("function C() { this.x = 3; } new C();", "new C"),
        ("class A { set() { x = 1; } } x = 2; new A().set();", "new A"),
        ("async function f() { x = 1; } x = 2; f();", "async function"),
        ("x = 1; ({x} = {x: 2});", "pattern"),
        ("var {a, x} = {x: 2};", "pattern"),
        ("x = Object.assign({}, {a: 1})", "Object.assign"),
        ("x = 1; Object.assign(this, {x: 2}); var y = {}; Object.assign(y, {x: 1}); x = y.x", "Object.assign"),
        ("x = 10n", "suffix n"),
        ("x = {} + 1", "object"),
        ("x = new Array(-1)", "array of length -1"),
        ("x = 1; a: for (;;) { x = 2; break a; }", "labeled statement"),
        ("x = arguments", "arguments"),
    ],
)
def test_what_is_not_evaluated_makes_unknown_what_it_could_change(code: str, reason: str) -> None:
    found = x_of(code)
    assert isinstance(found, Unknown), found
    assert reason in found.reason


@pytest.mark.parametrize(
    "code",
    [
        "if (window) { y = 2; }",
        "console.log(x, document, {a: x}); alert('x' + 1);",
        "function unused() { x = 2; while (true) {} }",
        "var o = {a: x}; foo(o);",
        "y = document.getElementById('x').value;",
        "if (document) { var c = document.body; if (c) { c.width = x; } }",
        "class Unused { go() { return 1; } }",
    ],
)
def test_code_that_does_not_touch_a_value_leaves_it_known(code: str) -> None:
    assert x_of(f"x = 1; {code}") == 1.0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("x = 1;\nwhile (true) {}", "line 2: the code takes more than 300000 steps"),
        ("var s = 'ab';\nfor (;;) { s += s; }", "line 2: the code takes more than 300000 steps"),
        ("var a = [1];\nfor (;;) { a = a.concat(a); }", "line 2: the code takes more than 300000 steps"),
        ("var a = Array(99999);\nfor (;;) { a.fill(0); }", "line 2: the code takes more than 300000 steps"),
        ("var a = Array(99999);\nfor (;;) { for (k of a) break; }", "line 2: the code takes more than 300000 steps"),
        ("function f() {\nreturn f(); } f();", "nested more than 150 deep"),
        ("x = " + "(" * 200 + "1" + ")" * 200, "line 1: code nested more than 150 deep"),
        ("x =\n1 +;", "line 2: this is not JavaScript from here on"),
        ("x = 1;\nMath = 3", "line 2: Math is replaced"),
        ("x = 1\x00", "line 1: a zero byte"),
        ("\nfunction f() { continue; } f();", "line 2: a break or continue outside of loops"),
        ("\n/*" * 30_000, "line 30001: a comment opened by /\\* is never closed"),
        ("\n" + "/[" * 3000, "line 2: the line has 6000 bytes of code"),
        ("x = 1;\neval('x = 2');", "line 2: eval runs text as code"),
        ("x = 1;\nwindow.eval('x = 2');", "line 2: eval runs text as code"),
        ("x = 1;\nif (window) { (0, eval)('x = 2'); }", "line 2: eval runs text as code"),
        ("x = 1;\ndeepqlearn.Brain.prototype.policy = null", "line 2: deepqlearn is replaced"),
        ("x = 1;\nArray.prototype.push = null", "line 2: Array is replaced"),
        ("var o = {};\no.__proto__.x = 1", "line 2: __proto__ is replaced"),
        ("x = new Function('x = 2')();", "line 1: Function runs text as code"),
        ("x = 1;" * 20_000, "the code without its weights has 120000 bytes"),
    ],
)
def test_time_depth_and_syntax_are_bounded(code: str, reason: str) -> None:
    with pytest.raises(ConvNetJSError, match=reason):
        evaluate(parse(code).root)


def test_long_sums_are_as_deep_as_one() -> None:
    assert x_of("x = " + "+\n".join(["1"] * 5000)) == 5000.0
