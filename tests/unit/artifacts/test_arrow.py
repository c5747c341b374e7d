"""Arrow data counts by what it shows, not by how it lies in memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from kitaru_nb.artifacts.digest import digest_values, opaque_in, walk_digest
from kitaru_nb.model.artifact import Digest

ARRAYS: dict[str, Callable[[], Any]] = {
    "numbers": lambda: pa.array([1, 2, None]),
    "text": lambda: pa.array(["a", None, "ccc"]),
    "nested": lambda: pa.array([{"a": [1, 2]}, None]),
    "dictionary": lambda: pa.array(["a", "b", "a"]).dictionary_encode(),
    "chunks": lambda: pa.chunked_array([["a"], ["b", None]]),
    "table": lambda: pa.table({"n": [1, 2], "s": ["a", "b"]}, metadata={"k": "v"}),
    "batch": lambda: pa.record_batch({"n": [1, 2]}),
    "buffer": lambda: pa.py_buffer(b"abc"),
    "pandas text": lambda: pd.DataFrame({"s": ["a", None]}, index=["x", "y"]),
    "pandas arrow": lambda: pd.DataFrame({"s": pd.array([1, None], dtype="int64[pyarrow]")}),
}


def digest(value: object) -> Digest:
    return digest_values({"v": value}, namespace={})


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
def test_arrow_data_made_twice_or_pickled_is_the_same(make: Callable[[], Any]) -> None:
    value = make()

    again = pickle.loads(pickle.dumps(value))

    assert digest(value) == digest(make()) == digest(again)
    assert walk_digest({"v": value}, namespace={}) == walk_digest({"v": again}, namespace={})
    assert not opaque_in(digest(value))


def test_a_slice_is_what_it_shows() -> None:
    whole = pa.array(["a", "b", None, "d"])

    assert digest(whole[1:]) == digest(pa.array(["b", None, "d"]))


def test_counting_the_nulls_changes_nothing() -> None:
    values = pa.array([1, None, 3])[1:]
    before = digest(values)

    assert values.null_count == 1

    assert digest(values) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1, 2]), pa.array([1, 3])),
        (pa.array([1, 2]), pa.array([1, 2], pa.int32())),
        (pa.array([1, None]), pa.array([1, 0])),
        (pa.array(["a"]), pa.array(["a"], pa.large_string())),
        (pa.chunked_array([[1], [2]]), pa.chunked_array([[1, 2]])),
        (pa.chunked_array([[1], []]), pa.chunked_array([[1]])),
        (pa.table({"a": pa.chunked_array([[1], []])}), pa.table({"a": [1]})),
        (pa.table({"a": [1]}), pa.table({"b": [1]})),
        (pa.table({"a": [1]}), pa.table({"a": [1]}, metadata={"k": "v"})),
        (pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "c"]).dictionary_encode()),
        (pa.py_buffer(b"a"), pa.py_buffer(b"b")),
    ],
)
def test_what_differs_has_another_digest(one: Any, other: Any) -> None:
    assert digest(one) != digest(other)
