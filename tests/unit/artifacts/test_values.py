"""Values through codec and store and back: dedup, digests, and errors that name the value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from kitaru_nb.artifacts import values
from kitaru_nb.artifacts.fingerprints import PART_BYTES
from kitaru_nb.artifacts.local_store import LocalStore
from kitaru_nb.artifacts.pickle_codec import referring
from kitaru_nb.artifacts.plain_codec import PlainCodec
from kitaru_nb.artifacts.values import (
    Stored,
    checked_buffers,
    load_values,
    manifest_digest,
    packed_extents,
    store_values,
)
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import EXTENT_BYTES, Anchor, Artifact, Digest, Extent, Location
from kitaru_nb.testing import MemoryIndex

MIB = 1 << 20


class Bench:
    """A store with its index, and the two calls under test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocalStore(folder)
        self.index = MemoryIndex()
        self.known: dict[Digest, Artifact] = {}

    def save(self, last: Stored | None = None, /, **values: object) -> Stored:
        stored = store_values(
            values,
            namespace={},
            store=self.store,
            index=self.index,
            before=last.artifact.digest if last is not None else None,
            known=self.known.get,
        )
        self.known[stored.artifact.digest] = stored.artifact
        self.store.flush()
        self.index.commit(stored.locations)
        return stored

    def load(self, artifact: Artifact) -> dict[str, Any]:
        return load_values(artifact, store=self.store, index=self.index, namespace={})

    def used(self) -> int:
        """Bytes in packs."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.pack"))

    def damage(self, change: int = 5) -> Path:
        (path,) = self.folder.rglob("*.pack")
        data = bytearray(path.read_bytes())
        data[change] ^= 1
        path.write_bytes(data)
        return path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "store")
    yield bench
    bench.store.close()


def noise(length: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, length, dtype="u1")


texts = st.text(st.characters(exclude_categories=()))  # halves of characters, too
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(texts | st.integers(), inner),
    max_leaves=20,
)


@given(value=json_values)
@example(value="\ud83d\ude00")  # two halves, which JSON makes one character of
@example(value={"\ud83d\ude00": ["\ud83d", "\ude00"]})
def test_any_plain_value_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    bench = Bench(tmp_path_factory.mktemp("store"))

    back = bench.load(bench.save(x=value).artifact)

    assert repr(back) == repr({"x": value})


class Own(dict[str, int]):
    pass


INNER: list[int] = [1]
TEXT = "a" * 50
CYCLE: list[object] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("held", "codec"),
    [
        ({"x": {"a": [1, 2.5, None, True, "text"], "b": {}}, "y": [[]]}, "scalar"),
        ({"x": [-0.0, 1e300, -(1 << 63) + 1]}, "scalar"),
        ({"x": [1 << 63]}, "pickle5"),
        ({"x": [float("inf")]}, "pickle5"),
        ({"x": {1: "a"}}, "pickle5"),
        ({"x": [(1, 2)]}, "pickle5"),
        ({"x": [Own(a=1)]}, "pickle5"),
        ({"x": [*range(64)]}, "pickle5"),
        ({"x": ["a" * 5000]}, "pickle5"),
        ({"x": ["two\nlines"]}, "pickle5"),
        ({"x": [INNER, INNER]}, "pickle5"),
        ({"x": {"a": INNER}, "y": INNER}, "pickle5"),
        ({"x": CYCLE}, "pickle5"),
        ({"x": [TEXT, TEXT]}, "pickle5"),
        ({"x": {TEXT: TEXT}}, "pickle5"),
        ({"x": [{TEXT: 1}, {TEXT: 2}]}, "scalar"),
    ],
)
def test_few_plain_values_that_are_in_one_place_each_are_stored_as_json(
    bench: Bench, held: dict[str, object], codec: str
) -> None:
    stored = bench.save(**held)
    back = bench.load(stored.artifact)

    assert stored.artifact.codec == codec
    assert repr(back) == repr(held)


def test_a_list_with_what_a_call_was_given_leads_to_that_again(bench: Bench) -> None:
    given_to_it: list[int] = [1]

    with referring([given_to_it]):
        stored = bench.save(result=[given_to_it, 2])
    with referring([there := [1]]):
        back = bench.load(stored.artifact)["result"]

    assert back[0] is there  # type: ignore[index] # a list


@pytest.mark.parametrize("codec", ["zarr", "pickle5"])
@pytest.mark.parametrize(
    "length",
    [1, 65_536, 65_537, MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 5, 8 * MIB - 1, 9 * MIB + 70_000],
)
def test_a_buffer_of_any_length_comes_back_exactly(bench: Bench, codec: str, length: int) -> None:
    array = noise(length)
    values = {"a": array} if codec == "zarr" else {"a": array, "b": [1, 2]}

    stored = bench.save(**values)
    back = bench.load(stored.artifact)

    assert stored.artifact.codec == codec
    assert np.array_equal(back["a"], array)
    back["a"][:] = 0  # a restored array can be changed
    assert np.array_equal(bench.load(stored.artifact)["a"], array)


def test_the_manifest_lists_every_extent_and_the_digest_covers_it(bench: Bench) -> None:
    array = noise(2 * MIB + 100)

    artifact = bench.save(a=array).artifact

    data = array.tobytes()
    parts = [data[at : at + EXTENT_BYTES] for at in range(0, len(data), EXTENT_BYTES)]
    assert checked_buffers(artifact) == [
        [Extent(Digest(blake3(part).hexdigest()), len(part)) for part in parts]
    ]
    assert artifact.manifest["version"] == 1
    assert artifact.bytes == len(data)
    text = json.dumps(artifact.manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert artifact.digest == blake3(text.encode()).hexdigest()


def test_the_manifest_survives_json(bench: Bench) -> None:
    stored = bench.save(größe=noise(3 * MIB).reshape(3, MIB), b=[1])

    again = json.loads(json.dumps(stored.artifact.manifest))

    assert manifest_digest(again) == stored.artifact.digest


def test_equal_values_have_one_artifact(bench: Bench) -> None:
    first = bench.save(a=noise(3 * MIB))
    used = bench.used()

    second = bench.save(a=noise(3 * MIB))

    assert second == first
    assert bench.used() == used


def test_one_percent_changed_stores_what_changed(bench: Bench) -> None:
    array = noise(40 * MIB).reshape(40, MIB)
    bench.save(a=array)
    used = bench.used()

    array[7, 1000:2000] += 1
    stored = bench.save(a=array)

    assert bench.used() - used == MIB
    assert np.array_equal(bench.load(stored.artifact)["a"], array)


def lengths(stored: Stored) -> list[int]:
    return [extent.length for row in checked_buffers(stored.artifact) for extent in row]


@pytest.mark.parametrize("holder", ["array", "dict"])
def test_what_changes_in_few_parts_of_each_extent_costs_these_from_the_second_time_on(
    bench: Bench, holder: str
) -> None:
    array = noise(8 * MIB)
    value: Any = array if holder == "array" else {"weights": array}
    last = bench.save(a=value)
    written = []
    for number in range(3):
        array[number::MIB] ^= 1
        before = bench.used()
        last = bench.save(last, a=value)
        written.append(bench.used() - before)

    assert written == [8 * MIB, MIB, MIB]
    assert lengths(last)[-64:] == [PART_BYTES] * 64
    back = bench.load(last.artifact)["a"]
    assert ((back if holder == "array" else back["weights"]) == array).all()


def test_an_extent_that_is_changed_as_a_whole_is_stored_as_one_again(bench: Bench) -> None:
    array = noise(3 * MIB)
    last = bench.save(a=array)
    array[::MIB] ^= 1
    last = bench.save(last, a=array)
    array[MIB : 2 * MIB] ^= 1
    last = bench.save(last, a=array)

    assert lengths(last) == [PART_BYTES] * 8 + [MIB] + [PART_BYTES] * 8
    assert (bench.load(last.artifact)["a"] == array).all()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
def test_what_was_there_before_is_shared_whoever_stored_it(bench: Bench, elsewhere: bool) -> None:
    history = [f"{number}: {noise(300).tobytes().hex()}" for number in range(40)]
    last = bench.save(history=history)
    if elsewhere:
        values._STORED.clear()
    else:
        bench.known.clear()  # nobody has to be asked
    history.append("and one more")

    stored = bench.save(last, history=history)

    assert stored.needs == {last.artifact.digest}
    assert sum(place.extent.length for place in stored.locations) < 2000
    assert bench.load(stored.artifact) == {"history": history}


def test_another_process_keeps_the_parts_as_they_are_and_writes_only_what_changed(bench: Bench) -> None:
    array = noise(3 * MIB)
    last = bench.save(a=array)
    array[::MIB] ^= 1
    last = bench.save(last, a=array)
    bench.store.close()
    bench.store = LocalStore(bench.folder)  # which has no marks of anything
    values._STORED.clear()
    used = bench.used()
    array[7] ^= 1

    last = bench.save(last, a=array)

    assert bench.used() - used == PART_BYTES
    assert lengths(last) == [PART_BYTES] * 24


def test_the_same_bytes_under_another_codec_are_stored_once(bench: Bench) -> None:
    array = noise(4 * MIB)
    bench.save(a=array)
    used = bench.used()

    stored = bench.save(a=array, b=[array])

    assert stored.artifact.codec == "pickle5"
    assert bench.used() == used


def test_another_process_with_the_same_journal_stores_nothing_twice(bench: Bench) -> None:
    first = bench.save(a=noise(4 * MIB))
    used = bench.used()
    other = Bench(bench.folder)
    other.index = bench.index

    second = other.save(a=noise(4 * MIB))

    assert second == first
    assert bench.used() == used


def test_locations_name_each_extent_once(bench: Bench) -> None:
    array = np.tile(noise(MIB), 5)

    stored = bench.save(a=array)

    assert len(stored.locations) == 1
    assert np.array_equal(bench.load(stored.artifact)["a"], array)


def test_what_cannot_be_stored_is_named_and_the_rest_is_kept(bench: Bench) -> None:
    stored = bench.save(values=[1, 2], lines=(line for line in "ab"))

    back = bench.load(stored.artifact)

    assert list(stored.unstorable) == ["lines"]
    assert back["values"] == [1, 2]


def test_an_array_of_one_extent_owns_its_memory(bench: Bench) -> None:
    stored = bench.save(a=noise(MIB))

    back = bench.load(stored.artifact)["a"]

    assert back.flags.owndata


class PlainStore:
    """A store that only does what the protocol asks for."""

    def __init__(self, store: LocalStore) -> None:
        self.write, self.flush, self.read, self.close = store.write, store.flush, store.read, store.close


def test_a_store_that_cannot_read_in_place_works_too(bench: Bench) -> None:
    array = noise(10 * MIB)
    stored = bench.save(a=array)

    back = load_values(stored.artifact, store=PlainStore(bench.store), index=bench.index, namespace={})

    assert np.array_equal(back["a"], array)


@pytest.mark.parametrize("size", [1, 3, 20])
def test_damaged_bytes_are_an_error_that_names_the_value_and_the_file(bench: Bench, size: int) -> None:
    stored = bench.save(weights=noise(size * MIB))
    path = bench.damage(size * MIB - 7)

    with pytest.raises(CorruptError) as caught:
        bench.load(stored.artifact)

    assert caught.value.kind == "corrupt-artifact"
    assert "`weights`" in caught.value.message
    assert path.name in caught.value.message
    assert caught.value.hint


def test_damage_in_any_buffer_of_a_pickle_is_an_error(bench: Bench) -> None:
    stored = bench.save(a=noise(MIB), b=[noise(MIB, 1)])
    bench.damage(MIB + 10)

    with pytest.raises(CorruptError) as caught:
        bench.load(stored.artifact)

    assert caught.value.kind == "corrupt-artifact"


def test_saving_again_after_damage_was_found_makes_it_whole(bench: Bench) -> None:
    stored = bench.save(a=noise(3 * MIB))
    bench.damage()
    with pytest.raises(CorruptError):
        bench.load(stored.artifact)

    again = bench.save(a=noise(3 * MIB))

    assert again.artifact == stored.artifact
    assert np.array_equal(bench.load(again.artifact)["a"], noise(3 * MIB))


def changed(manifest: Mapping[str, Any], path: list[Any], value: object) -> dict[str, Any]:
    copy: Any = json.loads(json.dumps(manifest))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return copy  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["codec"], "pickle5"),
        (["version"], 2),
        (["meta", "name"], "other"),
        (["meta", "zarr", "shape"], [1]),
        (["meta", "zarr", "data_type"], "int8"),
        (["buffers", 0], packed_extents([Extent(Digest("0" * 64), MIB)] * 2)),
        (["buffers"], []),
    ],
)
def test_a_changed_manifest_is_refused(bench: Bench, path: list[Any], value: object) -> None:
    artifact = bench.save(a=noise(2 * MIB)).artifact

    with pytest.raises(CorruptError) as caught:
        bench.load(replace(artifact, manifest=changed(artifact.manifest, path, value)))

    assert caught.value.kind == "corrupt-artifact"
    assert "manifest" in caught.value.message


@pytest.mark.parametrize(("path", "value"), [(["codec"], "parquet"), (["version"], 3)])
def test_a_format_of_a_later_version_says_what_to_install(
    bench: Bench, path: list[Any], value: object
) -> None:
    artifact = bench.save(a=noise(2 * MIB)).artifact
    manifest = changed(artifact.manifest, path, value)

    with pytest.raises(CorruptError) as caught:
        bench.load(replace(artifact, manifest=manifest, digest=manifest_digest(manifest)))

    assert caught.value.kind == "unknown-format"
    assert "pip install" in caught.value.hint


def test_an_extent_the_journal_has_no_place_for_is_an_error(bench: Bench) -> None:
    stored = bench.save(a=noise(2 * MIB))
    bench.index.clear()

    with pytest.raises(CorruptError, match="no place"):
        bench.load(stored.artifact)


def test_a_place_of_another_length_is_an_error(bench: Bench) -> None:
    stored = bench.save(a=noise(2 * MIB))
    (first, *_) = bench.index
    place = bench.index[first]
    bench.index[first] = Location(
        Extent(first, place.extent.length - 1), pack=place.pack, offset=place.offset
    )

    with pytest.raises(CorruptError):
        bench.load(stored.artifact)


class Refusing:
    """Can be stored and not be made again."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("no such service")


