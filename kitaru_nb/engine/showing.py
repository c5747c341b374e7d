"""What is shown to whoever approves: as JSON or text for every surface, and what an approval holds for."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Mapping
from typing import Any

from kitaru_nb.artifacts.digest import digest_values, opaque_in
from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.errors import UsageError

__all__ = ["PNG", "as_words", "digest_shown", "displayed", "is_whole"]

PNG = "image/png"
"""Under this name the JSON of a picture has its PNG in base64, and its text under ``text/plain``."""

_LONGEST = 50_000  # characters of it that are kept with the question
_LARGEST = 100_000  # bytes of a picture as PNG that are kept with it
_SIDES = (1000, 700, 400, 200, 100)  # pixels of the longer side, tried in turn until it is small enough
_DPI = 72
_ROWS, _COLUMNS = 200, 100  # of a table
_PLAIN = (str, int, float, bool, type(None))


def displayed(value: object) -> Any:
    """`value` as every surface can display it: plain data as it is, a picture, or else its text.

    A figure of matplotlib and an image of PIL are pictures, made smaller until they take at most
    100 kB. What is very long is cut: the whole of it is only compared, see `digest_shown`.
    """
    picture = _picture(value)
    if picture is not None:
        return {PNG: base64.b64encode(picture).decode("ascii"), "text/plain": str(value)}
    if _is_plain(value):
        try:
            text = value if type(value) is str else json.dumps(value, allow_nan=False)
        except ValueError:  # not a number, or it refers to itself
            text = repr(value)
        else:
            if len(text) <= _LONGEST:
                return value if type(value) is str else json.loads(text)
    else:
        text = _text(value)
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}\n… ({len(text):,} characters in all)"


def digest_shown(value: object) -> str:
    """What tells the value that was shown from any other, equal in every attempt.

    Raises:
        UsageError: kind ``bad-show``: nothing tells it apart, such as an open file.
    """
    namespace = vars(sys.modules["__main__"])
    digest = digest_values({"": _as_compared(value)}, namespace=namespace)
    if opaque_in(digest):
        raise UsageError(
            f"`show` is or holds {kind_name(value)}, which cannot be compared: an approval would hold for "
            "anything",
            kind="bad-show",
            hint="show=text, a table, an array or an image's bytes",
        )
    return digest


def as_words(shown: Any) -> str:
    """What `displayed` gave, where only text can be displayed."""
    if isinstance(shown, str):
        return shown
    if _is_picture(shown):
        return f"a picture: {shown.get('text/plain', '')}"
    return json.dumps(shown, indent=2, ensure_ascii=False)


def is_whole(shown: Any, value: object) -> bool:
    """Whether `shown`, which `displayed` gave, shows `value` as well as anything could."""
    # What is no plain data may compare to anything: a table compares cell by cell, and has no truth.
    return _is_picture(shown) or (_is_plain(value) and shown == value)


def _is_picture(shown: Any) -> bool:
    return isinstance(shown, Mapping) and isinstance(shown.get(PNG), str)


def _text(value: object) -> str:
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, (pandas.DataFrame, pandas.Series)):
        return str(value)
    # It is read in a form that scrolls, not in a terminal, where lines are broken and most is left out.
    rows = ("display.max_rows", _ROWS, "display.min_rows", _ROWS)
    with pandas.option_context(*rows, "display.max_columns", _COLUMNS, "display.expand_frame_repr", False):
        return str(value)


def _picture(value: object) -> bytes | None:
    """`value` as PNG if it is a picture, and can be made small enough."""
    for side in _SIDES:
        found = _figure(value, side) or _image(value, side)
        if found is None or len(found) <= _LARGEST:
            return found
    return None


def _figure(value: object, side: int) -> bytes | None:
    figures = sys.modules.get("matplotlib.figure")
    if figures is None or not isinstance(value, figures.Figure):
        return None
    target = io.BytesIO()
    dpi = min(_DPI, side / max(*value.get_size_inches(), 1))
    value.savefig(target, format="png", dpi=dpi)
    return target.getvalue()


def _image(value: object, side: int) -> bytes | None:
    images = sys.modules.get("PIL.Image")
    if images is None or not isinstance(value, images.Image):
        return None
    target = io.BytesIO()
    try:
        small = value.convert("RGBA" if "A" in value.getbands() else "RGB")
        small.thumbnail((side, side))
        small.save(target, format="PNG")
    except (OSError, ValueError):
        return None
    return target.getvalue()


def _as_compared(value: object) -> object:
    """A figure by what is seen of it: the object itself is another one in each process."""
    figures = sys.modules.get("matplotlib.figure")
    if figures is None or not isinstance(value, figures.Figure):
        return value
    pixels = io.BytesIO()
    value.savefig(pixels, format="rgba")
    return pixels.getvalue()


def _is_plain(value: object, depth: int = 0) -> bool:
    if type(value) in _PLAIN:
        return True
    if depth > 50:  # deeper than anybody reads, or it refers to itself
        return False
    if type(value) is list or type(value) is tuple:
        return all(_is_plain(item, depth + 1) for item in value)
    return type(value) is dict and all(
        type(key) is str and _is_plain(item, depth + 1) for key, item in value.items()
    )
