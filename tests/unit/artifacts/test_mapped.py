"""Large values come back as private mappings, owned like any other memory and checked before use."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kitaru_nb.artifacts.local_store import LocalStore
from kitaru_nb.artifacts.memory import SMALLEST_MAPPED, Memory, adopted
from kitaru_nb.artifacts.values import load_values, store_values
from kitaru_nb.artifacts.verify import Verification
from kitaru_nb.errors import CorruptError
from kitaru_nb.model.artifact import Artifact
from kitaru_nb.testing import MemoryIndex

MIB = 1 << 20
COUNT = (6 * MIB + 4096 + 8) // 8  # several extents, the last one short and no whole page

pytestmark = pytest.mark.skipif(
    Memory.to_map(SMALLEST_MAPPED) is None, reason="files are not mapped on this platform"
)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(folder)
        self.index = MemoryIndex()

    def save(self, **values: object) -> Artifact:
        stored = store_values(values, namespace={}, store=self.store, index=self.index)
        self.store.flush()
        self.index.commit(stored.locations)
        return stored.artifact

    def load(self, artifact: Artifact) -> tuple[dict[str, Any], list[Verification]]:
        checks: list[Verification] = []
        values = load_values(artifact, store=self.store, index=self.index, namespace={}, later=checks)
        return values, checks

    def pack(self) -> Path:
        (path,) = self.store.folder.rglob("*.pack")
        return path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "store")
    yield bench
    bench.store.close()


def wait(checks: list[Verification]) -> None:
    for check in checks:
        check.wait()


def mapped(address: int) -> bool:
    """Whether a pack is mapped at `address` of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        low, high = (int(part, 16) for part in line.split()[0].split("-"))
        if low <= address < high:
            return line.endswith(".pack")
    return False


VALUES: dict[str, Callable[[], Any]] = {
    "array": lambda: np.arange(COUNT, dtype=np.float64),
    "times": lambda: np.arange(COUNT).astype("M8[s]"),
    "matrix": lambda: np.arange(1 << 20, dtype=np.float64).reshape(1 << 10, 1 << 10),
    "fortran": lambda: np.asfortranarray(np.arange(1 << 20, dtype=np.float64).reshape(1 << 10, 1 << 10)),
    "in a dict": lambda: {"w": np.arange(COUNT)},
}


def inside(value: Any) -> Any:
    return value["w"] if isinstance(value, dict) else value


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_a_mapped_array_is_like_any_other(bench: Bench, make: Callable[[], Any]) -> None:
    artifact = bench.save(v=make())

    values, checks = bench.load(artifact)
    wait(checks)

    array = inside(values["v"])
    assert checks
    assert mapped(array.ctypes.data)
    assert np.array_equal(array, inside(make()))
    assert array.flags.owndata
    assert array.flags.writeable
    assert array.flags.f_contiguous == inside(make()).flags.f_contiguous


def test_writing_to_it_leaves_the_store_alone(bench: Bench) -> None:
    artifact = bench.save(v=np.arange(COUNT))
    values, checks = bench.load(artifact)
    checks[0].wait()

    values["v"][:] = -1

    assert np.array_equal(bench.load(artifact)[0]["v"], np.arange(COUNT))


def test_it_can_be_resized_where_it_is(bench: Bench) -> None:
    artifact = bench.save(v=np.arange(COUNT))
    values, checks = bench.load(artifact)
    checks[0].wait()
    array = values.pop("v")

    array.resize(COUNT + 5)

    assert np.array_equal(array[:COUNT], np.arange(COUNT))
    assert not array[COUNT:].any()


def test_its_memory_is_given_back(bench: Bench) -> None:
    artifact = bench.save(v=np.arange(COUNT))
    values, checks = bench.load(artifact)
    checks[0].wait()
    address = values["v"].ctypes.data

    del values
    gc.collect()

    assert not mapped(address)


def test_memory_that_no_array_took_over_is_given_back(bench: Bench) -> None:
    artifact = bench.save(v=pa.table({"n": pa.array(range(COUNT))}))
    values, checks = bench.load(artifact)
    wait(checks)
    address = values["v"]["n"].chunks[0].buffers()[1].address
    assert mapped(address)

    del values, checks
    gc.collect()

    assert not mapped(address)


def test_views_of_one_array_lie_in_the_same_mapping(bench: Bench) -> None:
    whole = np.arange(COUNT)
    artifact = bench.save(a=whole, b=whole[10:])

    values, checks = bench.load(artifact)
    wait(checks)
    values["b"][0] = -5

    assert values["a"][10] == -5
    assert mapped(values["b"].ctypes.data)


