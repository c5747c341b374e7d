"""What a codec is: one way to turn a value into a manifest and buffers, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from kitaru_nb.model.artifact import Anchor

__all__ = ["NO_ANCHORS", "Anchors", "Codec", "Encoded", "ReadBuffer", "Resolve"]

ReadBuffer = Callable[[int], memoryview]
"""Gives buffer number i of an artifact, verified, in one piece (writable when possible)."""


Anchors = Mapping[int, Anchor]
"""By `id`: the functions and classes of the notebook that are stored by themselves."""

NO_ANCHORS: Anchors = MappingProxyType({})

Resolve = Callable[[Anchor], object]
"""Gives the function or class that an anchor stands for."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as bytes, before it is cut into extents.

    Attributes:
        codec: Name of the codec that reads it back.
        meta: What the codec needs besides the buffers; JSON values only.
        buffers: The content, without copies where the value allows it. For ``pickle5``
            buffer 0 is the pickle stream and the others are its out-of-band buffers.
        unstorable: For each top-level name with a part that could not be stored: why.
        grows_from: Where in buffer 0 the pickle begins that only grows when what it holds is
            appended to; None where nothing is known.
    """

    codec: str
    meta: Mapping[str, Any]
    buffers: Sequence[memoryview]
    unstorable: Mapping[str, str] = field(default_factory=dict)
    grows_from: int | None = None


class Codec(Protocol):
    """Turns a group of names into bytes and back."""

    name: str

    def encode(
        self, values: Mapping[str, object], *, namespace: dict[str, Any], anchors: Anchors = NO_ANCHORS
    ) -> Encoded | None:
        """`values` as bytes; None where this codec cannot hold them exactly.

        `namespace` is the live notebook namespace (functions refer to it). Functions and classes in
        `anchors` are referred to, not carried along.
        """
        ...

    def decode(
        self,
        meta: Mapping[str, Any],
        read: ReadBuffer,
        *,
        namespace: dict[str, Any],
        resolve: Resolve | None = None,
    ) -> dict[str, object]:
        """The values again; functions defined in cells get `namespace` as their globals.

        `resolve` gives what an anchor stands for; it may decode another artifact meanwhile.
        """
        ...
