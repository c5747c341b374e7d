"""What is shown to whoever approves: as JSON or text for every surface, and what an approval holds for."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

from kitaru_nb.artifacts.digest import digest_values, opaque_in
from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.errors import UsageError

__all__ = ["digest_shown", "displayed"]

_LONGEST = 50_000  # characters of it that are kept with the question
_PLAIN = (str, int, float, bool, type(None))


def displayed(value: object) -> Any:
    """`value` as every surface can display it: plain data as it is, anything else as its text.

    What is very long is cut: the whole of it is only compared, see `digest_shown`.
    """
    if _is_plain(value):
        try:
            text = value if type(value) is str else json.dumps(value, allow_nan=False)
        except ValueError:  # not a number, or it refers to itself
            text = repr(value)
        else:
            if len(text) <= _LONGEST:
                return value if type(value) is str else json.loads(text)
    else:
        text = str(value)
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