def test_a_frame_is_mapped_and_can_be_changed(bench: Bench) -> None:
    frame = pd.DataFrame({"x": np.arange(COUNT), "y": np.arange(COUNT) * 2.0})
    artifact = bench.save(v=frame)
    values, checks = bench.load(artifact)
    wait(checks)

    values["v"].loc[3, "y"] = -1.0

    assert checks
    assert frame.drop(index=3).equals(values["v"].drop(index=3))


def test_one_memory_is_taken_over_once(bench: Bench) -> None:
    memory = Memory.of(MIB)
    assert memory is not None
    first = adopted(memory.view, (MIB,), np.dtype("u1"))

    second = adopted(memory.view, (MIB,), np.dtype("u1"))

    assert first is not None
    assert second is None


@pytest.mark.parametrize("value", ["array", "in a dict"])
def test_a_flipped_byte_is_found_before_the_value_is_used(bench: Bench, value: str) -> None:
    artifact = bench.save(v=VALUES[value]())
    data = bytearray(bench.pack().read_bytes())
    data[2 * MIB + 17] ^= 4
    bench.pack().write_bytes(data)

    _, checks = bench.load(artifact)

    with pytest.raises(CorruptError, match="digest"):
        wait(checks)


@pytest.mark.parametrize("size", [0, MIB, 5 * MIB])
def test_a_pack_that_was_cut_short_is_an_error_at_once(bench: Bench, size: int) -> None:
    artifact = bench.save(v=np.arange(COUNT))
    os.truncate(bench.pack(), size)

    with pytest.raises(CorruptError, match="cut short"):
        bench.load(artifact)


def test_a_pack_that_is_gone_is_an_error_at_once(bench: Bench) -> None:
    artifact = bench.save(v=np.arange(COUNT))
    bench.pack().unlink()

    with pytest.raises(CorruptError, match="gone"):
        bench.load(artifact)


def test_a_pack_that_is_cut_short_while_it_is_mapped_is_an_error_and_no_signal(bench: Bench) -> None:
    bench.save(v=np.arange(COUNT))
    places = sorted(bench.index.values(), key=lambda place: (place.data is not None, place.offset))
    memory = Memory.to_map(sum(place.extent.length for place in places))
    assert memory is not None
    assert bench.store.map_into(places, memory)
    os.truncate(bench.pack(), 0)

    with pytest.raises(CorruptError, match="cut short"):
        Verification(bench.store, places, memory).wait()


def test_a_pack_that_is_removed_while_it_is_mapped_harms_nothing(bench: Bench) -> None:
    artifact = bench.save(v=np.arange(COUNT))
    values, checks = bench.load(artifact)
    checks[0].wait()

    bench.pack().unlink()

    assert np.array_equal(values["v"], np.arange(COUNT))


def test_damage_explains_what_a_class_makes_of_damaged_bytes(bench: Bench) -> None:
    artifact = bench.save(v=Picky(np.arange(COUNT)))
    data = bytearray(bench.pack().read_bytes())
    data[2 * MIB + 17] ^= 4
    bench.pack().write_bytes(data)

    with pytest.raises(CorruptError, match="digest"):
        bench.load(artifact)


class Picky:
    def __init__(self, values: Any) -> None:
        self.values = values

    def __reduce__(self) -> Any:
        return picky, (self.values,)


def picky(values: Any) -> Picky:
    if not np.array_equal(values, np.arange(COUNT)):
        raise ValueError("these are not the numbers")
    return Picky(values)


def test_a_process_that_ends_with_mapped_arrays_ends_well(bench: Bench) -> None:
    bench.save(v=np.arange(COUNT))
    code = (
        "import numpy as np, ctypes\n"
        "from kitaru_nb.artifacts.memory import Memory, adopted\n"
        "kept = [adopted(Memory.of(1 << 20).view, (1 << 20,), np.dtype('u1')) for _ in range(20)]\n"
        "kept[0].resize(1 << 21, refcheck=False); kept[1] = None; cycle = [kept]; cycle.append(cycle)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_where_a_file_that_is_deleted_elsewhere_is_gone_nothing_is_mapped(bench: Bench) -> None:
    artifact = bench.save(value=np.arange(COUNT))
    bench.store = LocalStore(bench.store.folder, mappable=lambda: False)

    values, checks = bench.load(artifact)

    assert checks == []
    assert np.array_equal(values["value"], np.arange(COUNT))
