"""What a recorded call does besides its result and the objects that it reaches: random numbers, files.

A call that has moved a random generator or written files has that on its record. Where it is
served, the generators are put where it left them, and files that are missing are put back, so
that what follows goes as after a call that was made. A call that does nothing of the kind pays
for a look at the generators.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kitaru_nb.engine import generators, observe
from kitaru_nb.engine.beside import Beside
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.callee import Callee
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.context import innermost
from kitaru_nb.engine.files import Files, may_write
from kitaru_nb.engine.scope import Scope
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["Outside"]


class Outside:
    """One call, from its beginning to its record.

    Args:
        name: What it is called.
        scope: Where it belongs.
    """

    def __init__(self, name: str, scope: Scope) -> None:
        self._name = name
        self._book = scope.book
        self._marks: generators.Marks = {}
        self._since = 0
        self._inner: Scope | None = None
        self._beside: Beside | None = None

    # Made

    @contextmanager
    def running(self, inner: Scope) -> Iterator[None]:
        """The call runs inside the block, in this thread; what happens in `inner` is its doing."""
        self._inner = inner
        self._beside = Beside(inner.path, self._book.running, self._written)
        observe.hear_calls(_around)
        with self._beside.among_them():
            self._marks, self._since = generators.marks(), observe.now_ns()
            yield

    def go_on(self, inner: Scope) -> None:
        """The call failed and is made once more; what it did before is its doing, too."""
        assert self._inner is not None
        inner.observed = self._inner.observed
        self._inner = inner

    def _written(self) -> set[str]:
        """Files that it was seen to write so far."""
        observed = None if self._inner is None else self._inner.observed
        return set() if observed is None else observed.written - observed.unsure

    def store(self, callee: Callee, written: Written) -> dict[str, Any]:
        """The fields of its record that tell what it did; `written` takes the bytes of files.

        Raises:
            StoreError: the disk refused.
        """
        fields: dict[str, Any] = {}
        states = generators.moved(self._marks)
        if states:
            told = {"parts": states, "by_step": sorted(states)}
            fields["process"] = written.add(self._book.engine.put(told, namespace={}))
        return {**fields, **self.store_files(callee.source if callee.may_write else "", written)}

    def store_files(self, source: str, written: Written) -> dict[str, Any]:
        """Of these fields the one of files alone; files written unseen are looked for where `source` writes.

        Raises:
            StoreError: the disk refused.
        """
        assert self._inner is not None
        observed = self._inner.observed
        if observed is None and not may_write(source):
            return {}
        return {"files": self._files(observed or observe.Observed(), source, written)}

    def _files(self, observed: observe.Observed, source: str, written: Written) -> tuple[Any, ...]:
        """What it left in files, with those that were written unseen.

        Such a file may be that of a call which ran beside this one. It is kept with both: who asks
        for the one that wrote it has it back.
        """
        assert self._beside is not None
        observed.since = self._since
        if observed.written:
            source = ""  # what it speaks of writing was seen
        unsure = self._beside.any
        others = self._beside.written_by_others() if unsure else set()
        files = files_of(self._book)
        told: dict[str, Any] = {"others": others, "unsure": unsure, "conditional": False}
        return tuple(files.store(observed, written, named={}, source=source, **told))

    def failed(self) -> dict[str, Any]:
        """The same of a call that raised: its files are named, and their bytes not kept."""
        observed = None if self._inner is None else self._inner.observed
        return {} if observed is None else {"files": tuple(files_of(self._book).name(observed))}

    def recorded(self, checkpoint: Checkpoint) -> None:
        """The call is on record."""
        if checkpoint.draft.files:
            files_of(self._book).took(checkpoint)
        if checkpoint.draft.process is not None:
            self._book.drew = checkpoint

    # Served

    def put_back(self, found: Checkpoint) -> None:
        """Leave what the call left, as far as it is not there.

        A file that something else has changed is left alone and named.

        Raises:
            CorruptError: the stored bytes of a missing file are damaged.
        """
        if found.draft.files:
            self._put_files(found)
        if found.draft.process is not None:
            self._put_generators(found)

    def take(self, found: Checkpoint) -> None:
        """What an effect left in files, which any code may ask for: its doing is the asking step's, too.

        What is missing is put back in a later attempt. In the one that had the effect whatever is not
        there was taken away since, and what is there may be somebody else's by now.
        """
        if not found.draft.files:
            return
        if found.epoch != self._book.attempt.epoch:
            self._put_files(found)
            return
        with observe.own_doing():
            left = files_of(self._book).as_left(found)
        observe.note_left(left)

    def _put_files(self, found: Checkpoint) -> None:
        files = files_of(self._book)
        with observe.own_doing():
            said = files.put_back(found, problems=True)
            said += map(_read_otherwise, files.read_otherwise(found))
        observe.note_left(found.draft.files)
        for sentence in said:
            self._say(sentence)

    def _put_generators(self, found: Checkpoint) -> None:
        before, self._book.drew = self._book.drew, found
        if before is not None and _overlap(found, before):
            # Calls that ran at once are served in another order than they ended in: the last end counts.
            self._book.drew = before
            return
        stored = self._book.engine.get(found.draft.process, namespace={})  # type: ignore[arg-type] # not None
        states: Mapping[str, Any] = stored["parts"]  # type: ignore[assignment] # as `store` has it
        for sentence in generators.put(states):
            self._say(sentence)

    def _say(self, sentence: str) -> None:
        warnings.warn(f"kitaru: `{self._name}` was served from the record, and {sentence}", stacklevel=2)


def _read_otherwise(path: str) -> str:
    return (
        f"`{path}`, which it read, has changed since: what is to count belongs in an argument "
        "(with --fresh, or in a new execution, it is made again)"
    )


def _overlap(found: Checkpoint, later: Checkpoint) -> bool:
    """Whether `later` ended after `found` had, and began before that."""
    return (
        later.execution == found.execution
        and later.seq > found.seq
        and int(later.draft.data.get("after", later.ordinal)) < found.ordinal
    )


def files_of(book: Book) -> Files:
    """The files of an execution's steps and calls."""
    if book.files is None:
        identity = book.engine.journal.execution(book.execution).identity
        told = identity.notebook or identity.file
        folder = Path.cwd() if told is None else Path(told).parent
        book.files = Files(book.engine, folder, identity)
    return book.files


def _around() -> Iterator[observe.Observed]:
    """What is recorded of the calls that the running code is in."""
    scope = innermost()
    while scope is not None and scope.parent is not None:
        if scope.observed is None:
            scope.observed = observe.Observed()
        yield scope.observed
        scope = scope.parent
