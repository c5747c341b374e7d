"""What line of a cell changed."""

from __future__ import annotations

import pytest

from kitaru_nb.analysis.diff import first_difference


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("x = 1", "x  =  1 # one", None),
        ("%%checkpoint a\nx = 1", "# hi\n%%checkpoint a --fresh\n\nx = 1", None),
        ("x = 'a'\ny = 1", 'x = "a"\ny = (1)', None),
        ("x = 1\ny = 2", "x = 1\ny = 3", "line 2: `y = 2` became `y = 3`"),
        ("x = 'a'\ny = 2", '# hi\nx = "a"\n\ny  = 3 # three', "line 4: `y = 2` became `y = 3`"),
        ("x = 1", "x = 1\ny = 2", "line 2 is new: `y = 2`"),
        ("x = 1\ny = 2", "y = 2", "line 1 is gone: `x = 1`"),
        ("f(\n  1,\n  2)", "f(\n  1,  # one\n  3)", "line 1: `f( 1, 2)` became `f( 1, 3)`"),
        ("if a:\n    b\nc", "if a:\n    b\n    c", "line 3: `c` became `c`"),
        ("!ls\nx = 1", "!ls\nx = 2", "line 2: `x = 1` became `x = 2`"),
        ("%time x", "# hi\n%time   y", "line 2: `%time x` became `%time y`"),
        ("x = (", "x = (1", "line 1: `x = (` became `x = (1`"),
        ("", "x = 1", "line 1 is new: `x = 1`"),
        ("x = '#'", "x = '#1'  # 2", "line 1: `x = '#'` became `x = '#1'`"),
    ],
)
def test_the_first_difference_is_told_in_one_line(old: str, new: str, expected: str | None) -> None:
    assert first_difference(old, new) == expected


def test_a_long_line_is_cut() -> None:
    told = first_difference("x = 1", "x = " + "1 + " * 100 + "1")

    assert told is not None
    assert len(told) < 200
