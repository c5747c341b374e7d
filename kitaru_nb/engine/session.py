"""A session: one process's turn at an execution, from its first step to its end.

It holds the lease, decides for each cell whether it runs or is restored, and commits what
ran. Nothing here knows Jupyter: a front end hands in cells and an `OutputSink`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from kitaru_nb.analysis.directive import Directive
from kitaru_nb.analysis.key import checkpoint_key
from kitaru_nb.analysis.modules import is_local_module, module_digest
from kitaru_nb.analysis.names import CellNames, names_of
from kitaru_nb.analysis.normal import code_digest, ends_quietly
from kitaru_nb.analysis.reach import Reach, reach
from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.artifacts.marker import Marker
from kitaru_nb.engine import observe
from kitaru_nb.engine.commit import Written, write_groups, write_value
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.namespace import Change, Namespace, State, changes
from kitaru_nb.engine.process import Process, ProcessState, drawn
from kitaru_nb.engine.recovery import Loader, Recorded, Restored, put_back, recorded_at, restored_draft
from kitaru_nb.engine.steps import Cell, Pending, Restore, Run, choose, step_name
from kitaru_nb.errors import (
    ConflictError,
    CorruptError,
    KitaruError,
    NotFoundError,
    UnstorableError,
    UsageError,
)
from kitaru_nb.model.artifact import Artifact, Digest
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft
from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Identity,
    current_owner,
)

__all__ = ["Outcome", "Resumed", "Session"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running a step gave besides changes of the namespace."""

    outputs: Sequence[Mapping[str, Any]] = ()
    result: object = None
    cost: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """What `Session.resume` did, for the restore report."""

    execution: Execution
    checkpoint: Checkpoint
    restored: Restored
    saved_duration: float
    steps: int


