"""What a record says about files beside a notebook, where the notebook has been moved since."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from kitaru_nb.journal.journal import Journal

__all__ = ["MovedFiles"]

Holds = Callable[[str, str], bool]
_ON_FILES = frozenset({"file", "folder", "module", "database"})


class MovedFiles:
    """Tells whether conditions on files hold for a notebook that was in other folders before.

    A record does not say whether the code named a file from the notebook's folder on or from the root.
    So where there is a file in the same place of the folder that the notebook is in now, that one has to
    be what it was, and the other too unless it is gone; else the one that the record names.

    Args:
        before: What the notebook was called before.
        now: What it is called.
    """

    def __init__(self, before: Iterable[str], now: str) -> None:
        self._now = os.path.dirname(now)  # noqa: PTH120 - paths on record are text
        folders = dict.fromkeys(os.path.dirname(name) for name in before)  # noqa: PTH120 - as above
        self._before = [folder for folder in folders if folder != self._now]

    @classmethod
    def of(cls, journal: Journal, notebook: str | None, *, now: str | None = None) -> MovedFiles:
        """Those of a notebook that is on record as `notebook`, and is called `now` if not that."""
        before = () if notebook is None else (notebook, *journal.names_before(notebook))
        return cls(before, now or notebook or "")

    def holding(self, holds: Holds) -> Holds:
        """`holds`, for a notebook that was moved."""
        return (lambda what, digest: self.holds(what, digest, holds)) if self._before else holds

    def holds(self, what: str, digest: str, holds: Holds) -> bool:
        """Whether a condition holds, of which `holds` tells whether it does for the file that it names."""
        kind, _, path = what.partition(":")
        if not self._before or kind not in _ON_FILES:
            return holds(what, digest)
        beside = [here for folder in self._before if (here := self._beside(path, folder)) is not None]
        there = [here for here in beside if _is_there(kind, here)]
        if not there:
            return holds(what, digest)
        gone = not _is_there(kind, path)
        return all(holds(f"{kind}:{here}", digest) for here in there) and (gone or holds(what, digest))

    def _beside(self, path: str, folder: str) -> str | None:
        """The same place in the folder of now."""
        return self._now + path[len(folder) :] if path.startswith(folder + os.sep) else None


def _is_there(kind: str, path: str) -> bool:
    """Whether there is what a condition names; with a folder it names the pattern that was listed in it."""
    return os.path.lexists(path.rpartition("|")[0] if kind == "folder" else path)
