"""Journals and stores by URL: which class speaks to which place, imported when it is needed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kitaru_nb.artifacts.bucket_options import EXTRAS, family_of
from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.settings import JOURNAL_FILE, Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.config import reveal

__all__ = [
    "STORE_FOLDER",
    "as_typed_in",
    "check_urls",
    "folders_of",
    "journal_at",
    "journal_file",
    "journal_of",
    "object_store",
    "own_files",
    "parted",
    "store_at",
    "store_folder",
]

STORE_FOLDER = "store"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql", "postgres")
_ALMOST_A_URL = re.compile(r"[a-z][a-z0-9]+:/?[^/]")  # `s3:/bucket`, which would be a folder called `s3:`
_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "memory")


def journal_file(settings: Settings, stack: Stack) -> Path | None:
    """The journal's file, None when it is on a server.

    A stack that names its store and no journal has one of its own: two stores in one journal
    would be mixed up. It is in the store's folder; of a bucket, in a folder of the home.

    Raises:
        UsageError: kind ``bad-journal-url``.
    """
    if stack.journal is None:
        folder = None if stack.store is None else store_folder(settings, stack)
        return (folder or _beside(settings, stack, stack.store)) / JOURNAL_FILE
    scheme, _, rest = stack.journal.partition("://")
    if scheme in _POSTGRES:
        return None
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
        # SQLAlchemy's way: three slashes and a relative path, or four and an absolute one
        _check_slashes(stack.journal, Path(stack.source).parent)
        return _absolute(unquote(rest[1:]), stack)
    hint = 'journal = "sqlite:///file/beside/the/stacks", "sqlite:////a/file" or "postgresql://USER@HOST/DATABASE"'
    if scheme and "://" not in stack.journal:  # a path, as a store has it
        hint = f'journal = "sqlite:///{stack.journal.rstrip("/")}/{JOURNAL_FILE}"'
        if stack.journal.endswith((".db", ".sqlite")):
            hint = f'journal = "sqlite:///{stack.journal}"'
    raise UsageError(
        f"the journal `{stack.journal}` of stack `{stack.name}` is of a kind that does not exist",
        kind="bad-journal-url",
        hint=hint,
    )


def store_folder(settings: Settings, stack: Stack) -> Path | None:
    """The folder of the artifact store, None when it is in a bucket.

    A stack that names its journal and no store has one of its own: what a journal does not know,
    its `gc` takes for left over. It is beside the journal's file; of a server, in a folder of the home.

    Raises:
        UsageError: kind ``bad-store-url``.
    """
    if stack.store is None:
        file = None if stack.journal is None else journal_file(settings, stack)
        if file is None:
            return _beside(settings, stack, stack.journal) / STORE_FOLDER
        return file.parent / (STORE_FOLDER if file.name == JOURNAL_FILE else f"{file.stem}-{STORE_FOLDER}")
    scheme, colon, rest = stack.store.partition("://")
    if not colon and not _ALMOST_A_URL.match(stack.store):
        return _absolute(stack.store, stack)
    if scheme in _OBJECTS:
        return None
    if scheme == "file" and rest.startswith("/") and rest.strip("/"):
        return Path("/" + unquote(rest).lstrip("/"))
    raise UsageError(
        f"the store `{stack.store}` of stack `{stack.name}` is of a kind that does not exist",
        kind="bad-store-url",
        hint='store = "folder/beside/the/stacks", "/a/folder", "s3://bucket/prefix", "gs://…" or "az://…"',
    )


def check_urls(settings: Settings, stack: Stack) -> None:
    """Refuse places that no stack can have, without looking whether anything is there.

    Raises:
        UsageError: kinds ``bad-journal-url``, ``bad-store-url``.
    """
    journal_file(settings, stack)
    if stack.store is None or store_folder(settings, stack) is not None:
        return
    url = urlsplit(stack.store)
    if url.query or url.fragment or not url.netloc:
        raise UsageError(
            f"the URL of a store is {url.scheme}://bucket/prefix and nothing more",
            kind="bad-store-url",
            hint="--option NAME VALUE for what else the bucket needs, such as --option region eu-west-1",
        )


def folders_of(settings: Settings, stack: Stack) -> tuple[Path, ...]:
    """The folders on this machine that recording on `stack` needs, the journal's first."""
    file, folder = journal_file(settings, stack), store_folder(settings, stack)
    found = [] if file is None else [file.parent]
    if folder is not None and not any(folder.is_relative_to(each) for each in found):
        found.append(folder)
    return tuple(found)


def journal_at(settings: Settings, stack: Stack) -> str:
    """Where the stack's journal is, to be shown: a path or a URL, without secrets."""
    file = journal_file(settings, stack)
    return str(stack.journal) if file is None else str(file)


def store_at(settings: Settings, stack: Stack) -> str:
    """Where the stack's values are, to be shown: a path or a URL, without secrets."""
    folder = store_folder(settings, stack)
    return str(stack.store) if folder is None else str(folder)


