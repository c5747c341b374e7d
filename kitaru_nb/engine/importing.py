"""Taking in a file that was exported elsewhere: checked as a whole, then recorded in one transaction.

Nothing here is changed by it. Rows that are missing are added; what is on record stays as it is
and where it is. Nothing of the file is run or loaded. Dying at any instant leaves bytes that no
record knows, which `gc` takes, or all of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.export import all_steps
from kitaru_nb.engine.export_check import Checked, artifacts_in, check_export, extents_in, records_in
from kitaru_nb.engine.export_file import ExportReader, damaged_file
from kitaru_nb.errors import ConflictError, NotFoundError, StoreError
from kitaru_nb.model.artifact import LEFT_OUT, Digest, Extent, Location, Tombstone
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.crash import crash_point
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import Execution, ExecutionId
from kitaru_nb.model.transcript import Run, Transcript

__all__ = ["Imported", "import_file"]

_TRIES = 3
_BATCH = 8 << 20
_SPOOL = 32 << 20


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file.

    Attributes:
        execution: The one that it was written for.
        executions: All that it holds, each with whether it is new here.
        checkpoints: How many steps are new.
        artifacts: How many values are, and `bytes` their size.
        values: Whether the file holds values at all.
        key: Who exported it.
        signers: How many steps each key signed, and whether it is trusted here.
    """

    execution: Execution
    executions: Mapping[ExecutionId, bool]
    checkpoints: int
    artifacts: int
    bytes: int
    values: bool
    key: str
    signers: Mapping[str, tuple[int, bool]]


@dataclass(frozen=True, slots=True)
class _Places:
    """What of a file is new here, and how the steps that are here already are numbered."""

    runs: list[Run]
    known: dict[int, int]
    artifacts: set[Digest]


class _Written:
    """Where the new extents are: in packs, or waiting to be put into the journal, which may be many."""

    def __init__(self) -> None:
        self._packed: list[Location] = []
        self._inline: list[Extent] = []
        self._waiting = tempfile.SpooledTemporaryFile(_SPOOL)  # noqa: SIM115 - `close` closes it

    def add(self, place: Location) -> None:
        """Take in one more."""
        if place.data is None:
            self._packed.append(place)
        else:
            self._inline.append(place.extent)
            self._waiting.write(place.data)

    def locations(self) -> Iterator[Location]:
        """All of them."""
        yield from self._packed
        self._waiting.seek(0)
        for extent in self._inline:
            yield Location(extent, data=self._waiting.read(extent.length))

    def close(self) -> None:
        """Give the memory back, or the file."""
        self._waiting.close()


def import_file(engine: Engine, path: Path) -> Imported:
    """Record what `path` holds, under the ids that it had; to do it twice is harmless.

    Raises:
        UsageError: kind ``not-an-export``.
        CorruptError: kind ``corrupt-export``.
        StoreError: kinds ``export-newer``, ``file-not-readable``; or there is no room for it here.
        UntrustedError: see `check_export`.
        ConflictError: kind ``execution-differs``: an execution of that id is here and is another, or
            an earlier state of it.
    """
    with ExportReader(path, is_valid=engine.trust.keys.is_valid) as reader:
        found = check_export(reader, engine.trust)
        places = _placed(engine, found, path)
        for tries in range(_TRIES):
            if not places.runs and not places.artifacts:
                break
            try:
                places = _import(engine, reader, found, places)
                break
            except ConflictError as error:
                if error.kind != "values-removed" or tries == _TRIES - 1:
                    raise
                engine.store.close()  # `gc` was faster than this import: write anew
                places = _placed(engine, found, path)
    new = {run.execution.id for run in places.runs}
    sizes = engine.journal.artifacts(places.artifacts)
    return Imported(
        execution=engine.journal.execution(reader.manifest["execution"]),
        executions={execution: execution in new for execution in found.runs},
        checkpoints=sum(len(found.marks[execution]) for execution in new),
        artifacts=len(sizes),
        bytes=sum(artifact.bytes for artifact in sizes.values()),
        values=found.values,
        key=reader.key,
        signers={key: (count, engine.trust.keys.trusts(key)) for key, count in found.signers.items()},
    )


