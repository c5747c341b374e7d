"""Suites that say what every journal, artifact store and launcher must do, and a model to test against.

`fake_llm` starts a language model on this machine that says what a test tells it to.

The suites are for authors of journals, stores and launchers of their own. Subclass one in a test module and
bring the place it runs in; pytest finds the promises by itself::

    class TestMyJournal(JournalSuite):
        def open_journal(self, home: Path) -> Journal:
            return MyJournal(home)


    class TestMyStore(ArtifactStoreSuite):
        def open_store(self, home: Path, *, read_only: bool = False) -> ArtifactStore:
            return MyStore(home, read_only=read_only)

        def damage(self, home: Path, pack: str, change: Damage) -> None: ...
        def broken(self, home: Path) -> AbstractContextManager[None]: ...


    class TestMyLauncher(LauncherSuite):  # an entry point `mine` of the group kitaru_nb.launchers
        def stack(self, folder: Path) -> Stack:
            return Stack("mine", launcher="mine", launcher_options={})

The suites need pytest, which kitaru_nb itself does not install.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitaru_nb.testing.examples import a_draft as a_draft
    from kitaru_nb.testing.examples import a_stored_value as a_stored_value
    from kitaru_nb.testing.examples import dead_owner as dead_owner
    from kitaru_nb.testing.examples import digest_of as digest_of
    from kitaru_nb.testing.examples import unseen_owner as unseen_owner
    from kitaru_nb.testing.journal_suite import JournalSuite as JournalSuite
    from kitaru_nb.testing.launcher_suite import LauncherSuite as LauncherSuite
    from kitaru_nb.testing.llm.answers import Answer as Answer
    from kitaru_nb.testing.llm.answers import Cut as Cut
    from kitaru_nb.testing.llm.answers import Failure as Failure
    from kitaru_nb.testing.llm.answers import ToolCall as ToolCall
    from kitaru_nb.testing.llm.answers import count_tokens as count_tokens
    from kitaru_nb.testing.llm.call import Call as Call
    from kitaru_nb.testing.llm.call import Tokens as Tokens
    from kitaru_nb.testing.llm.server import FakeLLM as FakeLLM
    from kitaru_nb.testing.llm.server import fake_llm as fake_llm
    from kitaru_nb.testing.store_suite import DAMAGES as DAMAGES
    from kitaru_nb.testing.store_suite import ArtifactStoreSuite as ArtifactStoreSuite
    from kitaru_nb.testing.store_suite import Damage as Damage
    from kitaru_nb.testing.store_suite import MemoryIndex as MemoryIndex
    from kitaru_nb.testing.store_suite import content as content
    from kitaru_nb.testing.store_suite import views as views

__all__ = [
    "DAMAGES",
    "Answer",
    "ArtifactStoreSuite",
    "Call",
    "Cut",
    "Damage",
    "Failure",
    "FakeLLM",
    "JournalSuite",
    "LauncherSuite",
    "MemoryIndex",
    "Tokens",
    "ToolCall",
    "a_draft",
    "a_stored_value",
    "content",
    "count_tokens",
    "dead_owner",
    "digest_of",
    "fake_llm",
    "unseen_owner",
    "views",
]

# Looked up on first use: the fake model works where pytest is not installed.
_HOMES = {
    "kitaru_nb.testing.examples": [
        "a_draft",
        "a_stored_value",
        "dead_owner",
        "digest_of",
        "unseen_owner",
    ],
    "kitaru_nb.testing.journal_suite": ["JournalSuite"],
    "kitaru_nb.testing.launcher_suite": ["LauncherSuite"],
    "kitaru_nb.testing.llm.answers": ["Answer", "Cut", "Failure", "ToolCall", "count_tokens"],
    "kitaru_nb.testing.llm.call": ["Call", "Tokens"],
    "kitaru_nb.testing.llm.server": ["FakeLLM", "fake_llm"],
    "kitaru_nb.testing.store_suite": [
        "DAMAGES",
        "ArtifactStoreSuite",
        "Damage",
        "MemoryIndex",
        "content",
        "views",
    ],
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`", name=name, obj=None)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
