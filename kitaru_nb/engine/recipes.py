"""Making a name again by running the cell that made it, for that name alone.

The cell is taken as it was recorded and runs where its results can be bound, but everything
else it does to the namespace and the process is taken back: only the names that were asked for
are new. What it does outside the process happens once more, which is why it is only done when
it is asked for.
"""

from __future__ import annotations

import ast
import gc
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from types import CellType, FunctionType
from typing import Any

from kitaru_nb.analysis.directive import directive_of, mark_source
from kitaru_nb.analysis.names import names_of
from kitaru_nb.artifacts.kinds import kind_name
from kitaru_nb.artifacts.marker import Marker, is_marker, marker_details, marker_in
from kitaru_nb.engine.namespace import Namespace
from kitaru_nb.engine.observe import keeping, state_of
from kitaru_nb.engine.process import Process, ProcessState
from kitaru_nb.engine.recovery import Recorded, Restored
from kitaru_nb.engine.rollback import Shadow
from kitaru_nb.engine.stoppable import stoppable
from kitaru_nb.errors import KitaruError, NotFoundError, UnstorableError, UsageError
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Group

__all__ = ["MadeAgain", "Parse", "is_changed_since", "maker_of", "parse_plain", "remake", "run_apart"]

Parse = Callable[[str], ast.Module]
"""A cell's source as typed to its syntax tree, the front end's magics included."""

_ABSENT = object()


def parse_plain(source: str) -> ast.Module:
    """The tree of a cell of plain Python, without its ``%%checkpoint`` line."""
    tree = ast.parse("".join(mark_source(source.splitlines(keepends=True))))
    return directive_of(tree)[1]


def remake(
    wanted: Sequence[str],
    *,
    line: Sequence[Checkpoint],
    recorded: Recorded,
    namespace: Namespace,
    process: Process,
    restored: Restored,
    parse: Parse = parse_plain,
) -> list[KitaruError]:
    """Make `wanted` names again, in the order in which their cells ran; gives what was refused.

    Args:
        wanted: Names that hold a marker, or a value that leads to one.
        line: The commits up to the one that was restored, oldest first.
        recorded: What they hold.
        namespace: The namespace, restored. Only the wanted names are bound in it.
        process: The process's state; left as it is.
        restored: What the restore did; the names move there from lost to made.
        parse: Reads a recorded cell.
    """
    refused: list[KitaruError] = []
    makers: dict[int, tuple[Checkpoint, list[str]]] = {}
    for name in dict.fromkeys(wanted):
        try:
            maker = _maker(name, line, recorded, restored, parse)
            makers.setdefault(maker.seq, (maker, []))[1].append(name)
        except KitaruError as error:
            refused.append(error)
    for _, (maker, names) in sorted(makers.items()):
        try:
            _remake(
                names,
                maker,
                recorded=recorded,
                namespace=namespace,
                process=process,
                restored=restored,
                parse=parse,
            )
        except KitaruError as error:
            refused.append(error)
    restored.names.sort()
    return refused


