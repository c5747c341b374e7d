"""Writing an execution into a file that a colleague imports.

The file holds everything that a restore, a replay or a look at it needs: the execution, those that
its steps were built on, those of flows that it called or began, and its replays, each whole, with
every step whatever its kind, their events, and the values that the steps hold and refer to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from kitaru_nb.artifacts.refers import refers_to
from kitaru_nb.artifacts.values import checked_buffers, extent_reader
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.export_file import ARTIFACTS, EXTENTS, RECORDS, ExportWriter
from kitaru_nb.errors import CorruptError, KitaruError, StoreError, UsageError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.journal.portable import artifact_text, event_text, run_text, step_text
from kitaru_nb.journal.taking_in import IMPORTED
from kitaru_nb.model.artifact import Artifact, Digest, Tombstone
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.model.transcript import renumbered

__all__ = ["Exported", "all_steps", "export_execution"]

_OF_THIS_STORE = frozenset({IMPORTED, "execution.pinned", "execution.unpinned", "values.removed", "trusted"})
_MANY = 200


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        execution: The one asked for.
        others: Those that its steps were built on, those of flows that it called or began, and replays.
        checkpoints: How many steps, of all of them.
        artifacts: How many values; 0 with records alone.
        bytes: Size of the file.
        key: Who vouches for it.
    """

    execution: Execution
    others: tuple[ExecutionId, ...]
    checkpoints: int
    artifacts: int
    bytes: int
    key: str


def export_execution(engine: Engine, execution: ExecutionId, path: Path, *, values: bool = True) -> Exported:
    """Write `execution` to `path`; the file appears whole and durable, or not at all.

    Every byte is checked when it is read. Records are held in memory, values are not.

    Args:
        engine: Where it is on record.
        execution: Which one. One that is running is exported as it stands, as interrupted.
        path: The file; one that is there already is replaced at the end.
        values: Whether the values come along; without them what is imported can be looked at, and
            not restored.

    Raises:
        StoreError: kind ``values-removed``: `gc` removed some of its values; kind
            ``file-not-written``: the disk refused. Nothing is left of it.
        UsageError: kind ``file-is-folder``.
        CorruptError: something stored is damaged.
        UntrustedError: kinds ``forged-record``, ``unsigned-record``.
    """
    steps, needed = _steps(engine, execution)
    wanted = sorted({digest for step in steps for digest in step.draft.stored})
    known, missing = _with_all_they_refer_to(engine, wanted) if values else ({}, [])
    if missing:
        _refuse_removed(engine, execution, missing)
    chosen = engine.journal.execution(execution)
    others = tuple(sorted(needed))
    if path.is_dir():
        inside = path / f"{execution}.kitaru"
        raise UsageError(
            f"`{path}` is a folder",
            kind="file-is-folder",
            hint=f"kitaru-nb export {execution} {quote(str(inside))}",
        )
    try:
        with ExportWriter(path) as writer:
            _write_records(engine, (execution, *others), steps, writer)
            _write_artifacts(engine, known, () if values else wanted, writer)
            _write_extents(engine, known.values(), writer)
            about = {"execution": execution, "values": values}
            size = writer.finish(about, engine.trust.keys.sign)
    except KitaruError:
        raise
    except OSError as error:
        raise StoreError(
            f"`{path}` could not be written: {error.strerror or error}",
            kind="file-not-written",
            hint="kitaru-nb export EXECUTION /another/file",
        ) from error
    return Exported(chosen, others, len(steps), len(known), size, writer.key)


def _steps(engine: Engine, execution: ExecutionId) -> tuple[list[Checkpoint], set[ExecutionId]]:
    """The steps of an execution and of those that it needs, oldest first, each signed; and which these are.

    It needs those that its steps were built on, and those of the flows that it called. Those that it
    has begun by `run`, and its replays, come along; a replay needs what it replays.
    """
    known = {each.id: each for each in engine.journal.executions()}
    called: dict[ExecutionId | None, list[ExecutionId]] = {}
    begun: dict[ExecutionId | None, list[ExecutionId]] = {}
    for each in known.values():
        (begun if each.identity.within is None else called).setdefault(each.parent, []).append(each.id)
    found: dict[int, Checkpoint] = {}
    seen = set(_descendants(execution, begun, called))
    waiting = sorted(seen)
    while waiting:
        now = waiting.pop()
        others = set(called.get(now, ()))
        original = known[now].parent if known[now].identity.replay is not None else None
        if original in known:
            others.add(original)
        for step in all_steps(engine.journal, now):
            found[step.seq] = replace(step, draft=engine.trust.vouched(step))
            if step.draft.parent is not None and step.draft.parent not in found:
                others.add(engine.journal.checkpoint(step.draft.parent).execution)
        waiting += others - seen
        seen |= others
    return [found[seq] for seq in sorted(found)], seen - {execution}