def parted(settings: Settings, stack: Stack) -> tuple[str, str] | None:
    """That records are shared and values are not, with what to do about it; None where that is not so.

    A folder that the stack names may be one that all reach.
    """
    if stack.store is not None or stack.journal is None or journal_file(settings, stack) is not None:
        return None
    where = store_folder(settings, stack)
    what = (
        f"values of the stack `{stack.name}` stay on this machine, in `{where}`, while its journal is on "
        "a server: on another machine they are on record and cannot be loaded or restored"
    )
    return what, 'store = "s3://bucket/prefix" (or a folder that all reach) beside `journal` in the stack'


def own_files(settings: Settings, stack: Stack) -> tuple[Path, ...]:
    """Files, and folders with all that is in them, that are ours and no data of a notebook."""
    file, folder = journal_file(settings, stack), store_folder(settings, stack)
    ours = [] if folder is None else [folder]
    if file is not None:
        ours += [
            file.with_name(file.name + end) for end in ("", "-head", "-wal", "-shm", "-journal", "-reserve")
        ]
    return (settings.home, *(each for each in ours if not each.is_relative_to(settings.home)))


def journal_of(settings: Settings, stack: Stack, *, read_only: bool, awaited: bool = False) -> SqlJournal:
    """The stack's journal, opened; with `awaited` a server that does not answer at once is waited for."""
    file = journal_file(settings, stack)
    if file is not None:
        return SqliteJournal(file, lease=settings.lease, read_only=read_only)
    assert stack.journal is not None
    kind = _needed("kitaru_nb.journal.postgres_journal", "PostgresJournal", extra="postgres", needs="psycopg")
    password = stack.journal_password
    journal: SqlJournal = kind(
        stack.journal,
        password=None if password is None else reveal(password, what="the journal's password"),
        lease=settings.lease,
        read_only=read_only,
        patience=settings.patience,
        awaited=awaited,
    )
    return journal


def object_store(settings: Settings, stack: Stack, *, read_only: bool, owner: str | None) -> Any:
    """The stack's store in a bucket."""
    extra = EXTRAS[family_of(str(stack.store))]
    kind = _needed("kitaru_nb.artifacts.object_store", "ObjectStore", extra=extra, needs="obstore")
    options = _Revealed(stack, {"retry_timeout": f"{settings.patience:g}"})
    dict(options)  # what is missing is said here
    cache = settings.home / "cache"
    return kind(stack.store, options=options, cache=cache, read_only=read_only, owner=owner)


class _Revealed(Mapping[str, str]):
    """A stack's options with the secrets that they refer to, as the environment has them when asked.

    What the stack does not say is as in `defaults`.
    """

    def __init__(self, stack: Stack, defaults: Mapping[str, str]) -> None:
        self._stack = stack
        self._options = {**defaults, **stack.options}

    def __getitem__(self, key: str) -> str:
        return reveal(self._options[key], what=f"`{key}` of stack `{self._stack.name}`")

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)


def _needed(module: str, name: str, *, extra: str, needs: str) -> Any:
    try:
        importlib.import_module(needs)
    except ImportError as error:
        raise StoreError(
            f"this stack needs the package {needs}, which cannot be imported here: {error}",
            kind="missing-package",
            hint=f"pip install 'kitaru-nb[{extra}]'",
        ) from error
    return getattr(importlib.import_module(module), name)


def _absolute(path: str, stack: Stack) -> Path:
    """A path of a stack, as it is meant: a relative one begins where the file of the stack is."""
    return Path(stack.source).parent / Path(path).expanduser()


def _check_slashes(journal: str, folder: Path) -> None:
    """Refuse an absolute path that lacks its own slash: it would make a folder like `home` in `folder`.

    Raises:
        UsageError: kind ``bad-journal-url``.
    """
    path = journal.removeprefix(_SQLITE)
    first, below = unquote(path.partition("/")[0]), "/" in path
    if (
        not below
        or first in ("", ".", "..", "~")
        or (folder / first).exists()
        or not Path("/", first).is_dir()
    ):
        return
    raise UsageError(
        f"the journal `{journal}` has three slashes, so it would be in a new folder `{folder / first}`",
        kind="bad-journal-url",
        hint=f'journal = "{_SQLITE}/{path}" for the file `/{path}`; "{_SQLITE}./{path}" for that new folder',
    )


def as_typed_in(here: Path, place: str, folder: Path) -> str:
    """A store or journal that was typed in the folder `here`, as a file in `folder` has to say it.

    What lies below `folder` stays relative, so that the folder can be moved and shared.

    Raises:
        UsageError: kind ``bad-journal-url``.
    """
    scheme = _SQLITE if place.startswith(_SQLITE) else ""
    path = place.removeprefix(scheme)
    if (
        (not scheme and ("://" in path or _ALMOST_A_URL.match(path)))
        or path.startswith(("/", "~"))
        or not path
    ):
        return place
    if scheme:
        _check_slashes(place, here)
    meant = here / path
    if not meant.is_relative_to(folder) or ".." in meant.parts:
        return scheme + str(meant)
    return scheme + ("./" if path.startswith("./") else "") + str(meant.relative_to(folder))


def _beside(settings: Settings, stack: Stack, url: str | None) -> Path:
    """The folder for the part of a stack that it does not name; of another place it is another folder."""
    if url is None:
        return settings.home
    return settings.home / "stacks" / f"{stack.name}-{blake2b(url.encode(), digest_size=4).hexdigest()}"
