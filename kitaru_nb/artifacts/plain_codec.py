"""Plain numbers and text, and a few of them in lists and dicts, as JSON: a tenth of the cost of a pickle.

That is what most cells make. A large text is kept as it is: the same bytes as in a pickle that it is in,
so that it is stored once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from kitaru_nb.artifacts.codec import NO_ANCHORS, Anchors, Encoded, ReadBuffer, Resolve
from kitaru_nb.artifacts.pickle_codec import is_referring
from kitaru_nb.artifacts.secret_rules import LEAST
from kitaru_nb.artifacts.secret_scan import hints_at_secret, is_secret_text
from kitaru_nb.artifacts.weave import TEXT_LEAST
from kitaru_nb.errors import CorruptError
from kitaru_nb.model.json_text import json_writer

__all__ = ["PlainCodec"]

_LARGEST = 1 << 63  # larger integers may meet Python's limit on digits when they are read
_WHOLE = frozenset([bool, type(None)])
_NAMES = frozenset([str])
_MOST_VALUES = 64
_SHARED = 2  # letters; of shorter texts there is one object each
_MOST_BYTES = 4096  # a larger one may grow, and grows cheaply as a pickle


class PlainCodec:
    """Stores exactly int, finite float, bool, str and None, and small lists and dicts of them.

    Loading runs no code.
    """

    name = "scalar"

    def encode(
        self,
        values: Mapping[str, object],
        *,
        namespace: dict[str, Any],  # noqa: ARG002 - as the protocol has it
        anchors: Anchors = NO_ANCHORS,  # noqa: ARG002 - as the protocol has it
    ) -> Encoded | None:
        """`values` as one line of JSON in ASCII, or one large text as itself.

        None where JSON would not give one back exactly, and where one may be a secret.
        """
        if all(map(_is_scalar, values.values())):
            if any(
                type(text) is str and len(text) >= LEAST and is_secret_text(name, text)
                for name, text in values.items()
            ):
                return None
            for name, value in values.items():
                if len(values) == 1 and type(value) is str and len(value) >= TEXT_LEAST:
                    meta = {"names": [name], "text": True}
                    return Encoded(self.name, meta, [memoryview(value.encode())])
            return Encoded(self.name, {"names": list(values)}, [memoryview(_dumps(values).encode())])
        text = _in_containers(values)
        return None if text is None else Encoded(self.name, {"names": list(values)}, [memoryview(text)])

    def decode(
        self,
        meta: Mapping[str, Any],
        read: ReadBuffer,
        *,
        namespace: dict[str, Any],  # noqa: ARG002 - as the protocol has it
        resolve: Resolve | None = None,  # noqa: ARG002 - as the protocol has it
    ) -> dict[str, object]:
        """The names with their values.

        Raises:
            CorruptError: kind ``corrupt-artifact``: it is something else than names with values.
        """
        if meta.get("text"):
            return {meta["names"][0]: str(read(0), "utf-8", "surrogatepass")}
        found = json.loads(bytes(read(0)))
        if not isinstance(found, dict):
            raise CorruptError("it holds no names", kind="corrupt-artifact", hint="kitaru-nb store verify")
        return found


_dumps = json_writer()


def _is_scalar(value: object) -> bool:
    kind = type(value)
    if kind is int:
        return -_LARGEST < value < _LARGEST  # type: ignore[operator] # an int, by the test above
    if kind is str:
        return value.isascii() or _is_whole(value)  # type: ignore[attr-defined, arg-type] # a str
    return kind in _WHOLE or (kind is float and math.isfinite(value))  # type: ignore[arg-type] # a float


def _is_whole(text: str) -> bool:
    """Whether it has no half of a character: two of them would come back as that character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_containers(values: Mapping[str, object]) -> bytes | None:
    """The JSON of a few values in lists and dicts, each in one place only, where nothing hints at a secret.

    With a backslash in it (for letters beyond ASCII, or the end of a line) it is not the text that was
    given, in which secrets are looked for.
    """
    if not _are_plain(values) or is_referring():
        return None
    try:
        text = _dumps(values)
    except (TypeError, ValueError, RecursionError):  # a thread of the user has changed them meanwhile
        return None
    return None if len(text) > _MOST_BYTES or "\\" in text or hints_at_secret(text) else text.encode()


def _are_plain(values: Mapping[str, object]) -> bool:
    """Whether there is nothing else in them, and no container or text is one object in two places."""
    seen: set[int] = set()
    keys: set[int] = set()
    found: list[Any] = list(values.values())
    for each in found:  # it grows meanwhile
        kind = type(each)
        if kind is list or kind is dict:
            if len(found) + len(each) > _MOST_VALUES:
                return False
        elif not _is_scalar(each):
            return False
        elif kind is not str or len(each) < _SHARED:
            continue
        if id(each) in seen:
            return False
        seen.add(id(each))
        if kind is list:
            found += each
        elif kind is dict:
            if not _NAMES.issuperset(map(type, each)):
                return False
            keys.update(map(id, each))
            found += each.values()
    return seen.isdisjoint(keys)
