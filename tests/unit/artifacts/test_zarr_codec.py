"""The zarr codec and the zarr store: what they take, and that zarr sees the very same array."""

from __future__ import annotations

import asyncio
import json
import mmap
import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from kitaru_nb.artifacts import zarr_codec
from kitaru_nb.artifacts.local_store import LocalStore
from kitaru_nb.artifacts.memory import Memory
from kitaru_nb.artifacts.values import store_values
from kitaru_nb.artifacts.zarr_codec import ZarrCodec, chunk_shape
from kitaru_nb.artifacts.zarr_store import ArtifactZarrStore
from kitaru_nb.artifacts.zarr_view import stored_tree
from kitaru_nb.errors import CorruptError
from kitaru_nb.model.artifact import Artifact
from kitaru_nb.testing import MemoryIndex

DTYPES = [
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
    *("datetime64[ns]", "datetime64[D]", "datetime64[25s]", "timedelta64[us]"),
]
MIB = 1 << 20


def an_array(dtype: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Random bytes as an array: every bit pattern, not-a-number payloads and all."""
    size = prod(shape) * np.dtype(dtype).itemsize
    data = np.random.default_rng(size).integers(0, 2 if dtype == "bool" else 256, size, dtype="u1")
    return data.view(dtype).reshape(shape)


def round_trip(array: NDArray[np.generic]) -> NDArray[np.generic]:
    encoded = ZarrCodec().encode({"a": array}, namespace={})
    copies = [memoryview(bytearray(buffer)) for buffer in encoded.buffers]
    meta = json.loads(json.dumps(encoded.meta))
    back = ZarrCodec().decode(meta, lambda number: copies[number], namespace={})["a"]
    assert isinstance(back, np.ndarray)
    return back


def assert_same(back: NDArray[np.generic], array: NDArray[np.generic]) -> None:
    assert type(back) is type(array)
    assert (back.dtype, back.shape, back.strides) == (array.dtype, array.shape, array.strides)
    assert back.dtype.char == array.dtype.char
    assert back.tobytes() == array.tobytes()
    for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS", "WRITEABLE", "ALIGNED"):
        assert back.flags[flag] == array.flags[flag]


arrays = st.builds(
    an_array, st.sampled_from(DTYPES), st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple)
)


@given(arrays)
def test_an_array_comes_back_bit_for_bit(array: NDArray[np.generic]) -> None:
    assert_same(round_trip(array), array)


def test_a_read_only_array_stays_read_only() -> None:
    array = an_array("float64", (3, 4))
    array.flags.writeable = False

    assert_same(round_trip(array), array)


def test_encoding_copies_nothing() -> None:
    array = np.zeros((10, 10))

    (buffer,) = ZarrCodec().encode({"a": array}, namespace={}).buffers
    array[0, 0] = 1.0

    assert np.frombuffer(buffer)[0] == 1.0


def test_decoding_gives_an_array_over_the_memory_it_was_read_into() -> None:
    encoded = ZarrCodec().encode({"a": np.zeros(1 << 17)}, namespace={})
    memory = mmap.mmap(-1, 1 << 20)

    back = ZarrCodec().decode(encoded.meta, lambda _: memoryview(memory), namespace={})["a"]
    back[0] = 1.0  # type: ignore[index]

    assert memory[:8] == np.float64(1.0).tobytes()


def test_memory_that_cannot_be_written_is_copied_so_that_the_array_can() -> None:
    encoded = ZarrCodec().encode({"a": np.zeros(4)}, namespace={})

    back = ZarrCodec().decode(encoded.meta, lambda _: memoryview(bytes(32)), namespace={})["a"]
    back[0] = 1.0  # type: ignore[index]

    assert isinstance(back, np.ndarray)
    assert back[0] == 1.0


class Special(np.ndarray):
    pass


REFUSED: dict[str, object] = {
    "Fortran order": np.asfortranarray(np.zeros((3, 4))),
    "a strided view": np.zeros((6, 4))[::2],
    "a broadcast": np.broadcast_to(np.zeros(3), (4, 3)),
    "0-d": np.array(1.0),
    "empty": np.zeros((0, 3)),
    "object": np.array([{}, []], dtype=object),
    "structured": np.zeros(3, dtype=[("a", "i4"), ("b", "f8")]),
    "masked": np.ma.masked_array([1, 2], mask=[0, 1]),
    "a subclass": np.zeros(3).view(Special),
    "recarray": np.zeros(3, dtype=[("a", "i4")]).view(np.recarray),
    "big-endian": np.zeros(3, dtype=">f8"),
    "long double": np.zeros(3, dtype="longdouble"),
    "bytes": np.array([b"ab"]),
    "str": np.array(["ab"]),
    "void": np.zeros(3, dtype="V5"),
    "datetime without a unit": np.zeros(3, dtype="datetime64"),
    "the other C type of int64": np.zeros(3, dtype="q" if np.dtype("int64").char == "l" else "l"),
    "dtype with metadata": np.zeros(3, dtype=np.dtype("i4", metadata={"unit": "m"})),
    "unaligned": np.frombuffer(bytes(9), dtype="u1")[1:].view("f8"),
    "a scalar": np.float64(1.0),
    "a list": [1, 2, 3],
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_zarr_would_not_give_back_exactly_is_left_to_pickle(what: str) -> None:
    assert ZarrCodec().encode({"a": REFUSED[what]}, namespace={}) is None


def test_two_names_are_left_to_pickle() -> None:
    array = np.zeros(3)

    assert ZarrCodec().encode({"a": array, "b": array}, namespace={}) is None


def test_the_codec_needs_neither_zarr_nor_numpy_to_be_imported() -> None:
    code = (
        "import sys; from kitaru_nb.artifacts.zarr_codec import ZarrCodec; c = ZarrCodec();"
        "assert c.encode({'a': 1}, namespace={}) is None; assert 'numpy' not in sys.modules; import numpy;"
        "e = c.encode({'a': numpy.zeros(3)}, namespace={});"
        "c.decode(e.meta, lambda i: e.buffers[i], namespace={}); assert 'zarr' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)

    assert done.stderr == ""


# zarr.json


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_document_is_the_one_zarr_writes(dtype: str) -> None:
    array = an_array(dtype, (5, 4))
    written = MemoryStore()
    zarr.create_array(
        written, shape=array.shape, dtype=array.dtype, chunks=(5, 4), compressors=None, filters=None
    )

    document = ZarrCodec().encode({"a": array}, namespace={}).meta["zarr"]

    assert document == json.loads(written._store_dict["zarr.json"].to_bytes())


@pytest.mark.parametrize(
    ("shape", "itemsize", "expected"),
    [
        ((10,), 8, (10,)),
        ((1000, 1000), 8, (525, 1000)),
        ((100_000_000,), 1, (4 * MIB,)),
        ((16, 1024, 1024), 8, (1, 1024, 1024)),
        ((2, 4, 1024, 1024), 8, (1, 1, 1024, 1024)),
        ((3, 3_000_000), 8, (1, 524_288)),
        ((2, 2, 3_000_000), 8, (1, 1, 524_288)),
    ],
)
def test_chunks_are_slabs_of_whole_rows_until_a_row_is_too_large(
    shape: tuple[int, ...], itemsize: int, expected: tuple[int, ...]
) -> None:
    assert chunk_shape(shape, itemsize) == expected


# the zarr store


def not_loaded() -> object:
    raise AssertionError("an array is read without being loaded")


class Kept:
    """An array that was committed to a store in `folder`."""

    def __init__(self, folder: Path, array: NDArray[np.generic]) -> None:
        self.store = LocalStore(folder)
        self.index = MemoryIndex()
        stored = store_values({"a": array}, namespace={}, store=self.store, index=self.index)
        self.store.flush()
        self.index.commit(stored.locations)
        self.artifact: Artifact = stored.artifact

    def zarr_store(self) -> ArtifactZarrStore:
        tree = stored_tree(
            self.artifact, "a", store=self.store, index=self.index, load=not_loaded, title="`a`"
        )
        return ArtifactZarrStore(tree, name="a")

    def open(self) -> zarr.Array:
        opened = zarr.open(store=self.zarr_store(), mode="r")
        assert isinstance(opened, zarr.Array)
        return opened


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of about 64 bytes, so that small arrays have many."""
    monkeypatch.setattr(zarr_codec, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(zarr_codec, "_SLAB_BYTES", 128)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7,), (40,), (100,), (9, 5), (5, 100), (3, 4, 5), (2, 3, 50)])