def _placed(engine: Engine, found: Checked, path: Path) -> _Places:
    """What is new.

    Raises:
        ConflictError: kind ``execution-differs``.
    """
    new, known = [], {}
    for execution, run in found.runs.items():
        try:
            here = engine.journal.execution(execution)
        except NotFoundError:
            new.append(run)
            continue
        steps = all_steps(engine.journal, execution)
        marks = [engine.trust.marks([step])[0] for step in steps]
        told = [mark for _, mark in found.marks[execution]]
        if here.identity != run.execution.identity or marks[: len(told)] != told:
            raise _differs(execution, path, earlier=told[: len(marks)] == marks)
        known.update(
            {number: step.seq for (number, _), step in zip(found.marks[execution], steps, strict=False)}
        )
    missing = found.artifacts - engine.journal.artifact_digests() if found.values else set()
    return _Places(new, known, missing)


def _differs(execution: ExecutionId, path: Path, *, earlier: bool) -> ConflictError:
    what = "only an earlier part of it is here" if earlier else "the one that is here holds something else"
    return ConflictError(
        f"execution `{execution}` of `{path}` is on record here already, and {what}; nothing was imported",
        kind="execution-differs",
        hint=f"KITARU_NB_HOME=/other/folder kitaru-nb import {quote(str(path))}",
    )


def _import(engine: Engine, reader: ExportReader, found: Checked, places: _Places) -> _Places:
    """Write the bytes, then record everything; what was new when it was recorded."""
    engine.check()
    with closing(_Written()) as written:
        _write(engine, reader, places.artifacts, written)
        crash_point("before-import")
        with engine.journal.holding():
            now = _placed(engine, found, reader.path)
            if now.artifacts - places.artifacts:
                raise _removed_meanwhile()
            records = _Records(reader, {run.execution.id for run in now.runs})
            transcript = Transcript(
                runs=now.runs,
                checkpoints=records.steps(),
                events=records.events(),
                artifacts=(each for each in artifacts_in(reader) if each.digest in now.artifacts),
                locations=written.locations(),
                removed=() if found.values else _left_out(reader),
                known=now.known,
            )
            engine.journal.take_in(transcript, told={"key": reader.key, "file": reader.path.name})
    crash_point("after-import")
    return now


def _write(engine: Engine, reader: ExportReader, artifacts: set[Digest], written: _Written) -> None:
    """Put the extents of new artifacts into the store. When this returns they are durable."""
    batch: list[memoryview] = []
    size = 0
    for _, data in extents_in(reader, of=artifacts) if artifacts else ():
        batch.append(memoryview(data))
        size += len(data)
        if size >= _BATCH:
            _put(engine, batch, written)
            size = 0
    _put(engine, batch, written)
    try:
        engine.store.flush()
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError):  # `gc` took what it was written to for waste
            raise _removed_meanwhile() from error
        raise


def _put(engine: Engine, batch: list[memoryview], written: _Written) -> None:
    for place in engine.store.write(batch, index=engine.journal):
        written.add(place)
    batch.clear()


def _removed_meanwhile() -> ConflictError:
    return ConflictError(
        "values that the imported execution shares were removed by `gc` while it was being imported",
        kind="values-removed",
        hint="import it again",
    )


def _left_out(reader: ExportReader) -> list[Tombstone]:
    now = datetime.now(UTC)
    return [
        Tombstone(artifact.digest, artifact.codec, artifact.bytes, now, LEFT_OUT)
        for artifact in artifacts_in(reader)
    ]


class _Records:
    """The steps and then the events of some executions, read from the file as they are recorded."""

    def __init__(self, reader: ExportReader, executions: set[ExecutionId]) -> None:
        self._path = reader.path
        self._left = records_in(reader)
        self._executions = executions
        self._first: list[Event] = []

    def steps(self) -> Iterator[Checkpoint]:
        """The steps."""
        for noun in self._left:
            if isinstance(noun, Event):
                self._first.append(noun)
                return
            if isinstance(noun, Checkpoint) and noun.execution in self._executions:
                yield noun

    def events(self) -> Iterator[Event]:
        """The events; after the steps."""
        for noun in (*self._first, *self._left):
            if not isinstance(noun, Event):
                raise damaged_file(self._path, "it was changed while it was read")
            if noun.execution in self._executions:
                yield noun
