"""Replays of notebooks: begun from the record and from the notebook's file as it is now."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from types import FunctionType
from typing import Any

from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.callee import callee_of, plain_function
from kitaru_nb.engine.cell import source_digest
from kitaru_nb.engine.changes import Changes, changes_of, known_names, named_step, refuse_unheld
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.prefix import source_code, used_names
from kitaru_nb.engine.recovery import recorded_at
from kitaru_nb.engine.refs import steps
from kitaru_nb.engine.replay import (
    Frontier,
    Kind,
    Override,
    Replay,
    begin,
    frontier_of,
    inheriting,
    lent,
    refuse_removed,
    root_of,
    scopes_of_overrides,
)
from kitaru_nb.engine.replay_cells import Start, commit_told, scope_of_cell, start_of
from kitaru_nb.engine.scope import served_of
from kitaru_nb.errors import UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.checkpoint import Checkpoint, Group, StepKind
from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    Identity,
    Owner,
    new_execution_id,
)
from kitaru_nb.model.served import Served
from kitaru_nb.stacks.local import Job, check, job_of, literal, parameterized
from kitaru_nb.stacks.masking import filled_parameters, masked_parameters
from kitaru_nb.stacks.notebooks import (
    PARAMETERS,
    Step,
    give_stable_ids,
    is_remote,
    json_parameters,
    recorded_ids,
    steps_of,
)
from kitaru_nb.stacks.parameters import PARAMETERS_TAG, declared_by
from kitaru_nb.stacks.replays import given_by, new_mark, told
from kitaru_nb.stacks.taken import place_of

__all__ = ["NotebookBegun", "Ready", "Wanted", "begin_notebook", "job_for", "ready_notebook"]

_TAKEN = (StepKind.VALUE, StepKind.MESSAGE, StepKind.ONCE)
_NO_ID = "ID"
_SHORT = slice(3, 13)  # of an id: enough of it to be typed, and to differ from millisecond to millisecond


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        from_: The step to begin at, as typed.
        inputs: Names to bind before it.
        overrides: What is given instead of run or asked.
        typed: Changes of which only the name says what they are.
        output: Where the executed notebook goes; a name made from the new execution's id without it.
        tags: Of the new execution.
        budget: What it may cost in US dollars.
        progress: Show papermill's progress bar.
    """

    from_: str
    inputs: Mapping[str, object] | None = None
    overrides: Mapping[str, object] | None = None
    typed: Mapping[str, object] | None = None
    output: str | None = None
    tags: Sequence[str] = ()
    budget: float | None = None
    progress: bool = False


@dataclass(frozen=True, slots=True)
class NotebookBegun:
    """A replay of a notebook that has begun and of which nothing has run.

    Attributes:
        attempt: Its first attempt.
        plan: What was asked for.
        job: What runs it.
        reused: What is taken over, and what that cost.
        notes: Sentences about cells that differ from the record.
    """

    attempt: Attempt
    plan: Replay
    job: Job
    reused: Served
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ready:
    """A replay of a notebook that could be begun: all that is known of it beforehand.

    Attributes:
        plan: What was asked for.
        job: What would run it.
        where: The cells that matter.
        identity: Whose run it would be.
        given: The values of overrides and inputs, as they are stored.
        kept: Groups that it inherits of the replay that it replays.
        taken: Results that are put on its record.
        reused: What is taken over, and what that cost.
        notes: Sentences about cells that differ from the record.
    """

    plan: Replay
    job: Job
    where: _Where
    identity: Identity
    given: Mapping[str, Mapping[str, object]]
    kept: Sequence[Group]
    taken: Sequence[Checkpoint]
    reused: Served
    notes: Sequence[str]

    @property
    def output(self) -> str:
        """Where the executed notebook goes."""
        return str(self.identity.output)


