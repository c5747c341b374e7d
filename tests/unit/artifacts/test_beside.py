"""What is large and no array of numbers, beside the pickle stream all the same: pictures, numpy's texts."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.artifacts.pickle_codec import PickleCodec
from kitaru_nb.artifacts.vault import VAULT

RANDOM = np.random.default_rng(3)
KNOWN = "c4n4ry1n3nv1r0nm3nt0001"


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SOME_API_KEY", KNOWN)
    VAULT.forget()
    yield
    VAULT.forget()


def stored(value: Any) -> tuple[dict[str, Any], list[memoryview]]:
    done = PickleCodec().encode({"x": value}, namespace={})
    return dict(done.meta), list(done.buffers)


def loaded(meta: dict[str, Any], buffers: list[memoryview]) -> Any:
    copies = [memoryview(bytearray(buffer.cast("B"))) for buffer in buffers]
    return PickleCodec().decode(meta, copies.__getitem__, namespace={})["x"]


# Pictures


def picture(mode: str) -> PIL.Image.Image:
    made = PIL.Image.fromarray(RANDOM.integers(0, 255, (300, 400, 3), "u1"))
    return made.quantize(64) if mode == "P" else made.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "I", "F", "1"])
def test_the_pixels_of_a_picture_are_a_buffer_of_their_own(mode: str) -> None:
    value = picture(mode)
    value.info["of"] = "a test"

    meta, buffers = stored(value)
    found = loaded(meta, buffers)

    pixels = value.tobytes()
    assert len(buffers) == (2 if len(pixels) >= 64 << 10 else 1)
    assert buffers[0].nbytes < 3000 + (0 if len(buffers) == 2 else len(pixels))
    assert (found.mode, found.size, found.info) == (value.mode, value.size, value.info)
    assert found.tobytes() == pixels
    assert found.getpalette() == value.getpalette()
    found.putpixel((0, 0), 0)


def test_a_picture_from_a_file_keeps_its_class_and_needs_the_file_no_more(tmp_path: Path) -> None:
    picture("RGB").save(tmp_path / "a.png")
    value = PIL.Image.open(tmp_path / "a.png")

    meta, buffers = stored(value)
    (tmp_path / "a.png").unlink()
    found = loaded(meta, buffers)

    assert type(found) is type(value)
    assert (found.format, found.tobytes()) == ("PNG", value.tobytes())


def test_a_picture_that_cannot_be_read_any_more_is_a_marker(tmp_path: Path) -> None:
    picture("RGB").save(tmp_path / "a.png")
    value = PIL.Image.open(tmp_path / "a.png")
    value.close()

    assert is_marker(loaded(*stored({"of": value, "n": 1}))["of"])


def test_pixels_are_not_looked_through_for_text() -> None:
    text = (KNOWN.encode() + b" ") * 5000
    value = PIL.Image.frombytes("L", (len(text) // 100, 100), text)

    meta, buffers = stored(value)

    assert "secrets" not in meta
    assert loaded(meta, buffers).tobytes() == text


# Texts


def strings(kind: str, **dtype: Any) -> Any:
    items: list[Any] = [f"line {n} of what was written" for n in range(6000)]
    if kind == "other":
        items[::3] = [f"größer {n} 日本" for n in range(2000)]
        items[7] = ""
    made = np.array(items, dtype=np.dtypes.StringDType(**dtype))
    if "na_object" in dtype:
        made[::5] = dtype["na_object"]
    return made


@pytest.mark.parametrize("dtype", [{}, {"na_object": None}, {"na_object": np.nan}, {"coerce": False}])
@pytest.mark.parametrize("kind", ["plain", "other"])
@pytest.mark.parametrize("order", ["C", "F", "1d"])
def test_an_array_of_texts_is_two_buffers(kind: str, dtype: dict[str, Any], order: str) -> None:
    value = strings(kind, **dtype)
    value = value if order == "1d" else value.reshape(60, 100).copy(order)
    value.flags.writeable = order != "C"

    meta, buffers = stored(value)
    found = loaded(meta, buffers)

    assert [buffer.nbytes >= 64 << 10 for buffer in buffers[1:]] == [True]  # lengths are short
    assert buffers[0].nbytes < 30_000, "the lengths, and no text"
    assert (found.dtype, found.shape, found.flags.writeable) == (value.dtype, value.shape, order != "C")
    assert found.flags.f_contiguous == value.flags.f_contiguous
    assert repr(found.tolist()) == repr(value.tolist())
    if isinstance(dtype.get("na_object"), float):
        assert np.isnan(found).flat[0]
        assert (np.isnan(found) == np.isnan(value)).all()


@pytest.mark.parametrize(
    "value",
    [
        strings("plain")[:100],
        strings("plain")[::2],
        strings("plain")[10:],
        strings("plain", na_object="missing"),
        np.empty(0, np.dtypes.StringDType()),
    ],
)
def test_what_numpy_stores_best_itself_is_left_to_it(value: Any) -> None:
    meta, buffers = stored(value)
    found = loaded(meta, buffers)

    assert (found.dtype, found.tolist()) == (value.dtype, value.tolist())


def test_a_secret_in_an_array_of_texts_is_a_reference_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    value = strings("plain")
    value[3000] = f"see {KNOWN}"

    meta, buffers = stored(value)

    assert not any(KNOWN.encode() in bytes(buffer) for buffer in buffers)
    assert (loaded(meta, buffers) == value).all()


def test_storing_texts_makes_no_object_of_each() -> None:
    value = np.array(["a text of forty characters, more or less"], np.dtypes.StringDType()).repeat(400_000)
    size = 400_000 * 41
    stored(value[:2000].copy())
    gc.collect()

    tracemalloc.start()
    stored(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2.5 * size
