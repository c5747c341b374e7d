"""The key of a checkpoint: one digest of what a step is and what it reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import CheckpointKey

__all__ = ["checkpoint_key"]


def checkpoint_key(
    *,
    code: Digest,
    reads: Mapping[str, Digest],
    modules: Mapping[str, Digest],
    options: Mapping[str, Any],
) -> CheckpointKey:
    """The key of a step: equal exactly when all four arguments are.

    Args:
        code: Digest of the step's normalised code.
        reads: Each name the step depends on, with the digest of what it holds.
        modules: Each project-local module it reaches, with the digest of its source.
        options: What else decides the result (parameters, say): JSON values, nested as deep as
            needed. A tuple counts as a list; `1`, `1.0` and `True` differ.

    Returns:
        A digest, 64 hexadecimal characters. The order of mappings does not matter.

    Raises:
        TypeError: a value in `options` is not JSON.
    """
    content = _encoded({"code": code, "reads": reads, "modules": modules, "options": options})
    digest = hashlib.blake2b(content, digest_size=32, person=b"kitaru key 1")
    return CheckpointKey(digest.hexdigest())


def _encoded(value: object) -> bytes:
    """Encode a JSON value so that different values have different bytes, none a prefix of another."""
    kind = type(value)
    if kind is str:  # what most of a key is made of
        return _text(value)  # type: ignore[arg-type] # a string, by its type
    if kind is dict:
        return _mapping(value)  # type: ignore[arg-type] # a dict, by its type
    match value:
        case None:
            return b"N"
        case bool():
            return b"T" if value else b"F"
        case int():
            return b"i%x;" % value if value >= 0 else b"i-%x;" % -value
        case float():
            return b"f" + value.hex().encode() + b";"
        case str():
            return _text(value)
        case list() | tuple():
            return b"[" + b"".join(map(_encoded, value)) + b"]"
        case Mapping():
            return _mapping(value)
    raise TypeError(f"a key is made of JSON values, not `{type(value).__name__}`")


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"s%d:%b" % (len(data), data)


def _mapping(value: Mapping[str, object]) -> bytes:
    pieces = [b"{"]
    for key in sorted(value):
        if type(key) is not str and not isinstance(key, str):
            raise TypeError(f"the names in a key are strings, not `{type(key).__name__}`")
        held = value[key]
        pieces += (_text(key), _text(held) if type(held) is str else _encoded(held))
    return b"".join((*pieces, b"}"))
