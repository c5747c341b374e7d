"""Which attributes a cell sets: what is looked at before and after it."""

from __future__ import annotations

import ast

import pytest

from kitaru_nb.analysis.attributes import attribute_targets


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
        ("other(a, 'c')", set()),
        ("x = a.b", set()),
        ("a.b.c()", set()),
        ("f().x = 1", set()),
        ("a[0].x = 1", set()),
        ("setattr(f(), 'c', 1)", set()),
    ],
)
def test_the_dotted_names_that_a_cell_sets(source: str, found: set[tuple[str, ...]]) -> None:
    assert attribute_targets(ast.parse(source)) == found
