"""PIL images come back as they were, with their pixels beside the stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.pickle_codec import PickleCodec

RNG = np.random.default_rng(1)


def with_palette() -> Image.Image:
    return Image.fromarray(RNG.integers(0, 255, (300, 400, 3), dtype="u1")).quantize(17)


def with_info() -> Image.Image:
    image = Image.new("RGBA", (300, 300), (1, 2, 3, 4))
    image.info["dpi"] = (72, 72)
    return image


IMAGES: dict[str, Callable[[], Image.Image]] = {
    "RGB": lambda: Image.fromarray(RNG.integers(0, 255, (300, 400, 3), dtype="u1")),
    "grey": lambda: Image.fromarray(RNG.integers(0, 255, (300, 400), dtype="u1")),
    "float": lambda: Image.fromarray(RNG.standard_normal((300, 400), dtype="f4")),
    "bits": lambda: Image.new("1", (1000, 1000)),
    "palette": with_palette,
    "info": with_info,
    "small": lambda: Image.new("RGB", (3, 3), (1, 2, 3)),
    "empty": lambda: Image.new("RGB", (0, 0)),
}


def there_and_back(value: object) -> tuple[Any, int, int]:
    """The value decoded again, and how many bytes of it were in the stream and beside it."""
    encoded = PickleCodec().encode({"v": value}, namespace={})
    buffers = [memoryview(bytes(buffer)) for buffer in encoded.buffers]
    again = PickleCodec().decode(encoded.meta, buffers.__getitem__, namespace={})["v"]
    return again, buffers[0].nbytes, sum(buffer.nbytes for buffer in buffers[1:])


@pytest.mark.parametrize("make", IMAGES.values(), ids=IMAGES)
def test_an_image_comes_back_as_it_was(make: Callable[[], Image.Image]) -> None:
    image = make()

    again, _, _ = there_and_back(image)

    assert type(again) is type(image)
    assert again == image
    assert again.info == image.info
    assert digest_values({"v": again}, namespace={}) == digest_values({"v": image}, namespace={})


def test_its_pixels_are_beside_the_stream_and_it_can_be_drawn_on() -> None:
    image = Image.new("RGB", (400, 300), (1, 2, 3))

    again, inside, beside = there_and_back([image, image])
    again[0].putpixel((1, 1), (9, 9, 9))

    assert inside < 2000
    assert beside == 400 * 300 * 3
    assert again[1].getpixel((1, 1)) == (9, 9, 9)


def test_an_image_of_a_file_that_was_not_read_yet_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(RNG.integers(0, 255, (300, 400, 3), dtype="u1")).save(path)
    image = Image.open(path)

    again, _, beside = there_and_back(image)
    path.unlink()

    assert again == image
    assert beside == 400 * 300 * 3
