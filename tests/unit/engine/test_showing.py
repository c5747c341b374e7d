"""What is shown with a question, and what an approval of it holds for."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from kitaru_nb.engine.showing import as_words, digest_shown, displayed
from kitaru_nb.errors import UsageError


@pytest.mark.parametrize("value", ["draft", {"a": [1, None, True]}, [1.5, "x"], 3])
def test_plain_data_is_shown_as_it_is(value: Any) -> None:
    assert displayed(value) == value


def test_anything_else_is_shown_as_its_text() -> None:
    table = pd.DataFrame({"a": [1, 2]})

    assert displayed(table) == str(table)
    assert displayed(float("nan")) == "nan"
    assert displayed({1: "a"}) == "{1: 'a'}"


def test_of_a_wide_and_long_table_no_line_is_broken_and_little_is_left_out() -> None:
    table = pd.DataFrame(np.arange(150 * 40).reshape(150, 40))

    shown = displayed(table)

    assert len(shown.splitlines()) == 151
    assert all(str(number) in shown.split() for number in table.to_numpy().flat)


def png_of(shown: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(shown["image/png"])))


def test_a_figure_is_shown_as_a_picture() -> None:
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([1, 2, 3])

    shown = displayed(figure)

    assert png_of(shown).size == (288, 216)
    assert shown["text/plain"] == str(figure)
    assert as_words(shown) == f"a picture: {figure}"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P", "F", "I", "CMYK", "LA"])
def test_an_image_is_shown_in_every_mode(mode: str) -> None:
    shown = displayed(Image.new(mode, (20, 10)))

    assert png_of(shown).size == (20, 10)


def test_a_large_picture_is_made_smaller_until_it_is_small_enough() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (2000, 3000, 3), dtype="u1")

    shown = displayed(Image.fromarray(noise))

    assert png_of(shown).size == (200, 133)
    assert len(shown["image/png"]) < 134_000


def test_an_image_without_a_pixel_is_shown_as_text() -> None:
    image = Image.new("RGB", (0, 0))

    assert displayed(image) == str(image)


def test_what_is_very_long_is_cut_and_says_so() -> None:
    shown = displayed("x" * 100_000)

    assert len(shown) < 51_000
    assert shown.endswith("… (100,000 characters in all)")
    assert displayed(["x" * 100_000]).startswith('["xxx')


def test_what_refers_to_itself_is_shown_as_text() -> None:
    endless: list[Any] = []
    endless.append(endless)

    assert displayed(endless) == "[[...]]"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("draft", "draft 2"),
        (1, True),
        (np.zeros(3), np.zeros(3, dtype="float32")),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
        ("x" * 100_000 + "a", "x" * 100_000 + "b"),
    ],
)
def test_an_approval_holds_for_the_whole_value(one: Any, other: Any) -> None:
    assert digest_shown(one) == digest_shown(one)
    assert digest_shown(one) != digest_shown(other)


def test_a_figure_is_compared_by_what_is_seen_of_it(tmp_path: Path) -> None:
    program = tmp_path / "draw.py"
    program.write_text(
        "import sys, matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
        "from kitaru_nb.engine.showing import digest_shown\n"
        "plt.plot([1, float(sys.argv[1])])\nprint(digest_shown(plt.gcf()))"
    )

    def drawn(value: str) -> str:
        command = [sys.executable, str(program), value]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert drawn("2") == drawn("2")
    assert drawn("2") != drawn("3")


def test_what_cannot_be_compared_cannot_be_approved(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as file, pytest.raises(UsageError, match="cannot be compared") as refused:
        digest_shown({"log": file})

    assert refused.value.kind == "bad-show"
