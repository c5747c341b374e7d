"""Who made a record: each commit is signed, and only what a trusted key signed may run code here.

A pickle, a function, a recipe, a file to write back: putting any of it back can run code. So a
record counts only once its signature was verified, over everything that a restore acts upon.
Plain arrays and numbers run nothing and load from any record.

What is signed is the record's *statement*: every field of the draft, the execution, and the
mark (digest) of the statement before it on the line, so that nothing can be swapped between
names, steps or executions. The journal's own numbers are no part of it: they differ where the
record is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import compress
from operator import attrgetter, ne
from shlex import quote
from typing import Any, Protocol

from blake3 import blake3

from kitaru_nb.errors import UntrustedError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import Artifact, Digest
from kitaru_nb.model.bound import ProcessBound
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, Draft, Group
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.json_text import json_writer

__all__ = ["HARMLESS", "Keys", "Sifted", "Standing", "Trust", "mark_of", "statement_of"]

HARMLESS = frozenset({"scalar", "zarr"})
"""Codecs whose values load without running anything, whoever made them."""

_CONTEXT = b"kitaru_nb checkpoint 1\n"
_UNSIGNED = frozenset({"parent", "origin", "signature"})
_OTHERWISE = (
    "for this once --trust with %resume, %%checkpoint or kitaru-nb run; %%checkpoint --fresh runs it anew"
)
_canonical = json_writer(sort_keys=True)


class Keys(Protocol):
    """The keys of whoever works here, and those they trust."""

    def sign(self, statement: bytes) -> Mapping[str, str]:
        """A signature with the key it was made with: ``{"key": …, "sig": …}``."""
        ...

    def is_valid(self, signature: Mapping[str, str], statement: bytes) -> bool:
        """Whether `signature` was made over `statement` with the key that it names."""
        ...

    def trusts(self, key: str) -> bool:
        """Whether that key is trusted here."""
        ...

    def is_own(self, key: str) -> bool:
        """Whether that key signs here: the user's own, or the one that their stack shares."""
        ...

    def adopted(self, mark: str) -> bool:
        """Whether its user has said that the unsigned record with that mark is their own."""
        ...

    def read_again(self) -> bool:
        """Take in whom the user has come to trust since; whether anything was said."""
        ...


