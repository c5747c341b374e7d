"""Suites that say what every journal and every artifact store must do, for authors of their own.

Subclass one in a test module and bring the place it runs in; pytest finds the promises by
itself::

    class TestMyJournal(JournalSuite):
        def open_journal(self, home: Path) -> Journal:
            return MyJournal(home)


    class TestMyStore(ArtifactStoreSuite):
        def open_store(self, home: Path, *, read_only: bool = False) -> ArtifactStore:
            return MyStore(home, read_only=read_only)

        def damage(self, home: Path, pack: str, change: Damage) -> None: ...
        def broken(self, home: Path) -> AbstractContextManager[None]: ...

Needs pytest, which kitaru_nb itself does not install.
"""

from kitaru_nb.testing.journal_suite import (
    JournalSuite,
    a_draft,
    a_stored_value,
    dead_owner,
    digest_of,
    unseen_owner,
)
from kitaru_nb.testing.store_suite import DAMAGES, ArtifactStoreSuite, Damage, MemoryIndex, content, views

__all__ = [
    "DAMAGES",
    "ArtifactStoreSuite",
    "Damage",
    "JournalSuite",
    "MemoryIndex",
    "a_draft",
    "a_stored_value",
    "content",
    "dead_owner",
    "digest_of",
    "unseen_owner",
    "views",
]
