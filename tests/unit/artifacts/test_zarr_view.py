"""Stored values as zarr sees them: equal to the original, lazily where the manifest says where."""

from __future__ import annotations

import asyncio
import base64
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import StorePath

from kitaru_nb.artifacts import zarr_codec, zarr_record, zarr_tree
from kitaru_nb.artifacts.local_store import LocalStore
from kitaru_nb.artifacts.object_store import ObjectStore
from kitaru_nb.artifacts.store import ArtifactStore
from kitaru_nb.artifacts.values import load_values, manifest_digest, store_values
from kitaru_nb.artifacts.zarr_store import ArtifactZarrStore
from kitaru_nb.artifacts.zarr_tree import Tree
from kitaru_nb.artifacts.zarr_view import memory_tree, stored_tree
from kitaru_nb.errors import CorruptError, StoreError, UsageError
from kitaru_nb.model.artifact import Artifact, Digest
from kitaru_nb.testing import MemoryIndex

ROWS = 20_000
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def small_values_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of some 100 KiB are put on record as ones of many MiB are."""
    monkeypatch.setattr(zarr_record, "_EACH", 1)


class Kept:
    """Names that were committed together."""

    def __init__(self, folder: Path | str, **values: Any) -> None:
        self.store: ArtifactStore = LocalStore(folder) if isinstance(folder, Path) else ObjectStore(folder)
        self.index = MemoryIndex()
        stored = store_values(values, namespace={}, store=self.store, index=self.index)
        self.store.flush()
        self.index.commit(stored.locations)
        self.artifact: Artifact = stored.artifact
        self.loaded = 0

    def load(self) -> dict[str, Any]:
        self.loaded += 1
        return load_values(self.artifact, store=self.store, index=self.index, namespace={})

    def tree(self, name: str | None = "value", load: Callable[[], object] | None = None) -> Tree:
        return stored_tree(
            self.artifact,
            name,
            store=self.store,
            index=self.index,
            load=load or (lambda: self.load()[name] if name else self.load()),
            title=f"`{name}`",
        )

    def open(self, name: str | None = "value") -> Any:
        return opened(self.tree(name))


def opened(tree: Tree) -> Any:
    return zarr.open(store=ArtifactZarrStore(tree, name="value"), mode="r")


def all_arrays(group: zarr.Group) -> list[zarr.Array[Any]]:
    return [member for _, member in group.members(max_depth=None) if isinstance(member, zarr.Array)]


def refused() -> object:
    raise StoreError("it is not signed by a key you trust", kind="untrusted", hint="kitaru-nb trust KEY")


def a_frame() -> pd.DataFrame:
    stamps = pd.date_range("2020", periods=ROWS, freq="s")
    return pd.DataFrame(
        {
            "int": np.arange(ROWS),
            "float": RANDOM.random(ROWS),
            "other": RANDOM.random(ROWS),
            "flag": np.arange(ROWS) % 3 == 0,
            "when": stamps,
            "where": stamps.tz_localize("Europe/Berlin"),
            "took": stamps - stamps[0],
            "word": [f"wörd {i % 1000}" * (i % 4) for i in range(ROWS)],
            "kind": pd.Categorical([f"kind {i % 7}" for i in range(ROWS)], ordered=True),
            "maybe": pd.array([1, None] * (ROWS // 2), dtype="Int64"),
            "month": pd.period_range("2020", periods=ROWS, freq="D"),
        }
    )


def frame_again(group: zarr.Group) -> pd.DataFrame:
    """A frame made from nothing but what the group says."""
    columns = {}
    for name in group.attrs["column-order"]:
        member = group[name]
        kind = member.attrs["encoding-type"]
        if isinstance(member, zarr.Array):
            column = pd.Series(member[...])
            if "timezone" in member.attrs:
                column = column.dt.tz_localize("UTC").dt.tz_convert(member.attrs["timezone"])
            if "period" in member.attrs:
                column = pd.Series(
                    pd.PeriodIndex.from_ordinals(member[...], freq=member.attrs["period"][7:-1])
                )
        elif kind == "categorical":
            codes, categories = member["codes"][...], member["categories"][...]
            column = pd.Series(
                pd.Categorical.from_codes(codes, list(categories), ordered=member.attrs["ordered"])
            )
        else:
            values = pd.array(list(member["values"][...]), dtype=group.attrs["kitaru-nb"]["dtypes"][name])
            values[member["mask"][...]] = None
            column = pd.Series(values)
        columns[name] = column.astype(group.attrs["kitaru-nb"]["dtypes"][name])
    index = pd.Index(group[group.attrs["_index"]][...])
    return pd.DataFrame(columns).set_axis(index, axis=0)


# --- arrays that the zarr codec leaves to pickle ------------------------------------------

BASE = RANDOM.random((120, 300))
ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "Fortran order": np.asfortranarray(BASE),
    "transposed twice": RANDOM.random((30, 40, 50)).transpose(1, 2, 0),
    "backwards": BASE[::-1, ::-1],
    "broadcast": np.broadcast_to(np.arange(20_000.0), (3, 20_000)),
    "0-d": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "one row in two": BASE[::2],
    "read-only": np.frombuffer(bytes(range(256)) * 512, "u1").reshape(512, 256)[:, 1:],
    "big-endian": np.arange(20_000, dtype=">f8"),
    "bytes": np.array([b"ab", b"c"] * 20_000),
    "text": np.array(["äb", "c"] * 20_000),
    "void": np.arange(50_000, dtype="u1").view("V5"),
    "structured": np.array([(i, i / 2) for i in range(20_000)], dtype=[("a", "i4"), ("b", "f8")]),
    "matrix": np.asmatrix(BASE),
    "strings": np.array(["a", "", "bbb"], dtype=np.dtypes.StringDType()),
    "objects that are strings": np.array([["a", "b"], ["c", "dé"]], dtype=object),
    "other C type": np.arange(20_000, dtype="q" if np.dtype("int64").char == "l" else "l")
    .reshape(100, 200)
    .T,
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_of_any_layout_and_type_opens_as_itself(what: str, tmp_path: Path) -> None:
    array = ARRAYS[what]

    found = Kept(tmp_path, value=array).open()

    assert (found.shape, np.asarray(found[...]).tolist()) == (array.shape, array.tolist())
    if array.dtype.kind not in {"O", "T"}:
        assert found.dtype == array.dtype.newbyteorder("=")


@settings(max_examples=60)
@given(data=st.data())
def test_any_view_is_read_from_the_stored_buffers_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * data.draw(st.integers(1, 3))))
    whole = np.arange(int(np.prod(shape)) * 20_000, dtype="i8").reshape(*shape, 20_000)
    cut = tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1, -2]))) for _ in range(whole.ndim))
    view = whole[cut].transpose(data.draw(st.permutations(range(whole.ndim))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_codec, "_CHUNK_BYTES", 200_000)
        patch.setattr(zarr_codec, "_SLAB_BYTES", 400_000)
        tree = Kept(tmp_path_factory.mktemp("kept"), whole=whole, value=view).tree(load=refused)

    assert np.array_equal(opened(tree)[...], view)


NOT_HELD = {
    "masked": np.ma.masked_array([1, 2], mask=[0, 1]),
    "long double": np.zeros(3, dtype="longdouble"),
    "objects": np.array([{}, []], dtype=object),
    "gaps between fields": np.zeros(3, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "dates without a unit": np.array(["NaT"], dtype="M8"),
    "a list": [1, 2],
    "text": "a",
    "a dict of text": {"a": "b"},
    "a function": len,
}


@pytest.mark.parametrize("what", NOT_HELD)
def test_what_zarr_cannot_hold_is_refused_with_the_reason_and_still_comes_back(
    what: str, tmp_path: Path
) -> None:
    kept = Kept(tmp_path, value=NOT_HELD[what])

    with pytest.raises(UsageError, match="`value` is not an array that zarr can hold: ") as caught:
        kept.tree()

    assert caught.value.kind == "not-an-array"
    assert repr(kept.load()["value"]) == repr(NOT_HELD[what])


# --- groups -------------------------------------------------------------------------------


def test_a_frame_opens_as_a_group_of_columns_without_being_loaded(tmp_path: Path) -> None:
    frame = a_frame()
    kept = Kept(tmp_path, value=frame)

    group = opened(kept.tree(load=refused))

    pd.testing.assert_frame_equal(frame_again(group), frame, check_freq=False)
    assert group["float"][100:110].tolist() == frame["float"][100:110].tolist()


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]}, index=["r", "s"]),
        pd.DataFrame({"a": [1, 2]}, index=pd.Index([5, 7], name="id")),
        pd.DataFrame({"b": [True, False]}, index=pd.date_range("2020", periods=2)),
        pd.DataFrame({"a": np.arange(3, dtype="i1")}, index=pd.RangeIndex(5, 20, 5)),
    ],
    ids=["text index", "named index", "dates", "range"],
)
def test_a_small_frame_comes_with_its_index(frame: pd.DataFrame, tmp_path: Path) -> None:
    group = Kept(tmp_path, value=frame).open()

    pd.testing.assert_frame_equal(frame_again(group), frame, check_names=False, check_freq=False)
    assert group.attrs["_index"] == (frame.index.name or "_index")


def test_text_with_gaps_has_a_mask(tmp_path: Path) -> None:
    frame = pd.DataFrame({"s": ["a", None, "c"], "o": pd.Series(["x", np.nan, "z"], dtype=object)})

    group = Kept(tmp_path, value=frame).open()

    for name in ("s", "o"):
        assert group[name].attrs["encoding-type"] == "nullable-string-array"
        assert group[name]["mask"][...].tolist() == [False, True, False]
        assert group[name]["values"][...][2] == frame[name][2]


def test_a_column_that_zarr_cannot_hold_is_named_and_the_others_open(tmp_path: Path) -> None:
    kept = Kept(tmp_path, value=pd.DataFrame({"a": np.arange(ROWS), "b": [{}] * ROWS}))

    with pytest.warns(UserWarning, match="zarr cannot hold `b`: it holds objects that are not strings"):
        group = kept.open()

    assert group["a"][-1] == ROWS - 1
    assert "b" not in group
    assert list(group.attrs["kitaru-nb"]["left-out"]) == ["b"]


def test_labels_that_cannot_be_names_are_kept_in_the_attributes(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.eye(5), columns=["a", "a", "b/c", 7, ""])

    group = Kept(tmp_path, value=frame).open()

    assert group.attrs["column-order"] == ["a", "member_1", "b%2Fc", "7", "member_4"]
    assert group.attrs["kitaru-nb"]["labels"] == {"member_1": "a", "b%2Fc": "b/c", "7": "7", "member_4": ""}
    assert [group[key][...].argmax() for key in group.attrs["column-order"]] == [0, 1, 2, 3, 4]


def test_an_index_of_levels_is_a_group(tmp_path: Path) -> None:
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["x", None])

    group = Kept(tmp_path, value=pd.DataFrame({"v": np.arange(4.0)}, index=index)).open()

    levels = group["_index"]
    assert levels.attrs["kitaru-nb"]["levels"] == ["x", "level_1"]
    assert [list(levels["x"][...]), list(levels["level_1"][...])] == [["a", "a", "b", "b"], [1, 2, 1, 2]]


def a_dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "t": (("x", "y"), RANDOM.random((200, 300)), {"units": "K", "valid": [0, 1]}),
            "s": ("x", [f"s{i}" for i in range(200)]),
            "o": ("x", np.array(["a", "bb"] * 100, dtype=object)),
            "lag": ("x", np.arange(200).astype("m8[s]")),
            "n": ((), 5),
        },
        coords={
            "x": np.arange(200),
            "y": pd.date_range("2020", periods=300),
            "label": ("x", np.arange(200) * 2),
        },
        attrs={"title": "tëst"},
    )


def test_a_dataset_opens_as_itself(tmp_path: Path) -> None:
    dataset = a_dataset()

    found = xr.open_zarr(ArtifactZarrStore(Kept(tmp_path, value=dataset).tree(), name="v"), chunks=None)

    xr.testing.assert_identical(found.load(), dataset)
    assert {n: v.dtype for n, v in found.variables.items() if n != "o"} == {
        n: v.dtype for n, v in dataset.variables.items() if n != "o"
    }


@pytest.mark.parametrize("name", ["t", "x", None])
def test_a_dataarray_opens_as_itself_whatever_its_name(name: str | None, tmp_path: Path) -> None:
    array = a_dataset()["t"].drop_vars("y").rename(name)
    store = ArtifactZarrStore(Kept(tmp_path, value=array).tree(load=refused), name="v")

    found = xr.open_dataarray(store, engine="zarr")  # type: ignore[arg-type]

    xr.testing.assert_identical(found.load(), array)


def test_a_tree_of_datasets_opens_as_itself(tmp_path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": a_dataset()[["n"]], "/below/here": a_dataset()[["t"]]})
    store = ArtifactZarrStore(Kept(tmp_path, value=tree).tree(), name="v")

    found = xr.open_datatree(store, engine="zarr")  # type: ignore[arg-type]

    xr.testing.assert_identical(found.load(), tree)


@pytest.mark.parametrize("kind", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
def test_a_sparse_matrix_is_its_parts(kind: str, make: Any, tmp_path: Path) -> None:
    matrix = make(scipy.sparse.random(400, 400, density=0.2, random_state=0)).asformat(kind)

    group = opened(Kept(tmp_path, value=matrix).tree(load=refused))

    parts = tuple(np.asarray(group[name][...]) for name in ("data", "indices", "indptr"))
    again = getattr(scipy.sparse, f"{kind}_matrix")(parts, shape=tuple(group.attrs["shape"]))
    assert group.attrs["encoding-type"] == f"{kind}_matrix"
    assert (again != matrix).nnz == 0


def test_a_dict_of_arrays_is_a_group_with_its_plain_values_as_attributes(tmp_path: Path) -> None:
    state = {"layer.w": BASE, "bias": np.arange(10.0), "epoch": 3, "inner": {"k": np.arange(20_000)}}

    group = opened(Kept(tmp_path, value=state).tree(load=refused))

    assert np.array_equal(group["layer.w"][...], BASE)
    assert np.array_equal(group["bias"][...], state["bias"])
    assert np.array_equal(group["inner/k"][...], np.arange(20_000))
    assert group.attrs["epoch"] == 3


@dataclass
class Model:
    weights: Any
    name: str = "m"


@pytest.mark.parametrize("value", [[BASE, BASE + 1], (BASE, BASE + 1), Model([BASE, BASE + 1])])
def test_arrays_in_a_list_a_tuple_or_a_dataclass_are_a_group(value: Any, tmp_path: Path) -> None:
    group = Kept(tmp_path, value=value).open()

    group = group["weights"] if isinstance(value, Model) else group
    assert np.array_equal(group["1"][...], BASE + 1)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_a_polars_or_arrow_table_is_a_group_of_columns(make: Any, tmp_path: Path) -> None:
    table = make(
        {"n": np.arange(ROWS), "s": [f"s{i % 50}" for i in range(ROWS)], "b": np.arange(ROWS) % 2 == 0}
    )

    group = Kept(tmp_path, value=table).open()

    assert group.attrs["column-order"] == ["n", "s", "b"]
    assert group["n"][5:9].tolist() == [5, 6, 7, 8]
    assert list(group["s"][...]) == [f"s{i % 50}" for i in range(ROWS)]
    assert group["b"][:3].tolist() == [True, False, True]


def test_arrow_columns_in_pieces_with_gaps_and_with_categories_are_whole(tmp_path: Path) -> None:
    pieces = pa.chunked_array([[1, None], [3]])
    words = pa.chunked_array([["a", "bc"], ["d"]])
    kinds = pa.chunked_array([pa.array(["x", "y"]).dictionary_encode(), pa.array(["y"]).dictionary_encode()])

    group = Kept(tmp_path, value=pa.table({"p": pieces, "w": words, "k": kinds})).open()

    assert group["p/values"][...][[0, 2]].tolist() == [1, 3]
    assert group["p/mask"][...].tolist() == [False, True, False]
    assert list(group["w"][...]) == ["a", "bc", "d"]
    assert [group["k/categories"][code] for code in group["k/codes"][...]] == ["x", "y", "y"]


def test_many_strings_are_cut_into_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_tree, "ROWS", 1000)
    words = [f"word {i}" * (i % 3) for i in range(12_345)]

    column = opened(Kept(tmp_path, value=pa.table({"w": words})).tree(load=refused))["w"]

    assert column.chunks == (1000,)
    assert list(column[990:2010]) == words[990:2010]
    assert list(column[12_000:]) == words[12_000:]


def test_names_stored_together_open_one_by_one_and_as_a_group(tmp_path: Path) -> None:
    base = BASE.copy()
    kept = Kept(tmp_path, base=base, part=base[5:50, ::3], turned=base.T)

    assert np.array_equal(kept.open("part")[...], base[5:50, ::3])
    assert np.array_equal(kept.open("turned")[...], base.T)
    assert sorted(kept.open(None)) == ["base", "part", "turned"]
    assert kept.loaded == 0


# --- how it is read -----------------------------------------------------------------------

LAZY = {
    "a frame": a_frame(),
    "Arrow": pa.table({"a": np.arange(ROWS), "s": ["x"] * ROWS}),
    "xarray": a_dataset()[["t"]],
    "a dict": {"w": BASE},
}


@pytest.mark.parametrize("what", LAZY)
def test_what_is_read_lazily_and_what_is_read_from_memory_is_the_same(what: str, tmp_path: Path) -> None:
    lazily = Kept(tmp_path, value=LAZY[what]).tree(load=refused)
    at_once = memory_tree(LAZY[what], "`value`")

    keys = list(lazily.keys())

    assert keys == list(at_once.keys())
    assert len(keys) > 1
    for key in keys:
        if not key.endswith("zarr.json"):
            assert opened(lazily).store._tree.read(key) == at_once.read(key)


def test_without_trust_the_numbers_on_record_can_be_read_and_the_rest_is_named(tmp_path: Path) -> None:
    kept = Kept(
        tmp_path, value=pd.DataFrame({"a": np.arange(ROWS), "b": pd.Series(["x"] * ROWS, dtype=object)})
    )

    with pytest.warns(UserWarning, match="only a part of it can be read: it is not signed"):
        group = opened(kept.tree(load=refused))

    assert group["a"][-1] == ROWS - 1
    assert sorted(group) == ["_index", "a"]


def test_an_array_that_was_opened_where_it_could_be_read_is_never_zeros_where_it_cannot(
    tmp_path: Path,
) -> None:
    kept = Kept(
        tmp_path, value=pd.DataFrame({"a": np.arange(ROWS), "b": pd.Series(["x", None] * (ROWS // 2))})
    )
    column = kept.open()["b"]
    with pytest.warns(UserWarning, match="only a part"):
        elsewhere = ArtifactZarrStore(kept.tree(load=refused), name="value")

    for array in (column["values"], column["mask"]):
        with pytest.raises(
            StoreError, match=f"`{array.path}` of `value` cannot be read here: it is not signed"
        ):
            zarr.Array(replace(array.async_array, store_path=StorePath(elsewhere, array.path)))[:]


def test_an_array_that_a_value_does_not_have_here_is_never_zeros(tmp_path: Path) -> None:
    tree = Kept(tmp_path, value={"a": np.arange(3), "c": [np.arange(2), np.arange(3)]}).tree()

    for key in ("b/c/0", "b/c", "c/7", "b/c/0/1"):
        with pytest.raises(StoreError, match="`value` has no array"):
            tree.read(key)
    for key in ("a/c/1", "b/zarr.json", "c/0/zarr.jso", "c/0", "c/1/.zarray", ".zgroup", "c"):
        assert tree.read(key) is None
        assert tree.size(key) is None
    assert tree.size("b/c/0") is None


def test_without_trust_a_value_with_nothing_on_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not signed"):
        Kept(tmp_path, value=[np.arange(3)]).tree(load=refused)


FRAMES = {
    f"{rows} rows, {columns} columns": (pd.DataFrame(np.zeros((rows, columns))), on_record)
    for rows, columns, on_record in [
        (2, 2, True),
        (200_000, 2, True),
        (40_000, 9, True),
        (2, 40, False),
        (40_000, 40, False),
        (140_000, 40, True),
    ]
}
IN_PLAIN_CONTAINERS = {
    "small arrays": ({"a": np.arange(10), "b": np.arange(9)}, False),
    "large arrays": ({"a": np.arange(200_000), "b": np.arange(9)}, True),
    "many arrays": ({str(n): np.arange(20_000) for n in range(9)}, False),
}


@pytest.mark.parametrize(
    ("value", "on_record"),
    [*FRAMES.values(), *IN_PLAIN_CONTAINERS.values()],
    ids=[*FRAMES, *IN_PLAIN_CONTAINERS],
)
def test_only_frames_and_values_whose_arrays_are_large_are_put_on_record(
    value: object, on_record: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()

    assert ("arrays" in Kept(tmp_path, value=value).artifact.manifest["meta"]) is on_record


@pytest.mark.parametrize("damage", ["flipped", "short", "deleted"])
@pytest.mark.parametrize("what", LAZY)
def test_damage_under_an_open_group_is_an_error_that_names_the_value(
    what: str, damage: str, tmp_path: Path
) -> None:
    value = {"w": RANDOM.random((1000, 1000))} if what == "a dict" else LAZY[what]
    tree = Kept(tmp_path, value=value).tree(load=refused)
    (path,) = tmp_path.rglob("*.pack")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        path.write_bytes(bytes(byte ^ 1 for byte in data))
    elif damage == "short":
        path.write_bytes(data[:5])
    else:
        path.unlink()

    failed = 0
    for key in tree.keys(""):
        if "c" in key.split("/"):
            try:
                tree.read(key)
            except CorruptError as error:
                assert error.message.startswith("`value` cannot be read: ")
                failed += 1
    # Only what lies inside the journal's own row, or is counted, can be read.
    assert failed > 0
    with pytest.raises(CorruptError):
        [np.asarray(member[...]) for member in all_arrays(opened(tree))]


def test_a_value_in_a_bucket_is_read_slice_by_slice(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="the extra `s3` is not installed")
    (tmp_path / "bucket").mkdir()
    frame = pd.DataFrame({"a": RANDOM.random(1_000_000), "b": RANDOM.random(1_000_000)})
    tree = Kept(f"file://{tmp_path / 'bucket'}", value=frame).tree(load=refused)

    column = opened(tree)["b"]

    assert column[700_000:700_010].tolist() == frame["b"][700_000:700_010].tolist()
    for path in (tmp_path / "bucket").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(CorruptError, match="`value` cannot be read: "):
        column[:]


HOSTILE: list[dict[str, Any]] = [
    {"shape": [10**6], "dtype": "<f8", "at": [1, 0]},
    {"shape": [4], "dtype": "<f8", "at": [1, -8]},
    {"shape": [4], "dtype": "<f8", "at": [7, 0]},
    {"shape": [4], "dtype": "<f8", "at": [1, 0], "strides": [1 << 40]},
    {"shape": [4], "dtype": "<f8", "at": [1, 0], "strides": [-8]},
    {"shape": [4], "dtype": "|O", "at": [1, 0]},
    {"shape": [-4], "dtype": "<f8", "at": [1, 0]},
    {"shape": [4], "dtype": "<f8", "data": ""},
    {
        "strings": [
            [9, {"shape": [3], "dtype": "<i8", "at": [1, 0]}, {"shape": [3], "dtype": "|u1", "at": [1, 0]}]
        ],
        "shape": [9],
    },
    {"shape": [4]},
    {"members": {"a": {"range": "x"}}},
]


@pytest.mark.parametrize("record", HOSTILE)
def test_a_record_that_does_not_fit_what_is_stored_is_refused(record: dict[str, Any], tmp_path: Path) -> None:
    kept = Kept(tmp_path, value={"w": BASE})
    manifest = {**kept.artifact.manifest}
    manifest["meta"] = {**manifest["meta"], "arrays": {"value": record}}
    kept.artifact = Artifact(Digest(manifest_digest(manifest)), "pickle5", 1, manifest)

    with pytest.raises(CorruptError, match="does not describe what is stored"):
        kept.tree(load=refused)


def test_a_string_past_the_end_of_its_bytes_is_an_error(tmp_path: Path) -> None:
    kept = Kept(tmp_path, value={"w": BASE})
    offsets = {
        "shape": [2],
        "dtype": "<i8",
        "data": base64.b64encode(np.array([0, 1 << 40]).tobytes()).decode(),
    }
    record = {"strings": [[1, offsets, {"shape": [3], "dtype": "|u1", "at": [1, 0]}]], "shape": [1]}
    manifest = {**kept.artifact.manifest}
    manifest["meta"] = {**manifest["meta"], "arrays": {"value": record}}
    kept.artifact = Artifact(Digest(manifest_digest(manifest)), "pickle5", 1, manifest)

    with pytest.raises(CorruptError):
        kept.tree(load=refused).read("c/0")


def test_the_documents_are_those_zarr_would_write_and_reading_them_warns_of_nothing(tmp_path: Path) -> None:
    tree = Kept(tmp_path, value={"w": BASE, "inner": {"v": np.arange(20_000)}}).tree()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = opened(tree)

    assert group.metadata.consolidated_metadata is not None
    assert sorted(group.metadata.consolidated_metadata.metadata) == ["inner", "w"]
    assert group["inner"]["v"][7] == 7


def test_listing_a_group_gives_its_folders_and_keys(tmp_path: Path) -> None:
    store = ArtifactZarrStore(
        Kept(tmp_path, value={"c": BASE, "d": {"c": np.arange(20_000)}}).tree(), name="v"
    )

    async def listed(folder: str) -> list[str]:
        return [name async for name in store.list_dir(folder)]

    async def below(prefix: str) -> list[str]:
        return [key async for key in store.list_prefix(prefix)]

    assert asyncio.run(listed("")) == ["zarr.json", "c", "d"]
    assert asyncio.run(listed("c")) == ["zarr.json", "c"]
    assert asyncio.run(listed("c/c")) == ["0"]
    assert asyncio.run(listed("c/c/0")) == ["0"]
    assert asyncio.run(listed("x")) == []
    assert asyncio.run(below("d/")) == ["d/zarr.json", "d/c/zarr.json", "d/c/c/0"]
    assert asyncio.run(below("c/c")) == ["c/c/0/0"]