def _descendants(
    execution: ExecutionId, *children: Mapping[ExecutionId | None, Sequence[ExecutionId]]
) -> Iterator[ExecutionId]:
    waiting = [execution]
    while waiting:
        now = waiting.pop()
        yield now
        waiting += [each for known in children for each in known.get(now, ())]


def all_steps(journal: Journal, execution: ExecutionId) -> list[Checkpoint]:
    """Every step on record for an execution, whatever its kind, in order."""
    found = [*journal.checkpoints(execution), *journal.steps_within(execution)]
    return sorted(found, key=lambda step: step.seq)


def _with_all_they_refer_to(
    engine: Engine, digests: Iterable[Digest]
) -> tuple[dict[Digest, Artifact], list[Digest]]:
    """The artifacts with these digests and all that these refer to, and those that are not on record."""
    everything = engine.journal.artifact_digests()
    found: dict[Digest, Artifact] = {}
    seen: set[Digest] = set()
    level = set(digests)
    while level:
        seen |= level
        further: set[Digest] = set()
        wanted = sorted(level & everything)
        for at in range(0, len(wanted), _MANY):
            for digest, artifact in engine.journal.artifacts(wanted[at : at + _MANY]).items():
                found[digest] = artifact
                extents = checked_buffers(artifact)
                read = extent_reader(artifact, store=engine.store, index=engine.journal)
                further |= refers_to(artifact, extents=extents.__getitem__, read=read, known=everything)
        level = further - seen
    return {digest: found[digest] for digest in sorted(found)}, sorted(seen - found.keys())


def _refuse_removed(engine: Engine, execution: ExecutionId, missing: Collection[Digest]) -> None:
    stones = engine.journal.removed(missing)
    if not stones:
        raise CorruptError(
            f"{len(missing)} values of execution `{execution}` are on record and missing from the journal",
            kind="missing-artifact",
            hint="kitaru-nb store verify",
        )
    stone = next(iter(stones.values()))
    raise StoreError(
        f"{len(missing)} values of execution `{execution}` cannot be exported: they were {stone}",
        kind="values-removed",
        hint=f"kitaru-nb export {execution} FILE --records, for its records and outputs alone",
    )


def _write_records(
    engine: Engine, executions: Iterable[ExecutionId], steps: list[Checkpoint], writer: ExportWriter
) -> None:
    numbers = {step.seq: number for number, step in enumerate(steps, 1)}
    events: list[Event] = []
    with writer.member(RECORDS) as write:
        for each in sorted(executions):
            run = run_text(engine.journal.execution(each), engine.journal.attempts(each))
            write(f'["run",{run}]\n'.encode())
            events += engine.journal.events(each)
        for step in steps:
            parent, origin = step.draft.parent, step.draft.origin
            draft = replace(
                step.draft,
                parent=None if parent is None else numbers[parent],
                origin=None if origin is None else numbers.get(origin),
            )
            told = step_text(replace(step, seq=numbers[step.seq], draft=draft))
            write(f'["step",{told}]\n'.encode())
        for event in sorted(events, key=lambda event: event.seq):
            if event.kind not in _OF_THIS_STORE:
                told = event_text(replace(event, data=renumbered(event.data, numbers)))
                write(f'["event",{told}]\n'.encode())


def _write_artifacts(
    engine: Engine, known: dict[Digest, Artifact], left_out: Collection[Digest], writer: ExportWriter
) -> None:
    with writer.member(ARTIFACTS) as write:
        for artifact in known.values():
            told = artifact_text(artifact.digest, artifact.codec, artifact.bytes, artifact.manifest)
            write(f"{told}\n".encode())
        gone: dict[Digest, Artifact | Tombstone] = {
            **engine.journal.removed(left_out),
            **engine.journal.artifacts(left_out),
        }
        for digest in sorted(gone):
            write(f"{artifact_text(digest, gone[digest].codec, gone[digest].bytes, None)}\n".encode())


def _write_extents(engine: Engine, artifacts: Iterable[Artifact], writer: ExportWriter) -> None:
    with writer.member(EXTENTS) as write:
        for data in _extents(engine, artifacts):
            write(data)


def _extents(engine: Engine, artifacts: Iterable[Artifact]) -> Iterator[memoryview]:
    """The bytes of each extent once, in the order in which the manifests name them."""
    written: set[Digest] = set()
    for artifact in artifacts:
        read = extent_reader(artifact, store=engine.store, index=engine.journal)
        for extent in (extent for row in checked_buffers(artifact) for extent in row):
            if extent.digest not in written:
                written.add(extent.digest)
                yield read(extent)
