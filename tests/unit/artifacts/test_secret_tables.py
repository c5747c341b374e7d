"""Secrets in tables: in Arrow's buffers, in polars' frames, in columns that are named as secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.artifacts.notes import noting
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.secret_columns import MOST
from kitaru_nb.artifacts.vault import VAULT
from tests.integration.canaries import spellings

KNOWN = "c4n4ry1n3nv1r0nm3nt0001"
TWELVE = "c4n4ry-12345"  # as short as a secret may be: in an Arrow view it is no buffer of its own
NAMED = "c4n4ry-und3r-4-n4m3-0002"
SHAPED = "sk-c4n4ryw1th4sh4p30003"
MANY = 6000  # rows: their text is beside the pickle stream, not in it


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SOME_API_KEY", KNOWN)
    monkeypatch.setenv("SOME_PASSWORD", TWELVE)
    VAULT.forget()
    yield
    VAULT.forget()


def stored(value: Any) -> tuple[dict[str, Any], list[bytes]]:
    done = PickleCodec().encode({"x": value}, namespace={})
    return dict(done.meta), [bytes(buffer) for buffer in done.buffers]


def loaded(meta: dict[str, Any], buffers: list[bytes]) -> Any:
    with noting():
        return PickleCodec().decode(meta, lambda n: memoryview(buffers[n]), namespace={})["x"]


def texts(secret: str, rows: int) -> list[str | None]:
    found: list[str | None] = [f"line {n} of what was written" for n in range(rows)]
    found[rows // 2] = f"see https://host/?k={secret}&x=1"
    found[rows // 3] = None
    found[-1] = secret
    return found


def holder(kind: str, items: list[str | None]) -> Any:
    """A value that holds `items` as Arrow text, in one of many forms."""
    plain = pa.array(items)
    makers: dict[str, Any] = {
        "pandas": lambda: pd.DataFrame({"a": items, "n": range(len(items))}),
        "pandas object": lambda: pd.DataFrame({"a": pd.Series(items, dtype=object)}),
        "pandas categories": lambda: pd.Series(items).astype("category"),
        "pandas arrow": lambda: pd.Series(items, dtype=pd.ArrowDtype(pa.string())),
        "pandas index": lambda: pd.Series(range(len(items)), index=pd.Index(items)),
        "polars": lambda: pl.DataFrame({"a": items, "n": range(len(items))}),
        "polars series": lambda: pl.Series("a", items),
        "polars categories": lambda: pl.Series("a", items, dtype=pl.Categorical),
        "array": lambda: plain,
        "slice": lambda: pa.array(["before", *items])[1:],
        "large": lambda: plain.cast(pa.large_string()),
        "view": lambda: plain.cast(pa.string_view()),
        "binary": lambda: plain.cast(pa.binary()),
        "dictionary": plain.dictionary_encode,
        "table": lambda: pa.table({"a": pa.chunked_array([plain, plain]), "n": range(2 * len(items))}),
        "batch": lambda: pa.record_batch({"a": plain}),
        "list": lambda: pa.array([[item, "x"] for item in items]),
        "struct": lambda: pa.array([{"t": item, "n": 1} for item in items]),
        "map": lambda: pa.array([[(item or "", 1)] for item in items], type=pa.map_(pa.string(), pa.int64())),
        "numpy": lambda: np.array([item or "" for item in items]),
    }
    return makers[kind]()


KINDS = [
    *("pandas", "pandas object", "pandas categories", "pandas arrow", "pandas index"),
    *("polars", "polars series", "polars categories"),
    *("array", "slice", "large", "view", "binary", "dictionary", "table", "batch", "list", "struct", "map"),
    "numpy",
]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool((one == other).all()) and one.dtype == other.dtype
    if isinstance(one, pd.Series | pd.DataFrame):
        return one.equals(other) and repr(one) == repr(other)
    assert type(one) is type(other)
    return bool(one.equals(other))


@pytest.mark.parametrize("rows", [20, MANY])
@pytest.mark.parametrize("secret", [KNOWN, TWELVE, SHAPED])
@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_in_text_of_a_table_is_a_reference_and_comes_back(kind: str, secret: str, rows: int) -> None:
    value = holder(kind, texts(secret, rows))

    meta, buffers = stored(value)

    assert not any(form in data for form in spellings(secret) for data in (*buffers, repr(meta).encode()))
    assert same(loaded(meta, buffers), value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pandas object"])  # it holds the marker
def test_where_it_is_missing_the_name_is_a_marker(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    meta, buffers = stored(holder(kind, texts(KNOWN, MANY)))
    monkeypatch.delenv("SOME_API_KEY")
    VAULT.forget()

    assert is_marker(loaded(meta, buffers))


@pytest.mark.parametrize("kind", KINDS)
def test_text_without_secrets_stays_beside_the_stream(kind: str) -> None:
    value = holder(kind, [f"line {n} of what was written" for n in range(MANY)])

    meta, buffers = stored(value)

    assert "secrets" not in meta
    small = kind in ("pandas object", "polars categories")  # in the stream anyway
    assert len(buffers) > 1 or small, "it is not made a list"
    assert same(loaded(meta, buffers), value)


def test_what_lies_in_the_buffers_beyond_a_slice_is_not_stored_either() -> None:
    value = pa.array([SHAPED, *texts("", MANY)[:-1]])[1:]

    _, buffers = stored(value)

    assert not any(SHAPED.encode() in data for data in buffers)


def table(kind: str, name: str, items: list[str]) -> Any:
    makers: dict[str, Any] = {
        "pandas": lambda: pd.DataFrame({"user": range(len(items)), name: items}),
        "pandas object": lambda: pd.DataFrame({name: pd.Series(items, dtype=object)}),
        "pandas series": lambda: pd.Series(items, name=name),
        "polars": lambda: pl.DataFrame({"user": range(len(items)), name: items}),
        "polars series": lambda: pl.Series(name, items),
        "arrow": lambda: pa.table({"user": range(len(items)), name: items}),
    }
    return makers[kind]()


TABLES = ["pandas", "pandas object", "pandas series", "polars", "polars series", "arrow"]


@pytest.mark.parametrize("kind", TABLES)
def test_a_column_that_is_named_so_holds_secrets(kind: str) -> None:
    value = table(kind, "api_key", [NAMED, "c4n4ry-4n0th3r-0n3", NAMED])

    meta, buffers = stored({"of": value})

    for secret in (NAMED, "c4n4ry-4n0th3r-0n3"):
        assert not any(form in data for form in spellings(secret) for data in (*buffers, repr(meta).encode()))
    assert same(loaded(meta, buffers)["of"], value)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("name", ["user", "token", "primary_key"])
def test_words_under_a_name_that_may_be_a_secrets_stay(kind: str, name: str) -> None:
    meta, _ = stored(
        table(kind, name, ["the-first-word", "another word", "w1th-numb3rs-1n-1t"][: 2 + (name == "user")])
    )

    assert "secrets" not in meta


@pytest.mark.parametrize("kind", TABLES)
def test_a_column_of_many_different_values_is_data(kind: str) -> None:
    meta, _ = stored(table(kind, "token", [f"t0k3n-0f-4-t3xt-{n}" for n in range(MOST + 1)]))

    assert "secrets" not in meta
    assert VAULT.met() == []


def test_a_type_that_no_list_makes_again_is_a_marker_and_not_stored() -> None:
    union = pa.UnionArray.from_sparse(
        pa.array([0, 1], pa.int8()), [pa.array([KNOWN, KNOWN]), pa.array([1, 2])]
    )

    meta, buffers = stored({"rest": [1], "union": union})

    assert not any(KNOWN.encode() in data for data in buffers)
    value = loaded(meta, buffers)
    assert value["rest"] == [1]
    assert is_marker(value["union"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.DataFrame({"user": ["ana"], "n": [1]}).assign(api_key=NAMED).iloc[0],
        lambda: pd.Series({"user": "ana", "password": NAMED}),
        lambda: pd.DataFrame({"value": ["ana", NAMED]}, index=["user", "client_secret"]),
        lambda: pd.DataFrame({"n": [1]}, index=pd.Index([NAMED], name="auth_token")),
        lambda: pd.Series([1], index=pd.MultiIndex.from_tuples([("a", NAMED)], names=["user", "api_key"])),
    ],
    ids=["row", "series", "settings", "index", "levels"],
)
def test_rows_and_an_index_that_are_named_so_hold_secrets(make: Any) -> None:
    value = make()

    meta, buffers = stored({"of": value})

    assert not any(form in data for form in spellings(NAMED) for data in (*buffers, repr(meta).encode()))
    assert same(loaded(meta, buffers)["of"], value)
