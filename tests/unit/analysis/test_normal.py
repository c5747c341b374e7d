"""The normal form of code."""

from __future__ import annotations

import ast
import itertools

import pytest
from hypothesis import given

from kitaru_nb.analysis.normal import code_digest, ends_quietly, normal_form
from tests.unit.analysis.programs import programs

EVERYTHING = '''
import os, sys as s
from a.b import c as d, e
from . import f
@deco(1)
async def g(a, /, b: int = 1, *c, d, e=2, **f) -> None:
    """Doc."""
    async with x as y, z: await w
    async for i in j: yield i
    else: return
class H(I, metaclass=J):
    k: int
    l: str = "t" 'u'
def m(*, n): nonlocal_ = lambda o=1, *p: (yield)
x = [1, 1.0, 1j, True, None, ..., b"b", "s", 1e999, 10**3, -0.0, 0x_FF, 123456789012345678901234567890]
x[1:2, ::3] += y @ z // 2 ** -w << 1
del x[0], x.y
for q, *r in {**a, 'b': c}: continue
while not (t := u): break
try: pass
except (A, B) as e: raise X from Y
except C: raise
else: assert a, b
finally: global_ = f"{a!r:>{w}}{b:}" f"c{d}" "e" f""
try: pass
except* D: pass
match v:
    case [1, *_] | {"k": None, **rest} if z: pass
    case Point(x=0) as p: pass
    case -1 | "a" | a.b: pass
    case _: pass
with (a as b, c): f"{x=}"
print(*a, **b, c=[i async for i in j if k], d={i: j for i in k}, e={i for i in j}, f=(i for i in j))
a if b < c <= d is not e not in f else (g and h or i)
'''


def form(source: str) -> bytes:
    return normal_form(ast.parse(source))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x=1", "x = 1  # one\n\n"),
        ("x = (1)", "x = 1"),
        ("x = 'a'", 'x = "a"'),
        ("x = 'a' 'b'", "x = 'ab'"),
        ("x = u'a'", "x = 'a'"),
        ("x = 255", "x = 0xFF"),
        ("x = 1_000", "x = 1000"),
        ("if a:\n  b", "if a:\n        b"),
        ("x = 1; y = 2", "x = 1\ny = 2"),
        ("f(a,\n  b,)", "f(a, b)"),
        ("x = f'{a}' 'b' f'c{d}'", "x = f'{a}bc{d}'"),
        ("x = f'{a:}'", "x = f'{a}'"),
        ("x = 1 # type: int", "x = 1"),
        ("x = 1;", "x = 1"),
    ],
)
def test_comments_and_formatting_do_not_count(one: str, other: str) -> None:
    assert form(one) == form(other)


DIFFERENT = [
    "x = 1",
    "x = 1.0",
    "x = True",
    "x = 1j",
    "x = '1'",
    "x = b'1'",
    "x = -1",
    "x = 0.0",
    "x = -0.0",
    "x = 0",
    "x = None",
    "x = ...",
    "x = 1e999",
    "x = 'None'",
    "x = ''",
    "x = b''",
    "x = f''",
    "x = '\\ud800'",
    "x = '\\udfff'",
    "x = (1,)",
    "x = [1]",
    "x = {1}",
    "x = {1: 1}",
    "x = {**a}",
    "y = 1",
    "x += 1",
    "x == 1",
    "x: int = 1",
    "x: int",
    "(x): int",
    "x = y",
    "x = 'y'",
    "x = f'{y}'",
    "x = f'{y!r}'",
    "x = f'{y:1}'",
    "x = f'{y}1'",
    "x = a < b < c",
    "x = a < (b < c)",
    "x = a - (b - c)",
    "x = a - b - c",
    "def f(): pass",
    "def f():\n '''doc'''",
    "def f():\n '''other'''",
    "async def f(): pass",
    "class f: pass",
    "def f(a): pass",
    "def f(*a): pass",
    "def f(**a): pass",
    "def f(a, /): pass",
    "def f(*, a): pass",
    "def f(*, a, b=1): pass",
    "def f(*, a=1, b): pass",
    "def f(a=1): pass",
    "import a",
    "import a as b",
    "from a import b",
    "from .a import b",
    "from ..a import b",
    "from . import b",
    "f(a)",
    "f(*a)",
    "f(a=a)",
    "f(**a)",
    "del x",
    "x",
    "x.y",
    "x[y]",
    "x[y:]",
    "x[:y]",
    "x[::y]",
    "if a: b\nelse: c",
    "if a: b\nc",
    "if a:\n if b: c\nelse: d",
    "for a in b: c",
    "for a in b:\n c\n d",
    "for a in b:\n c\nd",
    "async_ = 1",
    "global x",
    "x = 12345678901234567890" * 1,
    "x = 12345678901234567891",
    "'x'",
    "x = '\u00e9'",
    "x = 'e\u0301'",
    "raise a",
    "raise a from b",
    "raise",
]


def test_code_that_differs_has_another_form() -> None:
    for one, other in itertools.combinations(DIFFERENT, 2):
        assert form(one) != form(other), (one, other)


def test_literals_longer_than_the_limit_of_decimal_text_have_a_form() -> None:
    assert form("x = 0x" + "f" * 9000) != form("x = 0x" + "f" * 9001)


def test_the_form_is_the_same_on_every_python_and_in_every_release() -> None:
    assert (
        code_digest(ast.parse(EVERYTHING))
        == "6a8c78e1e75d7540501a6662a35ea10a3c5871327d7522ce38135873aa82e979"
    )


def test_deep_code_has_a_form() -> None:
    source = "x = " + " + ".join(["1"] * 900)

    assert form(source) != form(source + " + 1")


@given(programs())
def test_unparsed_code_has_the_form_of_its_source(source: str) -> None:
    assert form(ast.unparse(ast.parse(source))) == form(source)


@pytest.mark.parametrize(
    ("source", "quiet"),
    [
        ("x;", True),
        ("x; # why", True),
        ("x;\n\n# end\n", True),
        ("x", False),
        ("x; y", False),
        ("x\n#;", False),
        ("'a;'", False),
        ("x # ;", False),
        ("if a:\n    b;\n", True),
        ("", False),
        ("!ls;", True),
        ("f(\n", False),
    ],
)
def test_a_semicolon_at_the_end_is_seen(source: str, quiet: bool) -> None:
    assert ends_quietly(source) is quiet
