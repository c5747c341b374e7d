"""The lease on an execution: taken with the first step, kept alive, given back at the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.observe import own_doing
from kitaru_nb.engine.renamed import file_of
from kitaru_nb.errors import ConflictError, KitaruError
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.execution import Attempt, ExecutionId, ExecutionStatus, Identity, current_owner

__all__ = ["Lease"]


class Lease(ProcessBound):
    """One process's claim on an execution.

    Args:
        engine: Journal and store.
        identity: What is being run; decides which execution is gone on with.
        attempt: The attempt to work in when somebody else (a worker) holds the lease and
            keeps it alive; then nothing is taken and nothing given back here.
    """

    def __init__(self, engine: Engine, identity: Identity, attempt: Attempt | None = None) -> None:
        self.identity = identity
        self.attempt = attempt
        self._engine = engine
        self._owned = attempt is None
        self._stopped = threading.Event()

    def take(
        self,
        *,
        new: bool = False,
        take_over: bool = False,
        parent: ExecutionId | None = None,
        tags: Sequence[str] = (),
    ) -> Attempt:
        """Hold the lease of the identity's execution; `parent` and `tags` are those of a new one.

        Raises:
            ConflictError: another live process holds it.
        """
        if self.attempt is None:
            attempt, _ = self._engine.journal.start(
                self.identity,
                owner=current_owner(),
                new=new,
                take_over=take_over,
                parent=parent,
                tags=tags,
                file=file_of(self.identity),
            )
            self._hold(attempt)
            return attempt
        return self.attempt

    def take_named(self, execution: ExecutionId, *, take_over: bool = False) -> Attempt:
        """Hold the lease of one execution, whatever its status; gives back the one held before.

        With `take_over` also one that was held here until somebody else took it over.

        Raises:
            ConflictError: another live process holds it.
        """
        held = self.attempt if self.attempt is not None and self.attempt.execution == execution else None
        if held is not None and not (take_over and self._is_lost(held)):
            return held
        attempt = self._engine.journal.resume(execution, owner=current_owner(), take_over=take_over)
        self.give_back(ExecutionStatus.COMPLETED)
        self._hold(attempt)
        return attempt

    def _is_lost(self, attempt: Attempt) -> bool:
        """Whether somebody else has taken the execution over."""
        try:
            self._engine.journal.heartbeat(attempt)
        except ConflictError:
            return True
        return False

    def adopt(self, attempt: Attempt) -> Attempt:
        """Hold the lease of an attempt that this process has just begun by itself."""
        self._hold(attempt)
        return attempt

    def give_back(self, status: ExecutionStatus, *, reason: str | None = None) -> None:
        """End the attempt. A journal that cannot be written now will see a dead owner instead."""
        self._stopped.set()
        if self.attempt is not None and self._owned:
            with suppress(KitaruError):
                self._engine.journal.finish(self.attempt, status, reason=reason)
        self.attempt = None

    def _hold(self, attempt: Attempt) -> None:
        self.attempt, self._owned, self._stopped = attempt, True, threading.Event()
        threading.Thread(
            target=self._keep_alive, args=(attempt, self._stopped), name="kitaru-nb-heartbeat", daemon=True
        ).start()

    def _keep_alive(self, attempt: Attempt, stopped: threading.Event) -> None:
        while not stopped.wait(self._engine.settings.heartbeat):
            try:
                with own_doing():
                    self._engine.tend()
                    self._engine.journal.heartbeat(attempt)
            except ConflictError:
                return  # superseded: the next commit says so, in the cell where it matters
            except KitaruError:
                continue  # a disk fault passes; the lease outlives a few missed beats
