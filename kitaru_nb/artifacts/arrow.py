"""What Arrow data is, whichever way it lies in memory: one digest for equal arrays and tables.

An Arrow array pickles as its buffers, with an offset into them and a count of nulls that is
filled in when someone asks for it. None of that is its value. Written as an IPC stream it is
cut to what it shows; pandas keeps its text in such arrays.
"""

from __future__ import annotations

import sys
from typing import Any

import xxhash

__all__ = ["arrow_parts"]


def arrow_parts(obj: Any) -> tuple[Any, ...] | None:
    """The parts of an Arrow array, table or buffer: its type and a digest of what it holds.

    Chunks count, as `num_chunks` shows them. None for everything else. Costs about one copy
    of the data, in pieces.
    """
    cls = type(obj)
    if cls.__module__ != "pyarrow.lib":
        return None
    arrow = sys.modules["pyarrow"]
    if isinstance(obj, arrow.Buffer):
        return ("arrow", cls.__qualname__, obj.size, xxhash.xxh3_128_digest(obj))
    held = _as_table(obj, arrow)
    if held is None:
        return None
    sink = _Hash()
    with arrow.ipc.new_stream(sink, held.schema) as stream:
        stream.write(held)
    # A stream leaves out chunks that hold nothing.
    columns = obj.columns if isinstance(obj, arrow.Table) else [obj]
    lengths = [[len(chunk) for chunk in getattr(column, "chunks", ())] for column in columns]
    return ("arrow", cls.__qualname__, len(obj), repr(lengths), sink.hasher.digest())


def _as_table(obj: Any, arrow: Any) -> Any:
    if isinstance(obj, arrow.Table | arrow.RecordBatch):
        return obj
    if isinstance(obj, arrow.ChunkedArray):
        return arrow.Table.from_arrays([obj], names=[""])
    if isinstance(obj, arrow.Array):
        return arrow.RecordBatch.from_arrays([obj], names=[""])
    return None


class _Hash:
    """A file that keeps nothing of what is written to it but a digest."""

    closed = False

    def __init__(self) -> None:
        self.hasher = xxhash.xxh3_128()

    def write(self, data: Any) -> int:
        self.hasher.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""
