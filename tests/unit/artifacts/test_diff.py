"""How two values differ, told so that a person sees it: of each kind, and never wrong about what is equal."""

from __future__ import annotations

import dataclasses
import enum
import io
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import xarray as xr
from PIL import Image

from kitaru_nb.artifacts.diff import diff_values

NOTHING = ("no difference that can be told",)


def changed(array: Any, *place: int, to: Any) -> Any:
    other = array.copy()
    other[place] = to
    return other


def test_text_is_told_line_by_line() -> None:
    found = diff_values("one\ntwo\nthree\n", "one\n2\nthree\n")

    assert found.kind == "text"
    assert [line for line in found.lines if line[0] in "-+"] == ["-two", "+2"]


def test_data_is_told_by_its_place() -> None:
    before = {"model": {"layers": [64, 32], "name": "a"}, "gone": 1}
    after = {"model": {"layers": [64, 16, 8], "name": "a"}, "new": None}

    found = diff_values(before, after)

    assert found.kind == "data"
    assert found.lines == (
        "- model.layers[1]: 32",
        "+ model.layers[1]: 16",
        "+ model.layers[2]: 8",
        "- gone: 1",
        "+ new: None",
    )


def test_an_array_is_told_by_its_statistics_and_where_it_begins_to_differ() -> None:
    array = np.arange(10_000.0).reshape(100, 100)

    found = diff_values(array, changed(array, 50, 7, to=1.0))

    assert found.kind == "array"
    assert found.lines == (
        "- min 0, mean 4999.5, max 9999, std 2886.75",
        "+ min 0, mean 4999, max 9999, std 2887.18",
        "1 of 10,000 elements differ, by 5006 at most",
        "the first at [50, 7]: 5007.0 became 1.0",
    )


def test_arrays_of_another_shape_are_told_by_it() -> None:
    found = diff_values(np.zeros((2, 3), "f4"), np.ones(4))

    assert found.lines[:2] == ("- float32 (2, 3)", "+ float64 (4,)")


@pytest.mark.parametrize(
    ("array", "to", "told"),
    [
        (np.array(["a", "b"]), "c", "b became c"),
        (np.array(["2020-01-01", "NaT"], "M8[D]"), "2020-01-02", "NaT became 2020-01-02"),
        (np.array([None, {"a": 1}], object), "text", "{'a': 1} became text"),
        (np.array([True, False]), True, "False became True"),
        (np.array([1j, 2j]), 3j, "2j became 3j"),
        (np.ma.masked_array([1, 2], [True, True]), 3, "-- became 3"),
    ],
    ids=["text", "time", "objects", "truth", "complex", "masked"],
)
def test_elements_of_any_type_are_compared(array: Any, to: Any, told: str) -> None:
    found = diff_values(array, changed(array, 1, to=to))

    assert "1 of 2 elements differ" in found.lines[-2]
    assert found.lines[-1].endswith(told)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_equal_to_themselves_and_spoil_no_statistics(odd: float) -> None:
    array = changed(np.arange(10.0), 3, to=odd)

    found = diff_values(array, changed(array, 7, to=1.0))

    assert "1 of 10 elements differ, by 6 at most" in found.lines
    assert found.lines[0] == "- min 0, mean 4.66667, max 9, std 2.98142, 1 not finite"
    assert diff_values(array, array.copy()).lines == NOTHING


def test_fields_of_records_are_told_one_by_one() -> None:
    records = np.array([(1, 2.0), (3, 4.0)], [("n", "i4"), ("x", "f8")])
    other = records.copy()
    other["x"][1] = 5.0

    lines = diff_values(records, other).lines

    assert lines[-1] == "x: the first at [1]: 4.0 became 5.0"
    assert all(line.removeprefix("- ").removeprefix("+ ").startswith("x: ") for line in lines)


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: {"w": array},
        lambda array: [array],
        lambda array: {"deep": {"er": (array,)}},
        scipy.sparse.csr_matrix,
        lambda array: xr.Dataset({"a": ("x", array)}, {"x": np.arange(len(array))}, {"by": "us"}),
        xr.DataArray,
    ],
    ids=["dict", "list", "deep", "sparse", "dataset", "data-array"],
)
def test_one_element_in_the_middle_of_a_large_array_is_told_wherever_the_array_is(hold: Any) -> None:
    array = np.arange(1, 10_001.0)
    other = changed(array, 5000, to=-1.0)

    found = diff_values(hold(array), hold(other))

    assert any("1 of 10,000 elements differ" in line for line in found.lines)
    assert diff_values(hold(array), hold(array.copy())).lines == NOTHING


