"""Conditions of a step: which strings are taken for files."""

import ast
from pathlib import Path

import pytest

from kitaru_nb.analysis.outline import Outline, outline_of
from kitaru_nb.engine.conditions import named_files
from kitaru_nb.engine.observe import ABSENT


def _outline(source: str) -> Outline:
    return outline_of(ast.parse(source))


LONG = "y" * 1000  # shorter than a path may be, longer than one name in a folder may be


@pytest.mark.parametrize("text", [LONG, f"{LONG}/a.txt", "\ud800"])
def test_a_string_that_cannot_be_a_path_names_no_file(text: str, tmp_path: Path) -> None:
    found = named_files(_outline("n = len(s)"), [text], ignored=[tmp_path])

    assert found == {}


def test_a_long_string_in_code_that_asks_for_files_is_one_that_is_not_there(tmp_path: Path) -> None:
    found = named_files(_outline("there = os.path.exists(s)"), [LONG], ignored=[tmp_path])

    assert set(found.values()) <= {ABSENT}


def test_a_string_that_names_a_file_counts_with_its_content(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("1", "utf-8")

    found = named_files(_outline("read(s)"), [str(file)], ignored=[tmp_path / "home"])

    assert list(found) == [str(file)]
