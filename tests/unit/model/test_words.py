"""Lengths of time in words."""

from __future__ import annotations

import pytest

from kitaru_nb.model.words import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.0004, "0 ms"),
        (0.042, "42 ms"),
        (0.0999, "0.1 s"),
        (0.84, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (90000, "1 d 01 h"),
    ],
)
def test_a_duration_is_short_and_never_says_60_seconds(seconds: float, words: str) -> None:
    assert duration(seconds) == words