FRAME: dict[str, list[Any]] = {"n": [1, 2, 3], "x": [0.5, None, 1.5], "t": ["a", "b", None]}
OTHER: dict[str, list[Any]] = {"n": [1, 2, 5], "x": [0.5, None, 2.5], "t": ["a", None, None]}


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_table_is_told_by_its_columns(library: Any) -> None:
    found = diff_values(library(FRAME), library(OTHER))

    assert found.kind == "frame"
    assert found.lines == (
        "column n: 1 of 3 values differ, mean 2 became 2.66667",
        "column x: 1 of 3 values differ, mean 1 became 1.5",
        "column t: 1 of 3 values differ",
    )
    assert diff_values(library(FRAME), library(FRAME)).lines == NOTHING


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_rows_columns_and_types_of_a_table_that_differ_are_told(library: Any) -> None:
    found = diff_values(library({"n": [1, 2], "old": [1, 2]}), library({"n": ["1"], "new": [2.0]}))

    assert found.lines[:2] == ("- 2 rows, 2 columns", "+ 1 rows, 2 columns")
    assert found.lines[2].startswith("- column n: ")
    assert found.lines[3].startswith("+ column n: ")
    assert found.lines[4] == "- column old"
    assert found.lines[5].startswith("+ column new (")


def test_columns_of_one_name_and_labels_of_rows_are_told_apart() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])

    twice = diff_values(frame, pd.DataFrame([[1, 3]], columns=["a", "a"]))
    moved = diff_values(frame, frame.set_axis([7]))

    assert twice.lines == ("column a#2: 1 of 1 values differ, mean 2 became 3",)
    assert moved.lines == ("the labels of the rows differ",)


def test_lists_in_a_table_of_arrow_are_compared() -> None:
    found = diff_values(pa.table({"a": [[1], [2]]}), pa.table({"a": [[1], [3]]}))

    assert found.lines == ("column a: 1 of 2 values differ",)


def test_pictures_are_there_to_be_looked_at() -> None:
    red, blue = Image.new("RGB", (3, 2), "red"), Image.new("RGB", (4, 2), "blue")
    stored = io.BytesIO()
    red.save(stored, format="PNG")

    found = diff_values(red, blue)

    assert found.kind == "picture"
    assert found.lines == ("- 3 x 2 RGB", "+ 4 x 2 RGB")
    assert found.pictures is not None
    with Image.open(io.BytesIO(found.pictures[1])) as shown:
        assert shown.getpixel((0, 0)) == (0, 0, 255)
    assert diff_values(stored.getvalue(), blue).kind == "picture"


class Estimator:
    """As a fitted one of scikit-learn looks."""

    def __init__(self, alpha: float, coef: Any) -> None:
        self.alpha, self.coef_ = alpha, coef

    def get_params(self, *, deep: bool) -> dict[str, Any]:
        assert not deep
        return {"alpha": self.alpha}


def test_a_models_parameters_are_told_one_by_one() -> None:
    weights = np.array([3.0, 4.0, np.nan])

    found = diff_values(Estimator(0.1, np.zeros(2)), Estimator(0.5, np.array([3.0, 4.0])))
    same = diff_values(Estimator(0.1, weights), Estimator(0.1, weights.copy()))

    assert found.kind == "parameters"
    assert found.lines == (
        "coef_ (2,): norm 0 became 5, 2 of 2 elements differ, by 4 at most",
        "- (alpha): 0.1",
        "+ (alpha): 0.5",
    )
    assert same.lines == NOTHING


class Trap:
    """Raises whatever is done with it."""

    def state_dict(self) -> Any:
        raise RuntimeError("not today")

    def __repr__(self) -> str:
        raise RuntimeError("nor this")


def test_a_value_that_cannot_be_looked_at_spoils_nothing() -> None:
    found = diff_values(Trap(), Trap())

    assert found.kind == "value"
    assert found.lines[0] == "- a tests.unit.artifacts.test_diff.Trap that cannot be shown: RuntimeError"
    assert found.lines[-1] == "looking closer raises RuntimeError: not today"


class Point:
    def __init__(self, x: Any, next_: Any = None) -> None:
        self.x, self.next = x, next_


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x