def begin_notebook(
    engine: Engine,
    original: Execution,
    wanted: Wanted,
    *,
    namespace: dict[str, Any],
    owner: Owner | None = None,
) -> NotebookBegun:
    """Begin the replay of a notebook's run, whether a command made that or a person cell by cell.

    Args:
        engine: Journal and store.
        original: What is replayed.
        wanted: What is asked for.
        namespace: Where functions among the values read their globals.
        owner: The process that will run it; this one without it.

    Raises:
        KitaruError: it cannot be begun, and why. Nothing was.
    """
    execution = new_execution_id()
    found = ready_notebook(engine, original, wanted, namespace=namespace, execution=execution)
    attempt, plan = begin(
        engine,
        found.identity,
        found.plan,
        given=found.given,
        namespace=namespace,
        kept=found.kept,
        taken=found.taken,
        execution=execution,
        owner=owner,
        tags=wanted.tags,
    )
    return NotebookBegun(attempt, plan, replace(found.job, attempt=attempt), found.reused, found.notes)


def ready_notebook(
    engine: Engine,
    original: Execution,
    wanted: Wanted,
    *,
    namespace: dict[str, Any],
    execution: ExecutionId | None = None,
) -> Ready:
    """All that is known of a replay before it begins; nothing is put on record.

    Args:
        engine: As for `begin_notebook`, like the arguments after it.
        original: As there.
        wanted: As there.
        namespace: As there.
        execution: The id that it is to have.

    Raises:
        KitaruError: it cannot be begun, and why.
    """
    journal = engine.journal
    step = named_step(journal, original, wanted.from_)
    known = known_names(journal, original, inputs=None)
    changes = changes_of(
        known,
        inputs=wanted.inputs,
        overrides=wanted.overrides,
        typed=wanted.typed,
    )
    job = job_for(original, wanted, short=execution[_SHORT] if execution is not None else _NO_ID)
    check(job)
    cells, output = _cells(job)
    recorded = journal.steps_within(original.id)
    again = _changed_inside(original, changes, recorded)
    overridden = again | {override.step for override, _ in changes.overrides if override.step is not None}
    start = start_of(
        journal,
        original,
        step,
        overridden=overridden,
        bound=changes.inputs.keys(),
        ran_plainly=any(cell.plain for cell in cells),
    )
    where = _where(cells, start, wanted.from_)
    parameters, recorded_as = _parameters(job, where, changes), original.identity.parameters
    if parameters != job.parameters:
        job = replace(job, parameters=parameters)
        cells, output = _cells(job)
        where = _where(cells, start, wanted.from_)
        recorded_as = masked_parameters(json_parameters(parameters))
    _refuse_above(cells, where, again, wanted.from_)
    line = [] if start.parent is None else journal.line(start.parent.seq)
    held = _held(line, start)
    used = held.union(job.parameters, *(used_names(cell.source) for cell in cells))
    refuse_unheld(known, changes.inputs, used, step=wanted.from_)
    given = Changes(
        changes.inputs, [(_placed(cells, override), value) for override, value in changes.overrides]
    )
    plan, kept = inheriting(
        journal,
        Replay(
            original.id,
            wanted.from_,
            _frontier(step, recorded, where, line),
            inputs=told(changes.inputs),
            overrides=tuple(override for override, _ in given.overrides),
            more=_more(journal, start, where) | {"again": sorted(again)},
            carried=start.carried,
            process=start.process,
        ),
    )
    reusable = lent(plan, recorded)
    refuse_removed(journal, [*line, *reusable])
    engine.trust.require([*line, *([start.first] if start.first is not None else [])])
    roots = {scope_of_cell(each) for each in line}
    identity = Identity(
        notebook=original.identity.notebook,
        output=output,
        parameters=recorded_as,
        stack=original.identity.stack,
        replay=new_mark(),
    )
    inputs = _with_reads(given.inputs, namespace, held)
    return Ready(
        plan,
        job,
        where,
        identity,
        given=given_by(given) | ({Kind.INPUT.value: inputs} if inputs else {}),
        kept=kept,
        taken=[each for each in reusable if each.draft.kind in _TAKEN and root_of(each.draft.scope) in roots],
        reused=served_of(line),
        notes=_notes(journal, original, where, start),
    )