def test_zarr_reads_the_very_same_array(
    tmp_path: Path, small_chunks: None, dtype: str, shape: tuple[int, ...]
) -> None:
    array = an_array(dtype, shape)

    opened = Kept(tmp_path, array).open()

    assert (opened.dtype, opened.shape) == (array.dtype, array.shape)
    assert np.asarray(opened[...]).tobytes() == array.tobytes()


@settings(max_examples=25)
@given(data=st.data())
def test_slices_are_equal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr_codec, "_CHUNK_BYTES", 64)
        patch.setattr(zarr_codec, "_SLAB_BYTES", 128)
        shape = tuple(data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3)))
        array = an_array("int32", shape)
        opened = Kept(tmp_path_factory.mktemp("kept"), array).open()
    bounds = [sorted((data.draw(st.integers(0, size)), data.draw(st.integers(0, size)))) for size in shape]
    cut = tuple(slice(start, stop) for start, stop in bounds)

    assert np.array_equal(opened[cut], array[cut])


def test_an_array_of_many_extents_is_read_by_chunks(tmp_path: Path) -> None:
    array = an_array("float64", (1500, 1001))

    opened = Kept(tmp_path, array).open()

    assert opened.chunks == (524, 1001)
    assert np.asarray(opened[700:1200, 3]).tobytes() == array[700:1200, 3].tobytes()
    assert np.asarray(opened[...]).tobytes() == array.tobytes()


