"""What of a magic's words is a variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru_nb.notebook.variables import filled, filled_words

NAMES = {"first": "ex_1", "n": 3, "where": Path("/a b"), "text": "two words", "run": object(), "ß": "sz"}


@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("{first}/approval", "ex_1/approval"),
        ("$first", "ex_1"),
        ("a{n}b{n}", "a3b3"),
        ("{where}", "/a b"),
        ("{ß}", "sz"),
        ("{run}", "{run}"),
        ("{nobody}$nobody", "{nobody}$nobody"),
        ("{first!r}", "{first!r}"),
        ("{first.upper()}", "{first.upper()}"),
        ("{n + 1}", "{n + 1}"),
        ('{"n": 1}', '{"n": 1}'),
        ("{}$", "{}$"),
    ],
)
def test_plain_names_are_filled_in_and_nothing_else(word: str, becomes: str) -> None:
    assert filled(word, NAMES) == becomes


def test_a_value_is_not_filled_in_again_and_makes_no_more_words() -> None:
    assert filled_words(["{text}", "{a}"], {**NAMES, "a": "{n}"}) == ["two words", "{n}"]
