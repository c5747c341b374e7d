"""`steps`: a long loop in one cell, whose namespace and position are committed now and then."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from blake3 import blake3

from kitaru_nb.artifacts.foreign import judging
from kitaru_nb.engine.checkpoint import seconds_of
from kitaru_nb.engine.commit import Written, write_groups
from kitaru_nb.engine.context import current_scope
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.line import Line
from kitaru_nb.engine.namespace import Namespace, changes
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.recovery import Loader, put_back
from kitaru_nb.engine.scope import WAITS, Entry, Scope
from kitaru_nb.engine.secrecy import notice_names
from kitaru_nb.engine.steps import Pending
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, StepKind

__all__ = ["CellPositions", "Positions", "steps"]

T = TypeVar("T")


class Positions(Protocol):
    """Commits what the running cell has done so far, and puts it back."""

    def key(self, loop: str) -> CheckpointKey:
        """What the positions of a loop are found by: equal while cell and inputs are."""
        ...

    def keep(self, scope: Scope, key: CheckpointKey, loop: str, position: int) -> None:
        """Put the namespace on record as it is before item number `position`."""
        ...

    def put_back(self, found: Checkpoint) -> int:
        """Make the namespace what it was then; gives the position."""
        ...


def steps(items: Iterable[T], *, every: float | str | timedelta = "10m", name: str = "steps") -> Iterator[T]:
    """Go through `items` in a ``%%checkpoint`` cell that takes hours, and lose minutes in a crash.

    Such a cell looks like this::

        %%checkpoint train
        model, losses = make_model(), []
        for epoch in steps(range(100), every="10m"):
            losses.append(train(model, epoch))

    Between two items, when `every` has passed since the last time, everything that the cell has
    changed so far is committed together with the position. After a crash the cell runs from its
    top; where it comes to the loop again, its names hold what they held at the last commit, and
    the loop goes on with the item after it. That holds while the cell and what it reads are
    unchanged; else the loop begins with the first item.

    In a flow, a script or a cell that is no checkpoint this goes through the items and commits
    nothing: put the work of one item into a ``@checkpoint`` function there.

    Args:
        items: The same items in the same order each time, such as a range or a list.
        every: Seconds, or text such as ``"10m"``; 0 commits after each item.
        name: Tells loops of one cell apart; two loops in a cell need two names.

    Raises:
        UsageError: `every` is no length of time; or the name is used by another loop of the cell.
    """
    pause = 0.0 if every in (0, "0") else seconds_of(every, "steps") or 0.0
    scope = current_scope()
    positions = None if scope is None or scope.parent is not None else scope.positions
    if scope is None or positions is None:
        yield from items
        return
    if name in scope.loops:
        message = f"two loops of the cell are called `{name}`"
        raise UsageError(message, kind="duplicate-name", hint='steps(items, name="another")')
    scope.loops.add(name)
    key = positions.key(name)
    found = scope.latest(key)
    start = 0
    if found is not None:
        start = positions.put_back(found)
        scope.go_on_from(found.draft.data.get("waits", {}))
    last = time.monotonic()
    for position, item in enumerate(itertools.islice(items, start, None), start):
        if position > start and time.monotonic() - last >= pause:
            positions.keep(scope, key, name, position)
            last = time.monotonic()
        yield item


class CellPositions:
    """The positions of a running step of a notebook.

    Args:
        engine: Journal and store.
        namespace: The namespace that the cell runs in.
        process: The process's state.
        line: What the notebook has committed so far.
        pending: The running step.
    """

    def __init__(
        self, engine: Engine, namespace: Namespace, process: Process, line: Line, pending: Pending
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._process = process
        self._line = line
        self._pending = pending

    def key(self, loop: str) -> CheckpointKey:
        """See `Positions`."""
        told = f"position\n{self._pending.needs.keys[-1]}\n{loop}"
        return CheckpointKey(blake3(told.encode("utf-8", "surrogatepass")).hexdigest())

    def keep(self, scope: Scope, key: CheckpointKey, loop: str, position: int) -> None:
        """See `Positions`.

        Raises:
            StoreError: the disk refused; nothing is on record.
        """
        data = {"position": position, "loop": loop, "waits": scope.places(WAITS)}
        fields = {"data": data, "source": self._pending.cell.source}
        scope.record(Entry(StepKind.VALUE, key, self._pending.name, fields, store=self._store))

    def _store(self) -> tuple[dict[str, Any], Written]:
        live = self._namespace.live
        after, process = self._namespace.observe(), self._process.snapshot()
        done = changes(self._pending.before, after)
        notice_names({name: live[name] for names in done.groups for name in names if name in live})
        with judging(self._line.trial):
            written = write_groups(
                self._engine,
                self._namespace,
                after,
                changed=done.groups,
                by_step=done.groups,
                on_record=self._line.recorded.whole,
                stored=self._line.definitions,
                exclude=self._line.excluded,
            )
        state = self._line.write_process(self._pending.process, process, after, written)
        return {
            "groups": tuple(written.groups),
            "deleted": tuple(sorted(done.deleted)),
            "process": state,
        }, written

    def put_back(self, found: Checkpoint) -> int:
        """See `Positions`.

        Raises:
            CorruptError: stored bytes are damaged; nothing was changed.
        """
        draft = found.draft
        self._engine.trust.require([found])
        loader = Loader(self._engine, self._namespace)
        names = {name: group for group in draft.groups for name in group.names}
        loader.expect_step(names, bound=frozenset())
        loader.load_for(draft.name, draft.groups)
        put_back(loader, self._namespace, draft.groups, names)
        for name in draft.deleted:
            self._namespace.live.pop(name, None)
        if draft.process is not None:
            self._process.apply(loader.process(draft.process, by_step=True))
        return int(draft.data["position"])
