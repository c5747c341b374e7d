"""Which records a request is about: those of the server's own folder, or of a notebook's below it.

A kernel finds its stack from the folder of its notebook, so a folder with a project file of its own
has records of its own. The server looks where that kernel would, and remembers where it has looked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.pages import ExecutionList, Page, Wanted
from kitaru_nb.engine.progress import Progress, ProgressList
from kitaru_nb.engine.refs import LATEST
from kitaru_nb.engine.renamed import recorded_name
from kitaru_nb.engine.suspensions import is_own_stop
from kitaru_nb.engine.wait_list import WaitList
from kitaru_nb.errors import CorruptError, KitaruError, NotFoundError, StoreError, UsageError
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import LOCAL, Stack
from kitaru_nb.model.wait import Wait
from kitaru_nb.stacks.config import user_file
from kitaru_nb.stacks.open import chosen_stack, open_engine
from kitaru_nb.stacks.parts import journal_file, store_folder
from kitaru_nb.stacks.settings import resolve

__all__ = ["Place", "Places"]

T = TypeVar("T")

_REMEMBERED = 20  # places beside the server's own


class Place:
    """One place that things are recorded in. What reads there stays open, since opening costs most.

    Args:
        settings: What holds there.

    Attributes:
        since: The number of the newest event when somebody first looked.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.since = 0
        self._lock = threading.Lock()
        self._open: dict[bool, tuple[object, Engine]] = {}
        self._empty = False
        self._waits = WaitList()
        self._executions = ExecutionList()
        self._progress = ProgressList()

    def opened(self) -> Engine:
        """An engine of the caller's own that loads nothing whose loading could run code."""
        return open_engine(self.settings, read_only=True, inert=True)

    @contextmanager
    def reading(self, *, inert: bool = True) -> Iterator[Engine]:
        """The engine for reading only; unless `inert` it knows whom the user trusts.

        Raises:
            NotFoundError: kind ``nothing-recorded``.
        """
        try:
            yield self._engine(inert)
        except StoreError:
            self.close()  # a later look begins anew: the disk may be back, or another journal there
            raise

    def found(self, look: Callable[[Engine], T], nothing: T, *, inert: bool = True) -> T:
        """What `look` finds with the engine for reading; `nothing` where nothing is recorded yet."""
        try:
            with self.reading(inert=inert) as engine:
                return look(engine)
        except NotFoundError as error:
            if error.kind != "nothing-recorded":
                raise
            return nothing

    def waits(self) -> list[Wait]:
        """Every wait there is, see `engine.wait_list`."""
        return self.found(lambda engine: self._waits.now(_sql(engine)), [])

    def page(self, wanted: Wanted, *, limit: int) -> Page:
        """The first executions that are wanted, see `engine.pages`."""

        def look(engine: Engine) -> Page:
            name = None if wanted.notebook is None else recorded_name(engine.journal, wanted.notebook)
            return self._executions.page(_sql(engine), replace(wanted, notebook=name), limit=limit)

        return self.found(look, Page((), more=False))

    def progress(self, executions: Iterable[Execution]) -> dict[ExecutionId, Progress]:
        """How far those are that run or wait, see `engine.progress`."""

        def look(engine: Engine) -> dict[ExecutionId, Progress]:
            told: dict[ExecutionId, Progress] = {}
            for each in executions:
                with suppress(CorruptError):  # a list is still one where somebody's bar is missing
                    progress = self._progress.of(engine.journal, each)
                    told |= {each.id: progress} if progress is not None else {}
            return told

        return self.found(look, {})

    def is_stop_ours(self, execution: ExecutionId) -> bool:
        """Whether it was suspended by somebody with a key of whoever runs the server."""
        with closing(open_engine(self.settings, read_only=True)) as engine:
            return is_own_stop(engine.journal, engine.journal.execution(execution), engine.trust.keys)

    @contextmanager
    def writing(self) -> Iterator[Engine]:
        """The engine, closed after its use."""
        with closing(open_engine(self.settings)) as engine:
            yield engine

    def close(self) -> None:
        """Give back open files; the next look opens them again."""
        with self._lock:
            left = [engine for _, engine in self._open.values()]
            self._open.clear()
            self._forget()
        for engine in left:
            engine.close()

    def _engine(self, inert: bool) -> Engine:  # noqa: FBT001 - which of the two
        mark = self._mark()
        with self._lock:
            known = self._open.get(inert)
            if known is not None and known[0] == mark:
                return known[1]
            try:
                engine = open_engine(self.settings, read_only=True, inert=inert)
            except (NotFoundError, StoreError):  # one that is being made cannot be read yet
                self._empty = True  # whatever is recorded from now on is news
                raise
            if not self._open:
                self.since = 0 if self._empty else _sql(engine).newest_event()[0]
            self._open[inert] = mark, engine
        if known is not None:  # of a journal that is not there any more
            known[1].close()
            self._forget()
        return engine

    def _forget(self) -> None:
        self._waits, self._executions, self._progress = WaitList(), ExecutionList(), ProgressList()

    def _mark(self) -> object:
        """What is another one when another journal is in its place."""
        file = journal_file(self.settings, chosen_stack(self.settings))
        if file is None:
            return None
        try:
            found = file.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