def job_for(original: Execution, wanted: Wanted, *, short: str) -> Job:
    """What runs the replay.

    Raises:
        UsageError: kind ``unknown-files``: where the notebook is, is not known.
    """
    notebook = original.identity.notebook or ""
    if notebook.startswith("memory:") or not notebook.endswith(".ipynb") or original.identity.output == "-":
        message = f"`{original.id}` was run without a notebook file that is known here"
        raise UsageError(message, kind="unknown-files", hint="kitaru-nb run NOTEBOOK, and replay that")
    if wanted.output is None and is_remote(notebook):
        message = f"`{notebook}` is not a local file, so the replay needs an output"
        raise UsageError(message, kind="no-output", hint="-o OUTPUT.ipynb")
    output = wanted.output or literal(f"{notebook.removesuffix('.ipynb')}.replay-{short}.ipynb")
    by_hand = original.identity.interactive
    return job_of(
        notebook,
        output,
        parameters={} if by_hand else filled_parameters(original.identity.parameters),
        budget=wanted.budget,
        progress=wanted.progress,
    )


@dataclass(frozen=True, slots=True)
class _Where:
    """The cells that matter, in the notebook as it is now.

    Attributes:
        cells: All that run.
        named: The named cell.
        behind: The cell that the first one comes after; None where it is known by itself.
        first: The first one that runs or is overridden.
    """

    cells: Sequence[Step]
    named: Step
    behind: Step | None
    first: Step


def _cells(job: Job) -> tuple[list[Step], str]:
    """The notebook's cells, and the path of the output."""
    nb, output = parameterized(job)
    give_stable_ids(nb, recorded_ids(job.notebook))
    return steps_of(nb), output


def _where(cells: Sequence[Step], start: Start, label: str) -> _Where:
    """Find the cells of a beginning in the notebook.

    Raises:
        NotFoundError: kind ``unknown-cell``: the notebook does not have one of them any more.
        UsageError: kind ``cells-moved``: they stand in another order than they ran in.
    """
    named = _found(cells, start.named, label, name=start.name)
    if start.first is not None:
        return _Where(cells, named, None, _cell_of(cells, start.first))
    behind = None if start.parent is None else _cell_of(cells, start.parent)
    after = [cell for cell in cells if behind is None or cell.index > behind.index]
    if named not in after:
        above = start.parent.draft.name if start.parent is not None else ""
        message = (
            f"the cell of `{label}` stands above that of `{above}`, which ran before it, and what it began "
            "with is on no record"
        )
        raise UsageError(
            message, kind="cells-moved", hint=f"--from {quote(above)}, or move the cell below it"
        )
    return _Where(cells, named, behind, after[0])


def _changed_inside(original: Execution, changes: Changes, recorded: Sequence[Checkpoint]) -> set[str]:
    """The cells in which a call or an answer is given: they run, so that it comes to those who use it."""
    overrides = tuple(override for override, _ in changes.overrides)
    plan = Replay(original.id, "", Frontier(0), overrides=overrides)
    return {root_of(scope) for scope in scopes_of_overrides(plan, recorded)}


def _refuse_above(cells: Sequence[Step], where: _Where, again: Collection[str], label: str) -> None:
    """Refuse to give something in a cell that the replay takes over, and that cannot be begun from.

    Raises:
        UsageError: kind ``bad-override``.
    """
    run = {cell.step for cell in cells if cell.index >= where.first.index}
    above = sorted(set(again) - run)
    if above:
        message = f"what is given belongs to a plain cell above that of `{label}`, which is taken over"
        raise UsageError(
            message, kind="bad-override", hint="--from the call itself, or an earlier checkpoint"
        )


def _cell_of(cells: Sequence[Step], commit: Checkpoint) -> Step:
    draft = commit.draft
    return _found(cells, scope_of_cell(commit), draft.name, name=draft.name, source=draft.source)


def _found(
    cells: Sequence[Step], scope: str, label: str, *, name: str | None = None, source: str = ""
) -> Step:
    if scope.startswith("code:"):  # a plain cell that the front end sent without an id
        same = next((cell for cell in cells if source_digest(cell.source) == scope.partition(":")[2]), None)
        if same is not None:
            return same
    return place_of(cells, scope, label, name=name, source=source)


def _placed(cells: Sequence[Step], override: Override) -> Override:
    """The override of a cell, for the cell that the notebook has now."""
    if override.step is None:
        return override
    name = override.name.partition("#")[0]
    return replace(override, step=place_of(cells, override.step, name, name=name).step)


