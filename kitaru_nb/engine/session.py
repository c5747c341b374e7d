"""A session: one process's turn at an execution, from its first step to its end.

It decides for each cell whether it runs or is restored, and commits what ran. Nothing here
knows Jupyter: a front end hands in cells and what they showed.
"""

from __future__ import annotations

import ast
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from kitaru_nb.analysis.inert import is_inert
from kitaru_nb.artifacts.census import touched_opaque
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine import observe
from kitaru_nb.engine.addresses import waiting_cells
from kitaru_nb.engine.book import Book
from kitaru_nb.engine.capture import OutputSink
from kitaru_nb.engine.cell import Cell
from kitaru_nb.engine.cheaper import Ran, only_computed
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.deaths import Deaths
from kitaru_nb.engine.deciding import Decider
from kitaru_nb.engine.encrypted_keys import encrypted_for
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.failures import Failures
from kitaru_nb.engine.files import Files
from kitaru_nb.engine.frame_kinds import may_show
from kitaru_nb.engine.inputs import opaque_read
from kitaru_nb.engine.last_words import let_die
from kitaru_nb.engine.lease import Lease
from kitaru_nb.engine.line import Line
from kitaru_nb.engine.live import Callbacks, Live, has_live
from kitaru_nb.engine.live_outputs import TOLD, LiveOutputs
from kitaru_nb.engine.namespace import Change, Namespace, State, changes
from kitaru_nb.engine.packages import (
    import_again,
    imports_of,
    said_versions,
    versions_of,
)
from kitaru_nb.engine.positions import CellPositions
from kitaru_nb.engine.prefix import restored_draft
from kitaru_nb.engine.process import Process, ProcessState
from kitaru_nb.engine.reads import parts_read
from kitaru_nb.engine.recipes import MadeAgain, Parse, parse_plain, remake
from kitaru_nb.engine.recovery import (
    Loader,
    Restored,
    damaged,
    execution_of,
    put_back,
    say_emptied,
    target_of,
    untrusted,
)
from kitaru_nb.engine.remakable import remakable
from kitaru_nb.engine.repeating import Repeating
from kitaru_nb.engine.replay_cells import CellReplay
from kitaru_nb.engine.results import Outcome, result_of, results_of
from kitaru_nb.engine.rollback import Shadow
from kitaru_nb.engine.scope import Scope
from kitaru_nb.engine.secrecy import masked_draft, notice_names
from kitaru_nb.engine.sharing import Sharing
from kitaru_nb.engine.state import with_carried
from kitaru_nb.engine.steps import Given, Pending, Restore, Run
from kitaru_nb.engine.stops import PASSED
from kitaru_nb.engine.suspensions import note_suspended
from kitaru_nb.engine.touched import Touched
from kitaru_nb.engine.variables import shadowed_in
from kitaru_nb.errors import ConflictError, DivergenceError, KitaruError, NotFoundError, Suspended
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft, Group
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Attempt, Execution, ExecutionId, ExecutionStatus, Identity

__all__ = ["Outcome", "Resumed", "Session"]

_TRIES = 3
_EXCLUDED = "excluded"  # the kind of an event
_REMOVED = ("values-removed", "unknown-artifact")


@dataclass(frozen=True, slots=True)
class Resumed:
    """What `Session.resume` did, for the restore report."""

    execution: Execution
    checkpoint: Checkpoint
    restored: Restored
    saved_duration: float
    steps: int
    results: Mapping[int, object]
    refused: Sequence[KitaruError] = ()