class Session:
    """One turn at an execution.

    Args:
        engine: Journal and store.
        identity: What is being run; the execution is found or begun when the first step
            needs it.
        namespace: The namespace the cells run in.
        attempt: The attempt to work in, when somebody else (a worker) holds the lease.
        marked_only: Whether only marked cells are steps (interactive), else all are.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        identity: Identity,
        namespace: Namespace,
        attempt: Attempt | None = None,
        marked_only: bool = True,
    ) -> None:
        self.engine = engine
        self.identity = identity
        self.namespace = namespace
        self.attempt = attempt
        self.marked_only = marked_only
        self.last: Checkpoint | None = None
        self._owns_lease = attempt is None
        self._parent: int | None = None
        self._recorded = Recorded()
        self._process = Process()
        self._committed_process = self._process.snapshot()
        self._state: State | None = None
        self._seeded = False
        self._names: dict[str, str | None] = {}
        self._half_done: str | None = None
        self._beat: threading.Event | None = None
        self._observed = observe.Observed()
        self._modules_seen = 0
        self._local: set[str] = set()

    # -- the lease ---------------------------------------------------------------------

    def open(self, *, new: bool = False, take_over: bool = False) -> Attempt:
        """Hold the lease, taking it with the first call.

        Raises:
            ConflictError: another live process holds the execution.
        """
        if self.attempt is None:
            self.attempt, previous = self.engine.journal.start(
                self.identity, owner=current_owner(), new=new, take_over=take_over
            )
            if previous is not None:
                self.learn_names()
            self._start_heartbeat()
        return self.attempt

    def saw_imports(self) -> None:
        """Fix the digests of project modules that were just loaded, before their files can be edited."""
        if len(sys.modules) == self._modules_seen:
            return
        self._modules_seen = len(sys.modules)
        for module in list(sys.modules.values()):
            if (
                isinstance(module, ModuleType)
                and module.__name__ not in self._local
                and self._is_local(module)
            ):
                self._local.add(module.__name__)
                with suppress(UsageError):  # a module without source; said where a cell reads it
                    module_digest(module)

    def close(self) -> None:
        """End the attempt: interrupted when a step failed or was left half-done, else completed."""
        if self._beat is not None:
            self._beat.set()
        if self.attempt is None or not self._owns_lease:
            return
        if self._half_done is None:
            self.engine.journal.finish(self.attempt, ExecutionStatus.COMPLETED)
        else:
            reason = f"the kernel ended after `{self._half_done}` had failed"
            self.engine.journal.finish(self.attempt, ExecutionStatus.INTERRUPTED, reason=reason)

    def saw(self, source: str) -> None:
        """Take note of a cell that is not a step and is about to run."""
        self._state = None
        self._seeded = self._seeded or "seed" in source

    # -- deciding ----------------------------------------------------------------------

    def plan(self, cell: Cell, *, deleted_steps: Sequence[str] = ()) -> Restore | Run:
        """Decide whether `cell` runs or is restored. Nothing runs and nothing is changed.

        Raises:
            UsageError: its options or name cannot be taken.
            UnstorableError: it reads a name that holds a marker.
            ConflictError: another live process holds the execution.
            StoreError: the journal cannot be read or written, so running it would be in vain.
        """
        _refuse_unbuilt(cell.directive)
        attempt = self.open()
        for step in deleted_steps:
            self._names = {name: owner for name, owner in self._names.items() if owner != step}
        pending = self._pending(cell)
        self._names[pending.name] = cell.step
        self._seeded = self._seeded or "seed" in cell.source
        if cell.directive is not None and cell.directive.fresh:
            return Run(pending)
        recorded = self._find(pending, attempt.execution)
        return choose(
            pending,
            recorded,
            holds=lambda what, digest: self._holds(pending, what, digest),
            allowed=self._allowed(pending),
        )

    def _pending(self, cell: Cell) -> Pending:
        started_at, started = datetime.now(UTC), time.perf_counter()
        name = self._name(cell)
        before = self._state or self.namespace.observe()
        names = names_of(cell.tree)
        found = self._reach(names, names.inputs(self.namespace.live.keys()))
        self._refuse_markers(found, name)
        reads = self._reads(found, before)
        options = {"quiet": ends_quietly(cell.source)}
        modules = {**{module: local.digest for module, local in found.modules.items()}, **self._depends(cell)}
        code = code_digest(cell.tree)
        key = checkpoint_key(code=code, reads=reads, modules=modules, options=options)
        unbound = self._reads_unbound(names, reads, before)
        other = (
            checkpoint_key(code=code, reads=unbound, modules=modules, options=options)
            if unbound != reads
            else None
        )
        return Pending(
            cell,
            name,
            key,
            code,
            reads,
            before,
            self._process.snapshot(),
            started_at,
            started,
            other_key=other,
            writes=names.writes,
            certain=names.certain,
            modules=found.modules,
            seeded=self._seeded,
        )

    def _reads(self, found: Reach, before: State) -> dict[str, Digest]:
        return self.namespace.read(before.ids.keys() if found.dynamic else found.names, before)

    def _reads_unbound(self, names: CellNames, reads: dict[str, Digest], before: State) -> dict[str, Digest]:
        """What the cell reads if its own loop variables and the like were not bound before it.

        A cell such as ``for row in rows: ...; print(row)`` reads `row` only when `rows` is
        empty. After its first run `row` is bound, and it must still be found on record.
        """
        own = names.required & names.writes & before.ids.keys()
        if not own:
            return reads
        rest = self._reach(names, names.inputs(self.namespace.live.keys()) - own)
        return reads if rest.dynamic or rest.names & own else self._reads(rest, before)

    def _reach(self, names: CellNames, inputs: frozenset[str]) -> Reach:
        return reach(
            inputs, self.namespace.live, is_local=self._is_local, imports=names.imports, dynamic=names.dynamic
        )

    def _is_local(self, module: Any) -> bool:
        return is_local_module(module, [self._folder()])

    def _folder(self) -> Path:
        return Path(self.identity.notebook).parent if self.identity.notebook else Path.cwd()

    def _refuse_markers(self, found: Reach, name: str) -> None:
        for read in sorted(found.names):
            value = self.namespace.live.get(read)
            if type(value) is Marker:
                message = f"checkpoint `{name}` reads `{read}`, which {value.why}"
                raise UnstorableError(
                    message, kind="reads-marker", hint=f"run the cell that makes `{read}`, then this one"
                )

    def _name(self, cell: Cell) -> str:
        given = cell.directive.name if cell.directive is not None else None
        if given is None:
            own = next(
                (name for name, step in self._names.items() if cell.step is not None and step == cell.step),
                None,
            )
            return own or step_name(cell.tree, self._names.keys())
        owner = self._names.get(given)
        if given in self._names and cell.step is not None and owner is not None and owner != cell.step:
            message = f"two cells are called `{given}`; a checkpoint's name has to be its own"
            raise UsageError(message, kind="duplicate-name", hint=f"%%checkpoint {given}-2")
        return given

    def _depends(self, cell: Cell) -> dict[str, Digest]:
        if cell.directive is None:
            return {}
        found = {}
        for path in cell.directive.depends:
            digest = observe.file_digest(path)
            if digest is None:
                raise UsageError(
                    f"`--depends {path}` names no file that can be read",
                    kind="unknown-file",
                    hint="give a path that exists",
                )
            found[f"file:{path}"] = Digest(digest)
        return found

    def _find(self, pending: Pending, execution: ExecutionId) -> list[Checkpoint]:
        found: list[Checkpoint] = []
        for key in (pending.key, pending.other_key):
            if key is None or found:
                continue
            if self.marked_only or pending.cell.directive is not None:
                found = self.engine.journal.find(key, notebook=self.identity.notebook or "")
            else:
                found = self.engine.journal.find(key, executions=[execution])
        return found

    def _allowed(self, pending: Pending) -> Any:
        directive = pending.cell.directive
        anywhere = self.marked_only or (directive is not None and directive.reuse)

        def allowed(checkpoint: Checkpoint) -> bool:
            own = self.attempt is not None and checkpoint.execution == self.attempt.execution
            return own or anywhere or not checkpoint.draft.outside

        return allowed

    def _holds(self, pending: Pending, what: str, digest: str) -> bool:
        kind, _, rest = what.partition(":")
        if kind == "names":
            return pending.before.groups.get(tuple(rest.split(","))) == digest
        if kind == "random":
            return rest in pending.process and _digest(pending.process[rest]) == digest
        return observe.file_holds(what, digest)

    # -- running -----------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """The step's body is about to run."""
        self._half_done = run.pending.name
        self._observed = observe.Observed()
        observe.start(self._observed)

    def commit(self, run: Run, outcome: Outcome) -> Checkpoint:
        """Record a step that ran to its end. When this returns, the checkpoint exists.

        Raises:
            StoreError: the disk refused; the namespace is untouched and nothing is recorded.
            UnstorableError: with `--strict`, a value could not be stored.
            ConflictError: kind ``superseded``: a later attempt owns the execution.
        """
        observe.stop()
        pending = run.pending
        duration = time.perf_counter() - pending.started
        after = self.namespace.observe()
        process = self._process.snapshot()
        step = changes(pending.before, after, rebound=pending.certain)
        written = self._write(pending, step, after)
        files = self._observed.files(below=self._folder(), ignored=[self.engine.settings.home])
        draft = Draft(
            name=pending.name,
            key=pending.key,
            code=pending.code,
            source=pending.cell.source,
            status=CheckpointStatus.COMPLETED,
            started_at=pending.started_at,
            duration=duration,
            step=pending.cell.step,
            parent=self._parent,
            reads=pending.reads,
            groups=tuple(written.groups),
            deleted=self._deleted(after),
            deleted_by_step=tuple(sorted(step.deleted)),
            conditions=self._conditions(pending, step, process, files),
            process=self._write_process(pending.process, process, written),
            result=self._write_result(outcome.result, written),
            outside=tuple(sorted(self._observed.outside)),
            files=tuple(files),
            outputs=tuple(outcome.outputs),
            cost=outcome.cost,
            tokens=outcome.tokens,
        )
        return self._record(draft, written, after, process)

    def fail(self, run: Run, error: BaseException, outcome: Outcome) -> None:
        """Record that a step raised or was interrupted. Nothing of it can be restored."""
        observe.stop()
        self._state = None
        pending = run.pending
        draft = Draft(
            name=pending.name,
            key=pending.key,
            code=pending.code,
            source=pending.cell.source,
            status=CheckpointStatus.FAILED,
            started_at=pending.started_at,
            duration=time.perf_counter() - pending.started,
            step=pending.cell.step,
            parent=self._parent,
            reads=pending.reads,
            outputs=tuple(outcome.outputs),
            error={"ename": type(error).__name__, "evalue": str(error)},
        )
        self.engine.journal.commit(self.open(), draft)

    def restore(self, plan: Restore) -> Restored:
        """Put back what a recorded step did to the namespace, and record that.

        Raises:
            CorruptError: a stored byte is damaged; names and namespace are as they were.
        """
        recorded = plan.checkpoint
        loader = Loader(self.engine, self.namespace)
        groups = [group for group in recorded.draft.groups if group.written]
        self._load_all(loader, recorded, groups)
        restored = put_back(
            loader, self.namespace, groups, {name: group for group in groups for name in group.names}
        )
        for name in recorded.draft.deleted_by_step:
            self.namespace.live.pop(name, None)
        restored.problems += self._restore_process(loader, recorded)
        after = self.namespace.observe()
        process = self._process.snapshot()
        by_step = frozenset(group.names for group in groups)
        for group in groups:
            if after.groups.get(group.names) == group.value:
                self._recorded.put(group)
        written = self._write(
            plan.pending, Change(by_step & after.groups.keys(), frozenset(), frozenset()), after
        )
        draft = restored_draft(
            recorded,
            name=plan.pending.name,
            step=plan.pending.cell.step,
            parent=self._parent,
            groups=tuple(written.groups),
            deleted=self._deleted(after),
            process=self._write_process(plan.pending.process, process, written),
        )
        self._record(draft, written, after, process)
        return restored

    def artifacts_of(self, checkpoint: Checkpoint) -> list[Artifact]:
        """The artifacts that hold what the step wrote."""
        digests = [group.artifact for group in checkpoint.draft.groups]
        return list(self.engine.journal.artifacts(digests).values())

    def result_of(self, checkpoint: Checkpoint) -> object:
        """The value of a recorded step's last expression, or None."""
        kind, _, rest = (checkpoint.draft.result or "").partition(":")
        if kind == "name":
            return self.namespace.live.get(rest)
        if kind == "artifact":
            return next(iter(Loader(self.engine, self.namespace).load(Digest(rest)).values()))
        return None

    # -- resuming ----------------------------------------------------------------------

    def resume(
        self, execution: str | None = None, *, at: str | None = None, take_over: bool = False
    ) -> Resumed:
        """Put back everything that an execution had committed, as of `at` or its last commit.

        Raises:
            NotFoundError: there is no such execution or checkpoint.
            ConflictError: another live process holds the execution.
            CorruptError: some names' stored bytes are damaged; the others are back.
        """
        journal = self.engine.journal
        found = self._execution(execution)
        target = self._target(found, at)
        if self.attempt is None or self.attempt.execution != found.id:
            self.close()
            self.attempt = journal.resume(found.id, owner=current_owner(), take_over=take_over)
            self._owns_lease = True
            self._start_heartbeat()
        restored, line = self.restore_line(target.seq)
        self.learn_names()
        saved = sum(checkpoint.draft.duration for checkpoint in line)
        journal.record_event(found.id, "resumed", {"checkpoint": target.draft.name, "seq": target.seq})
        if restored.damaged:
            raise self.damaged(restored, target.seq)
        return Resumed(found, target, restored, saved, len(line))

    def restore_line(self, seq: int) -> tuple[Restored, list[Checkpoint]]:
        """The namespace as of commit `seq`; the next commit here builds on it."""
        line = [c for c in self.engine.journal.line(seq) if c.draft.status is not CheckpointStatus.FAILED]
        recorded = recorded_at(line)
        loader = Loader(self.engine, self.namespace)
        groups = list({id(group): group for group in recorded.groups.values()}.values())
        restored = put_back(loader, self.namespace, groups, recorded.groups)
        for checkpoint in line:
            for name in checkpoint.draft.deleted:
                if name not in recorded.groups:
                    self.namespace.live.pop(name, None)
        for digest in recorded.process:
            restored.problems += self._process.apply(_parts(loader, digest))
        self._parent, self._recorded = seq, recorded
        self._seeded = self._seeded or any("seed" in checkpoint.draft.source for checkpoint in line)
        self._state = None
        self._committed_process = self._process.snapshot()
        return restored, line

    def learn_names(self) -> None:
        """Take over the names that the execution's steps have had so far."""
        for checkpoint in self.engine.journal.checkpoints(self.open().execution):
            self._names.setdefault(checkpoint.draft.name, checkpoint.draft.step)

    def damaged(self, restored: Restored, seq: int) -> CorruptError:
        """The error for names that could not be restored as of commit `seq`."""
        names = ", ".join(f"`{name}`" for name in restored.damaged)
        reason = next(iter(restored.damaged.values()))
        checkpoint = self.engine.journal.checkpoint(seq).draft.name
        message = f"{names} could not be restored as of checkpoint `{checkpoint}`: {reason}; everything else is back"
        return CorruptError(
            message, kind="corrupt-artifact", hint="run the cell that makes it again, with --fresh"
        )

    def _execution(self, execution: str | None) -> Execution:
        if execution is not None:
            return self.engine.journal.execution(execution)
        if self.attempt is not None:
            return self.engine.journal.execution(self.attempt.execution)
        known = self.engine.journal.executions(identity=self.identity, limit=1)
        if not known:
            raise NotFoundError(
                "nothing is on record for this notebook, so there is nothing to resume",
                kind="unknown-execution",
                hint="%%checkpoint NAME on top of a cell that costs time",
            )
        return known[0]

    def _target(self, execution: Execution, at: str | None) -> Checkpoint:
        commits = [
            c
            for c in self.engine.journal.checkpoints(execution.id)
            if c.draft.status is not CheckpointStatus.FAILED
        ]
        chosen = [c for c in commits if at is None or c.draft.name == at]
        if chosen:
            return chosen[-1]
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(c.draft.name for c in commits))
        if at is None or not commits:
            raise NotFoundError(
                f"execution `{execution.id}` has no committed checkpoint",
                kind="no-checkpoint",
                hint="run the notebook's cells",
            )
        raise NotFoundError(
            f"execution `{execution.id}` has no checkpoint `{at}`; it has {names}",
            kind="unknown-checkpoint",
            hint="%resume --at NAME",
        )

    # -- the parts of a commit ---------------------------------------------------------

    def _write(self, pending: Pending, step: Change, after: State) -> Written:
        on_record = self._recorded.whole
        since = {
            names
            for names, digest in after.groups.items()
            if names not in on_record or on_record[names].value != digest
        }
        directive = pending.cell.directive
        written = write_groups(
            self.engine,
            self.namespace,
            after,
            changed=since | step.groups,
            by_step=step.groups,
            on_record=on_record,
            exclude=frozenset(directive.exclude if directive is not None else ()),
        )
        if directive is not None and directive.strict:
            _refuse_unstorable(written, pending.name)
        return written

    def _deleted(self, after: State) -> tuple[str, ...]:
        return tuple(sorted(self._recorded.groups.keys() - after.ids.keys()))

    def _conditions(
        self, pending: Pending, step: Change, process: ProcessState, files: Sequence[Mapping[str, Any]]
    ) -> dict[str, str]:
        group_of = pending.before.group_of()
        changed = {name for names in step.groups for name in names}
        spared = {group_of[name] for name in pending.writes - changed if name in group_of}
        conditions: dict[str, str] = {
            f"names:{','.join(names)}": pending.before.groups[names] for names in step.in_place | spared
        }
        if pending.seeded:
            for part in drawn(pending.process, process):
                conditions[f"random:{part}"] = _digest(pending.process[part])
        for file in files:
            if file["mode"] == "read" and file["digest"] is not None:
                conditions[f"file:{file['path']}"] = file["digest"]
        for module in pending.modules.values():
            conditions[f"module:{module.path}"] = module.digest
        return conditions

    def _write_process(self, before: ProcessState, after: ProcessState, written: Written) -> Digest | None:
        parts = {part: value for part, value in after.items() if value != self._committed_process.get(part)}
        if not parts:
            return None
        by_step = [part for part, value in after.items() if value != before.get(part)]
        return written.add(
            self.engine.put({"parts": parts, "by_step": by_step}, namespace=self.namespace.live)
        )

    def _write_result(self, result: object, written: Written) -> str | None:
        if result is None:
            return None
        for name, value in self.namespace.visible().items():
            if value is result:
                return f"name:{name}"
        digest = write_value(self.engine, self.namespace, "_", result, written)
        return None if digest is None else f"artifact:{digest}"

    def _record(self, draft: Draft, written: Written, after: State, process: ProcessState) -> Checkpoint:
        self.engine.store.flush()
        self.last = self.engine.journal.commit(
            self.open(), draft, artifacts=written.artifacts, locations=written.locations
        )
        self._parent, self._state, self._committed_process = self.last.seq, after, process
        self._recorded.add(draft)
        self._half_done = None
        return self.last

    def _load_all(self, loader: Loader, recorded: Checkpoint, groups: Sequence[Any]) -> None:
        for group in groups:
            try:
                loader.load(group.artifact)
            except CorruptError as error:
                name = recorded.draft.name
                message = f"checkpoint `{name}` cannot be restored: {', '.join(f'`{n}`' for n in group.names)}: {error.message}"
                raise CorruptError(
                    message, kind="corrupt-artifact", hint=f"%%checkpoint {name} --fresh (runs it again)"
                ) from error

    def _restore_process(self, loader: Loader, recorded: Checkpoint) -> list[str]:
        if recorded.draft.process is None:
            return []
        stored = loader.load(recorded.draft.process)
        by_step: Any = stored["by_step"]
        parts: Any = stored["parts"]
        return self._process.apply({part: value for part, value in parts.items() if part in by_step})

    def _start_heartbeat(self) -> None:
        attempt = self.attempt
        if self._beat is not None:
            self._beat.set()
        self._beat = stopped = threading.Event()

        def beat() -> None:
            while not stopped.wait(self.engine.settings.heartbeat):
                try:
                    self.engine.journal.heartbeat(attempt)  # type: ignore[arg-type] # set before the thread starts
                except ConflictError:
                    return  # superseded: the next commit says so, in the cell where it matters
                except KitaruError:
                    continue  # a disk fault passes; the lease outlives a few missed beats

        threading.Thread(target=beat, name="kitaru-nb-heartbeat", daemon=True).start()


def _refuse_unbuilt(directive: Directive | None) -> None:
    """Options that parse and do nothing yet are refused rather than ignored."""
    for option in ("retries", "timeout", "budget", "all", "strict_env", "trust"):
        if directive is not None and getattr(directive, option):
            message = f"`--{option.replace('_', '-')}` is not available in this version"
            raise UsageError(message, kind="not-available", hint="%%checkpoint without it")


def _digest(value: object) -> Digest:
    return digest_values({"": value}, namespace={})


def _parts(loader: Loader, digest: Digest) -> Mapping[str, Any]:
    parts: Any = loader.load(digest)["parts"]
    return parts  # type: ignore[no-any-return]


def _refuse_unstorable(written: Written, name: str) -> None:
    for group in written.groups:
        for lost, reason in group.unstorable.items():
            message = f"checkpoint `{name}` wrote `{lost}`, which could not be stored: {reason}"
            raise UnstorableError(
                message, kind="unstorable-value", hint=f"%%checkpoint {name} --exclude {lost}"
            )