def test_instances_are_told_by_their_class_and_attributes() -> None:
    assert diff_values(Point(1), Point(2)).lines == ("- Point.x: 1", "+ Point.x: 2")
    assert diff_values(Slotted(1), Slotted(2)).lines == ("- Slotted.x: 1", "+ Slotted.x: 2")
    assert diff_values(Point(1), 7).lines == ("- Point(x=1, next=None)", "+ 7")
    assert diff_values([Point(1)], [Slotted(1)]).lines == (
        "- [0]: Point(x=1, next=None)",
        "+ [0]: Slotted(x=1)",
    )
    assert diff_values({"p": [Point(Point(1))]}, {"p": [Point(Point(2))]}).lines == (
        "- p[0].x.x: 1",
        "+ p[0].x.x: 2",
    )


def test_a_class_that_came_back_from_each_execution_by_itself_is_one_class() -> None:
    def defined() -> Any:
        @dataclasses.dataclass
        class Item:
            n: int

        class Colour(enum.Enum):
            RED = 1
            BLUE = 2

        return Item, Colour

    (item, colour), (other, others) = defined(), defined()

    assert diff_values([item(1), colour.RED], [other(1), others.RED]).lines == NOTHING
    assert diff_values([item(1)], [other(2)]).lines == ("- [0].n: 1", "+ [0].n: 2")
    assert diff_values(colour.RED, others.BLUE).lines == ("- <Colour.RED: 1>", "+ <Colour.BLUE: 2>")


def test_objects_that_lead_to_themselves_come_to_an_end() -> None:
    one, other = Point(1), Point(2)
    one.next, other.next = one, other

    assert diff_values(one, other).lines == ("- Point.x: 1", "+ Point.x: 2")


def test_no_line_says_where_something_is_in_memory() -> None:
    def made(x: int) -> Any:
        return lambda: x

    for before, after in ((made(1), made(2)), ([made(1)], [made(2)]), (Point(made(1)), Point(object()))):
        assert " at 0x" not in "".join(diff_values(before, after).lines)
    assert len(diff_values(made(1), made(2)).lines) == 1


def test_what_is_missing_in_both_is_no_difference() -> None:
    one, other = ({"v": v, "loss": float("nan"), "at": [complex("nan")]} for v in (1, 2))

    assert diff_values(one, other).lines == ("- v: 1", "+ v: 2")
    assert diff_values(float("nan"), 1.0).lines == ("- nan", "+ 1.0")


def figure(*points: float, width: float = 2) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    made = Figure(figsize=(width, 1), dpi=100)
    made.subplots().plot(points)
    return made


def test_figures_are_told_by_what_they_look_like() -> None:
    before, after = figure(1, 2), figure(2, 1)

    found = diff_values(before, after)
    alike = diff_values(before, figure(1, 2))

    assert (found.kind, found.lines) == ("figure", ("the figure looks different, 200 x 100",))
    assert found.pictures is not None
    with Image.open(io.BytesIO(found.pictures[1])) as shown:
        assert shown.size == (200, 100)
    assert not found.looks_same
    assert alike.looks_same
    assert alike.lines == ("the figure looks the same in both",)
    assert diff_values(before, figure(1, 2, width=3)).lines == (
        "the figure looks different, 200 x 100 became 300 x 100",
    )
    assert diff_values({"f": before, "g": before}, {"f": after, "g": figure(1, 2)}).lines == (
        "f: the figure looks different, 200 x 100",
    )


def test_a_long_difference_is_cut_and_says_so() -> None:
    found = diff_values(list(range(500)), list(range(1, 501)))

    assert len(found.lines) == 41
    assert found.lines[-1] == "… and 960 lines more"


class Tensor:
    """As one of torch's of a type that numpy does not have."""

    __module__ = "torch"

    def __init__(self, *elements: float, dense: bool = False, wide: bool = False) -> None:
        self.elements, self.shape = elements, (len(elements),)
        self.layout, self.wide = "strided" if dense else "sparse", wide

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def to_dense(self) -> Tensor:
        return Tensor(*self.elements, dense=True)

    def float(self) -> Tensor:
        return Tensor(*self.elements, dense=True, wide=True)

    def numpy(self) -> Any:
        if not self.wide:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.array(self.elements, "f4")


def test_tensors_are_compared_by_their_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(strided="strided"))

    alone = diff_values(Tensor(1.0, 2.0), Tensor(1.0, 4.0))
    named = diff_values({"layer.weight": Tensor(0.0)}, {"layer.weight": Tensor(2.0)})

    assert alone.kind == "array"
    assert "1 of 2 elements differ, by 2 at most" in alone.lines
    assert named.kind == "parameters"
    assert named.lines == ("layer.weight (1,): norm 0 became 2, 1 of 1 elements differ, by 2 at most",)
