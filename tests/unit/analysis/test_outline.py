"""What a cell's code holds, and which attributes it sets: what is looked at before and after it."""

from __future__ import annotations

import ast

import pytest

from kitaru_nb.analysis.outline import BY_MODULE, outline_of

ACCESSOR = (BY_MODULE, "pandas", "DataFrame", "x")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("json.indent = 2", {("json", "indent")}),
        ("a.b.c = 1", {("a", "b", "c")}),
        ("a.b += 1", {("a", "b")}),
        ("del a.b", {("a", "b")}),
        ("a.b: int = 3", {("a", "b")}),
        ("a.x, (b.y, *c.z) = 1, (2, 3)", {("a", "x"), ("b", "y"), ("c", "z")}),
        ("for a.b in []: pass", {("a", "b")}),
        ("with open('f') as a.b: pass", {("a", "b")}),
        ("def f():\n    a.b = 1", {("a", "b")}),
        ("setattr(a.b, 'c', 1)", {("a", "b", "c")}),
        ("delattr(a, 'c')", {("a", "c")}),
        ("setattr(a, name, 1)", set()),
        ("patch(a.b, 'c', 1)", {("a", "b", "c")}),
        ("getattr(a, 'c')", set()),
        ("patch(a, 'not a name')", set()),
        ("mock.patch('json.dumps', 'P')", {(BY_MODULE, "json", "dumps")}),
        ("mock.patch('json.dumps', f).start()", {(BY_MODULE, "json", "dumps")}),
        ("@pd.api.extensions.register_dataframe_accessor('x')\nclass A: pass", {ACCESSOR}),
        ("x = a.b", set()),
        ("a.b.c()", set()),
        ("f().x = 1", set()),
        ("a[0].x = 1", set()),
        ("setattr(f(), 'c', 1)", set()),
    ],
)
def test_the_dotted_names_that_a_cell_sets(source: str, found: set[tuple[str, ...]]) -> None:
    assert outline_of(ast.parse(source)).targets == found


def test_constants_and_words_wherever_they_stand() -> None:
    head = "@deco(1)\ndef f(a, *, b='two', **c: 'three'):\n"
    source = head + "    return {**a.x, 'k': [y for y in (3.5, None)]}, f'{z:>4}'"

    found = outline_of(ast.parse(source))

    assert sorted(map(repr, found.constants)) == sorted(map(repr, [1, "two", "three", "k", 3.5, None, ">4"]))
    assert found.words == {"deco", "a", "x", "y", "z"}


def test_a_constant_is_listed_as_often_as_it_stands_there() -> None:
    assert outline_of(ast.parse("x = 'a' + 'a'")).constants == ("a", "a")
