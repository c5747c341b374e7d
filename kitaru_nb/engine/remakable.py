"""Which of the names that are not back `%resume --remake` would take on, told from the records alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.engine.recipes import Parse, is_changed_since, maker_of, parse_plain
from kitaru_nb.engine.recovery import Recorded
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["remakable"]


def remakable(
    lost: Iterable[str],
    *,
    line: Sequence[Checkpoint],
    recorded: Recorded,
    live: Mapping[str, object],
    parse: Parse = parse_plain,
) -> list[str]:
    """Of the names in `lost` those that can be made again together, sorted; runs nothing.

    A cell that made one must be on record, the name must not have been changed or used up since,
    and what the cell read must be as it was, or be among these names. Whether the cell works this
    time, only running it can tell.
    """
    makers = {}
    for name in lost:
        maker = maker_of(name, line, parse) if name in recorded.groups else None
        if maker is not None and not is_changed_since(name, maker, recorded, live):
            makers[name] = maker
    while without := [name for name, maker in makers.items() if not _finds(maker, makers, recorded, live)]:
        for name in without:
            del makers[name]
    return sorted(makers)


def _finds(
    maker: Checkpoint, again: Mapping[str, object], recorded: Recorded, live: Mapping[str, object]
) -> bool:
    """Whether what the cell read is there, as it was then."""
    for group, digest in maker.draft.reads.items():
        names = group.split(",")
        if any(name not in again and (name not in live or is_marker(live[name])) for name in names):
            return False
        known = recorded.whole.get(tuple(names))
        if known is not None and not known.unstorable and known.value != digest:
            return False
    return True