def test_a_value_that_cannot_be_made_again_is_an_error_of_the_store_with_its_reason(bench: Bench) -> None:
    artifact = bench.save(a=Refusing()).artifact

    with pytest.raises(StoreError) as caught:
        bench.load(artifact)

    assert caught.value.kind == "unloadable-value"
    assert "RuntimeError: no such service" in caught.value.message


def test_a_definition_nobody_gives_is_an_error_of_the_store(bench: Bench) -> None:
    def function() -> None: ...

    function.__module__ = "__main__"
    anchors = {id(function): Anchor("function", Digest("0" * 64), Digest("1" * 64))}
    stored = store_values(
        {"a": [function]}, namespace={}, store=bench.store, index=bench.index, anchors=anchors
    )
    bench.index.commit(stored.locations)

    with pytest.raises(StoreError) as caught:
        bench.load(stored.artifact)

    assert caught.value.kind == "unresolved-definition"


@pytest.mark.parametrize("text", [b"[1]", b"7", b"null", b'"x"'])
def test_what_only_says_that_it_is_names_with_numbers_is_refused(text: bytes) -> None:
    """Numbers load from stores of strangers."""
    with pytest.raises(CorruptError):
        PlainCodec().decode({"names": ["a"]}, lambda _number: memoryview(text), namespace={})