class MadeAgain:
    """What was made again in this process: a later resume here puts it back, and makes it no third time."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[Group, object]] = {}

    def take(
        self, names: Iterable[str], namespace: Namespace, recorded: Recorded, restored: Restored
    ) -> None:
        """Remember what was just made again."""
        for name in names:
            if name in restored.made and name in recorded.groups:
                self._values[name] = recorded.groups[name], namespace.live[name]

    def put_back(self, namespace: Namespace, recorded: Recorded, restored: Restored) -> set[str]:
        """Bind what was made again earlier and is on record as it was then; gives the names."""
        kept = []
        for name, (group, value) in self._values.items():
            known = recorded.groups.get(name)
            if known is not None and known.artifact == group.artifact and is_marker(namespace.live.get(name)):
                _bind(name, value, namespace.live)
                restored.lost.pop(name, None)
                restored.names.append(name)
                restored.made[name] = f"{kind_name(value)}, made again earlier in this kernel"
                kept.append(name)
        _adopt(kept, recorded, namespace, restored)
        restored.names.sort()
        return set(kept)


def maker_of(name: str, line: Sequence[Checkpoint], parse: Parse = parse_plain) -> Checkpoint | None:
    """The step whose cell bound `name` last; None when no recorded cell did."""
    for checkpoint in reversed(line):
        draft = checkpoint.draft
        group = next((group for group in draft.groups if name in group.names), None)
        if group is None or draft.status is CheckpointStatus.FAILED:
            continue
        if not group.written:
            return None  # a cell that is no checkpoint made it, or changed it
        if name in names_of(parse(draft.source)).writes:
            return checkpoint
    return None


def _maker(
    name: str, line: Sequence[Checkpoint], recorded: Recorded, restored: Restored, parse: Parse
) -> Checkpoint:
    if name not in recorded.groups:
        known = ", ".join(f"`{lost}`" for lost in sorted(restored.lost)) or "nothing"
        message = f"`{name}` is not on record; {known} could not be stored"
        raise NotFoundError(message, kind="unknown-name", hint="%resume --remake NAME")
    if name not in restored.lost:
        message = f"`{name}` is back, so there is nothing to make again"
        raise UsageError(message, kind="nothing-to-remake", hint="%resume without --remake")
    maker = maker_of(name, line, parse)
    if maker is None:
        message = f"`{name}` was made by a cell that is no checkpoint, so its code is not on record"
        hint = f"run that cell again, or declare it there: @kt.resource above def {name}(): ..."
        raise UnstorableError(message, kind="no-recipe", hint=hint)
    return maker


def _remake(
    names: Sequence[str],
    maker: Checkpoint,
    *,
    recorded: Recorded,
    namespace: Namespace,
    process: Process,
    restored: Restored,
    parse: Parse,
) -> None:
    live, step = namespace.live, maker.draft.name
    listed = ", ".join(f"`{name}`" for name in names)
    _refuse_changed_parts(names, maker, recorded, live)
    _refuse_changed_inputs(listed, maker, recorded, namespace)
    made, problems = run_apart(
        maker.draft.source,
        names,
        namespace=namespace,
        process=process,
        parse=parse,
        what=listed,
        step=step,
        files=maker.draft.files,
    )
    for name in names:
        _bind(name, made[name], live)
        restored.lost.pop(name, None)
        if name not in restored.names:
            restored.names.append(name)
        restored.made[name] = f"{kind_name(made[name])}, by running the cell of `{step}` for it alone"
    restored.problems += problems
    _adopt(names, recorded, namespace, restored)


def _refuse_changed_parts(
    names: Sequence[str], maker: Checkpoint, recorded: Recorded, live: Mapping[str, object]
) -> None:
    """A value of which only a part is missing is made again whole, so nothing else may be new in it."""
    for name in names:
        if not is_changed_since(name, maker, recorded, live):
            continue
        if is_marker(live.get(name)):
            message = f"`{name}` was used after checkpoint `{maker.draft.name}` made it, and would begin anew"
            hint = f"%resume --at {quote(maker.draft.name)} --remake {name}, or run its cells with --fresh"
            raise UnstorableError(message, kind="changed-since", hint=hint)
        made = f"was changed after checkpoint `{maker.draft.name}` made it"
        message = f"`{name}` is back but for a part, and {made}"
        hint = f"put the part into `{name}` by hand, or make it with @kt.resource"
        raise UnstorableError(message, kind="changed-since", hint=hint)


def is_changed_since(name: str, maker: Checkpoint, recorded: Recorded, live: Mapping[str, object]) -> bool:
    """Whether making `name` anew by the step that made it would take back what came after that."""
    marker = live.get(name)
    kept = is_marker(marker) and not _is_used_up(marker)
    return not kept and recorded.groups[name] not in maker.draft.groups


def _is_used_up(marker: Any) -> bool:
    """Whether what the marker stands for stands at another place each time it is used."""
    return marker_details(marker)[1] in ("generator", "async_generator", "coroutine")


def _refuse_changed_inputs(listed: str, maker: Checkpoint, recorded: Recorded, namespace: Namespace) -> None:
    """The cell must find what it read, else it would make something else."""
    live = namespace.live
    read = {name for group in maker.draft.reads for name in group.split(",")}
    now = namespace.read(read, namespace.observe())
    for group, digest in maker.draft.reads.items():
        for name in group.split(","):
            if name not in live or is_marker(live[name]):
                why = f"`{name}`, which its checkpoint `{maker.draft.name}` read, is not there"
                hint = f"%resume --remake {name},{_typed(listed)}"
                raise UnstorableError(f"{listed} was not made again: {why}", kind="changed-input", hint=hint)
        known = [recorded.groups[name] for name in group.split(",") if name in recorded.groups]
        if now.get(group) != digest and not any(one.unstorable for one in known):
            why = f"`{group}`, which its checkpoint `{maker.draft.name}` read, holds something else now"
            hint = (
                f"%resume --at {quote(maker.draft.name)} --remake {_typed(listed)}, "
                "or run that cell again with --fresh"
            )
            raise UnstorableError(f"{listed} was not made again: {why}", kind="changed-input", hint=hint)


def _typed(listed: str) -> str:
    """Names that a sentence lists, as an option takes them."""
    return listed.replace("`", "").replace(" ", "")


def run_apart(
    source: str,
    names: Iterable[str],
    *,
    namespace: Namespace,
    process: Process,
    what: str,
    step: str,
    files: Sequence[Mapping[str, Any]] = (),
    parse: Parse = parse_plain,
) -> tuple[dict[str, Any], list[str]]:
    """What `names` hold after running a cell, everything else being as before.

    Functions and classes that the cell defines and the namespace has are not defined anew, so
    that what is made belongs to those that are there.

    Returns:
        The values, and a sentence for each change that could not be taken back.

    Raises:
        UnstorableError: the cell failed, or did not bind one of the names.
    """
    live = namespace.live
    tree = parse(source)
    body = [node for node in tree.body if not _is_defined(node, live)]
    touched = names_of(tree)
    before, state = dict(live), process.snapshot()
    environment, path = dict(os.environ), list(sys.path)
    observed = namespace.observe()
    shadow = Shadow(live, frozenset(observed.ids) | touched.writes)
    shadow.take()
    error: BaseException | None = None
    try:
        with stoppable(), keeping(lambda path: _refuse_loss(path, files)):
            exec(compile(ast.Module(body, []), f"<cell of {step}>", "exec"), live)  # noqa: S102 - it was asked for
    except (Exception, SystemExit) as raised:  # noqa: BLE001 - whatever the user's cell raises
        error = raised
    finally:
        made = {name: live.get(name, _ABSENT) for name in names}
        shadow.settle()
        shadow.undo()
        _rebind(live, before)
        _put_process_back(process, state, environment, path)
    if error is not None:
        message = f"{what} was not made again: the cell of `{step}` failed: {type(error).__name__}: {error}"
        raise UnstorableError(
            message, kind="recipe-failed", hint="mend the cell and run it with --fresh"
        ) from error
    missing = [name for name, value in made.items() if value is _ABSENT]
    if missing:
        message = f"`{missing[0]}` was not made again: the cell of `{step}` did not bind it this time"
        raise UnstorableError(message, kind="recipe-failed", hint="run the cell with --fresh")
    left = [
        group for group, digest in namespace.observe().groups.items() if observed.groups.get(group) != digest
    ]
    listed = [", ".join(f"`{name}`" for name in group) for group in left]
    return made, [f"making {what} again also changed {group}, which was not taken back" for group in listed]


def _refuse_loss(path: str, files: Sequence[Mapping[str, Any]]) -> None:
    """A cell that runs again for one name must not take away what others have written since.

    Raises:
        UnstorableError: the file does not hold what the cell itself left in it.
    """
    left = {os.path.realpath(file["path"]): file["digest"] for file in files if file["mode"] == "written"}
    if left.get(os.path.realpath(path)) == state_of(path):
        return
    message = f"it would empty or remove `{Path(path).name}`, which was written to since"
    hint = "open the file anew in a cell, with mode 'a'"
    raise UnstorableError(message, kind="would-lose-file", hint=hint)


def _put_process_back(
    process: Process, state: ProcessState, environment: dict[str, str], path: list[str]
) -> None:
    sys.path[:] = path
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)
    now = process.snapshot()
    process.apply({part: value for part, value in state.items() if now.get(part) != value})


def _is_defined(node: ast.stmt, live: Mapping[str, object]) -> bool:
    return (
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.decorator_list
        and isinstance(live.get(node.name), FunctionType | type)
    )


def _rebind(live: dict[str, Any], before: Mapping[str, object]) -> None:
    for name in live.keys() - before.keys():
        del live[name]
    for name, value in before.items():
        if live.get(name, _ABSENT) is not value:
            live[name] = value


def _bind(name: str, made: object, live: dict[str, Any]) -> None:
    """Bind a name, and put what was made wherever the same marker stood for it."""
    marker = live.get(name)
    if is_marker(marker):
        _put_in_place_of(marker, made)
    live[name] = made


def _put_in_place_of(marker: Marker, made: object) -> None:
    # No comprehension here: its closure would hold the marker, and be given what was made.
    for holder in gc.get_referrers(marker):
        cls = type(holder)
        if cls is list:
            for number, item in enumerate(holder):
                if item is marker:
                    holder[number] = made
        elif cls is CellType:
            holder.cell_contents = made
        elif isinstance(
            held := holder if isinstance(holder, dict) else getattr(holder, "__dict__", None), dict
        ):
            for key, item in list(held.items()):
                if item is marker:
                    held[key] = made


def _adopt(names: Sequence[str], recorded: Recorded, namespace: Namespace, restored: Restored) -> None:
    """What was made again is what is on record under these names: no later commit stores it anew."""
    after = namespace.observe() if names else None
    for name in names:
        group: Group = recorded.groups[name]
        if after is not None and group.names in after.groups:
            recorded.put(replace(group, value=after.groups[group.names]))
        for other in group.names:
            if other in restored.lost and marker_in(namespace.live.get(other), apart=namespace.live) is None:
                del restored.lost[other]
                restored.names.append(other)
