"""Kinds of values: how one is made, how it is used, and who keeps such a value but those who keep any.

They are made inside the kernels of `values`, so nothing is imported before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.ways import ARRAYS, ARROW, COLUMNS, DATASET, IMAGE, PANDAS, POLARS, SPARSE, Way

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        title: What it is.
        make: Makes one, of this many rows or items.
        size: How many in the table.
        use: Looks at all of it; a number that is another one if another value came back.
        ways: How else such a value is kept.
    """

    title: str
    make: Callable[[int], Any]
    size: int
    use: Callable[[Any], float]
    ways: Mapping[str, Way] = field(default_factory=dict)


def _random() -> Any:
    import numpy as np

    return np.random.default_rng(5)


def _pandas(rows: int) -> Any:
    import pandas as pd

    rng = _random()
    return pd.DataFrame({f"c{number}": rng.standard_normal(rows) for number in range(10)})


def _use_pandas(frame: Any) -> float:
    import numpy as np

    # as integers, whose sum does not depend on how the columns lie in memory
    columns = (np.ascontiguousarray(frame[f"c{number}"]).view("i8") for number in range(10))
    return float(sum(int(column.sum()) >> 16 for column in columns))


def _pandas_mixed(rows: int) -> Any:
    import numpy as np
    import pandas as pd

    rng = _random()
    return pd.DataFrame(
        {
            "number": np.arange(rows),
            "score": rng.standard_normal(rows),
            "name": [f"name {row % 5000}" for row in range(rows)],
            "class": pd.Categorical.from_codes(rng.integers(0, 5, rows), pd.Index(list("abcde"))),
            "time": pd.date_range("2020", periods=rows, freq="s"),
        }
    )


def _use_pandas_mixed(frame: Any) -> float:
    codes = frame["class"].cat.codes
    return float(
        frame["score"].sum() + frame["name"].str.len().sum() + codes.sum() + frame["time"].dt.second.sum()
    )


def _columns(rows: int) -> dict[str, Any]:
    import numpy as np

    rng = _random()
    columns: dict[str, Any] = {f"c{number}": rng.standard_normal(rows) for number in range(8)}
    return {**columns, "number": np.arange(rows), "name": [f"name {row % 5000}" for row in range(rows)]}


def _polars(rows: int) -> Any:
    import polars as pl

    return pl.DataFrame(_columns(rows))


def _use_polars(frame: Any) -> float:
    return float(sum(frame[f"c{number}"].sum() for number in range(8)) + frame["name"].str.len_bytes().sum())


def _arrow(rows: int) -> Any:
    import pyarrow as pa

    return pa.table(_columns(rows))


def _use_arrow(table: Any) -> float:
    from pyarrow import compute

    letters = compute.sum(compute.binary_length(table["name"])).as_py()
    return float(sum(compute.sum(table[f"c{number}"]).as_py() for number in range(8)) + letters)


def _dicts(count: int) -> Any:
    return {
        f"item {number}": {
            "id": number,
            "name": f"name {number}",
            "score": number / 7,
            "tags": ["a", "b", f"tag {number % 50}"],
            "more": {"size": number % 10, "of": None},
        }
        for number in range(count)
    }


def _use_dicts(items: Any) -> float:
    return float(
        sum(
            item["score"] + len(item["name"]) + len(item["tags"]) + item["more"]["size"]
            for item in items.values()
        )
    )


def _short_texts(count: int) -> Any:
    return [f"row {number}: {number * 7919 % 1_000_003}" for number in range(count)]


def _long_texts(count: int) -> Any:
    letters = _random().integers(97, 123, 2_002_000, dtype="u1").tobytes().decode()
    return [letters[begin : begin + 2000] for begin in (17 * number % 2_000_000 for number in range(count))]


def _use_texts(texts: Any) -> float:
    return float(sum(map(len, texts)))


def _state_dict(width: int) -> Any:
    rng = _random()
    return {f"layer{number}.weight": rng.standard_normal((1250, width), dtype="f4") for number in range(60)}


def _dataset(width: int) -> Any:
    import numpy as np
    import xarray as xr

    rng = _random()
    variables = {name: (("t", "y", "x"), rng.standard_normal((100, 250, width))) for name in "abc"}
    return xr.Dataset(variables, coords={"t": np.arange(100)})


def _image(width: int) -> Any:
    from PIL import Image

    return Image.fromarray(_random().integers(0, 255, (2000, width, 3), dtype="u1"))


def _use_image(image: Any) -> float:
    import numpy as np

    return float(np.asarray(image).sum(dtype="i8"))


def _sparse(count: int) -> Any:
    import numpy as np
    import scipy.sparse

    rng = _random()
    columns = rng.integers(0, 10_000, count).astype("i4")
    rows = np.linspace(0, count, 1001).astype("i4")
    return scipy.sparse.csr_matrix((rng.standard_normal(count), columns, rows), shape=(1000, 10_000))


def _small(count: int) -> Any:
    return {"id": count, "name": "ann", "scores": [1.5, 2.5], "tags": ["a", "b", "c"], "done": True}


KINDS: Mapping[str, Kind] = {
    "pandas": Kind(
        "a pandas frame, 2M rows of 10 floats, 160 MB",
        _pandas,
        2_000_000,
        _use_pandas,
        {**PANDAS, **COLUMNS},
    ),
    "pandas-mixed": Kind(
        "a pandas frame, 1M rows of numbers, texts, classes and times, 40 MB",
        _pandas_mixed,
        1_000_000,
        _use_pandas_mixed,
        PANDAS,
    ),
    "polars": Kind(
        "a polars frame, 2M rows of 9 numbers and a text, 180 MB", _polars, 2_000_000, _use_polars, POLARS
    ),
    "arrow": Kind(
        "an Arrow table, 2M rows of 9 numbers and a text, 170 MB", _arrow, 2_000_000, _use_arrow, ARROW
    ),
    "dicts": Kind("a dict of 100,000 dicts of five things each, 8 MB", _dicts, 100_000, _use_dicts),
    "short-texts": Kind("a list of 1M short texts, 20 MB", _short_texts, 1_000_000, _use_texts),
    "long-texts": Kind("a list of 100,000 texts of 2,000 letters, 200 MB", _long_texts, 100_000, _use_texts),
    "state-dict": Kind(
        "a dict of 60 float32 arrays, 300 MB",
        _state_dict,
        1000,
        lambda arrays: float(sum(array.sum(dtype="f8") for array in arrays.values())),
        ARRAYS,
    ),
    "xarray": Kind(
        "an xarray dataset of three variables, 315 MB",
        _dataset,
        525,
        lambda dataset: float(sum(dataset[name].sum() for name in "abct")),
        DATASET,
    ),
    "sparse": Kind(
        "a scipy sparse matrix of 5M numbers, 60 MB",
        _sparse,
        5_000_000,
        lambda matrix: float(matrix.sum()),
        SPARSE,
    ),
    "image": Kind("a PIL image of 3000 x 2000, 18 MB", _image, 3000, _use_image, IMAGE),
    "small": Kind(
        "a dict of a few numbers and texts", _small, 100, lambda item: item["id"] + len(item["tags"])
    ),
}
