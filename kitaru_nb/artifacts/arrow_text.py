"""Text in Arrow arrays: where its bytes are, and how it is stored when it holds a secret.

An Arrow array pickles as its buffers, in which nothing can stand for a secret. One that holds a
secret is stored as a list of texts instead, which is looked through item by item. The public
``make_`` names are part of the stored format.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

from kitaru_nb.artifacts.anew import Unstorable
from kitaru_nb.artifacts.marker import Marker

__all__ = [
    "is_arrow_array",
    "make_arrow_dictionary",
    "make_arrow_extension",
    "make_arrow_text",
    "reduce_arrow_text",
    "text_buffers",
]

_FOREIGN = "it holds a secret in a form that cannot be taken out, and secrets are not stored"


def is_arrow_array(obj: object) -> bool:
    """Whether `obj` is an array of pyarrow's, which is never so where pyarrow is not loaded."""
    if type(obj).__module__ != "pyarrow.lib":
        return False
    return isinstance(obj, sys.modules["pyarrow"].Array)


def text_buffers(array: Any) -> Iterator[memoryview]:
    """The buffers that the text and bytes of an Arrow array are in, whole, as they are stored."""
    kind = array.type
    types = sys.modules["pyarrow"].types
    if types.is_dictionary(kind):
        yield from text_buffers(array.dictionary)
    elif isinstance(kind, sys.modules["pyarrow"].BaseExtensionType):
        yield from text_buffers(array.storage)
    elif _is_view(kind, types):
        # The first twelve bytes of a text are in the views themselves.
        yield from (memoryview(buffer) for buffer in array.buffers()[1:] if buffer is not None)
    elif _is_text(kind, types):
        yield from (memoryview(buffer) for buffer in array.buffers()[2:] if buffer is not None)
    else:
        for child in _children(array, types):
            yield from text_buffers(child)


def reduce_arrow_text(array: Any) -> tuple[Any, ...]:
    """What stands for an array that may hold a secret, such that each text in it is an object of its own.

    Raises:
        Unstorable: nothing does, for a type that cannot be made from such objects.
    """
    arrow = sys.modules["pyarrow"]
    kind = array.type
    if arrow.types.is_dictionary(kind):
        return make_arrow_dictionary, (array.indices, array.dictionary, kind.ordered)
    if isinstance(kind, arrow.BaseExtensionType):
        return make_arrow_extension, (kind, array.storage)
    items = array.to_pylist()
    try:
        same = make_arrow_text(items, kind).equals(array)
    except (arrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise Unstorable(_FOREIGN) from error
    if not same:
        raise Unstorable(_FOREIGN)
    return make_arrow_text, (items, kind)


def make_arrow_text(items: list[Any], kind: Any) -> Any:
    """The array again; the marker among its items where a secret is missing."""
    missing = next((item for item in items if type(item) is Marker), None)
    return importlib.import_module("pyarrow").array(items, type=kind) if missing is None else missing


def make_arrow_dictionary(indices: Any, dictionary: Any, ordered: bool) -> Any:  # noqa: FBT001 - as it is stored
    """An array of a dictionary's items again, or the marker that the dictionary is."""
    if type(dictionary) is Marker:
        return dictionary
    return importlib.import_module("pyarrow").DictionaryArray.from_arrays(
        indices, dictionary, ordered=ordered
    )


def make_arrow_extension(kind: Any, storage: Any) -> Any:
    """An array of an extension type again, or the marker that its storage is."""
    if type(storage) is Marker:
        return storage
    return importlib.import_module("pyarrow").ExtensionArray.from_storage(kind, storage)


def _is_view(kind: Any, types: Any) -> bool:
    return bool(types.is_string_view(kind) or types.is_binary_view(kind))


def _is_text(kind: Any, types: Any) -> bool:
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _children(array: Any, types: Any) -> list[Any]:
    kind = array.type
    if types.is_struct(kind) or types.is_union(kind):
        return [array.field(number) for number in range(kind.num_fields)]
    if types.is_map(kind):
        return [array.keys, array.items]
    if types.is_run_end_encoded(kind):
        return [array.values]
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return [array.values]
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        return [array.values]
    return []
