"""Files that steps wrote below the notebook's folder: kept with the commit, put back when missing.

A file is an artifact of its own, cut into extents like any value, so that a file whose bytes
are on record takes no room again. The journal's transaction that records the step records its
files, too. Restoring never loses anybody's work: only what is missing is put back, and what
the notebook's own earlier steps left there is brought forward.
"""

# ruff: noqa: PTH110, PTH116, PTH117, PTH118, PTH119, PTH120, PTH123 - paths are plain strings here

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from shlex import quote
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG
from typing import Any, TypeGuard

from blake3 import blake3

from kitaru_nb.artifacts.secret_files import secret_in
from kitaru_nb.artifacts.values import Stored
from kitaru_nb.artifacts.vault import VAULT
from kitaru_nb.engine.commit import Written
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.file_bytes import BATCH, load_file, store_file
from kitaru_nb.engine.history import History, history_of, origin_of, place_of, says_all
from kitaru_nb.engine.listing import listing_digest, names_in
from kitaru_nb.engine.observe import ABSENT, FOLDER, Observed, has_written, is_data, now_ns, state_of
from kitaru_nb.engine.recovery import Restored
from kitaru_nb.errors import CorruptError, StoreError
from kitaru_nb.model.artifact import Artifact, Location
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointStatus, StepKind
from kitaru_nb.model.execution import Identity

__all__ = ["Files", "content_digest", "may_write"]

File = Mapping[str, Any]
"""One entry of `Draft.files`.

``path`` as it was, ``mode`` (``read``, ``absent``, ``written``, ``deleted`` or ``folder``),
``digest`` of the content after the step, ``bytes``; of a written one also ``below`` (the path
below the notebook's folder), ``artifact``, ``permissions``, ``mtime`` (nanoseconds) and
``created``, ``whole`` (it was written from its beginning), ``exact`` (a condition says what was there
before), ``before`` (the digest before the step, where that is known), ``start`` (how many bytes were there,
where it was only added to), ``unsure`` (a call that ran at the same time may have written it), or ``why`` it
was not stored. Of a folder ``anew``, where the step removed it with all that was in it, and made it again.
"""

_TICK_NS = 10_000_000  # how far behind the clock a file may be stamped
_LARGE = 64 << 20
_END = 4096  # bytes at the end of a file by which it is known again after it has grown
_MOST = 5000  # names that a look for files which nobody announced goes through
_WRITERS = re.compile(r"save|write|dump|export|persist|\bto_\w|\.File\b|download|!|system|subprocess")
_CHANGED = frozenset({"written", "deleted"})
_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__"})


