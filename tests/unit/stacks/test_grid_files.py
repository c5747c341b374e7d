from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import UsageError
from kitaru_nb.stacks.grid_files import axis_typed, file_read, value_read


def read(folder: Path, name: str, text: str) -> tuple[dict[str, Any], list[Any]]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return file_read(str(path))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.5", 1.5),
        ("1e-3", 0.001),
        ("True", True),
        ("None", None),
        ("a b", "a b"),
        ("true", "true"),
    ],
)
def test_a_value_is_read_as_papermill_reads_it(text: str, value: Any) -> None:
    assert value_read(text) == value
    assert type(value_read(text)) is type(value)


def test_an_axis_is_a_name_and_its_values() -> None:
    assert axis_typed("alpha=0.1, 0.2") == ("alpha", ["0.1", "0.2"])
    assert axis_typed("url=http://a/?x=1") == ("url", ["http://a/?x=1"])


@pytest.mark.parametrize("typed", ["alpha", "alpha=", "=1", "alpha=1,,2", "alpha=1,"])
def test_an_axis_without_a_name_or_a_value_is_refused(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        axis_typed(typed)

    assert caught.value.kind == "bad-grid"


# An ordinary file of parameters stays one, whatever lists it holds.
@pytest.mark.parametrize(
    "text",
    [
        "alpha: [1, 2]",
        "grid: [1, 2]",
        "grid: 5",
        "grid: {alpha: [1, 2]}\nseed: 1",
        "alpha: {grid: {a: [1]}}",
        "points: [{a: 1}, {a: 2}]",
    ],
)
def test_a_mapping_of_parameters_is_no_grid(tmp_path: Path, text: str) -> None:
    values, factors = read(tmp_path, "p.yaml", text)

    assert values
    assert factors == []


def test_a_mapping_with_the_one_key_grid_holds_axes(tmp_path: Path) -> None:
    assert read(tmp_path, "g.yaml", "grid:\n  a: [1, 2]\n  b: [[1, 2], x]\n") == (
        {},
        [[{"a": 1}, {"a": 2}], [{"b": [1, 2]}, {"b": "x"}]],
    )


def test_a_list_of_mappings_and_a_csv_file_hold_points(tmp_path: Path) -> None:
    points = [{"a": 1, "b": "x"}, {"a": 2.5, "b": "y, z"}]

    assert read(tmp_path, "g.yaml", "- {a: 1, b: x}\n- {a: 2.5, b: 'y, z'}\n") == ({}, [points])
    assert read(tmp_path, "g.CSV", '\ufeffa,b\n1,x\n\n2.5,"y, z"\n') == ({}, [points])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.csv", ""),
        ("g.csv", "a,b\n"),
        ("g.csv", "a,b\n1\n"),
        ("g.csv", "a,a\n1,2\n"),
        ("g.csv", 'a\n"1\n'),
        ("g.yaml", "grid: {a: 1}"),
        ("g.yaml", "grid: {a: []}"),
        ("g.yaml", "grid: {}"),
        ("g.yaml", "- {}"),
    ],
)
def test_a_grid_file_without_points_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, name, text)

    assert caught.value.kind == "bad-grid"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("no.csv", "no.yaml"):
        with pytest.raises(UsageError) as caught:
            file_read(str(tmp_path / name))
        assert caught.value.kind == "bad-parameter-file"
        assert name in caught.value.message