def get(store: ArtifactZarrStore, key: str, request: object = None) -> bytes | None:
    found = asyncio.run(store.get(key, default_buffer_prototype(), request))  # type: ignore[arg-type]
    return None if found is None else found.to_bytes()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (RangeByteRequest(8, 24), slice(8, 24)),
        (RangeByteRequest(0, 10_000), slice(0, 10_000)),
        (OffsetByteRequest(40), slice(40, None)),
        (SuffixByteRequest(8), slice(-8, None)),
        (SuffixByteRequest(10_000), slice(None)),
        (None, slice(None)),
    ],
)
@pytest.mark.parametrize("key", ["zarr.json", "c/0/0", "c/4/0"])
def test_byte_ranges_are_parts_of_the_whole(
    tmp_path: Path, small_chunks: None, key: str, request_: object, expected: slice
) -> None:
    store = Kept(tmp_path, an_array("int32", (9, 9))).zarr_store()
    whole = get(store, key)
    assert whole is not None

    assert get(store, key, request_) == whole[expected]


def test_an_edge_chunk_is_padded_to_its_full_size(tmp_path: Path, small_chunks: None) -> None:
    array = an_array("int32", (9, 9))

    last = get(Kept(tmp_path, array).zarr_store(), "c/4/0")

    assert last == array[8:].tobytes() + bytes(36)


@pytest.mark.parametrize(
    "key",
    ["c/5/0", "c/0/1", "c/0", "c/0/0/0", "c", "", "c/-1/0", "c/00/0", "c/x/0", "c/²/0", "zarr", ".zarray"],
)
def test_a_key_outside_the_grid_is_not_there(tmp_path: Path, small_chunks: None, key: str) -> None:
    assert get(Kept(tmp_path, an_array("int32", (9, 9))).zarr_store(), key) is None