def _parameters(job: Job, where: _Where, changes: Changes) -> Mapping[str, Any]:
    """The parameters: where the cell runs that sets them, changed ones are the notebook's parameters.

    Raises:
        UsageError: kind ``bad-parameter``: papermill could not write one down.
    """
    injected = next((each for each in where.cells if each.step == PARAMETERS), None)
    tagged = next((each for each in where.cells if PARAMETERS_TAG in each.tags), None)
    last = injected or tagged
    if last is None or last.index < where.first.index:
        return job.parameters
    declared = [] if tagged is None else declared_by(tagged.source)
    names = changes.inputs.keys() if declared is None else {*job.parameters, *declared}
    changed = {name: value for name, value in changes.inputs.items() if name in names}
    _refuse_unwritten(changed)
    if changed and injected is not None and not job.parameters:  # papermill would replace all of it
        message = "the notebook holds a cell of parameters that papermill has put there, which runs again"
        hint = "change that cell, or --from a cell below it"
        raise UsageError(message, kind="bad-parameter", hint=hint)
    return {**job.parameters, **changed}


def _refuse_unwritten(parameters: Mapping[str, object]) -> None:
    """Refuse what cannot be written as a parameter and would come out as something else.

    Raises:
        UsageError: kind ``bad-parameter``.
    """
    for name, value in parameters.items():
        if not _is_json(value):
            message = (
                f"`{name}` is set by the notebook's cell of parameters, which runs, "
                f"and {kind_name(value)} cannot be written there"
            )
            raise UsageError(message, kind="bad-parameter", hint="a JSON value, or --from a cell below it")


def _is_json(value: object) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _frontier(
    step: Checkpoint, recorded: Sequence[Checkpoint], where: _Where, line: Sequence[Checkpoint]
) -> Frontier:
    found = frontier_of(step, recorded)
    between = [cell.step for cell in where.cells if where.first.index <= cell.index < where.named.index]
    cells = dict.fromkeys([*(scope_of_cell(each) for each in line), *between])
    place = where.named.step if step.draft.kind is StepKind.CELL else found.place
    return replace(found, place=place, cells=tuple(cells))


def _held(line: Sequence[Checkpoint], start: Start) -> set[str]:
    """The names that hold something where the replay begins."""
    return {*recorded_at(line).groups, *(name for group in start.carried for name in group.names)}


def _with_reads(
    inputs: Mapping[str, object], namespace: dict[str, Any], held: Collection[str]
) -> dict[str, object]:
    """Inputs, with what functions among them read of the notebook and would not find in the replay."""
    found: dict[str, object] = dict(inputs)
    for value in inputs.values():
        function = plain_function(value)
        if type(function) is FunctionType and function.__globals__ is namespace:
            reads = callee_of(function).look().reads
            found |= {name: read for name, read in reads.items() if name not in found and name not in held}
    return found


def _more(journal: Journal, start: Start, where: _Where) -> dict[str, Any]:
    return {
        "parent": None if start.parent is None else commit_told(journal, start.parent),
        "first": None if start.first is None else where.first.step,
        "behind": None if where.behind is None else where.behind.step,
        "named": where.named.step,
        "deleted": start.deleted,
    }


def _notes(journal: Journal, original: Execution, where: _Where, start: Start) -> list[str]:
    """What of the notebook is not as it was when the original ran."""
    ran = {
        scope_of_cell(each): each for each in steps(journal, original.id) if each.draft.kind is StepKind.CELL
    }
    edited = [cell for cell in where.cells if cell.step in ran and _differs(cell, ran[cell.step])]
    before = [f"`{ran[cell.step].draft.name}`" for cell in edited if cell.index < where.first.index]
    after = [f"`{ran[cell.step].draft.name}`" for cell in edited if cell.index >= where.first.index]
    notes = []
    if before:
        notes.append(f"edited since, and taken over as they ran: {', '.join(before)}")
    if after:
        notes.append(f"edited since, and run as they are now: {', '.join(after)}")
    if start.first is None and where.first is not where.named:
        behind = f"after `{start.parent.draft.name}`" if start.parent is not None else "above it"
        notes.append(f"the cells {behind} run again: not all that the named one began with is on record")
    return notes


def _differs(cell: Step, ran: Checkpoint) -> bool:
    source = VAULT.mask_source(cell.source)
    return source_code(source) != source_code(ran.draft.source)
