"""How much disk the store may take, and what happens when it is reached.

What this process writes is counted as it is written; what others wrote is seen by a look at the
files now and then. So asking costs microseconds, and a look a few milliseconds a minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kitaru_nb.errors import KitaruError, StoreError
from kitaru_nb.model.settings import Quota
from kitaru_nb.stacks import reserve
from kitaru_nb.stacks.quotas import space_of

__all__ = ["WARNED_AT", "DiskLimit", "limit_of", "used_by"]

WARNED_AT = 0.8
"""Part of the limit from which on it is said."""

_LOOK_SECONDS = 60.0
_COLLECT_SECONDS = 60.0
_KILO = 1000


class DiskLimit:
    """Counts what one store takes, journal and values, and refuses what would be too much.

    Args:
        journal: The journal's file; None when it is on a server, which counts for itself.
        folder: The folder of the values; the volume it is on is what counts.
        allowed: What the user allows now; asked again before anything is refused.
        collect: Removes what may go under the policy.
    """

    def __init__(
        self,
        journal: Path | None,
        folder: Path,
        allowed: Callable[[], Quota],
        *,
        collect: Callable[[], object],
    ) -> None:
        self._journal = journal
        self._folder = folder
        self._allowed = allowed
        self._quota = allowed()
        self._collect = collect
        self._limit: int | None = None
        self._used = 0
        self._looked = -_LOOK_SECONDS
        self._collected = -_COLLECT_SECONDS
        self._busy = False
        self._told = False
        self._said: list[str] = []

    def tend(self, more: int = 0) -> None:
        """Keep room for making room, as far as it may be needed for `more` bytes. Never an error."""
        if self._journal is None:
            return
        with suppress(OSError):
            self._look_sometimes()
            reserve.keep(self._journal, stored=self._used, more=more)

    def check(self) -> None:
        """Raise when nothing more may be stored. Asked before a step runs.

        Raises:
            StoreError: kind ``disk-limit``.
        """
        self.room(0)

    def room(self, more: int) -> None:
        """Take note that `more` bytes are about to be written, and raise when they are too many.

        Raises:
            StoreError: kind ``disk-limit``: too many also after what may go is gone.
            UsageError: the limit that is set now does not fit.
        """
        if self._busy:
            return  # what removes needs room for a moment
        self._look_sometimes()
        self.tend(more)
        limit = self._limit
        if limit is None:
            self._used += more
            return
        if self._used + more > limit:
            self._quota = self._allowed()  # a person may have raised it
            self._look()  # others may have given some back
            if self._limit is not None and self._used + more > self._limit:
                self._make_room(more)
        self._used += more
        limit = self._limit
        if limit is not None and self._used > WARNED_AT * limit and not self._told:
            self._told = True
            self._said.append(
                f"the store `{self._folder}` takes {_size(self._used)} of the {_size(limit)} it may take; "
                "`kitaru-nb gc --dry-run` shows what may go"
            )

    def hear(self) -> list[str]:
        """What is to be said to the user; each sentence is given once."""
        said, self._said = self._said, []
        return said

    def _look_sometimes(self) -> None:
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._look()

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._limit = limit_of(self._folder, self._quota)
        self._used = used_by(self._journal, self._folder)

    def _make_room(self, more: int) -> None:
        limit = self._limit or 0
        if time.monotonic() - self._collected >= _COLLECT_SECONDS:
            self._busy = True
            try:
                with suppress(KitaruError):  # the limit is what there is to tell
                    self._collect()
            finally:
                self._busy = False
                self._collected = time.monotonic()
            self._look()
            if self._used + more <= limit:
                return
        what = f"{_size(more)} more would be too much" if more else "nothing more can be stored"
        error = StoreError(
            f"the store `{self._folder}` takes {_size(self._used)} of the {_size(limit)} it may take "
            f"({self._quota}): {what}; what is stored is safe",
            kind="disk-limit",
            hint="kitaru-nb gc --keep-days 7, or export KITARU_NB_MAX_BYTES=50GB, then run it again",
        )
        error.lacking = more
        raise error


def limit_of(folder: Path, quota: Quota) -> int | None:
    """Bytes that a store in `folder` may take; None for no limit of its own."""
    nearest = next(each for each in (folder, *folder.parents) if each.is_dir())
    return quota.bytes_of(space_of(nearest).total)


def used_by(journal: Path | None, folder: Path | None) -> int:
    """Bytes of the journal with the files beside it that are its own, and of the packs in `folder`."""
    total = 0
    if journal is not None:
        total += sum(
            _size_of(each)
            for each in _entries(journal.parent)
            if each.name.startswith(journal.name) and each.name != reserve.reserve_of(journal).name
        )
    if folder is not None:
        for part in _entries(folder / "packs"):
            total += sum(map(_size_of, _entries(Path(part.path))))
    return total


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []  # not there yet, or gone meanwhile


def _size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0  # gone meanwhile


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < _KILO:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KILO
    return f"{value:.1f} TB"