def test_listing_names_the_document_and_every_chunk(tmp_path: Path, small_chunks: None) -> None:
    store = Kept(tmp_path, an_array("int32", (9, 9))).zarr_store()

    async def listed() -> tuple[list[str], list[str], list[str]]:
        return (
            [key async for key in store.list()],
            [key async for key in store.list_dir("")],
            [key async for key in store.list_dir("c/")],
        )

    keys, top, below = asyncio.run(listed())

    assert keys == ["zarr.json", *(f"c/{row}/0" for row in range(5))]
    assert (top, below) == (["zarr.json", "c"], ["0", "1", "2", "3", "4"])


def test_writing_through_zarr_is_refused(tmp_path: Path) -> None:
    store = Kept(tmp_path, np.zeros(4)).zarr_store()

    with pytest.raises(ValueError, match="read-only"):
        zarr.open(store=store, mode="r+")[0] = 1.0


@pytest.mark.parametrize("damage", ["flipped", "short", "deleted"])
def test_a_damaged_chunk_is_an_error_and_never_reads_as_zeros(tmp_path: Path, damage: str) -> None:
    kept = Kept(tmp_path, an_array("float64", (1500, 1001)))
    opened = kept.open()
    (path,) = tmp_path.rglob("*.pack")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[5] ^= 1
        path.write_bytes(data)
    elif damage == "short":
        path.write_bytes(data[: len(data) - 2 * MIB])
    else:
        path.unlink()

    with pytest.raises(CorruptError) as caught:
        opened[...]

    assert path.name in caught.value.message


def test_undamaged_chunks_can_be_read_beside_damaged_ones(tmp_path: Path) -> None:
    array = an_array("float64", (1500, 1001))
    opened = Kept(tmp_path, array).open()
    (path,) = tmp_path.rglob("*.pack")
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)

    assert np.asarray(opened[1200:]).tobytes() == array[1200:].tobytes()


def test_an_extent_without_a_place_is_an_error_at_once(tmp_path: Path) -> None:
    kept = Kept(tmp_path, an_array("float64", (1500, 1001)))
    kept.index.popitem()

    with pytest.raises(CorruptError, match="`a` cannot be restored"):
        kept.zarr_store()


@pytest.mark.parametrize("size", [1 << 12, 1 << 20], ids=["small", "memory that numpy adopts"])
@pytest.mark.parametrize(
    "lie",
    [
        {"shape": [1 << 40]},
        {"shape": [1 << 62, 1 << 62]},
        {"shape": [1]},
        {"shape": [-1]},
        {"shape": [True]},
        {"shape": ["512"]},
        {"shape": []},
        {"data_type": "object"},
        {"data_type": "O"},
        {"data_type": "|V8"},
        {"data_type": "f8,O"},
        {"data_type": "str"},
        {"data_type": "(2,)f4"},
        {"data_type": {"name": "numpy.O", "configuration": {"unit": "8", "scale_factor": ""}}},
    ],
    ids=str,
)
def test_anybodys_description_of_an_array_is_believed_only_where_it_fits_the_bytes(
    lie: dict[str, object], size: int
) -> None:
    """Arrays load from stores of strangers: a description must not make numpy read or write beyond them."""
    honest = zarr_codec.array_document((size // 8,), np.dtype("f8"))

    def read(_number: int) -> memoryview:
        memory = Memory.of(size)
        return memoryview(bytearray(size)) if memory is None else memory.view

    whole = ZarrCodec().decode({"name": "a", "writeable": True, "zarr": honest}, read, namespace={})["a"]
    assert whole.nbytes == size  # type: ignore[attr-defined]

    with pytest.raises((CorruptError, TypeError, ValueError)):
        ZarrCodec().decode({"name": "a", "writeable": True, "zarr": {**honest, **lie}}, read, namespace={})
