"""Looking through an exported file before anything is done with it: all of it, and trusting none.

Nothing is written and nothing of it is run or loaded. What comes out is what an import needs to
know, and small: numbers, digests and marks, whatever the size of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kitaru_nb.artifacts.extent_save import digest_of
from kitaru_nb.artifacts.values import checked_buffers
from kitaru_nb.engine.export_file import ARTIFACTS, EXTENTS, RECORDS, ExportReader, damaged_file, newer_file
from kitaru_nb.engine.trust import Standing, Trust, holds_something
from kitaru_nb.errors import CorruptError, UntrustedError
from kitaru_nb.journal.portable import (
    MALFORMED,
    NewerError,
    artifact_from,
    event_from,
    is_digest,
    run_from,
    step_from,
)
from kitaru_nb.model.artifact import EXTENT_BYTES, Artifact, Digest, Extent
from kitaru_nb.model.checkpoint import Checkpoint, StepKind
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.transcript import Run

__all__ = ["Checked", "artifacts_in", "check_export", "extents_in", "records_in"]


@dataclass(slots=True)
class Checked:
    """What is in a file.

    Attributes:
        values: Whether the values came along.
        runs: Its executions.
        marks: Of each execution's steps, in order: the number in the file, and the mark.
        signers: How many steps each key signed.
        artifacts: The values that it holds, or that it says are elsewhere.
        events: How many there are.
        extents: How many, and `bytes` how many bytes they have.
    """

    values: bool
    runs: dict[ExecutionId, Run] = field(default_factory=dict)
    marks: dict[ExecutionId, list[tuple[int, str]]] = field(default_factory=dict)
    signers: dict[str, int] = field(default_factory=dict)
    artifacts: set[Digest] = field(default_factory=set)
    events: int = 0
    extents: int = 0
    bytes: int = 0


def check_export(reader: ExportReader, trust: Trust) -> Checked:
    """Read everything and check it: forms, manifests, digests of all bytes, signatures.

    Raises:
        CorruptError: kind ``corrupt-export``.
        StoreError: kind ``export-newer``.
        UntrustedError: kind ``forged-record`` or ``unsigned-record``; or ``untrusted-key``: it holds
            what a trusted key signed, and one that is not trusted put it together.
    """
    found = Checked(values=reader.manifest.get("values") is True)
    _check_artifacts(reader, found)
    _check_records(reader, found, trust)
    for _, data in extents_in(reader) if found.values else ():
        found.extents += 1
        found.bytes += len(data)
    trusted = [key for key in found.signers if trust.keys.trusts(key)]
    if trusted and not trust.keys.trusts(reader.key):
        raise UntrustedError(
            f"`{reader.path}` holds what {trusted[0]} signed, whom you trust, but was exported by "
            f"{reader.key}, whom you do not: what goes with the signed records could be anything",
            kind="untrusted-key",
            hint=f"kitaru-nb trust {reader.key} if you know whose it is",
        )
    return found


def records_in(reader: ExportReader) -> Iterator[Run | Checkpoint | Event]:
    """The records of a file, in its order: executions, steps, events.

    Raises:
        CorruptError: kind ``corrupt-export``.
        StoreError: kind ``export-newer``.
    """
    read: Mapping[str, Callable[[Mapping[str, Any]], Run | Checkpoint | Event]] = {
        "run": run_from,
        "step": step_from,
        "event": event_from,
    }
    with reader.member(RECORDS) as member:
        for line in member.lines():
            try:
                kind, told = line
                noun: Run | Checkpoint | Event = read[kind](told)
            except NewerError as error:
                raise newer_file(reader.path, str(error)) from error
            except MALFORMED as error:
                raise damaged_file(reader.path, f"a record in it has another form: {error}") from error
            yield noun


def artifacts_in(reader: ExportReader) -> Iterator[Artifact]:
    """The artifacts of a file, each with a manifest that has its digest, or with none at all.

    Raises:
        CorruptError: kind ``corrupt-export``.
    """
    whole = reader.manifest.get("values") is True
    last = ""
    with reader.member(ARTIFACTS) as member:
        for line in member.lines():
            try:
                artifact = artifact_from(line, whole=whole)
                if artifact.digest <= last:
                    raise ValueError("its artifacts are not in order")
                if whole:
                    _check_manifest(artifact)
            except MALFORMED as error:
                raise damaged_file(reader.path, f"a value in it has another form: {error}") from error
            except CorruptError as error:
                raise damaged_file(reader.path, "the manifest of a value in it was changed") from error
            last = artifact.digest
            yield artifact


def extents_in(
    reader: ExportReader, *, of: Container[Digest] | None = None
) -> Iterator[tuple[Extent, bytes]]:
    """The extents of a file, each with its bytes, which have its digest.

    Args:
        reader: The file.
        of: Only those that no artifact but these needs, or one of these first.

    Raises:
        CorruptError: kind ``corrupt-export``.
    """
    seen: set[Digest] = set()
    with reader.member(EXTENTS) as member:
        for artifact in artifacts_in(reader):
            wanted = of is None or artifact.digest in of
            for extent in (extent for row in checked_buffers(artifact) for extent in row):
                if extent.digest in seen:
                    continue
                seen.add(extent.digest)
                data = member.read(extent.length)
                if not wanted:
                    continue
                if digest_of(data) != extent.digest:
                    raise damaged_file(reader.path, f"the bytes `{extent.digest[:12]}` in it were changed")
                yield extent, data


def _check_manifest(artifact: Artifact) -> None:
    """Everything in a manifest that is looked at before the value is loaded."""
    rows, manifest = checked_buffers(artifact), artifact.manifest
    extents = [extent for row in rows for extent in row]
    if any(not is_digest(extent.digest) or not 0 < extent.length <= EXTENT_BYTES for extent in extents):
        raise ValueError("extents that no release writes")
    if manifest["codec"] != artifact.codec or sum(extent.length for extent in extents) != artifact.bytes:
        raise ValueError("its codec or size is not that of its manifest")
    meta: Mapping[str, Any] = manifest["meta"]
    names = [meta.get("name", ""), *meta.get("names", ())]
    numbers = [manifest["version"], meta.get("format", 1)]
    if not all(isinstance(name, str) for name in names) or not all(type(number) is int for number in numbers):
        raise TypeError("its manifest has another form")
    if not all(map(is_digest, meta.get("anchors", ()))):
        raise ValueError("it refers to what is no artifact")


def _check_artifacts(reader: ExportReader, found: Checked) -> None:
    needed: dict[Digest, None] = {}
    for artifact in artifacts_in(reader):
        found.artifacts.add(artifact.digest)
        if found.values:
            needed.update(dict.fromkeys(artifact.manifest["meta"].get("anchors", ())))
    if needed.keys() - found.artifacts:
        raise damaged_file(reader.path, "a value that another one refers to is not in it")


def _check_records(reader: ExportReader, found: Checked, trust: Trust) -> None:
    marks: list[str] = []
    for noun in records_in(reader):
        match noun:
            case Run():
                if noun.execution.id in found.runs or marks:
                    raise damaged_file(reader.path, f"`{noun.execution.id}` is in it twice")
                found.runs[noun.execution.id] = noun
                found.marks[noun.execution.id] = []
            case Checkpoint():
                if noun.seq != len(marks) + 1 or found.events:
                    raise damaged_file(reader.path, "its checkpoints are not in order")
                marks.append(_check_step(reader, found, trust, noun, marks))
                found.marks[noun.execution].append((noun.seq, marks[-1]))
            case Event():
                found.events += 1
                if noun.execution not in found.runs:
                    raise damaged_file(reader.path, "an event in it belongs to no execution")
    if reader.manifest.get("execution") not in found.runs:
        raise damaged_file(reader.path, "the execution that it was written for is not in it")


def _check_step(
    reader: ExportReader, found: Checked, trust: Trust, step: Checkpoint, marks: list[str]
) -> str:
    """The step's mark, once its place, its values and its signature are right."""
    draft, run = step.draft, found.runs.get(step.execution)
    before = [place for place in (draft.parent, draft.origin) if place is not None]
    if draft.kind is not StepKind.CELL and draft.parent is not None:
        raise damaged_file(reader.path, f"`{draft.name}` in it is no cell and follows one")
    if run is None or not 0 < step.epoch <= len(run.attempts) or not all(0 < p < step.seq for p in before):
        raise damaged_file(reader.path, f"checkpoint `{draft.name}` in it is in no place")
    if draft.stored - found.artifacts:
        raise damaged_file(reader.path, f"values of checkpoint `{draft.name}` are not in it")
    parent = None if draft.parent is None else marks[draft.parent - 1]
    standing, mark = trust.judge(draft, step.execution, parent)
    if standing is Standing.FORGED or (standing is Standing.UNSIGNED and holds_something(draft)):
        why = "is not the one that was signed" if standing is Standing.FORGED else "carries no signature"
        raise UntrustedError(
            f"checkpoint `{draft.name}` in `{reader.path}` {why}; nothing of it was imported",
            kind="forged-record" if standing is Standing.FORGED else "unsigned-record",
            hint="have it exported again by whoever recorded it",
        )
    if draft.signature is not None:
        key = draft.signature["key"]
        found.signers[key] = found.signers.get(key, 0) + 1
    return mark
