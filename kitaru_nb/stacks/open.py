"""From a choice of place to an engine, and the two ways to a stored value without a kernel."""

from __future__ import annotations

import difflib
import errno
import os
import socket
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import LATEST, Found, find_artifact
from kitaru_nb.engine.trust import Trust
from kitaru_nb.errors import NotFoundError, StoreError, UnstorableError, UsageError
from kitaru_nb.journal.mounts import file_system, is_network
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.model.private import make_durable
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import LOCAL, Stack
from kitaru_nb.stacks import reserve
from kitaru_nb.stacks.config import StackFiles, read_stacks, reveal_signing_key
from kitaru_nb.stacks.disk import DiskLimit, used_by
from kitaru_nb.stacks.keys import Keyring, NoKeys, config_folder
from kitaru_nb.stacks.parts import (
    folders_of,
    journal_file,
    journal_of,
    object_store,
    own_files,
    parted,
    store_folder,
)
from kitaru_nb.stacks.quotas import space_of
from kitaru_nb.stacks.settings import resolve

if TYPE_CHECKING:
    from kitaru_nb.artifacts.local_store import LocalStore
    from kitaru_nb.artifacts.zarr_store import ArtifactZarrStore

__all__ = [
    "LEAST_FREE",
    "ZarrStore",
    "check_folder",
    "check_places",
    "chosen_stack",
    "keys_of",
    "load",
    "load_stored",
    "open_engine",
    "open_journal",
    "open_store",
    "set_room_aside",
    "unknown_stack",
]

LEAST_FREE = 1 << 20
"""Free bytes without which no work is begun: too little even for the journal's own pages."""

_LOOK = 0.2  # seconds


def open_engine(
    settings: Settings,
    *,
    read_only: bool = False,
    limited: bool = True,
    inert: bool = False,
    awaited: bool = False,
) -> Engine:
    """The engine of the place that `settings` name.

    Missing folders are made, with mode 0700. That the folders the stack writes to can be written
    and have room is checked here, before any cell costs time or money.

    Args:
        settings: What the user has chosen, see `stacks.settings.resolve`.
        limited: Keep to the disk limit of the settings, and ask for room; not for what makes room.
        read_only: The caller will only read. Then folders on read-only media or on a full
            disk are fine, and a missing one is not made.
        inert: Load no value whose loading could run code, whoever signed it: for a process that
            only shows what is on record.
        awaited: It is known to have been there: a journal's server that does not answer is waited for,
            as it is after the first answer, and so is a journal's file. None is made.

    Raises:
        NotFoundError: kind ``nothing-recorded``: `read_only`, and nothing was ever recorded.
        StoreError: kinds ``home-not-a-folder``, ``home-not-writable``, ``disk-full``,
            ``disk-error``, ``store-gone``: a folder cannot be used; nothing in it was touched. Kinds
            ``key-unreadable``, ``key-not-made``: what is recorded could not be signed.
        CorruptError: the journal is damaged.
        UsageError: kind ``unknown-stack``.
    """
    stack = chosen_stack(settings)
    keys = keys_of(stack)
    if read_only:
        _check_readable(settings, stack)
    else:
        if awaited:
            _await_file(settings, stack)
        _prepare(settings, stack, scarce=not limited)
        keys.prepare()
    journal = open_journal(settings, read_only=read_only, awaited=awaited)
    try:
        trust = Trust(journal, NoKeys() if inert else keys)
        engine = _joined(settings, stack, journal, trust, read_only=read_only, limited=limited)
        options = {"read_only": read_only, "limited": limited, "inert": inert, "awaited": True}
        return replace(engine, again=partial(open_engine, settings, **options))
    except BaseException:
        journal.close()
        raise


def set_room_aside(settings: Settings) -> None:
    """Keep some room beside the journal for making room on a full disk, where it may come to that."""
    stack = chosen_stack(settings)
    file = journal_file(settings, stack)
    if file is not None:
        reserve.keep(file, stored=used_by(file, store_folder(settings, stack)))


def chosen_stack(settings: Settings) -> Stack:
    """The stack that `settings` name.

    Raises:
        UsageError: kind ``unknown-stack``.
    """
    if settings.place is not None and settings.place.name == settings.stack:
        return settings.place
    files = read_stacks(Path.cwd())  # settings made by hand, or a name that nothing has
    if settings.stack not in files.stacks:
        raise unknown_stack(settings.stack, settings.sources.get("stack", "argument"), files)
    return files.stacks[settings.stack]