class Session:
    """One turn at an execution.

    Args:
        engine: Journal and store.
        identity: What is being run; the execution is found or begun when the first step
            needs it.
        namespace: The namespace the cells run in.
        attempt: The attempt to work in, when somebody else (a worker) holds the lease.
        marked_only: Whether only marked cells are steps (interactive), else all are.
        process: The process's state, told relative to how it was before any cell ran.
        callbacks: Callbacks that the front end keeps.
        reading: Only resume, and record nothing: the store cannot be written.
        folder: Where the notebook is, if that is not where its identity says.
        grid: The tag that all points of a grid have in common, where the execution is one of them.

    Attributes:
        last: The newest commit of this session.
        outputs: Notes what a step shows while it runs.
        book: The recorded results of the execution.
        scope: That of the running cell, once it has asked for it.
        stopped: The name of the last step that came, and why it was stopped, if it was, before it ran.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        identity: Identity,
        namespace: Namespace,
        attempt: Attempt | None = None,
        marked_only: bool = True,
        process: Process | None = None,
        callbacks: Callbacks | None = None,
        reading: bool = False,
        folder: Path | None = None,
        grid: str | None = None,
    ) -> None:
        if engine.settings.paranoid:
            import numpy  # noqa: F401, ICN001, PLC0415 - what a save may load is no difference then
        self._reading = reading
        self.engine = engine
        self.identity = identity
        self.namespace = namespace
        self.last: Checkpoint | None = None
        self._marked_only = marked_only
        self._lease = Lease(engine, identity, attempt)
        namespace.parts_read = lambda names, value: parts_read(engine.journal, identity, names, value)
        if identity.notebook:
            VAULT.read_later(identity.notebook)
        VAULT.know_later(lambda: encrypted_for(engine.journal, identity))
        self._folder = folder or (Path(identity.notebook).parent if identity.notebook else Path.cwd())
        self._files = Files(engine, self._folder, identity, began=process.began if process else None)
        self._live = Live(namespace.live, self._folder, callbacks)
        self._process = process or Process()
        self._process.annotated_in(namespace.live)
        self._line = Line(engine, namespace, self._process)
        self._half_done: str | None = None
        self._made_again = MadeAgain()
        self._repeating = Repeating(namespace.live)
        self._half_done_before: str | None = None
        self._exclusions_known = False
        self.failures = Failures(namespace, self._process)
        self._decider = Decider(
            engine,
            identity,
            namespace,
            marked_only=marked_only,
            process=self._process,
            failures=self.failures,
            files=self._files,
            live=self._live,
            folder=self._folder,
        )
        self._deaths = Deaths(engine)
        self.outputs = LiveOutputs(
            lambda shown: engine.journal.note_shown(self.open(), shown),
            learn=lambda: notice_names(namespace.live),
        )
        self.stopped: tuple[str | None, DivergenceError] | None = None
        self._touched = Touched(engine, namespace, self._files, self._live, self._decider.inputs)
        self.book = Book(engine, self.open)
        self.book.files = self._files
        if grid is not None:
            sharing = self._decider.sharing = Sharing(engine, identity, self.open, grid)
            self.book.on_hold = sharing.give_back
        self.scope: Scope | None = None
        self._waiting: dict[str, Suspended] = {}
        self._pending: Pending | None = None
        self._own = False  # the cell that was seen last is nothing but magics of ours
        self._replay: CellReplay | None = None
        self._named: tuple[ExecutionId, str | None] | None = None

    def scope_of(self, path: str, *, fresh: bool = False, sink: OutputSink | None = None) -> Scope:
        """The scope of a cell that runs now: what it asks for of the record is counted there.

        With `fresh` it is given nothing that an earlier run recorded which came to its end. What it
        shows goes through `sink`.
        """
        scope = self.book.scope(path, fresh=fresh)
        scope.notebook = self.identity.notebook
        pending = self._pending
        if pending is not None:
            scope.positions = CellPositions(
                self.engine,
                self.namespace,
                self._process,
                self._line,
                touched=self._touched,
                pending=pending,
                counts=self._decider.counts,
                sink=sink,
            )
            directive = pending.cell.directive
            scope.reuse = self._decider.reuses(pending.cell)
            if directive is not None and directive.budget is not None:
                name = f"the budget of `{pending.name}`"
                scope.limit(directive.budget, name, "in its first line, --budget {}".format)
        self.scope = scope
        return scope

    def reuse_marked(self) -> None:
        """Take for marked cells also what touched the outside in other executions, as ``--reuse`` says."""
        self._decider.reuse = True

    def leave_scope(self, *, plain: bool, completed: bool) -> None:
        """The cell that asked for its scope has ended; a step's commit has its own record of that."""
        scope, self.scope, self._pending = self.scope, None, None
        if scope is None:
            return
        scope.tell_served()
        if plain and completed and not scope.repeated:
            self.book.finish(scope)

    @property
    def last_bytes(self) -> int:
        """Bytes of values that the last commit has added to what is stored."""
        return self._line.last_bytes

    def tell_with(self, show: Callable[[str], None]) -> None:
        """Let `show` say what has to be said before a commit is done: that much is being written."""
        self._line.tell = show

    def notes(self) -> list[str]:
        """Sentences about the last commit that its user should read, each given once."""
        heard = (self._decider.inputs, self._files, self._line.trial, self.engine, self.failures)
        return [sentence for each in heard for sentence in each.hear()]

    @property
    def attempt(self) -> Attempt | None:
        """The attempt this session works in, None before its first step."""
        return self._lease.attempt

    def open(self, *, new: bool = False, take_over: bool = False) -> Attempt:
        """Hold the lease, taking it with the first call.

        Raises:
            ConflictError: another live process holds the execution.
        """
        first = self.attempt is None
        attempt = self._lease.take(new=new, take_over=take_over)
        if first:
            self.learn_names()
            self._waiting |= waiting_cells(self.engine.journal, attempt.execution)
        self._deaths.learn(attempt)
        return attempt

    def close(self) -> None:
        """End the attempt: interrupted when a step failed or was left half-done; waiting; or completed."""
        self._line.trial.close()
        self.book.close()
        self.outputs.close()
        self._deaths.close()
        if self._half_done is None and self._waiting:
            reason = next(reversed(self._waiting.values())).message.partition("\n")[0]
            self._lease.give_back(ExecutionStatus.WAITING, reason=reason)
        elif self._half_done is None:
            self._lease.give_back(ExecutionStatus.COMPLETED)
        else:
            reason = f"the kernel ended after `{self._half_done}` had failed"
            self._lease.give_back(ExecutionStatus.INTERRUPTED, reason=reason)

    def leaving(self) -> None:
        """Somebody has asked this process to end: what runs now is not what ends it."""
        self._deaths.end()

    def opens(self, tree: ast.Module) -> None:
        """A cell that is not a step is about to run: what was put back is checked first.

        Files that later cells wrote anew become what the cells before it left.

        Raises:
            CorruptError: something it reads is damaged; a marker is in its place. Or a stored file is.
        """
        if not self._own:
            self._files.bring_back()
        if self.namespace.seals:
            self.namespace.open(needed=self._decider.inputs.read_by(tree))

    @property
    def has_to_open(self) -> bool:
        """Whether there is anything to be done before a cell runs that is not a step."""
        return bool(self.namespace.seals) or self._files.is_ahead

    def saw(self, source: str, *, own: bool = False, has_run: bool = False) -> None:
        """Take note of a cell that is not a step and is about to run; is it nothing but `own` magics?

        One that `has_run` before there was a session is told as well.
        """
        seals = self.namespace.seals
        seals.allowed = seals.allowed and (own or is_inert(source))
        self.namespace.let_go()
        self._own = own
        self._decider.saw(source, has_run=has_run)

    def is_no_step(self, place: str) -> None:
        """The cell there is none, or not any more: another one may be called what it was called."""
        self._decider.names.forget([place])

    def warning(self, source: str) -> str | None:
        """What to say before a plain cell runs: that what it did is back already; once for each cell."""
        return self._repeating.warning(source)

    def saw_imports(self) -> None:
        """Take note of project modules that were just loaded."""
        with observe.unheard():  # reading their source is no reading of the step
            self._decider.inputs.fix_modules()

    def _beware_of_modules(self) -> None:
        """Where a module of the project is loaded, its code may have left a thread or a hook behind."""
        self.saw_imports()
        seals = self.namespace.seals
        if seals.allowed and self._decider.inputs.local:
            seals.allowed = False
            self.namespace.open(needed=frozenset())

    def learn_names(self) -> None:
        """Take over the names that the execution's steps have had so far."""
        execution = self.open().execution
        recorded = self.engine.journal.checkpoints(execution)
        self._decider.names.learn(recorded)
        if not self._exclusions_known:
            self._exclusions_known = True
            self._line.excluded = frozenset(self._excluded_before(execution, recorded))

    def exclude(self, names: Sequence[str]) -> None:
        """Never store `names` in this notebook: from the next commit on, also in its next kernels.

        Each name holds a marker in a new kernel. An empty list stores all names again.
        """
        attempt = self.open()
        self._line.excluded = frozenset(names)
        self.engine.journal.record_event(attempt.execution, _EXCLUDED, {"names": sorted(names)})

    @property
    def excluded(self) -> frozenset[str]:
        """Names that are never stored in this notebook."""
        self.open()
        return self._line.excluded

    def _excluded_before(self, execution: ExecutionId, recorded: Sequence[Checkpoint]) -> Sequence[str]:
        """What the notebook's user last excluded: told by an event, and by each commit since."""
        journal = self.engine.journal
        told = _excluded_in(journal.events(execution), recorded)
        if told is None and not recorded and self._marked_only and self.identity.notebook:
            for each in journal.executions(identity=self.identity, limit=3):
                told = _excluded_in(journal.events(each.id), journal.checkpoints(each.id))
                if told is not None:
                    break
        return told or ()

    # Deciding

    def follow(self, replay: CellReplay) -> None:
        """This session runs a replay: where a cell's result may come from is its matter, also in a grid."""
        self._replay = replay
        self._decider.sources = replay.sources
        self._decider.sharing = None

    def plan(self, cell: Cell, *, deleted_steps: Sequence[str] = ()) -> Restore | Run | Given:
        """Decide whether `cell` runs or is restored. Nothing runs; of a replay the inputs may be bound.

        Raises:
            UsageError: its options or name cannot be taken.
            UnstorableError: it has to run, and reads a name that holds a marker.
            ConflictError: another live process holds the execution; or the cell failed before
                and what it did cannot be undone.
            DivergenceError: kind ``confirm-rerun``: it is long, and a miss only by chance; kind
                ``killed-kernel``: its kernel died three times while it ran.
            UntrustedError: it is on record, and nobody who is trusted here has signed that.
            StoreError: the journal cannot be read or written, so running it would be in vain.
        """
        self.stopped = None
        self._keep_up_with_name()
        try:
            return self._plan(cell, deleted_steps)
        except DivergenceError as error:
            self.stopped = (cell.directive.name if cell.directive is not None else None), error
            raise

    def _keep_up_with_name(self) -> None:
        """What is on record of a notebook that was renamed meanwhile is under its new name."""
        if not self._marked_only:
            return
        execution = self.open().execution
        named = execution, self.engine.journal.notebook_of(execution)
        before, self._named = self._named, named
        if named != before and before == (execution, self.identity.notebook):
            self.identity = replace(self.identity, notebook=named[1])
            self._decider.identity = self._lease.identity = self.identity

    def _plan(self, cell: Cell, deleted_steps: Sequence[str]) -> Restore | Run | Given:
        execution = self.open().execution
        self._decider.names.forget(deleted_steps)
        for gone in deleted_steps:
            self.went_on(gone)
        if self._replay is not None:
            scope = cell.step or ""
            self._replay.before(scope)
            values = self._replay.given(scope)
            if values is not None:
                return self._decider.give(cell, values)
        decided = self._decider.plan(cell, execution)
        if isinstance(decided, Run) and not (cell.directive is not None and cell.directive.fresh):
            needs, headless = decided.pending.needs, not self._marked_only
            self._deaths.refuse(decided.pending.name, needs.keys[0], headless=headless)
            return self._shared(decided, execution)
        return decided

    def _shared(self, run: Run, execution: ExecutionId) -> Restore | Run:
        """A cell that is to run, once no other point of the same grid runs it."""
        sharing = self._decider.sharing
        if sharing is None or opaque_read(run.pending.needs):
            return run
        return sharing.settle(run, lambda: self._decider.again(run, execution))

    def foresee(self, cell: Cell) -> tuple[Restore | Run, list[Checkpoint]]:
        """What `plan` would decide now, and the step's completed records, newest first.

        Unlike `plan` it takes note of nothing: no name is given and no failure undone.
        """
        return self._decider.foresee(cell, self.open().execution)

    # Running

    def begin(self, run: Run) -> None:
        """The step's body is about to run."""
        self._pending = run.pending
        self.namespace.seals.allowed = False
        self._half_done_before, self._half_done = self._half_done, run.pending.name
        directive = run.pending.cell.directive
        undoable = self._marked_only or (directive is not None and directive.retries > 0)
        run.pending.shadow = self._shadow(run.pending) if undoable else None
        needs = run.pending.needs
        self.namespace.let_go(needs.touched, needs.names.writes | needs.names.deletes)
        self._live.begin()
        self._deaths.begin(self.open(), run.pending.name, run.pending.needs.keys[0])
        if self._files.bring_back():
            run.pending.files = {path: observe.state_of(path) for path in run.pending.files}
        run.pending.trees = self._decider.trees_of(run.pending)
        run.pending.started = time.perf_counter()
        self._touched.begin(run.pending)

    def _shadow(self, pending: Pending) -> Shadow:
        shows = may_show(pending.cell.outline.words)
        names = pending.needs.names
        shadow = Shadow(self.namespace.live, pending.needs.touched, names.deletes, shows=shows)
        modules = pending.needs.modules.keys()
        shadow.beside += [Shadow(*own, shows=shows) for own in self._process.variables.shadowed(modules)]
        held = self._process.held_in_libraries(pending.process)
        shadow.beside.append(Shadow(held, held.keys(), shows=shows))
        try:
            shadow.take()
        except Exception:  # noqa: BLE001 - a foreign object may raise anything; the step runs all the same
            shadow.give_up()  # and a failure of it is not taken for undone
        taken = weakref.ref(shadow)  # which ends with the step, and with it what only it still has

        def loaded(module: ModuleType) -> None:
            running = taken()
            if running is not None:  # how a module stands that the step loads itself is how it stood before
                running.take_beside(shadowed_in(module))

        self._process.variables.told = loaded
        return shadow

    def commit(self, run: Run, outcome: Outcome) -> Checkpoint:
        """Record a step that ran to its end. When this returns, the checkpoint exists.

        Raises:
            StoreError: the disk refused; the namespace is untouched and nothing is recorded.
            UnstorableError: with `--strict`, a value could not be stored.
            ConflictError: kind ``superseded``: a later attempt owns the execution.
            DivergenceError: kind ``paranoid``: in that mode, a restore would give something else.
        """
        observe.stop()
        try:
            self.saw_imports()
            checkpoint = self._commit(run.pending, outcome)
        except BaseException:
            # Its cell may run again: it must not find its own changes there.
            self._live.forget()
            self.failures.add(run.pending, count=outcome.execution_count)
            self._deaths.end()
            raise
        self._deaths.end(attempt=self.attempt)
        self._check(checkpoint)
        return checkpoint

    def _check(self, checkpoint: Checkpoint) -> None:
        """In paranoid mode: that a restore of a commit gives what is there now."""
        if self.engine.settings.paranoid and self.engine.settings.now().paranoid:
            from kitaru_nb.engine.paranoid import check_restorable  # noqa: PLC0415 - loaded in this mode only

            after = self.namespace.observe()
            check_restorable(self.engine, self.namespace, checkpoint, after, self._process.told())

    def _commit(self, pending: Pending, outcome: Outcome) -> Checkpoint:
        for _ in range(_TRIES):
            try:
                return self._commit_once(pending, outcome)
            except (ConflictError, NotFoundError) as error:
                if error.kind not in _REMOVED:
                    raise
                # `gc` was faster than this save: what it shared with older ones is written anew.
                self._line.look_again()
                self._files.look_again()
        return self._commit_once(pending, outcome)

    def _commit_once(self, pending: Pending, outcome: Outcome) -> Checkpoint:
        took = time.perf_counter() - pending.started
        self._decider.watch_attributes(pending.cell, has_run=True)
        touched_opaque(opaque_read(pending.needs))
        shadow = pending.shadow
        if shadow is not None and (self._refers_weakly(pending) or shadow.keeps_watched()):
            shadow.give_up()  # what the step gave up is dead from now on, and that is to be seen
        after = self.namespace.observe()
        process = self._process.snapshot()
        step = changes(pending.before, after, rebound=pending.needs.names.certain)
        step = with_carried(step, pending.before, after)
        left = self._live.left(pending.cell)
        ran = Ran(
            took,
            lambda: only_computed(
                pending,
                self._touched.observed,
                outcome.outputs,
                unchanged=process == pending.process and not left,
                ignored=self.engine.ours,
            ),
        )
        written = self._line.write(pending, step, after, ran=ran)
        seen = self._touched.seen(pending, step, after, process, written)
        seen["conditions"] |= left
        draft = self._draft(
            pending,
            CheckpointStatus.COMPLETED,
            outcome,
            duration=took,
            deleted_by_step=tuple(sorted(step.deleted | self._unbound(pending))),
            process=self._line.write_process(pending.process, process, after, written),
            result=self._line.write_result(pending, outcome.result, written),
            packages=versions_of(pending.needs.uses, self._read_by(pending)),
            imports=imports_of(
                pending.needs.names.imports, self._touched.observed.imported, self.namespace.live
            ),
            **seen,
            **self._line.place(written, pending.before, after),
        )
        return self._record(draft, written, after, process)

    def _refers_weakly(self, pending: Pending) -> bool:
        """Whether the step may have made a weak reference."""
        if "weakref" in pending.needs.uses:
            return True
        read = self._read_by(pending)
        kinds = (
            value if issubclass(type(value), type) else type(value) for value in read
        )  # `__class__` may raise
        return any(kind.__module__ in ("weakref", "_weakref") for kind in kinds)

    def _unbound(self, pending: Pending) -> set[str]:
        """Names that the step leaves unbound for certain, whatever they held before."""
        return {name for name in pending.needs.names.certain if name not in self.namespace.live}

    def _read_by(self, pending: Pending) -> list[object]:
        live = self.namespace.live
        return [live[name] for name in pending.needs.touched if name in live]

    def fail(self, run: Run, error: BaseException, outcome: Outcome) -> None:
        """Record that a step raised or was interrupted. Nothing of it can be restored."""
        observe.stop()
        self.saw_imports()
        self._deaths.end()
        self._live.forget()
        self.failures.add(run.pending, count=outcome.execution_count)
        raised = {"ename": type(error).__name__, "evalue": str(error)}
        draft = self._draft(
            run.pending,
            CheckpointStatus.FAILED,
            outcome,
            duration=time.perf_counter() - run.pending.started,
            parent=self._line.parent,
            error=raised,
            files=tuple(self._files.name(self._touched.observed)),
        )
        notice_names(self.namespace.live)
        self._files.took(self.engine.journal.commit(self.open(), masked_draft(draft)))

    # Waiting

    def ready_plain(self, source: str, tree: ast.Module, place: str) -> Pending | None:
        """A plain cell that may come to wait is about to run: undo what it left, and see how things stand.

        Gives what it takes to undo it; None where that cannot be known.

        Raises:
            ConflictError: kind ``half-done``: what it left when it waited cannot be undone.
        """
        cell = Cell(source, tree, step=place)
        self.failures.undo(cell, place)
        self._touched.begin()
        try:
            pending = self._decider.weighed(cell, place)
        except KitaruError:  # it could not be a step; that it may not be undone is said if it waits
            return None
        pending.shadow = self._shadow(pending)
        return pending

    def suspend(
        self, pending: Pending | None, suspended: Suspended, place: str, *, count: int | None = None
    ) -> bool:
        """A cell stopped at a wait or a budget: that is no failure, and it is no result.

        What it did stays visible until it runs again; then it is undone first.

        Returns:
            Whether it can be undone.
        """
        observe.stop()
        self._deaths.end()
        self._live.forget()
        if self._half_done is not None and pending is not None and pending.name == self._half_done:
            self._half_done = self._half_done_before
        if pending is not None:
            self.failures.add(pending, count=count)
        self.note_files()
        self._waiting[place] = suspended
        note_suspended(self.book, suspended, place)
        return pending is not None and pending.shadow is not None and pending.shadow.whole

    def note_files(self) -> None:
        """Put on record what a cell that is no step, or not yet, has changed in files below the folder.

        So it is known for the notebook's doing. Their bytes are not kept.
        """
        observe.stop()
        files = self._touched.taken()
        if files and self.scope is not None:
            self._files.took(self.book.note_files(self.scope, files))

    @property
    def suspends(self) -> bool:
        """Whether any cell waits."""
        return bool(self._waiting)

    def is_suspended(self, place: str) -> bool:
        """Whether the cell there waits."""
        return place in self._waiting

    def went_on(self, place: str) -> None:
        """The cell there has come to its end."""
        passed = self._waiting.pop(place, None)
        if passed is not None and not passed.wait:
            self.engine.journal.record_event(self.book.execution, PASSED, {"scope": place})

    def undo_try(self, run: Run, error: BaseException, outcome: Outcome) -> bool:
        """A try of the step failed: put that on record, undo it, and make ready for the next.

        Returns:
            Whether all is exactly as it was before the step. If not, it must not be tried again.
        """
        pending, failed = run.pending, self._touched.observed
        self.fail(run, error, outcome)
        if pending.shadow is None:
            return False
        try:
            self.failures.undo(pending.cell, pending.name, exactly=True)
        except ConflictError:
            return False
        self.begin(run)
        self._touched.observed.follows(failed)
        return True

    def pass_over(self, run: Run, *, failed: bool = False, count: int | None = None) -> None:
        """A step that has run is to count as a plain cell: what it did is part of the next commit.

        One that failed is undone all the same before its cell runs again.
        """
        observe.stop()
        self._deaths.end()
        self._half_done = self._half_done_before
        self._decider.names.give_back(run.pending.cell, run.pending.name)
        self.saw(run.pending.cell.source, has_run=True)
        if failed:
            self.failures.add(run.pending, count=count)

    def restore(self, plan: Restore) -> Restored:
        """Put back what a recorded step did to the namespace, and record that.

        Raises:
            CorruptError: a stored byte is damaged; names and namespace are as they were.
            UnstorableError: a stored value cannot be loaded; the same.
        """
        self._beware_of_modules()
        recorded = plan.checkpoint.draft
        made_by = dict.fromkeys((group.artifact for group in recorded.groups), recorded.name)
        lazily = made_by if self.namespace.seals.allowed else None
        loader = Loader(self.engine, self.namespace, known=self._line.known, steps=lazily)
        groups = [group for group in recorded.groups if group.written and not has_live(plan.checkpoint)]
        names = {name: group for group in groups for name in group.names}
        loader.expect_step(names, bound=plan.pending.needs.names.writes - plan.pending.needs.names.direct)
        if recorded.process is not None:
            self._process.apply_surroundings([loader.process(recorded.process, by_step=True)])
        files = self._files.put_back(plan.checkpoint)
        with self._process.importing():
            files += import_again(recorded.imports)
            loader.load_for(recorded.name, groups)
            let_die(self.namespace, names.keys() | set(recorded.deleted_by_step), plan.pending.before)
            restored = put_back(loader, self.namespace, groups, names)
        restored.problems += files
        restored.problems += said_versions(recorded.packages)
        for name in recorded.deleted_by_step:
            self.namespace.live.pop(name, None)
        if recorded.process is not None:
            parts = loader.process(recorded.process, by_step=True)
            restored.problems += self._process.apply(parts)
            if not recorded.imports:  # else it may be modules that set them, see `Suspects.of`
                self._touched.suspects.note(plan.pending, parts)
        self._beware_of_modules()
        self._record_restored(plan, groups, loader)
        if self.last is not None:
            self._check(self.last)
        return restored

    def give(self, plan: Given) -> Checkpoint:
        """Bind what a replay was given in place of a step's result, and record that.

        Raises:
            StoreError: the disk refused; nothing is on record.
        """
        pending = plan.pending
        self.namespace.live.update(plan.values)
        after, process = self.namespace.observe(), self._process.snapshot()
        step = changes(pending.before, after, rebound=frozenset(plan.values))
        written = self._line.write(pending, step, after)
        draft = self._draft(
            pending,
            CheckpointStatus.RESTORED,
            Outcome([]),
            duration=0.0,
            process=self._line.write_process(pending.process, process, after, written),
            data={"overridden": True},
        )
        return self._record(draft, written, after, process)

    def result_of(self, checkpoint: Checkpoint) -> object:
        """The value of a recorded step's last expression, or None."""
        return result_of(checkpoint, Loader(self.engine, self.namespace), self.namespace.live)

    # Resuming

    def resume(
        self,
        execution: str | None = None,
        *,
        at: str | None = None,
        take_over: bool = False,
        again: Sequence[str] = (),
        parse: Parse = parse_plain,
        trust: bool = False,
    ) -> Resumed:
        """Put back everything that an execution had committed, as of `at` or its last commit.

        Args:
            execution: Which one; the notebook's own last one without it.
            at: A checkpoint's name.
            take_over: Take the execution from a process that hangs.
            again: Names that could not be stored, to be made by running their cells again.
            parse: Reads a recorded cell.
            trust: Put back what anybody signed, this once.

        Raises:
            NotFoundError: there is no such execution or checkpoint.
            ConflictError: another live process holds the execution.
            UntrustedError: nobody who is trusted here signed some of it; what runs nothing is back.
            CorruptError: some names' stored bytes are damaged; the others are back.
        """
        journal = self.engine.journal
        found = execution_of(journal, self.identity, execution, self.attempt)
        if take_over:  # also where there is nothing to restore: then the cells run here from now on
            self._lease.take_named(found.id, take_over=True)
        target = target_of(journal, found, at, here=self._line.parent)
        if not self._reading:
            self._lease.take_named(found.id)
        with self.engine.trust.accepting(trust):
            restored, line = self.restore_line(target.seq, exact=at is not None)
        data: dict[str, object] = {"checkpoint": target.draft.name, "seq": target.seq}
        data |= {"trust": True} if trust else {}
        if at is not None:
            data["left"] = max(checkpoint.seq for checkpoint in journal.checkpoints(found.id))
        if not self._reading:
            journal.record_event(found.id, "resumed", data)
        if restored.damaged:
            raise damaged(restored, target)
        if restored.untrusted is not None:
            raise untrusted(restored, restored.untrusted)
        refused = self._remake(again, line, restored, parse)
        restored.remakable = remakable(
            restored.lost, line=line, recorded=self._line.recorded, live=self.namespace.live, parse=parse
        )
        saved = sum(checkpoint.draft.duration for checkpoint in line)
        loader = Loader(self.engine, self.namespace)
        results = results_of(line, loader, self._line.recorded, self.namespace.live)
        return Resumed(found, target, restored, saved, len(line), results, refused)

    def _remake(
        self, names: Sequence[str], line: Sequence[Checkpoint], restored: Restored, parse: Parse
    ) -> Sequence[KitaruError]:
        kept = self._made_again.put_back(self.namespace, self._line.recorded, restored)
        names = [name for name in names if name not in kept]
        if not names:
            return ()
        self.namespace.open(needed=frozenset())
        refused = remake(
            names,
            line=line,
            recorded=self._line.recorded,
            namespace=self.namespace,
            process=self._process,
            restored=restored,
            parse=parse,
        )
        self._made_again.take(names, self.namespace, self._line.recorded, restored)
        return refused

    def rewind(self, at: str) -> Resumed:
        """The namespace as of checkpoint `at` of this execution; names bound since then go.

        Raises:
            NotFoundError: there is no such checkpoint.
            CorruptError: some names' stored bytes are damaged; the others are back.
        """
        attempt = self.open()
        journal = self.engine.journal
        target_of(journal, journal.execution(attempt.execution), at, here=self._line.parent)
        for name in self.namespace.visible():
            del self.namespace.live[name]
        return self.resume(attempt.execution, at=at)

    def restore_line(self, seq: int, *, exact: bool = False) -> tuple[Restored, list[Checkpoint]]:
        """The namespace as of commit `seq`; the next commit builds on it. `exact` as in `Line.restore`."""
        files = Restored()  # before the names: what is made again may open them
        sifted = self.engine.trust.sift(self.engine.journal.line(seq))
        line = sifted.line
        self._files.put_back_line(line, files)
        self._beware_of_modules()
        restored = self._line.restore(line, exact=exact)
        say_emptied(restored, line, self.namespace.live)
        restored.untrusted = sifted.error
        for name, (reason, hint) in sifted.refused.items():
            self.namespace.live[name] = Marker(
                name, "", f"is not restored: {reason}", f"{hint}, then %resume"
            )
            restored.lost[name] = reason
        with self._process.importing():
            files.problems += import_again(dict.fromkeys(name for c in line for name in c.draft.imports))
        self._beware_of_modules()
        files.problems += said_versions({k: v for c in line for k, v in c.draft.packages.items()})
        restored.add_files(files)
        restored.problems += self._live.missing(line)
        self._decider.start_from(line)
        self._repeating.start_from(line)
        self._half_done = None
        self.failures.keep()
        if not self._reading:
            self.learn_names()
        return restored, line

    def _draft(self, pending: Pending, status: CheckpointStatus, outcome: Outcome, **more: Any) -> Draft:
        if outcome.told:
            more["data"] = {**more.get("data", {}), TOLD: True}
        return Draft(
            name=pending.name,
            key=pending.needs.keys[0],
            code=pending.needs.code,
            source=pending.cell.source,
            status=status,
            started_at=pending.started_at,
            step=pending.cell.step,
            reads=pending.needs.reads,
            unmet=pending.unmet,
            outputs=tuple(outcome.outputs),
            execution_count=outcome.execution_count,
            plain=self._decider.lineage.untold() if self._marked_only else (),
            excluded=tuple(sorted(self._line.excluded)),
            cost=outcome.cost if self.scope is None else self.scope.cost,
            tokens=outcome.tokens if self.scope is None else self.scope.tokens,
            scope="" if self.scope is None else self.scope.path,
            **more,
        )

    def _record(self, draft: Draft, written: Written, after: State, process: ProcessState) -> Checkpoint:
        self.last = self._line.add(self.open, draft, written, after, process)
        self._decider.lineage.committed(self.last.draft)
        self._decider.confirm.committed(self.last)
        self._files.took(self.last)
        self._half_done = None
        if draft.scope:
            self.book.note_finished(draft.scope)
        self.went_on(draft.step or f"name:{draft.name}")
        return self.last

    def _record_restored(self, plan: Restore, groups: Sequence[Group], loader: Loader) -> None:
        """Record a restored step, together with what plain cells changed before it."""
        try:
            self._record_restored_once(plan, groups, loader, removed=False)
        except (ConflictError, NotFoundError) as error:
            if error.kind not in _REMOVED:
                raise
            self._line.look_again()
            self._record_restored_once(plan, groups, loader, removed=True)

    def _record_restored_once(
        self, plan: Restore, groups: Sequence[Group], loader: Loader, *, removed: bool
    ) -> None:
        """With `removed`, what was restored is not on record any more and is stored anew."""
        pending = plan.pending
        after = self.namespace.observe()
        process = self._process.snapshot()
        if not removed:
            self._line.take_in(groups, after, loader)
        by_step = frozenset(group.names for group in groups) & after.groups.keys()
        written = self._line.write(pending, Change(by_step, frozenset(), frozenset()), after)
        draft = restored_draft(
            plan.checkpoint,
            name=pending.name,
            step=pending.cell.step,
            process=self._line.write_process(pending.process, process, after, written),
            plain=self._decider.lineage.untold() if self._marked_only else (),
            excluded=tuple(sorted(self._line.excluded)),
            **self._line.place(written, pending.before, after),
        )
        if removed:
            files = [{key: file[key] for key in file if key != "artifact"} for file in draft.files]
            draft = draft.having(files=tuple(files), result=None)
        self._record(draft, written, after, process)


def _excluded_in(events: Sequence[Event], recorded: Sequence[Checkpoint]) -> Sequence[str] | None:
    """What was excluded when an execution ended; None where nothing tells."""
    asked = [event.data["names"] for event in events if event.kind == _EXCLUDED]
    if asked:
        return asked[-1]  # type: ignore[no-any-return] # as `Session.exclude` wrote it
    return recorded[-1].draft.excluded if recorded else None
