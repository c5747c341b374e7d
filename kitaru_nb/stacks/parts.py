"""Journals and stores by URL: which class speaks to which place, imported when it is needed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.journal.sql_journal import SqlJournal
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.settings import JOURNAL_FILE, Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.config import reveal

__all__ = ["STORE_FOLDER", "journal_file", "journal_of", "object_store", "store_folder"]

STORE_FOLDER = "store"
_POSTGRES = ("postgresql", "postgres")
_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "memory")


def journal_file(settings: Settings, stack: Stack) -> Path | None:
    """The journal's file, None when it is on a server.

    Raises:
        UsageError: kind ``bad-journal-url``.
    """
    if stack.journal is None:
        return settings.home / JOURNAL_FILE
    scheme = stack.journal.partition(":")[0]
    if scheme in _POSTGRES:
        return None
    path = _path(stack.journal, "sqlite")
    if path is None:
        raise UsageError(
            f"the journal `{stack.journal}` of stack `{stack.name}` is of a kind that does not exist",
            kind="bad-journal-url",
            hint='journal = "sqlite:////a/file" or "postgresql://USER@HOST/DATABASE"',
        )
    return path


def store_folder(settings: Settings, stack: Stack) -> Path | None:
    """The folder of the artifact store, None when it is in a bucket.

    Raises:
        UsageError: kind ``bad-store-url``.
    """
    if stack.store is None:
        return settings.home / STORE_FOLDER
    scheme, colon, _ = stack.store.partition("://")
    if colon and scheme in _OBJECTS:
        return None
    path = _path(stack.store, "file") if colon else _absolute(Path(stack.store).expanduser(), stack)
    if path is None:
        raise UsageError(
            f"the store `{stack.store}` of stack `{stack.name}` is of a kind that does not exist",
            kind="bad-store-url",
            hint='store = "/a/folder", "s3://bucket/prefix", "gs://…" or "az://…"',
        )
    return path


def journal_of(settings: Settings, stack: Stack, *, read_only: bool) -> SqlJournal:
    """The stack's journal, opened."""
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
    )
    return journal


def object_store(settings: Settings, stack: Stack, *, read_only: bool, owner: str | None) -> Any:
    """The stack's store in a bucket."""
    kind = _needed("kitaru_nb.artifacts.object_store", "ObjectStore", extra="s3", needs="obstore")
    options = {
        key: reveal(value, what=f"`{key}` of stack `{stack.name}`") for key, value in stack.options.items()
    }
    cache = settings.home / "cache"
    return kind(stack.store, options=options, cache=cache, read_only=read_only, owner=owner)


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


def _path(url: str, scheme: str) -> Path | None:
    """The path of a URL such as ``sqlite:////srv/journal.db``, None for another scheme."""
    if not url.startswith(f"{scheme}://"):
        return None
    path = unquote(urlsplit(url).path)
    # SQLAlchemy writes an absolute path with four slashes; three with one that is absolute mean the same.
    return Path("/" + path.lstrip("/"))


def _absolute(path: Path, stack: Stack) -> Path:
    return path if path.is_absolute() else Path(stack.source).parent / path
