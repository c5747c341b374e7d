"""Plain cells that run again although a restore has put back what they did."""

from __future__ import annotations

import pytest

from tests.unit.engine.kernel import Start


def resumed(start: Start, *plain: str):
    first = start()
    for source in plain:
        first.plain(source)
    first.cell("%%checkpoint fit\ntotal = 1")
    kernel = start()
    kernel.session.resume()
    return kernel.session


@pytest.mark.parametrize("source", ["rows.append(1)", "count += 1", "open('f').close()"])
def test_a_cell_that_does_it_once_more_is_told_once(start: Start, source: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").touch()
    session = resumed(start, "rows, count = [], 0", source)

    first, second = session.warning(f"{source}  # again"), session.warning(source)

    assert first == "this cell ran before `fit`, and what it did is back already: it is done once more"
    assert second is None


@pytest.mark.parametrize("source", ["import os", "limit = 3", "print(limit)", "def f():\n    return 1"])
def test_a_cell_that_repeats_nothing_is_not_told(start: Start, source: str) -> None:
    session = resumed(start, "limit = 3", source)

    assert session.warning(source) is None


def test_a_literal_is_told_where_its_name_was_changed_since(start: Start) -> None:
    session = resumed(start, "rows = []", "rows.append(1)")

    assert session.warning("rows = []") is not None


def test_a_cell_that_is_new_or_edited_or_that_nothing_has_put_back_is_not_told(start: Start) -> None:
    session = resumed(start, "rows = []", "rows.append(1)")
    other = start()
    other.plain("rows = []")

    assert session.warning("rows.append(2)") is None
    assert other.session.warning("rows.append(1)") is None
