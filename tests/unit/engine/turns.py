"""Attempts at one flow without a process of their own: each begins where the one before was cut short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kitaru_nb.engine.book import Book
from kitaru_nb.engine.context import inside
from kitaru_nb.engine.lease import Lease
from kitaru_nb.engine.scope import Scope
from kitaru_nb.model.execution import Execution, ExecutionStatus, Identity
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine

__all__ = ["Attempts"]


class Attempts:
    """One execution, attempt by attempt."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.engine = open_engine(Settings(home=home, **settings))
        self.ran: list[Any] = []

    @contextmanager
    def attempt(self, path: str = "flow", *, fresh: bool = False, **options: Any) -> Iterator[Scope]:
        """What runs inside belongs to a run of the scope at `path`; afterwards the attempt is cut short."""
        with self.attempt_at("tests:flow", path, fresh=fresh, **options) as scope:
            yield scope

    @contextmanager
    def attempt_at(
        self, flow: str, path: str = "flow", *, fresh: bool = False, **options: Any
    ) -> Iterator[Scope]:
        """As `attempt`, at the execution of another flow."""
        lease = Lease(self.engine, Identity(flow=flow))
        book = Book(self.engine, lease.take, **options)
        scope = book.scope(path, fresh=fresh)
        try:
            with inside(scope):
                yield scope
        finally:
            scope.tell_served()
            book.close()
            lease.give_back(ExecutionStatus.INTERRUPTED)

    def twice(self, body: Callable[[], Any]) -> tuple[Any, Any, list[Any]]:
        """What `body` gives in an attempt and in the next one, and what ran in the second."""
        with self.attempt():
            first = body()
        self.ran.clear()
        with self.attempt():
            second = body()
        return first, second, list(self.ran)

    def __reduce_ex__(self, _protocol: object) -> Any:
        raise TypeError("what tests note down is no input of a call")

    @property
    def execution(self) -> Execution:
        """The execution as the journal has it."""
        return self.engine.journal.execution("latest")
