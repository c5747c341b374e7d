"""A frame of pandas whose memory others see: what it held before a step, and giving it that back.

What two frames share pandas copies when one of them is written to, so a shallow copy keeps the old
content and costs nothing. But then the write goes elsewhere, and who looks into the same memory
through something else than frames (``df.to_numpy()``, the array that a frame was made of) does not
see it. Of such a frame the elements are copied instead, and the write goes where it always went.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

__all__ = ["Elements", "bytes_of", "elements_of", "is_seen", "may_show", "put_back", "same_elements"]

_SHOWS = frozenset({"asanyarray", "asarray", "from_numpy", "from_pandas", "memoryview", "to_numpy", "values"})


@dataclass(frozen=True, slots=True)
class Elements:
    """What `put_back` needs: the axes, and how each block was made, with a copy of its elements."""

    axes: tuple[Any, ...]
    blocks: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    kind: type
    values: Any
    placement: Any
    ndim: int
    refs: Any  # tells pandas who shares the elements, and is itself nobody who does
    copy: Any

    def again(self) -> Any:
        return self.kind(self.values, placement=self.placement, ndim=self.ndim, refs=self.refs)


def may_show(words: AbstractSet[str]) -> bool:
    """Whether code with these words may look into a frame's memory through something else."""
    return not _SHOWS.isdisjoint(words)


def is_seen(frame: Any) -> bool:
    """Whether something else than copies that pandas makes sees what is written to its elements."""
    return _writes_in_place() or any(map(_block_is_seen, _blocks(frame)))


def _writes_in_place() -> bool:
    """Whether pandas writes into what frames share, as it does before version 3 where nobody has it copy."""
    pandas = sys.modules["pandas"]
    return int(pandas.__version__.partition(".")[0]) < 3 and pandas.options.mode.copy_on_write is not True


def bytes_of(frame: Any) -> int:
    """How many bytes a copy of its elements takes."""
    return sum(int(block.values.nbytes) for block in _blocks(frame))


def elements_of(frame: Any) -> Elements:
    """All that `put_back` needs. It is no frame, so that pandas goes on as if it were not there."""
    blocks = [_Block(type(b), b.values, b.mgr_locs, b.ndim, b.refs, b.values.copy()) for b in _blocks(frame)]
    return Elements(tuple(_manager(frame).axes), tuple(blocks))


def same_elements(frame: Any, before: Elements) -> bool:
    """Whether it holds what it held when its elements were copied, where it held it."""
    return _same_parts(frame, before) and all(_same(block.values, block.copy) for block in before.blocks)


def put_back(frame: Any, before: Elements) -> None:
    """Give the memory its elements again, and the frame this memory."""
    for block in before.blocks:
        if not _same(block.values, block.copy):
            block.values[...] = block.copy
    if not _same_parts(frame, before):
        made, manager = tuple(block.again() for block in before.blocks), type(_manager(frame))
        axes = list(before.axes)
        one = len(axes) == 1  # a series
        frame._mgr = manager(made[0], axes[0]) if one else manager(made, axes, verify_integrity=False)  # noqa: SLF001 - the same object gets its old content


def _manager(frame: Any) -> Any:
    return frame._mgr  # noqa: SLF001 - the public ways copy


def _blocks(frame: Any) -> tuple[Any, ...]:
    return tuple(_manager(frame).blocks)


def _same_parts(frame: Any, before: Elements) -> bool:
    axes, blocks = _manager(frame).axes, _blocks(frame)
    return (
        len(axes) == len(before.axes)
        and len(blocks) == len(before.blocks)
        and all(one is other for one, other in zip(axes, before.axes, strict=True))
        and all(one.values is other.values for one, other in zip(blocks, before.blocks, strict=True))
    )


def _same(values: Any, copy: Any) -> bool:
    if not _is_array(values):
        return bool(values.equals(copy))
    if values.dtype.hasobject:
        return all(one is other for one, other in zip(values.ravel(), copy.ravel(), strict=True))
    return bool(values.tobytes() == copy.tobytes())


def _is_array(values: Any) -> bool:
    return isinstance(values, sys.modules["numpy"].ndarray)


class _Memory:
    """The objects that lead to one block's memory, and how often those that share it refer to each."""

    def __init__(self) -> None:
        self._met: dict[int, object] = {}
        self._known: Counter[int] = Counter()
        self._is_file = False

    def take(self, holder: Any) -> None:
        """Take in one block, or index, that shares the memory."""
        self._refer(holder.values if hasattr(holder, "mgr_locs") else holder._data)  # noqa: SLF001 - of an index

    def _refer(self, to: Any) -> None:
        self._known[id(to)] += 1
        if id(to) in self._met:
            return
        self._met[id(to)] = to
        for inner in _inner(to):
            self._refer(inner)
        self._is_file = self._is_file or isinstance(to, sys.modules["numpy"].memmap)

    def is_seen(self) -> bool:
        """Whether there are more references than known ones."""
        nobody = {0: object()}
        own = sys.getrefcount(nobody[0])
        return self._is_file or any(
            sys.getrefcount(self._met[key]) - own > times for key, times in self._known.items()
        )


def _block_is_seen(block: Any) -> bool:
    memory = _Memory()
    for told in block.refs.referenced_blocks:
        holder = told()
        if holder is not None:
            memory.take(holder)
    return memory.is_seen()


def _inner(values: Any) -> list[Any]:
    """What an object that leads to memory refers to on the way there."""
    if _is_array(values):
        return [] if values.base is None else [values.base]
    if isinstance(values, memoryview):
        return [values.obj]
    found = (getattr(values, name, None) for name in ("_ndarray", "_data", "_mask"))
    return [part for part in found if _is_array(part)]