def keys_of(stack: Stack) -> Keyring:
    """The keys that sign on a stack and are trusted there; none is made.

    Raises:
        UsageError: the stack's shared key is not in the environment.
    """
    secret = stack.signing_key
    return Keyring(config_folder(), shared=None if secret is None else reveal_signing_key(secret))


def unknown_stack(name: str, source: str, files: StackFiles) -> UsageError:
    """The error for a stack that does not exist."""
    close = difflib.get_close_matches(name, files.stacks, n=1)
    if source == "argument":
        hint = f"--stack {close[0]}" if close else f"--stack with one of {', '.join(files.stacks)}"
        return UsageError(f"there is no stack `{name}`", kind="unknown-stack", hint=hint)
    return UsageError(
        f"there is no stack `{name}` (from {source})",
        kind="unknown-stack",
        hint=f"export KITARU_NB_STACK={close[0] if close else LOCAL.name}, or kitaru-nb stack create {name}",
    )


def open_journal(settings: Settings, *, read_only: bool = False, awaited: bool = False) -> SqlJournal:
    """The journal of the stack that `settings` name."""
    return journal_of(settings, chosen_stack(settings), read_only=read_only, awaited=awaited)


def open_store(settings: Settings, *, journal: SqlJournal | None, read_only: bool = False) -> Any:
    """The artifact store of the stack that `settings` name.

    A place that the stack names belongs to `journal`, if that is given.
    """
    stack = chosen_stack(settings)
    folder = store_folder(settings, stack)
    owner = _owner(stack, journal)
    if folder is not None:
        return _local_store(folder, read_only=read_only, owner=owner)
    return object_store(settings, stack, read_only=read_only, owner=owner)


def _local_store(folder: Path, **options: Any) -> LocalStore:
    from kitaru_nb.artifacts.local_store import LocalStore  # noqa: PLC0415 - values elsewhere need none of it

    return LocalStore(folder, mappable=lambda: not is_network(file_system(folder)), **options)


def _owner(stack: Stack, journal: SqlJournal | None) -> str | None:
    """What a place that a stack names is marked with; the others are found from the journal alone."""
    number = None if stack.store is None or journal is None else journal.number()
    return None if number is None else f"journal {number:016x}"


def _joined(
    settings: Settings, stack: Stack, journal: SqlJournal, trust: Trust, *, read_only: bool, limited: bool
) -> Engine:
    file, folder = journal_file(settings, stack), store_folder(settings, stack)
    ours = own_files(settings, stack)
    writable = partial(_check, folders_of(settings, stack), file, stack)
    if read_only or not limited or folder is None:
        store = open_store(settings, journal=journal, read_only=read_only)
        if file is None or read_only or not limited:
            return Engine(journal, store, settings, trust, check=writable, ours=ours)
        tend = partial(_tend, file)
        tend()

        def look() -> None:
            writable()
            tend()

        return Engine(journal, store, settings, trust, check=look, tend=tend, ours=ours)
    limit = DiskLimit(
        file, folder, lambda: settings.now().max_bytes, collect=partial(_collect, settings, journal)
    )
    limit.tend()

    def check() -> None:
        writable()
        limit.check()

    store = _local_store(
        folder, room=limit.room, owner=_owner(stack, journal), anchor=file, patience=settings.patience
    )
    said = [f"{what}; {todo}" for what, todo in filter(None, [parted(settings, stack)])]

    def hear() -> list[str]:
        told, said[:] = [*said], []
        return [*told, *limit.hear()]

    return Engine(journal, store, settings, trust, check=check, tend=limit.tend, hear=hear, ours=ours)


def _tend(file: Path) -> None:
    """Keep room beside a journal whose values are elsewhere."""
    reserve.keep(file, stored=used_by(file, None))


def _collect(settings: Settings, journal: SqlJournal) -> None:
    """Make room under the policy of the settings."""
    from kitaru_nb.engine.gc import Policy, collect  # noqa: PLC0415 - seldom needed, and then in a hurry

    with closing(open_store(settings, journal=journal)) as store:
        collect(journal, store, Policy(settings.keep_days))