class Standing(StrEnum):
    """What a record's signature says."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    UNSIGNED = "unsigned"
    FORGED = "forged"


_TO_BE_SAID = (Standing.UNKNOWN, Standing.UNSIGNED)  # `kitaru-nb trust` changes it, while a kernel lives, too


@dataclass(frozen=True, slots=True)
class Sifted:
    """A line of records as far as it may be acted upon.

    Attributes:
        line: The records; of those that are not trusted only what runs nothing is left.
        refused: For each name that holds a marker therefore: why, and what to type.
        error: What to tell, when anything was left out.
    """

    line: list[Checkpoint]
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    error: UntrustedError | None = None


def _omitted(kind: type) -> dict[str, Any]:
    """The fields of a dataclass with their defaults; a field at its default is left out of a statement."""
    found = {}
    for each in fields(kind):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        found[each.name] = default
    return found


_DRAFT = {name: default for name, default in _omitted(Draft).items() if name not in _UNSIGNED}
_GROUP = _omitted(Group)
_draft_values, _group_values = attrgetter(*_DRAFT), attrgetter(*_GROUP)


def statement_of(draft: Draft, execution: ExecutionId, parent: str | None) -> bytes:
    """What the signature of a record is made over.

    Args:
        draft: The record.
        execution: Where it belongs.
        parent: The mark of the record before it on the line.

    A field that holds its default is left out, so that one that a later release adds leaves the
    statements of older records as they are.
    """
    values = _draft_values(draft)
    told: dict[str, Any] = dict(compress(zip(_DRAFT, values, strict=True), map(ne, values, _DRAFT.values())))
    told["groups"] = [_told(group) for group in draft.groups]
    told["status"] = draft.status.value
    told["duration"] = float(draft.duration)
    if draft.cost is not None:
        told["cost"] = float(draft.cost)
    started = draft.started_at.astimezone(UTC) - _EPOCH
    told["started_at"] = (started.days * 86_400 + started.seconds) * 1_000_000 + started.microseconds
    return _CONTEXT + _canonical([execution, parent, told]).encode()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _told(group: Group) -> dict[str, Any]:
    values = _group_values(group)
    return dict(compress(zip(_GROUP, values, strict=True), map(ne, values, _GROUP.values())))


def mark_of(statement: bytes) -> str:
    """The digest that the next record on the line names this one by."""
    return blake3(statement).hexdigest()


class Trust(ProcessBound):
    """Signs records and says which records of a journal may be acted upon.

    Args:
        journal: Where the records are.
        keys: Whose they may be.

    Attributes:
        keys: The same.

    Each record is verified once in a process.
    """

    def __init__(self, journal: Journal, keys: Keys) -> None:
        self.keys = keys
        self._journal = journal
        self._marks: dict[int, str] = {}
        self._made: dict[str, str] = {}
        self._standing: dict[str, Standing] = {}
        self._vouched: set[Digest] = set()
        self._everything = False

    # Signing

    def vouched(self, checkpoint: Checkpoint) -> Draft:
        """A record of this journal that is to leave it: signed, as nothing else counts anywhere.

        One that carries no signature, and that the user has taken for their own, is signed here.

        Raises:
            UntrustedError: it was changed after it was signed, or nobody vouches for it.
        """
        standing, draft = self.standing(checkpoint), checkpoint.draft
        if draft.signature is None and standing is Standing.TRUSTED and holds_something(draft):
            statement = self._statement(checkpoint)
            return draft.having(signature=self.keys.sign(statement))
        if standing is Standing.FORGED or (standing is Standing.UNSIGNED and holds_something(draft)):
            error = self.refusal(checkpoint)
            message = f"checkpoint `{draft.name}` is not exported: {self._reason(checkpoint, standing)}"
            hint = (
                "kitaru-nb trust unsigned, if this store is your own" if standing is Standing.UNSIGNED else ""
            )
            raise UntrustedError(message, kind=error.kind, hint=hint or "kitaru-nb store verify")
        return draft

    def signed(
        self,
        draft: Draft,
        execution: ExecutionId,
        *,
        fresh: Iterable[Artifact] = (),
    ) -> Draft:
        """`draft` with a signature, about to be recorded.

        Args:
            draft: The record, complete.
            execution: Where it will belong.
            fresh: Values that this process has just written.

        Raises:
            UntrustedError: kind ``untrusted-value``: it would vouch for a value of somebody else's
                that was never trusted here.
        """
        made = {artifact.digest for artifact in fresh}
        self._refuse_foreign(draft, draft.stored - made - self._vouched)
        self._vouched |= made
        statement = statement_of(draft, execution, self._mark(draft.parent))
        signature = self.keys.sign(statement)
        self._made[signature["sig"]] = mark_of(statement)
        return draft.having(signature=signature)

    def committed(self, checkpoint: Checkpoint) -> None:
        """Take note of a record that was signed here and is on record now."""
        mark = self._made.pop((checkpoint.draft.signature or {}).get("sig", ""), None)
        if mark is not None:
            self._marks[checkpoint.seq] = mark

    def forget(self, checkpoint: Checkpoint) -> None:
        """The record is not on record after all: another one will have its number."""
        self._marks.pop(checkpoint.seq, None)

    def signed_line(self, drafts: Sequence[Draft], execution: ExecutionId) -> list[Draft]:
        """Drafts that follow each other from the beginning of a line, each signed."""
        found: list[Draft] = []
        mark = None
        for draft in drafts:
            statement = statement_of(draft, execution, mark)
            found.append(draft.having(signature=self.keys.sign(statement)))
            mark = mark_of(statement)
        return found

    def _refuse_foreign(self, draft: Draft, unknown: Iterable[Digest]) -> None:
        found = self._journal.artifacts(unknown) if unknown else {}
        for digest in unknown:
            if digest not in found or codec_of(found[digest]) not in HARMLESS:
                names = [name for group in draft.groups if group.artifact == digest for name in group.names]
                listed = ", ".join(f"`{name}`" for name in names) or f"`{digest[:12]}`"
                raise UntrustedError(
                    f"checkpoint `{draft.name}` would hold {listed} as somebody recorded it who is not "
                    "trusted here",
                    kind="untrusted-value",
                    hint="%resume --trust, or bind the name anew",
                )

    # Judging

    def standing(self, checkpoint: Checkpoint) -> Standing:
        """What the record's signature says. It vouches for what a trusted record holds."""
        statement = self._statement(checkpoint)
        once = self._marks[checkpoint.seq] + (checkpoint.draft.signature or {}).get("sig", "")
        known = self._standing.get(once)
        if known in _TO_BE_SAID and self.keys.read_again():
            self._standing.clear()
            known = None
        if known is None:
            known = self._standing[once] = self._judge(checkpoint.draft, statement)
        if known is Standing.TRUSTED or (self._everything and known is not Standing.FORGED):
            self._vouched |= checkpoint.draft.stored
            return Standing.TRUSTED
        return known

    def judge(self, draft: Draft, execution: ExecutionId, parent: str | None) -> tuple[Standing, str]:
        """What the signature of a record that is not in this journal says, and the record's mark.

        `parent` is the mark of the record before it.
        """
        statement = statement_of(draft, execution, parent)
        return self._judge(draft, statement), mark_of(statement)

    def _judge(self, draft: Draft, statement: bytes) -> Standing:
        signature = draft.signature
        if signature is None:
            adopted = self.keys.adopted(mark_of(statement))
            return Standing.TRUSTED if adopted else Standing.UNSIGNED
        if not self.keys.is_valid(signature, statement):
            return Standing.FORGED
        return Standing.TRUSTED if self.keys.trusts(signature["key"]) else Standing.UNKNOWN

    def may_load(self, artifact: Artifact) -> bool:
        """Whether making the value again runs nothing, or nothing but what a trusted record holds."""
        if codec_of(artifact) in HARMLESS:
            return True
        return self._everything or artifact.digest in self._vouched

    def vouch(self, digest: Digest) -> None:
        """A value that is trusted refers to this one, or it was just written here."""
        self._vouched.add(digest)

    @contextmanager
    def accepting(self, everything: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002 - it reads `accepting(asked)`
        """Inside the block records of any signer count, as their user asked. A forged one never does."""
        before, self._everything = self._everything, self._everything or everything
        try:
            yield
        finally:
            self._everything = before

    def accept_all(self) -> None:
        """The same for as long as this process works here."""
        self._everything = True

    def sift(self, line: Sequence[Checkpoint]) -> Sifted:
        """What of a line of records (oldest first) may be acted upon."""
        found: list[Checkpoint] = []
        refused: dict[str, tuple[str, str]] = {}
        error: UntrustedError | None = None
        for checkpoint in line:
            standing = self.standing(checkpoint)
            if standing is not Standing.TRUSTED:
                if holds_something(checkpoint.draft):
                    error = error or self.refusal(checkpoint)
                told = self._reason(checkpoint, standing), self._way_on(checkpoint, standing)
                checkpoint, lost = self._harmless(checkpoint)  # noqa: PLW2901 - from here on only that counts
                refused.update(dict.fromkeys(lost, told))
            for name in [*checkpoint.draft.deleted, *(n for g in checkpoint.draft.groups for n in g.names)]:
                if name not in checkpoint.draft.deleted or standing is Standing.TRUSTED:
                    refused.pop(name, None)
            found.append(checkpoint)
        return Sifted(found, refused, error)

    def require(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Raise unless all of these records may be acted upon.

        Raises:
            UntrustedError: the first that may not be.
        """
        for checkpoint in checkpoints:
            if self.standing(checkpoint) is not Standing.TRUSTED and holds_something(checkpoint.draft):
                raise self.refusal(checkpoint)

    def refusal(self, checkpoint: Checkpoint) -> UntrustedError:
        """What to tell whoever wants to act upon a record that is not trusted."""
        standing = self.standing(checkpoint)
        why, hint = self._reason(checkpoint, standing), self._way_on(checkpoint, standing)
        message = f"checkpoint `{checkpoint.draft.name}` cannot be restored: {why}"
        if standing is Standing.FORGED:
            return UntrustedError(message, kind="forged-record", hint=hint)
        kind = "unsigned-record" if standing is Standing.UNSIGNED else "untrusted-key"
        return UntrustedError(message, kind=kind, hint=f"{hint}; {_OTHERWISE}")

    def refusal_to_load(self, digest: Digest) -> UntrustedError:
        """What to tell whoever wants a value that no trusted record holds; it names one that holds it."""
        what, why, hint = (
            f"the value `{digest[:12]}`",
            "no record that you trust holds it",
            "kitaru-nb trust KEY",
        )
        for checkpoint in self._journal.every_checkpoint():
            draft, standing = checkpoint.draft, self.standing(checkpoint)
            if digest not in draft.stored or standing is Standing.TRUSTED:
                continue
            names = [name for group in draft.groups if group.artifact == digest for name in group.names]
            what = f"{', '.join(f'`{name}`' for name in names) or 'a value'} of checkpoint `{draft.name}`"
            why, hint = self._reason(checkpoint, standing), self._way_on(checkpoint, standing)
            break
        return UntrustedError(
            f"{what} is not loaded, since that can run code: {why}",
            kind="untrusted-value",
            hint=f"{hint}; kitaru_nb.load(REF, trust=True) for this once",
        )

    def marks(self, line: Sequence[Checkpoint]) -> list[str]:
        """The mark of each record of a whole line (oldest first)."""
        for checkpoint in line:
            self._statement(checkpoint)
        return [self._marks[checkpoint.seq] for checkpoint in line]

    def _reason(self, checkpoint: Checkpoint, standing: Standing) -> str:
        if standing is Standing.FORGED:
            return "its record is not the one that was signed"
        if standing is Standing.UNSIGNED:
            return "its record carries no signature (an early version of kitaru_nb made it, or somebody else)"
        return f"it was signed with a key that you do not trust, {(checkpoint.draft.signature or {})['key']}"

    def _way_on(self, checkpoint: Checkpoint, standing: Standing) -> str:
        if standing is Standing.FORGED:
            return f"%%checkpoint {quote(checkpoint.draft.name)} --fresh (runs it again)"
        signature = checkpoint.draft.signature or {}
        whose = "unsigned" if standing is Standing.UNSIGNED else signature.get("key", "")
        return f"kitaru-nb trust {whose} if you know whose it is"

    def _harmless(self, checkpoint: Checkpoint) -> tuple[Checkpoint, list[str]]:
        """The record with nothing left that could run, and the names that it leaves without a value."""
        draft = checkpoint.draft
        artifacts = self._journal.artifacts({group.artifact for group in draft.groups})
        kept = tuple(group for group in draft.groups if _is_harmless(group, artifacts))
        lost = [name for group in draft.groups if group not in kept for name in group.names]
        bare = Draft(
            name=draft.name,
            key=draft.key,
            code=draft.code,
            source="",
            status=draft.status,
            started_at=draft.started_at,
            duration=draft.duration,
            parent=draft.parent,
            groups=kept,
            deleted=tuple(sorted(lost)),
            signature=draft.signature,
        )
        return replace(checkpoint, draft=bare), lost

    # Statements

    def _mark(self, seq: int | None) -> str | None:
        if seq is None:
            return None
        if seq not in self._marks:
            self._statement(self._journal.checkpoint(seq))
        return self._marks[seq]

    def _statement(self, checkpoint: Checkpoint) -> bytes:
        parent = checkpoint.draft.parent
        if parent is not None and parent not in self._marks:
            for before in self._journal.line(parent):
                if before.seq not in self._marks:
                    self._statement(before)
        mark = self._marks[parent] if parent is not None else None
        statement = statement_of(checkpoint.draft, checkpoint.execution, mark)
        self._marks[checkpoint.seq] = mark_of(statement)
        return statement


def holds_something(draft: Draft) -> bool:
    """Whether acting upon a record does anything: one of a failure tells, and changes nothing."""
    return draft.status is not CheckpointStatus.FAILED


def _is_harmless(group: Group, artifacts: Mapping[Digest, Artifact]) -> bool:
    artifact = artifacts.get(group.artifact)
    named = all(name.isidentifier() and not name.startswith("__") for name in group.names)
    harmless = artifact is not None and codec_of(artifact) in HARMLESS
    return harmless and named and group.recipe is None and not group.unstorable


def codec_of(artifact: Artifact) -> object:
    """What will load the value: its manifest says so, and only that is under its digest."""
    return artifact.manifest.get("codec")
