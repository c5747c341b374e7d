"""polars frames are stored buffer by buffer and come back as they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.pickle_codec import PickleCodec

COUNT = 20_000


def every_type() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "int": pl.Series([1, None] * (COUNT // 2), dtype=pl.Int16),
            "float": [1.5, float("nan")] * (COUNT // 2),
            "text": ["short", "a text that is too long to be held inline"] * (COUNT // 2),
            "none": [None, "x"] * (COUNT // 2),
            "bool": [True, None] * (COUNT // 2),
            "date": [dt.date(2020, 1, 1), None] * (COUNT // 2),
            "time": [dt.datetime(2020, 1, 1, 1, tzinfo=dt.UTC), None] * (COUNT // 2),
            "length": [dt.timedelta(1), None] * (COUNT // 2),
            "bytes": [b"a", None] * (COUNT // 2),
            "list": [[1, 2], None] * (COUNT // 2),
            "struct": [{"a": 1}, None] * (COUNT // 2),
            "category": pl.Series(["a", "b"] * (COUNT // 2), dtype=pl.Categorical),
            "enum": pl.Series(["a", "b"] * (COUNT // 2), dtype=pl.Enum(["b", "a"])),
            "decimal": pl.Series([1, 2] * (COUNT // 2), dtype=pl.Decimal(10, 2)),
        }
    )


VALUES: dict[str, Callable[[], Any]] = {
    "every type": every_type,
    "slice": lambda: every_type().slice(7, 15_000),
    "chunks": lambda: pl.concat([every_type(), every_type()], rechunk=False),
    "series": lambda: pl.Series("x", np.arange(COUNT)),
    "small": lambda: pl.DataFrame({"a": [1, None]}),
}


def there_and_back(value: object) -> tuple[Any, int, int]:
    """The value decoded again, and how many bytes of it were in the stream and beside it."""
    encoded = PickleCodec().encode({"v": value}, namespace={})
    buffers = [memoryview(bytes(buffer)) for buffer in encoded.buffers]
    again = PickleCodec().decode(encoded.meta, buffers.__getitem__, namespace={})["v"]
    return again, buffers[0].nbytes, sum(buffer.nbytes for buffer in buffers[1:])


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_it_comes_back_as_it_was(make: Callable[[], Any]) -> None:
    value = make()

    again, _, _ = there_and_back(value)

    assert type(again) is type(value)
    assert again.equals(value)
    assert again.dtype == value.dtype if isinstance(value, pl.Series) else again.schema == value.schema
    assert again.n_chunks() == value.n_chunks()
    assert digest_values({"v": again}, namespace={}) == digest_values({"v": value}, namespace={})


def test_the_data_is_beside_the_stream() -> None:
    _, inside, beside = there_and_back(
        pl.DataFrame({"x": np.arange(COUNT), "s": ["a text of 30 letters, in a view"] * COUNT})
    )

    assert inside < beside / 4


def test_a_changed_cell_is_another_value() -> None:
    one, other = every_type(), every_type()
    other[3, "int"] = 9

    assert digest_values({"v": one}, namespace={}) != digest_values({"v": other}, namespace={})