class Files:
    """The files of one session's steps.

    Args:
        engine: Journal and store.
        folder: The notebook's folder; nothing outside it is stored or put back.
        identity: Whose records tell who changed a file.
        began: When this process began, in nanoseconds since 1970; now if not given.
    """

    def __init__(self, engine: Engine, folder: Path, identity: Identity, *, began: int | None = None) -> None:
        self._engine = engine
        self._folder = Path(os.path.realpath(folder))
        self._identity = identity
        self._began = now_ns() if began is None else began
        self._here: dict[str, str] = {}
        self._sizes: dict[str, int] = {}  # of these files, in bytes
        self._ahead: dict[str, tuple[File, int, str]] = {}  # as a step left it, its number, and what is there
        self._anew: dict[str, set[int]] = {}  # by path below: see `_takes_part`
        self._half: set[str] = set()  # by path below: it was said that a step has failed on the file
        self._copies: dict[str, int] = {}  # by path below: the call whose unsure copy is what is there
        self._last: dict[str, int] = {}  # by path: the step that this kernel last ran or restored
        self._known: History | None = None
        self._met: set[str] = set()  # see `History.met`
        self._stored: dict[str, tuple[tuple[int, ...], str, Artifact, tuple[Location, ...]]] = {}
        self._open: dict[str, tuple[int, ...]] = {}  # by path: when it was seen to hold no secret
        self._said: list[str] = []
        self._own = {os.path.realpath(path) for path in (identity.notebook, identity.output) if path}

    def hear(self) -> list[str]:
        """What is to be said about the files of the last commit; each sentence is given once."""
        said, self._said = self._said, []
        return said

    # Committing

    def look_again(self) -> None:
        """Something that was on record was removed meanwhile: files are stored anew."""
        self._stored.clear()

    def store(
        self,
        observed: Observed,
        written: Written,
        *,
        named: Mapping[str, str],
        source: str,
        others: AbstractSet[str] = frozenset(),
        unsure: bool = False,
        conditional: bool = True,
    ) -> list[File]:
        """The files a step touched, with the bytes of those it wrote below the folder.

        Durable with the commit that `written` is for. A step that touched no file costs
        next to nothing; a written file costs reading it once, however large, in little memory.

        Args:
            observed: What the step was seen to touch.
            written: Takes the artifacts.
            named: Files that its code names, with their digests before it.
            source: Its code, to tell whether to look for files that were written unseen.
            others: Files that are known for the doing of what ran at the same time.
            unsure: Something did, and may have written what was written unseen.
            conditional: The step's record is to say what was there before, and count for that alone; that
                of a call counts for any.

        Raises:
            StoreError: the disk refused.
        """
        for path in self._unseen(observed, named, source):
            if path not in others:
                self._note_unheard(observed, path, named.get(path, ABSENT), known=conditional and not unsure)
                if unsure:
                    observed.unsure.add(path)
        for path, before in observed.databases.items():
            if state_of(path) != before:
                observed.written.add(path)
                if before == ABSENT:
                    observed.created.add(path)
        files = self.name(observed, written)
        if not conditional:
            return files
        exact = observed.before.keys() - observed.added.keys()
        return [{**file, "exact": True} if file["path"] in exact else file for file in files]

    def _note_unheard(self, observed: Observed, path: str, before: str, *, known: bool) -> None:
        """Something has written a file unheard that was `before`; `known`: it was the step that did."""
        observed.written.add(path)
        below = self._below(path) or ""
        left = self._here.get(below, before)
        if left == ABSENT:
            observed.created.add(path)
        else:
            observed.prior.setdefault(path, left)
        if not known:
            return
        if left == ABSENT:
            observed.whole.add(path)
        elif below in self._sizes and _begins_with({"bytes": self._sizes[below], "digest": left}, path):
            observed.added[path] = self._sizes[below]
        else:
            observed.changes_unheard(path, left)

    def name(self, observed: Observed, written: Written | None = None) -> list[File]:
        """The files a step touched; with their bytes where `written` takes them."""
        ignored = self._engine.ours
        if not (observed.read or observed.written or observed.removed or observed.made or observed.gone):
            return []
        files = [
            self._store(file, observed, written) if file["mode"] == "written" else file
            for file in observed.files(ignored=ignored)
            if os.path.realpath(file["path"]) not in self._own
        ]
        files = list({file.get("below") or file["path"]: file for file in files}.values())
        for path in sorted(observed.removed):
            below = self._below(path)
            if _may_be_named(below) and is_data(path, ignored) and not os.path.lexists(path):
                files.append(_deleted(path, below, observed.prior.get(path)))
        for path in sorted(observed.gone, reverse=True):  # what is in a folder goes before it
            below = self._below(path)
            if _may_be_named(below) and is_data(path, ignored) and not os.path.lexists(path):
                files.append(_deleted(path, below, FOLDER))
        for path in sorted(observed.made):
            below = self._below(path)
            if _may_be_named(below) and is_data(path, ignored) and Path(path).is_dir():
                made: File = {"path": path, "mode": FOLDER, "digest": FOLDER, "bytes": 0, "below": below}
                files.append({**made, "anew": True} if path in observed.cleared else made)
        return files

    def _store(self, file: File, observed: Observed, written: Written | None) -> File:
        path = file["path"]
        real = os.path.realpath(path) if Path(path).is_symlink() else path
        below = self._below(real)
        if below is None:
            end = {"end": _end_digest(path, file["bytes"])} if path in observed.added else {}
            return {**file, **end, "why": "it is outside the notebook's folder"}
        if (shown := VAULT.mask(below)) != below:
            self._said.append(f"the file `{shown}` is not stored: there is a secret in its name")
            return {**file, "path": VAULT.mask(path), "why": "there is a secret in its name"}
        if Path(path).is_symlink() and path in observed.created:
            return {**file, "below": self._below(path), "digest": "link", "why": "it is a symbolic link"}
        if written is None:
            return {**file, "below": below, "digest": state_of(real)}
        if _is_open_database(real):
            return {**file, "below": below, "why": "it is a database that is still open"}
        try:
            found = os.stat(real)
            secret = self._secret_in(real, found)
            if secret is not None:
                self._said.append(f"the file `{below}` is not stored: it holds {secret}")
                return {**file, "below": below, "digest": state_of(real), "why": f"it holds {secret}"}
            digest, stored = self._bytes_of(real, below, found)
        except StoreError:
            raise
        except OSError as error:
            return {**file, "below": below, "why": f"it cannot be read: {error.strerror}"}
        written.add(stored)
        return {
            **file,
            "path": real,
            "digest": digest,
            "bytes": stored.artifact.bytes,
            "below": below,
            "artifact": stored.artifact.digest,
            "permissions": S_IMODE(found.st_mode),
            "mtime": found.st_mtime_ns,
            "created": path in observed.created,
            "whole": path in observed.whole,
            "unsure": path in observed.unsure,
            "before": observed.prior.get(path),
            **({"start": observed.added[path]} if path in observed.added else {}),
        }

    def _bytes_of(self, path: str, below: str, found: os.stat_result) -> tuple[str, Stored]:
        """The file's digest and its artifact; one that did not change since is not read again."""
        mark = _mark(found)
        known = self._stored.get(path)
        if known is not None and known[0] == mark:
            return known[1], Stored(known[2], known[3])
        stamped = now_ns()
        digest, stored = store_file(self._engine, path, below)
        if stamped - max(found.st_mtime_ns, found.st_ctime_ns) > 2_000_000_000:
            self._stored[path] = (mark, digest, stored.artifact, stored.locations)
        return digest, stored

    def _secret_in(self, path: str, found: os.stat_result) -> str | None:
        """What stands for a secret in the file. One that had none is read again only when it changed."""
        mark = (*_mark(found), VAULT.changes)
        if self._open.get(path) == mark:
            return None
        secret = secret_in(path)
        if secret is None:
            self._open[path] = (*mark[:-1], VAULT.changes)
        return secret

    def _below(self, path: str) -> str | None:
        """The path below the notebook's folder; None when it lies elsewhere or leads out of it."""
        real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        inside = real.startswith(f"{self._folder}{os.sep}")
        return os.path.relpath(real, self._folder) if inside else None

    def _unseen(self, observed: Observed, named: Mapping[str, str], source: str) -> list[str]:
        """Files written by other processes and by libraries that open files themselves.

        They are looked for when the step started a process or its code speaks of writing.
        """
        if "process" not in observed.outside and not may_write(source):
            return []
        touched = (observed.read - observed.made_by_processes()) | observed.written
        return [
            path
            for path, stamp in _recent(self._folder)
            if stamp >= observed.since - _TICK_NS
            and path not in touched
            and not (path in named and state_of(path) == named[path])
            and not (stamp <= observed.since and self._is_as_left(path))
            and is_data(path, self._engine.ours)
            and path not in self._own
            and not path.endswith(("-wal", "-shm", "-journal"))
        ]

    def there(self) -> frozenset[str] | None:
        """The files below the folder that a step could have written; None where they are too many."""
        try:
            return frozenset(path for path, _ in _files_below(self._folder))
        except _TooManyError:
            return None

    def _is_as_left(self, path: str) -> bool:
        """Whether a file is as the last step or call that is on record of it left it."""
        left = self._here.get(self._below(path) or "")
        return left is not None and left == content_digest(path)

    def as_left(self, checkpoint: Checkpoint) -> list[File]:
        """The files of a step that are as it left them."""
        return [file for file in checkpoint.draft.files if _digest_now(file, file["path"]) == file["digest"]]

    def took(self, checkpoint: Checkpoint) -> None:
        """A step of this session is on record: what it left in files is the notebook's doing."""
        if self._known is not None:
            self._known.add(checkpoint)
        self._met.add(place_of(checkpoint))
        changed = [file["path"] for file in checkpoint.draft.files if file["mode"] in _CHANGED]
        self._last.update(dict.fromkeys(changed, origin_of(checkpoint)))
        if checkpoint.draft.status is CheckpointStatus.RESTORED:
            return  # what is there now is known from putting it back
        for file in checkpoint.draft.files:
            if file.get("below") is not None:
                self._stands(file["below"], file)
                self._copies.pop(file["below"], None)
                self._ahead.pop(file["below"], None)
                self._takes_part(file["below"], file, origin_of(checkpoint), ran=True)

    def _stands(self, below: str, file: File) -> None:
        self._here[below], self._sizes[below] = file["digest"] or ABSENT, file["bytes"]

    def _takes_part(self, below: str, file: File, seq: int, *, ran: bool = False) -> None:
        """The step with number `seq` is part of what stands in a file that a step of this process wrote anew.

        What stands there is what that one wrote, changed by each of these steps, once. Of a file that is not
        told of here, nobody knows which steps are in it. One that `ran` may have left nothing of it.
        """
        whole = file.get("whole", False) or (ran and says_all(file))
        if file["mode"] != "written":
            self._anew.pop(below, None)
        elif whole or (says_all(file) and below not in self._anew):
            self._anew[below] = {seq}
        elif below in self._anew:
            self._anew[below].add(seq)

    # Conditions

    @property
    def is_ahead(self) -> bool:
        """Whether there is something to bring back, see `bring_back`."""
        return bool(self._ahead)

    def stands_at(self, path: str) -> str | None:
        """The digest that a file has for the cell that comes now, where later cells on record changed it.

        What is there is left alone for as long as cells are only restored: see `bring_back`.
        """
        below = self._below(path) if self._ahead else None
        file, _, there = self._ahead.get(below or "", ({}, 0, ""))
        return file["digest"] if file and content_digest(path) == there else None

    def names_standing(self, folder: str, pattern: str) -> frozenset[str]:
        """The names in a folder that the cell which comes now finds there, see `stands_at`."""
        gone = {
            self._folder / below for below, (file, *_) in self._ahead.items() if file["mode"] == "deleted"
        }
        return frozenset(name for name in names_in(folder, pattern) if Path(folder, name) not in gone)

    def went_on(self, checkpoint: Checkpoint) -> bool:
        """Whether the step changed a file that it read, and nothing here has touched that file since.

        Its record holds for the file as the step left it, too: so it is found after a crash.
        But run once more by hand, right after, the step finds what it left itself, as it finds
        a list that it appended to.
        """
        if checkpoint.draft.status is CheckpointStatus.FAILED or not self._last:
            return False
        return any(
            self._last.get(path) == origin_of(checkpoint) and state_of(path) != digest.split("|")[0]
            for what, digest in checkpoint.draft.conditions.items()
            for kind, _, path in [what.partition(":")]
            if kind == "file" and "|" in digest and not digest.endswith(ABSENT)
        )

    def excuses(self, checkpoint: Checkpoint, what: str) -> bool:
        """Whether a file or folder differs only by what steps below `checkpoint` did after it.

        Never for what was changed since this session began: then it is the state that the
        cells of this kernel see. But a database that the step itself has changed may be what any
        step below made of it: what a step does to one is often not to be done twice.
        """
        kind, _, path = what.partition(":")
        if kind == "file":
            below = self._below(path)
            return (
                below is not None
                and self.stands_at(path) is None  # else it is known what the step would find
                and self._is_old(path)
                and self._history().is_left_below(below, state_of(path), checkpoint)
            )
        if kind == "database":
            return not self._history().is_changed_above(self._below(path) or path, checkpoint)
        if kind == "folder":
            folder, _, pattern = path.rpartition("|")
            own = self._folder_as_below(folder, pattern, checkpoint)
            return listing_digest(own) in checkpoint.draft.conditions[what].split("|")
        return False

    def read_otherwise(self, call: Checkpoint) -> list[str]:
        """The files below the folder that a recorded call has read, and that hold something else now.

        Not where the cell or flow that it is in has left them so, or a step below: that the call would
        not find.
        """
        found = []
        for file in call.draft.files:
            below = self._below(file["path"]) if file["mode"] == "read" else None
            now = ABSENT if below is None else state_of(file["path"])
            if below is None or now in (ABSENT, file["digest"]):
                continue
            history = self._history()
            if history.is_left_by(below, now, place_of(call)):
                continue
            if not (self._is_old(file["path"]) and history.is_left_below(below, now, call)):
                found.append(below)
        return found

    def found_anew(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """The files that the step added to or changed, where it would find another content, as ``anew:PATH``.

        A step of this process wrote that from its beginning, and this one is not in it. What a file was
        that nobody wrote anew does not count here: a log grows.
        """
        seq = origin_of(checkpoint)
        changed = (file for file in checkpoint.draft.files if file.get("below") and file["mode"] == "written")
        files = (file for file in changed if "start" in file or file.get("exact", False))
        return tuple(
            f"anew:{file['path']}"
            for file in files
            if seq not in self._anew.get(below := file["below"], {seq})
            and self._is_another(file, below, str(self._folder / below))
        )

    def _is_another(self, file: File, below: str, path: str) -> bool:
        """Whether what stands in a file is not what a step found there, as far as `file` tells that."""
        now = content_digest(path)
        ahead, _, there = self._ahead.get(below, ({}, 0, ""))
        if ahead and there == now:
            stands, size = ahead["digest"], ahead["bytes"]
        elif now == self._here.get(below):
            stands, size = now, self._sizes.get(below)
        else:
            return False
        if file.get("before"):
            return bool(stands != file["before"])
        return "start" in file and size != file["start"]

    def come_back(self, checkpoint: Checkpoint) -> bool:
        """Whether a restore leaves each file as the step left it, as running it again would.

        Not where somebody has changed a file since, which `put_back` would leave alone. What was
        only added to a file that the step itself added to is no such change: a log grows.
        """
        return all(
            self._comes_back(file) for file in checkpoint.draft.files if file["mode"] in (*_CHANGED, FOLDER)
        )

    def _comes_back(self, file: File) -> bool:
        below, wanted = file.get("below"), file["digest"] or ABSENT
        path = file["path"] if below is None else str(self._folder / below)
        if file["mode"] == "written" and file["digest"] is None:
            # its content was not looked at, but for the end of one that the step only added to
            return _is_as_stamped(file, path) or file.get("end", ABSENT) == _end_digest(path, file["bytes"])
        now = _digest_now(file, path)
        if wanted in (now, state_of(path)):
            return True
        if file["mode"] == "written" and "artifact" not in file:
            return False
        if now in (ABSENT, file.get("before")):
            return True
        if says_all(file):
            return now == self._here.get(below or "")
        return file["mode"] == "written" and _begins_with(file, path)

    def _is_old(self, path: str) -> bool:
        try:
            return os.stat(path).st_mtime_ns < self._began
        except OSError:
            return True

    def _folder_as_below(self, folder: str, pattern: str, checkpoint: Checkpoint) -> frozenset[str]:
        """The names in a folder without those that steps below `checkpoint` have made since."""
        history = self._history()
        return frozenset(
            name
            for name in self.names_standing(folder, pattern)
            if (below := self._below(path := os.path.join(folder, name))) is None
            or not history.is_made_below(below, checkpoint)
            or (below in self._here and not self._is_old(path))
        )

    def _history(self) -> History:
        if self._known is None:
            self._known = history_of(self._engine.journal, self._identity, met=self._met)
        return self._known

    # Restoring

    def put_back(self, checkpoint: Checkpoint, *, problems: bool = False) -> list[str]:
        """Put back the files of a restored step; a sentence for each that is worth one.

        With `problems` only for those that are not there as the step left them.

        Raises:
            CorruptError: stored bytes of a missing file are damaged; the message names the step.
        """
        name = checkpoint.draft.name
        said: list[str] = []
        for file in checkpoint.draft.files:
            try:
                sentences = self._put_back(file, origin_of(checkpoint), checkpoint)
                if not problems or self._here.get(file.get("below") or "") != (file["digest"] or ABSENT):
                    said += sentences
            except CorruptError as error:
                message = (
                    f"checkpoint `{name}` cannot be restored: its file `{file['below']}`: {error.message}"
                )
                hint = f"%%checkpoint {quote(name)} --fresh (runs it again)"
                raise CorruptError(message, kind=error.kind, hint=hint) from error
        if _is_cell(checkpoint):
            self._empty(checkpoint.draft.files, origin_of(checkpoint))
        return said

    def bring_back(self) -> bool:
        """Code is about to run: files that later cells wrote anew become what the restored ones left.

        A later cell, which is on record with what it left, writes them again when it is restored. What
        was only added to a file since stays there: a log grows.

        Returns:
            Whether a file was changed.

        Raises:
            CorruptError: stored bytes are damaged.
        """
        changed = False
        for below, (file, seq, there) in list(self._ahead.items()):
            path = str(self._folder / below)
            if content_digest(path) == there:
                if file["mode"] == "deleted":
                    self._remove(path, below)
                else:
                    self._write(file, below, path, seq, replace=True)
                changed = True
        self._ahead.clear()
        return changed

    def put_back_line(self, line: Sequence[Checkpoint], restored: Restored) -> None:
        """Put back the files as of the last commit of `line`, and say in `restored` what came of it."""
        last: dict[str, File] = {}
        self._met.update(map(place_of, line))
        for checkpoint in line:
            if checkpoint.draft.status is not CheckpointStatus.FAILED:
                last.update({file["below"]: file for file in checkpoint.draft.files if file.get("below")})
        end = max(map(origin_of, line), default=0)
        for below, file in last.items():
            try:
                restored.problems += self._put_back(file, end)
            except StoreError as error:
                restored.not_read(below, error)
        self._empty(list(last.values()), end)
        for checkpoint in line:
            for file in checkpoint.draft.files:
                if file.get("below") is not None and checkpoint.draft.status is not CheckpointStatus.FAILED:
                    self._takes_part(file["below"], file, origin_of(checkpoint))

    def _put_back(self, file: File, seq: int, of: Checkpoint | None = None) -> list[str]:
        below = file.get("below")
        if below is None:
            return []
        path = str(self._folder / below)
        if os.path.isabs(below) or self._below(path) != os.path.normpath(below):
            return [f"`{below}` was not put back: it would lie outside the notebook's folder"]
        text = self._put_back_one(file, below, path, seq, of)
        return [text] if text else []

    def _put_back_one(self, file: File, below: str, path: str, seq: int, of: Checkpoint | None) -> str:
        wanted = file["digest"] or ABSENT
        now = _digest_now(file, path)
        here = now == self._here.get(below)
        if now == wanted:
            self._left(below, file, seq)
            return ""
        if file["mode"] == FOLDER:
            return self._make_folder(path, below) if now == ABSENT else ""
        if file["mode"] == "deleted":
            if here or now == file.get("before"):
                self._remove(path, below)
            return ""
        if "artifact" not in file:
            return f"`{below}` is not back: {file.get('why', 'it was not stored')}" if now == ABSENT else ""
        # What a step added to a file counts for the content it was added to, and for no other.
        # A copy that an earlier call kept of what this one may have been about to write counts for none.
        newer = self._copies.get(below, seq) < seq
        whole = says_all(file)
        known = now == file.get("before") or (here and (whole or newer))
        known = known or (whole and of is not None and self._is_left_above(below, now, of))
        if not known and now != ABSENT:
            between = of is None or _is_cell(of)
            if here or has_written(path):
                return ""
            if self._is_ahead(file, below, seq, now, between=between):
                return self._said_of_failure(below, now) if between else ""
            if file.get("unsure", False):
                return ""  # who wrote it may not have come to its end, and goes on with it
            return f"`{below}` was changed by something else since, and was left as it is"
        return self._write(file, below, path, seq, replace=now != ABSENT)

    def _said_of_failure(self, below: str, now: str) -> str:
        """What is worth saying, once, of a file that is as a step left it which has failed."""
        if (below, now) not in self._history().lost or below in self._half:
            return ""
        self._half.add(below)
        return f"`{below}` holds what a cell that failed has left in it; remove it to have it as before that"

    def _remove(self, path: str, below: str) -> None:
        with suppress(OSError):  # a folder that somebody has put something into stays
            (os.rmdir if Path(path).is_dir() else os.remove)(path)
            self._here[below] = ABSENT

    def _empty(self, files: Sequence[File], seq: int) -> None:
        """In folders that were made anew there is nothing but what is in `files`, as of the step `seq`."""
        anew = tuple(f"{file['below']}{os.sep}" for file in files if file.get("anew", False))
        if not anew:
            return
        own = {file["below"] for file in files if file["mode"] == "written" and file.get("below")}
        history = self._history()
        others = {below for below in history.left if below.startswith(anew)}
        for below in others - own - self._ahead.keys():
            path = str(self._folder / below)
            now = content_digest(path)
            if now != ABSENT and history.is_known(below, now):
                self._ahead[below] = _deleted(path, below, None), seq, now

    def _is_ahead(self, file: File, below: str, seq: int, now: str, *, between: bool) -> bool:
        """Whether a file is as another step left it that may come after the one with number `seq`.

        `between`: no code runs now, and what is restored is what the next cell is to find.
        """
        history = self._history()
        anew = (between and says_all(file)) or below in self._ahead or history.is_rewritten(below, seq)
        if anew and file["bytes"] <= _LARGE and history.is_known(below, now):
            self._ahead[below] = file, seq, now
            self._takes_part(below, file, seq)
            return True
        return history.is_later(below, now, seq)

    def _is_left_above(self, below: str, now: str, of: Checkpoint) -> bool:
        history = self._history()
        return _is_cell(of) and history.is_known(below, now) and history.is_left_above(below, now, of)

    def _left(self, below: str, file: File, seq: int) -> None:
        """What is there is what the step with number `seq` left there."""
        self._stands(below, file)
        self._copies.pop(below, None)
        self._ahead.pop(below, None)
        self._takes_part(below, file, seq)
        if file.get("unsure", False):
            self._copies[below] = seq

    def _make_folder(self, path: str, below: str) -> str:
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"the folder `{below}` was not made again: {error.strerror}"
        self._here[below] = FOLDER
        return ""

    def _write(self, file: File, below: str, path: str, seq: int, *, replace: bool) -> str:
        try:
            load_file(self._engine, file, path, replace=replace)
        except StoreError:
            raise
        except OSError as error:
            return f"`{below}` was not put back: {error.strerror}"
        self._left(below, file, seq)
        return f"`{below}` was missing and is back" if not replace else f"`{below}` is back as it was then"


def _is_cell(step: Checkpoint) -> bool:
    return step.draft.kind is StepKind.CELL


def _mark(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def may_write(source: str) -> bool:
    """Whether code speaks of writing files."""
    return _WRITERS.search(source) is not None


def content_digest(path: str) -> str:
    """The digest of a file's content whatever its size, `FOLDER`, or `ABSENT`."""
    try:
        found = os.stat(path)
        if S_ISDIR(found.st_mode):
            return FOLDER
        if not S_ISREG(found.st_mode):
            return "special"
        digest = blake3()
        with open(path, "rb") as file:
            while chunk := file.read(BATCH):
                digest.update(chunk)
        return str(digest.hexdigest())
    except FileNotFoundError:
        return "special" if os.path.lexists(path) else ABSENT
    except OSError:
        return "unreadable"


def _digest_now(file: File, path: str) -> str:
    """The digest of what is there; a large file of the size and time on record is not read."""
    if file["bytes"] > _LARGE:
        with suppress(OSError):
            found = os.stat(path)
            if (found.st_size, found.st_mtime_ns) == (file["bytes"], file.get("mtime")):
                return str(file["digest"])
    return content_digest(path)


def _begins_with(file: File, path: str) -> bool:
    """Whether nothing has happened to a file since but that something was added at its end."""
    digest, left = blake3(), int(file["bytes"])
    try:
        with open(path, "rb") as found:
            while left and (chunk := found.read(min(left, BATCH))):
                digest.update(chunk)
                left -= len(chunk)
    except OSError:
        return False
    return not left and digest.hexdigest() == file["digest"]


def _is_as_stamped(file: File, path: str) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (file["bytes"], file.get("mtime"))


def _end_digest(path: str, size: int) -> str | None:
    """The digest of what stands before the place in a file where its end was when it had `size` bytes."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, size - _END))
            end = file.read(min(size, _END))
    except OSError:
        return None
    return str(blake3(end).hexdigest()) if len(end) == min(size, _END) else None


def _may_be_named(below: str | None) -> TypeGuard[str]:
    """Whether a path is one below the notebook's folder, with no secret in it."""
    return below is not None and VAULT.mask(below) == below


def _deleted(path: str, below: str, before: str | None) -> File:
    return {"path": path, "mode": "deleted", "digest": ABSENT, "bytes": 0, "below": below, "before": before}


def _is_open_database(path: str) -> bool:
    """Whether changes of an SQLite file may still be in its log, so that the file alone is not whole."""
    try:
        return os.stat(f"{path}-wal").st_size > 0
    except OSError:
        return False


def _recent(folder: Path) -> Iterator[tuple[str, int]]:
    """The first regular files below `folder` with the time of their last change, in nanoseconds."""
    with suppress(_TooManyError):
        yield from _files_below(folder)


class _TooManyError(Exception):
    """There are more names than are looked at."""


def _files_below(folder: Path) -> Iterator[tuple[str, int]]:
    waiting, seen = [str(folder)], 0
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > _MOST:
                raise _TooManyError
            if entry.name.startswith(".") or entry.name in _SKIPPED or entry.name.endswith(".ipynb"):
                continue
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if S_ISDIR(found.st_mode):
                    if not os.path.exists(os.path.join(entry.path, "pyvenv.cfg")):
                        waiting.append(entry.path)
                elif S_ISREG(found.st_mode) and not S_ISLNK(found.st_mode):
                    yield entry.path, max(found.st_mtime_ns, found.st_ctime_ns)
