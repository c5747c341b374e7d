"""`steps`: a long loop in one cell, whose namespace and position are committed now and then."""

from __future__ import annotations

import itertools
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from inspect import CO_GENERATOR, CO_OPTIMIZED
from types import FrameType
from typing import Any, Protocol, TypeVar

from blake3 import blake3

from kitaru_nb.analysis.loops import gathers_steps
from kitaru_nb.artifacts.foreign import judging
from kitaru_nb.engine.capture import OutputSink
from kitaru_nb.engine.commit import Written, write_groups
from kitaru_nb.engine.context import current_scope
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.line import Line
from kitaru_nb.engine.namespace import Namespace, changes
from kitaru_nb.engine.process import Process
from kitaru_nb.engine.recovery import Loader, put_back
from kitaru_nb.engine.scope import Entry, Scope
from kitaru_nb.engine.secrecy import notice_names
from kitaru_nb.engine.state import with_carried
from kitaru_nb.engine.steps import Pending
from kitaru_nb.engine.touched import Touched
from kitaru_nb.errors import UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, StepKind
from kitaru_nb.model.words import seconds_of

__all__ = ["CellPositions", "Positions", "steps"]

T = TypeVar("T")


class Positions(Protocol):
    """Commits what the running cell has done so far, and puts it back.

    Attributes:
        whole: Whether what its loops have made so far is all in the namespace.
    """

    @property
    def whole(self) -> bool:
        """See above."""
        ...

    def go_on(self, scope: Scope, loop: str) -> int:
        """A loop begins: make everything as it was at its last position, and give that; else 0."""
        ...

    def keep(self, scope: Scope, loop: str, position: int) -> None:
        """Put on record how everything is before item number `position`."""
        ...


def steps(items: Iterable[T], *, every: float | str | timedelta = "10m", name: str = "steps") -> Iterator[T]:
    """Go through `items` in a ``%%checkpoint`` cell that takes hours, and lose minutes in a crash.

    Such a cell looks like this::

        %%checkpoint train
        model, losses = make_model(), []
        for epoch in steps(range(100), every="10m"):
            losses.append(train(model, epoch))

    After an item, when `every` has passed since the last time, everything that the cell has
    changed so far is committed together with the position. After a crash the cell runs from its
    top; where it comes to the loop again, its names hold what they held at the last commit, what
    the loop had shown is shown again, calls that the loop had made before count as made, and it
    goes on with the item after it. That holds while the cell and what it reads are unchanged,
    files too; else the loop begins with the first item.

    What a comprehension, a function or `enumerate` has gathered has no name and would be lacking
    then. So a cell that uses this within one commits nothing before its end, and a warning says so:
    write a loop at the top of the cell, and ``steps(enumerate(items))``. In a flow, a script or a cell
    that is no checkpoint this goes through the items and commits nothing: put the work of one item
    into a ``@checkpoint`` function there.

    Args:
        items: The same items in the same order each time, such as a range or a list.
        every: Seconds, or text such as ``"10m"``; 0 commits after each item.
        name: Tells loops of one cell apart; two loops in a cell need two names.

    Raises:
        UsageError: `every` is no length of time; or the name is used by another loop of the cell.
    """
    pause = 0.0 if every in (0, "0", timedelta(0)) else seconds_of(every, "steps") or 0.0
    scope = current_scope()
    positions = None if scope is None or scope.parent is not None else scope.positions
    if scope is None or positions is None:
        yield from items
        return
    if not positions.whole or _in_function(sys._getframe(1)):  # noqa: SLF001 - who takes the first item
        warnings.warn(_GATHERED, stacklevel=2)
        yield from items
        return
    if name in scope.loops:
        message = f"two loops of the cell are called `{name}`"
        raise UsageError(message, kind="duplicate-name", hint='steps(items, name="another")')
    scope.loops.add(name)
    start = positions.go_on(scope, name)
    last, done = time.monotonic(), start
    for position, item in enumerate(itertools.islice(items, start, None), start):
        if position > start and time.monotonic() - last >= pause:
            positions.keep(scope, name, position)
            last = time.monotonic()
        yield item
        done = position + 1
    if done > start and time.monotonic() - last >= pause:
        positions.keep(scope, name, done)  # what the cell does after the loop may be long, too


