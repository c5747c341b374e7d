"""Patterns of listings: what they match, how they are kept, how they are told."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kitaru_nb.engine.listing import ALL, listed_by, names_in, told


def selecting(match: Any) -> Any:
    """The frame in which `Path.glob` lists a folder since Python 3.13, as far as it is looked at."""
    code = SimpleNamespace(co_filename="/usr/lib/python3.13/glob.py", co_name="select_wildcard")
    return SimpleNamespace(f_code=code, f_locals={"match": match}, f_back=None)


def test_a_compiled_pattern_counts_what_it_matches(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv", "notes.txt", ".DS_Store"):
        (tmp_path / name).touch()

    pattern = listed_by(selecting(re.compile(r"(?s:[^/]*\.csv)\Z").match))

    assert names_in(str(tmp_path), pattern) == {"a.csv", "b.csv"}
    assert told(str(tmp_path), pattern) == str(tmp_path)
    assert told(str(tmp_path), "*.csv") == str(tmp_path / "*.csv")


@pytest.mark.parametrize(
    "match", [None, re.compile("A", re.IGNORECASE).match, re.compile("a|b").match, re.compile(b"a").match]
)
def test_of_any_other_every_name_counts(match: Any) -> None:
    assert listed_by(selecting(match)) == ALL
