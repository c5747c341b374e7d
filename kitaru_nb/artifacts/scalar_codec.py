"""Plain numbers and text as JSON: what most cells make, at a tenth of the cost of a pickle.

A large text is kept as it is: the same bytes as in a pickle that it is in, so that it is stored once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from kitaru_nb.artifacts.codec import NO_ANCHORS, Anchors, Encoded, ReadBuffer, Resolve
from kitaru_nb.artifacts.secret_rules import LEAST
from kitaru_nb.artifacts.secret_scan import is_secret_text
from kitaru_nb.artifacts.weave import TEXT_LEAST
from kitaru_nb.errors import CorruptError
from kitaru_nb.model.json_text import json_writer

__all__ = ["ScalarCodec"]

_LARGEST = 1 << 63  # larger integers may meet Python's limit on digits when they are read
_WHOLE = frozenset([bool, str, type(None)])


class ScalarCodec:
    """Stores names bound to exactly int, finite float, bool, str or None; loading runs no code."""

    name = "scalar"

    def accepts(self, values: Mapping[str, object]) -> bool:
        """Whether every value is one that JSON gives back exactly, and none is a secret."""
        return all(map(_is_scalar, values.values())) and not any(
            type(value) is str and len(value) >= LEAST and is_secret_text(name, value)
            for name, value in values.items()
        )

    def encode(
        self,
        values: Mapping[str, object],
        *,
        namespace: dict[str, Any],  # noqa: ARG002 - as the protocol has it
        anchors: Anchors = NO_ANCHORS,  # noqa: ARG002 - as the protocol has it
    ) -> Encoded:
        """`values` as one line of JSON in ASCII, or one large text as itself."""
        for name, value in values.items():
            if len(values) == 1 and type(value) is str and len(value) >= TEXT_LEAST:
                text = value.encode("utf-8", "surrogatepass")
                return Encoded(self.name, {"names": [name], "text": True}, [memoryview(text)])
        return Encoded(self.name, {"names": list(values)}, [memoryview(_dumps(values).encode())])

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
    return kind in _WHOLE or (kind is float and math.isfinite(value))  # type: ignore[arg-type] # a float