_GATHERED = (
    "kitaru: this cell commits nothing before its end: `steps` stands in a function, a comprehension or a "
    "call such as `enumerate`, and a crash would lose what that has gathered. Write "
    "`for x in steps(items):` at the top of the cell, or `for i, x in steps(enumerate(items)):`"
)


def _in_function(taker: FrameType) -> bool:
    """Whether a function goes through the loop; what only hands items on, as `tqdm` does, is a generator."""
    return taker.f_code.co_flags & (CO_OPTIMIZED | CO_GENERATOR) == CO_OPTIMIZED


class CellPositions:
    """The positions of a running step of a notebook.

    Args:
        engine: Journal and store.
        namespace: The namespace that the cell runs in.
        process: The process's state.
        line: What the notebook has committed so far.
        touched: What the step touches besides.
        pending: The running step.
        counts: Whether what must hold for a record of the step, so far, holds now.
        sink: Where what it shows goes through.
    """

    def __init__(
        self,
        engine: Engine,
        namespace: Namespace,
        process: Process,
        line: Line,
        *,
        touched: Touched,
        pending: Pending,
        counts: Callable[[Pending, Checkpoint], bool],
        sink: OutputSink | None,
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._process = process
        self._line = line
        self._touched = touched
        self._pending = pending
        self._counts = counts
        self._sink = sink
        self._begun: dict[str, int] = {}
        self.whole = not gathers_steps(pending.cell.tree)

    def go_on(self, scope: Scope, loop: str) -> int:
        """See `Positions`.

        Raises:
            CorruptError: stored bytes are damaged; no name was changed.
            UntrustedError: nobody who is trusted here has signed the position.
        """
        if self._sink is not None:
            self._begun[loop] = self._sink.mark()
        found = scope.latest(self._key(loop), self._fits)
        if found is None:
            return 0
        self._engine.trust.require([found])
        self._put_back(found)
        for sentence in self._touched.go_on_from(found):
            warnings.warn(f"kitaru: {sentence}", stacklevel=3)
        scope.go_on_from(found.draft.data["met"])
        if self._sink is not None:
            self._sink.repeat(found.draft.outputs)
        return int(found.draft.data["position"])

    def keep(self, scope: Scope, loop: str, position: int) -> None:
        """See `Positions`.

        Raises:
            StoreError: the disk refused; nothing is on record.
        """
        fields = {
            "data": {"position": position, "loop": loop, "met": scope.met()},
            "source": self._pending.cell.source,
            "outputs": () if self._sink is None else tuple(self._sink.since(self._begun[loop])),
        }
        entry = Entry(StepKind.VALUE, self._key(loop), self._pending.name, fields, store=self._store)
        entry.look_again = self._line.look_again
        scope.record(entry)

    def _key(self, loop: str) -> CheckpointKey:
        """What the positions of a loop are found by: equal while cell and inputs are."""
        told = f"position\n{self._pending.needs.keys[-1]}\n{loop}"
        return CheckpointKey(blake3(told.encode("utf-8", "surrogatepass")).hexdigest())

    def _fits(self, found: Checkpoint) -> bool:
        # Format 3 did not tell which calls came before: such a position is none.
        return "met" in found.draft.data and self._counts(self._pending, found)

    def _store(self) -> tuple[dict[str, Any], Written]:
        live = self._namespace.live
        after, process = self._namespace.observe(), self._process.snapshot()
        done = with_carried(changes(self._pending.before, after), self._pending.before, after)
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
        seen = self._touched.seen_so_far(self._pending, done, after, process, written)
        return {
            "groups": tuple(written.groups),
            "deleted": tuple(sorted(done.deleted)),
            "process": state,
            **seen,
        }, written

    def _put_back(self, found: Checkpoint) -> None:
        draft = found.draft
        loader = Loader(self._engine, self._namespace)
        names = {name: group for group in draft.groups for name in group.names}
        loader.expect_step(names, bound=frozenset())
        loader.load_for(draft.name, draft.groups)
        put_back(loader, self._namespace, draft.groups, names)
        for name in draft.deleted:
            self._namespace.live.pop(name, None)
        if draft.process is not None:
            self._process.apply(loader.process(draft.process, by_step=True))