class Places:
    """The server's own place and those of notebooks that it was asked about. Nothing is opened before that.

    Args:
        root: The folder that the server serves.
        stack: The stack to use; None for the one that is current in each folder.
    """

    def __init__(self, root: Path, stack: str | None) -> None:
        self._root = root
        self._stack = stack
        self._known: dict[tuple[str, str, str], Place] = {}
        self._own: tuple[str, str, str] | None = None
        self._lock = threading.Lock()

    def own(self) -> Place:
        """The place that is current in the server's folder, as it is now."""
        return self._remembered(self._settings(self._root), own=True)

    def of_notebook(self, notebook: Path) -> Place:
        """Where a kernel of that notebook records.

        Raises:
            UsageError: kind ``stack-elsewhere``: in its folder a stack is chosen that somebody who
                only sent the folder could have put there to be given secrets.
        """
        folder = next(each for each in notebook.parents if each == self._root or each.is_dir())
        if folder == self._root:
            return self.own()
        settings = self._settings(folder)
        stack = chosen_stack(settings)
        if not self._is_ours(stack) and not _is_here(settings, stack):
            raise UsageError(
                f"the stack `{stack.name}` of {stack.source} is not on this machine, and the server is "
                "not run from there",
                kind="stack-elsewhere",
                hint=f"start Jupyter in {folder}, or put the stack into {user_file()}",
            )
        return self._remembered(settings)

    def of_execution(self, execution: str) -> Place:
        """Where the execution is recorded: of the places that are known, the first that has it.

        Raises:
            NotFoundError: none has.
        """
        first: KitaruError | None = None
        for place in [self.own()] if execution == LATEST else self.known():
            try:
                with place.reading() as engine:
                    engine.journal.execution(execution)
            except (NotFoundError, StoreError) as error:
                first = first or error
            else:
                return place
        assert first is not None
        raise first

    def known(self) -> list[Place]:
        """All that were asked about, the server's own first."""
        own = self.own()
        with self._lock:
            return [own, *(place for place in self._known.values() if place is not own)]

    def close(self) -> None:
        """Give back all open files."""
        with self._lock:
            places = list(self._known.values())
        for place in places:
            place.close()

    def _settings(self, folder: Path) -> Settings:
        return resolve(cwd=folder, stack=self._stack)

    def _remembered(self, settings: Settings, *, own: bool = False) -> Place:
        """The place with these settings. Of those that were not asked about lately the oldest is given up."""
        stack = chosen_stack(settings)
        key = (str(settings.home), stack.name, stack.source)
        with self._lock:
            if own:
                self._own = key
            place = self._known.pop(key, None)
            left = [] if place is None or place.settings == settings else [place]
            if place is None or left:
                place = Place(settings)
            self._known[key] = place  # the one that was asked about last comes last
            others = [each for each in self._known if each not in (key, self._own)]
            many = len(others) + (key != self._own) - _REMEMBERED
            left += [self._known.pop(each) for each in others[: max(0, many)]]
        for each in left:  # whoever reads there just now opens it again for that
            each.close()
        return place

    def _is_ours(self, stack: Stack) -> bool:
        """Whether whoever runs the server has chosen it: it is theirs, or that of the server's folder."""
        trusted = {LOCAL.source, str(user_file()), chosen_stack(self._settings(self._root)).source}
        return stack.source in trusted


def _sql(engine: Engine) -> SqlJournal:
    assert isinstance(engine.journal, SqlJournal)
    return engine.journal


def _is_here(settings: Settings, stack: Stack) -> bool:
    """Whether it is all in folders of this machine, and asks for no secret."""
    secrets = (stack.journal_password, stack.signing_key, *stack.options.values())
    return (
        not any(secrets)
        and journal_file(settings, stack) is not None
        and store_folder(settings, stack) is not None
    )