def load(
    name_or_ref: str, *, execution: str | None = None, as_zarr: bool = False, trust: bool = False
) -> Any:
    """A stored value, checked against its digest; needs no kernel and changes nothing.

    Args:
        name_or_ref: A notebook name such as ``"weights"``, as the execution last left it;
            where an execution runs that has saved that name: what it has saved last so far;
            or ``EXECUTION/CHECKPOINT[#n]/NAME``; or an artifact's digest, which gives the
            value, or a dict of them where several names were stored together.
        execution: Where to look for a bare name: an id, the start of one, or ``"latest"``,
            which is also the default.
        as_zarr: Give a read-only `zarr.Array` that reads only the chunks asked for, instead
            of the whole array; of a frame, an xarray object or a dict of arrays a `zarr.Group`.
        trust: Load it whoever signed it, this once. Loading anything but arrays, numbers and
            text can run code of whoever recorded it.

    Raises:
        NotFoundError: no such execution, checkpoint or name; the message lists close ones.
        CorruptError: stored bytes are damaged.
        UsageError: kind ``not-an-array``: `as_zarr`, and zarr cannot hold the value.
        UntrustedError: loading it could run code, and nobody whom you trust has signed it.

    A function comes with what it reads, as of its checkpoint. A value that could not be
    stored comes as a marker that says why.
    """
    if not isinstance(name_or_ref, str):
        message = f"`load` takes a name or a reference, and got {type(name_or_ref).__name__}"
        raise UsageError(message, kind="bad-ref", hint="kitaru_nb.load('latest/train/model')")
    if execution is None and name_or_ref.isidentifier():
        from kitaru_nb.engine.primitives import last_saved  # noqa: PLC0415 - only for a bare name

        name_or_ref = last_saved(name_or_ref) or name_or_ref
    if as_zarr:
        import zarr  # noqa: PLC0415 - heavy, and only this needs it

        from kitaru_nb.stacks.views import view_of  # noqa: PLC0415 - it imports this module

        _, view = view_of(name_or_ref, execution=execution or LATEST)
        return zarr.open(store=replace(view, trust=trust)(), mode="r")
    return load_stored(name_or_ref, execution=execution, trust=trust)[1]


def load_stored(
    name_or_ref: str,
    *,
    execution: str | None = None,
    trust: bool = False,
    settings: Settings | None = None,
) -> tuple[Found, Any]:
    """As `load`, with where the value was found; from the place of `settings` where they are given.

    Raises:
        UnstorableError: kinds ``unstorable-value`` and ``not-by-itself``: it is the result of a call
            that was there before, and could not be stored by itself, or was not by an early version.
    """
    from kitaru_nb.artifacts.marker import is_marker  # noqa: PLC0415 - most commands load no value
    from kitaru_nb.engine.stored import stored_names  # noqa: PLC0415 - as above

    settings = settings or resolve()
    with closing(open_engine(settings, read_only=True)) as engine:
        found = find_artifact(engine.journal, name_or_ref, execution=execution or LATEST)
    digest = found.artifact.digest
    names = stored_names(lambda: open_engine(settings, read_only=True), found.seq, digest=digest, trust=trust)
    value = found.pick(names.artifact(digest))
    if found.unstorable and is_marker(value):
        message = (
            f"what `{found.step}` gave was there before the call and cannot be stored: {found.unstorable}"
        )
        hint = f"let `{found.step}` return plain data"
        raise UnstorableError(message, kind="unstorable-value", hint=hint)
    return found, value


def ZarrStore(ref: str) -> ArtifactZarrStore:  # noqa: N802 - it is called like the class it makes
    """A read-only zarr store over a stored value: ``zarr.open(store=ZarrStore("latest/fit/w"))``.

    An array is a zarr array; a data frame, an xarray object, a sparse matrix, a dict or list
    of arrays is a group. Chunks are served from the stored bytes, each checked against its
    digest when it is read; a missing or damaged one is an error, never zeros. The store can
    be pickled, and stays on the value it was opened on.

    Args:
        ref: ``EXECUTION/CHECKPOINT[#n]/NAME``, a bare name of the latest execution, or a digest.

    Raises:
        NotFoundError: no such value.
        UsageError: kind ``not-an-array``: zarr cannot hold the value; the message says why.
    """
    from kitaru_nb.stacks.views import view_of  # noqa: PLC0415 - it imports this module

    _, view = view_of(ref)
    return view()


def check_places(settings: Settings, stack: Stack, *, room: bool = True) -> None:
    """Raise unless what runs on `stack` could be recorded. Makes and changes nothing.

    Args:
        settings: What the user has chosen.
        stack: The stack that they name.
        room: Whether there must be room, too.

    Raises:
        StoreError: see `open_engine`.
    """
    _check(folders_of(settings, stack), journal_file(settings, stack), stack, room=room)


def _check(folders: Sequence[Path], file: Path | None, stack: Stack, *, room: bool = True) -> None:
    for folder in folders:
        check_folder(folder, stack, room=room)
    if file is not None and not os.access(file, os.W_OK) and _exists(file):
        raise _refused(file.parent, errno.EACCES, stack)


