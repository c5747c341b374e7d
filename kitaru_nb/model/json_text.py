"""Compact JSON, written a few times at each step."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

__all__ = ["json_writer"]


def json_writer(
    *, sort_keys: bool = False, ensure_ascii: bool = True, allow_nan: bool = True
) -> Callable[[object], str]:
    """What writes a value as JSON without spaces: the very text of `json.dumps` with these options.

    `JSONEncoder` makes its C encoder anew for each value, which takes longer than to write a small one.
    A value that contains itself is a `RecursionError`.
    """
    plain = json.JSONEncoder(
        separators=(",", ":"), sort_keys=sort_keys, ensure_ascii=ensure_ascii, allow_nan=allow_nan
    )
    made: Any = getattr(json.encoder, "c_make_encoder", None)
    text = json.encoder.encode_basestring_ascii if ensure_ascii else json.encoder.encode_basestring
    try:
        encoder = made(None, plain.default, text, None, ":", ",", sort_keys, False, allow_nan)
        same = "".join(encoder(_PROBE, 0)) == plain.encode(_PROBE)
    except TypeError:  # another Python, which has none or makes it in another way
        same = False
    if not same:
        return plain.encode

    def write(value: object) -> str:
        return "".join(encoder(value, 0))

    return write


_PROBE = {"b": [1, -2.5, "é\n"], "a": None}