def check_folder(folder: Path, stack: Stack, *, room: bool = True) -> None:
    """Raise unless what runs on `stack` could be recorded in `folder`. Makes and changes nothing.

    Whether there is room is asked with `room` only.

    Raises:
        StoreError: see `open_engine`.
    """
    there = os.path.isdir(folder)  # noqa: PTH112 - asked before each step, where a path object costs more than the answer
    nearest = folder if there else _nearest(folder)
    if not there and not nearest.is_dir():
        raise StoreError(
            f"nothing can be recorded in `{folder}`: `{nearest}` is a file, not a folder",
            kind="home-not-a-folder",
            hint=_elsewhere(stack),
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _refused(folder, errno.EROFS if _on_frozen_media(nearest) else errno.EACCES, stack)
    space = space_of(nearest) if room else None
    if space is not None and space.free < LEAST_FREE:
        raise _refused(folder, errno.EDQUOT if space.quota else errno.ENOSPC, stack)


def _nearest(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if _exists(each))


def _prepare(settings: Settings, stack: Stack, *, scarce: bool) -> None:
    """Make the folders that are missing, and raise unless they can be written and have room.

    With `scarce` somebody is about to make room: none is asked for, and what was set aside for
    this is given up where it is needed.
    """
    file = journal_file(settings, stack)
    check_places(settings, stack, room=not scarce)
    if file is not None and scarce and space_of(_nearest(file.parent)).free < reserve.BYTES:
        with suppress(OSError):
            reserve.give_up(file)
    for folder in folders_of(settings, stack):
        try:
            make_durable(folder)
        except OSError as error:
            raise _refused(folder, error.errno or errno.EIO, stack) from error
    with suppress(OSError):  # with everything elsewhere it only holds what is made again: caches, verdicts
        make_durable(settings.home)


def _await_file(settings: Settings, stack: Stack) -> None:
    """Raise where the journal's file is not there after a while: its disk is not mounted here."""
    file = journal_file(settings, stack)
    until = time.monotonic() + settings.patience
    while file is not None and not _exists(file):
        if time.monotonic() > until:
            raise StoreError(
                f"there is no journal at `{file}`, and there should be: its disk is not there",
                kind="store-gone",
                hint=f"mount the disk of `{file.parent}` on {socket.gethostname()}, then kitaru-nb reconcile",
            )
        time.sleep(_LOOK)


def _check_readable(settings: Settings, stack: Stack) -> None:
    """Raise unless the journal's file is there and this user may read it; a server says so itself."""
    file = journal_file(settings, stack)
    if file is None:
        return
    home = file.parent
    if _exists(home) and not os.access(home, os.R_OK | os.X_OK):
        raise StoreError(
            f"you may not read `{home}`",
            kind="home-not-readable",
            hint=f"ls -ld {quote(str(home))}, or {_elsewhere(stack)}",
        )
    if not _exists(file):
        from kitaru_nb.journal.connection import refuse_if_emptied  # noqa: PLC0415 - few need it

        refuse_if_emptied(file)  # else whoever looks would take it for a store in which nothing ever was
        of = "" if stack.name == LOCAL.name else f" (stack `{stack.name}`)"
        raise NotFoundError(
            f"nothing is recorded in `{home}`{of} yet",
            kind="nothing-recorded",
            hint="kitaru-nb run NOTEBOOK, kitaru-nb demo, or " + _elsewhere(stack),
        )


def _exists(path: Path | str) -> bool:
    return os.path.lexists(path)  # unlike `Path.exists`, False instead of an error where it cannot be seen


def _on_frozen_media(folder: Path) -> bool:
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _refused(folder: Path, number: int, stack: Stack) -> StoreError:
    message = f"nothing can be recorded in `{folder}`: {os.strerror(number)}"
    if number in (errno.ENOSPC, errno.EDQUOT):
        hint = f"kitaru-nb gc, free some space on that disk, or {_elsewhere(stack)}"
        return StoreError(f"{message}; what is stored there is safe", kind="disk-full", hint=hint)
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(message, kind="home-not-writable", hint=_elsewhere(stack))
    return StoreError(message, kind="disk-error", hint=_elsewhere(stack))


def _elsewhere(stack: Stack) -> str:
    """How to record in another place."""
    if stack.store is None and stack.journal is None:
        return "export KITARU_NB_HOME=/other/folder"
    return f"another folder for stack `{stack.name}` in {stack.source}, or export KITARU_NB_STACK=local"
