"""A bucket: the one place that talks to obstore, which speaks S3, GCS and Azure.

obstore is imported when a bucket is first used. Its runtime does not survive a fork, and
calls in a forked child would hang: there, a private copy of the library begins anew.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from kitaru_nb.artifacts.bucket_errors import (
    EXISTS,
    NO_BUCKET,
    PAST_END,
    REFUSED,
    UNREACHABLE,
    UNSUPPORTED,
    answer_code,
    bucket_error,
    vanished,
)
from kitaru_nb.artifacts.bucket_options import EXTRAS, family_of, sorted_options, tries_and_patience
from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.model.artifact import PackFile

__all__ = ["SCHEMES", "Bucket"]

SCHEMES = {
    "s3": "S3Store",
    "s3a": "S3Store",
    "gs": "GCSStore",
    "gcs": "GCSStore",
    "az": "AzureStore",
    "azure": "AzureStore",
    "abfs": "AzureStore",
    "abfss": "AzureStore",
    "file": "LocalStore",
    "memory": "MemoryStore",
}
"""How a store's URL begins, and what obstore calls that kind of store."""

T = TypeVar("T")

_OPTIONS = {
    "s3": "check the options of the stack against the how-to on object stores",
    "gs": "a key of a service account: the option service_account (its file) or service_account_key (JSON)",
    "az": "the options account_name and account_key, sas_key or connection_string",
}
_SHORT = 8
_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

_libraries: dict[int, ModuleType] = {}
_library_lock = threading.Lock()
_memory: dict[str, Any] = {}
_unused: list[object] = []
"""What a fork left over: its runtime is gone, and even giving it back could wait for that."""


class Bucket:
    """A bucket and a prefix in it. Safe for threads and forks; opening touches no network.

    Args:
        url: Where, in fsspec's spelling: ``s3://bucket/prefix``, ``gs://``, ``az://``,
            ``abfs://container@account.dfs.core.windows.net/prefix``.
        options: What obstore takes, such as ``region``, ``endpoint``, ``access_key_id``;
            fsspec's names for these work too. What is not given comes from the environment.
            Read anew after credentials were refused.

    Raises:
        UsageError: kind ``bad-store-url``: there is no such kind of store, or the URL holds
            what belongs in `options`. Kind ``bad-store-options``: a number among them is none.
    """

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        if scheme not in SCHEMES:
            raise UsageError(
                f"`{scheme or url}` is not a kind of object store",
                kind="bad-store-url",
                hint="s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
            )
        if parts.password or parts.query or parts.fragment or (parts.username and "abfs" not in scheme):
            raise UsageError(  # and none of it is repeated: it may be a secret
                f"the URL of a store is {scheme}://bucket/prefix and nothing more",
                kind="bad-store-url",
                hint="give credentials and other options by reference in the stack's options",
            )
        if not parts.netloc and scheme not in ("file", "memory"):
            raise UsageError(
                f"`{url}` names no bucket", kind="bad-store-url", hint=f"{scheme}://bucket/prefix"
            )
        self.url = url.rstrip("/")
        self._scheme = scheme
        self._options = options
        self._tries = tries_and_patience(options)
        self._conditional = True
        self.start_over()

    def __repr__(self) -> str:
        return f"Bucket({self.url!r})"

    def put_new(self, key: str, data: memoryview) -> None:
        """Make the object `key`, whole or not at all; never replaces another.

        Returns when the service has acknowledged it. `data` must not change before that.

        Raises:
            StoreError: it could not be written, or another object has that name.
        """
        # A put that must not replace anything is not repeated by obstore once it was sent: it
        # cannot know that an object which is there then is the very one.
        self._patiently(lambda: self._put_once(key, data))

    def _put_once(self, key: str, data: memoryview) -> None:
        mode = "create" if self._conditional else "overwrite"
        try:
            with self._asking("the values could not be written") as (library, place):
                library.put(place, key, data, mode=mode, use_multipart=False)
        except StoreError as error:
            if error.kind == EXISTS and self._holds(key, data):
                return  # an earlier try went through, and its answer was lost on the way
            if error.kind != UNSUPPORTED or not self._conditional:
                raise
            # An old service without conditional writes: names are random, so none is taken.
            self._conditional = False
            self._put_once(key, data)

    def _holds(self, key: str, data: memoryview) -> bool:
        """Whether the object that is in the way is the very one that was to be put there."""
        try:
            return bytes(self.get(key, 0, len(data) + 1)) == data
        except FileNotFoundError:
            raise vanished("the values could not be written", where=self.url) from None

    def get(self, key: str, start: int, length: int) -> memoryview:
        """Up to `length` bytes of the object `key` from `start` on: fewer where it ends before.

        Raises:
            FileNotFoundError: there is no such object.
            StoreError: it could not be read.
        """
        if length == 0:
            return memoryview(b"")
        try:
            return self._patiently(lambda: self._get_once(key, start, length))
        except StoreError as error:
            if error.kind == PAST_END or self._scheme in ("file", "memory"):
                file = self.file(key)
                if file is not None and file.bytes <= start:
                    return memoryview(b"")
            raise

    def file(self, key: str) -> PackFile | None:
        """The size and age of the object `key`; None when there is none.

        Raises:
            StoreError: the service did not say.
        """
        try:
            return self._patiently(lambda: self._head(key))
        except FileNotFoundError:
            return None

    def files(self, prefix: str) -> Iterator[tuple[str, PackFile]]:
        """Every object below the folder `prefix`: its key, and its last part with size and age.

        Raises:
            StoreError: they could not be listed.
        """
        pages: Iterator[Sequence[Mapping[str, Any]]] | None = None
        last: str | None = None

        def more() -> Sequence[Mapping[str, Any]]:
            nonlocal pages
            try:
                with self._asking("stored values cannot be listed") as (library, place):
                    pages = pages or iter(library.list(place, prefix=prefix, offset=last))
                    return next(pages, ())
            except BaseException:
                pages = None  # a listing that broke off is begun anew behind what has come
                raise

        with suppress(FileNotFoundError):
            while page := self._patiently(more):
                last = page[-1]["path"]
                yield from ((found["path"], _file(found)) for found in page)

    def remove(self, key: str) -> None:
        """Remove the object `key`; that it is gone already is fine.

        Raises:
            StoreError: it could not be removed.
        """
        with suppress(FileNotFoundError):
            self._patiently(lambda: self._remove_once(key))

    def _get_once(self, key: str, start: int, length: int) -> memoryview:
        with self._asking("stored values cannot be read") as (library, place):
            return memoryview(library.get_range(place, key, start=start, length=length))

    def _head(self, key: str) -> PackFile:
        with self._asking("stored values cannot be looked for") as (library, place):
            return _file(library.head(place, key))

    def _remove_once(self, key: str) -> None:
        with self._asking("stored values cannot be removed") as (library, place):
            library.delete(place, key)

    def _patiently(self, action: Callable[[], T]) -> T:
        """Do `action`, again while the service is away or overloaded, for as long as the options say."""
        tries, patience = self._tries
        until, pause = time.monotonic() + patience, _PAUSE
        while True:
            try:
                return action()
            except StoreError as error:
                if error.kind != UNREACHABLE or not tries or time.monotonic() + pause > until:
                    raise
            time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - so that not all come back at once
            tries, pause = tries - 1, min(2 * pause, _LONGEST_PAUSE)

    def start_over(self) -> None:
        """Begin as a fresh process does; for a forked child."""
        _unused.append(getattr(self, "_open", None))
        self._lock = threading.Lock()
        self._open: tuple[ModuleType, Any] | None = None

    def _opened(self) -> tuple[ModuleType, Any]:
        """The library and its store. Kept in one field: other threads see both or none."""
        if self._open is None:
            with self._lock:
                if self._open is None:
                    library = _library(EXTRAS[family_of(self.url)])
                    self._open = library, self._store(library)
        return self._open

    def _store(self, library: ModuleType) -> Any:
        kind = getattr(library._store, SCHEMES[self._scheme])
        if self._scheme == "memory":
            return _memory.setdefault(self.url, kind())
        if self._scheme == "file":
            folder = Path(urlsplit(self.url).path)
            folder.mkdir(parents=True, exist_ok=True)
            return kind(str(folder))
        options = dict(self._options)
        config, client, retry = sorted_options(self._scheme, options)
        url = self.url.replace("gcs://", "gs://", 1) if self._scheme == "gcs" else self.url
        try:
            return kind.from_url(url, config=config, client_options=client, retry_config=retry)
        except (library.exceptions.BaseError, OSError, ValueError, TypeError) as error:
            why = _without(str(error).partition("\n")[0], {**options, **config})
            raise UsageError(
                f"the store `{self.url}` cannot be opened: {why}",
                kind="bad-store-options",
                hint=_OPTIONS[family_of(self.url)],
            ) from None

    @contextmanager
    def _asking(self, what: str) -> Iterator[tuple[ModuleType, Any]]:
        """The library and its store, to ask once.

        Raises:
            FileNotFoundError: the answer was that there is no such object.
            StoreError: any other answer, and none.
        """
        library, place = self._opened()
        try:
            yield library, place
        except FileNotFoundError as error:
            if answer_code(error) not in NO_BUCKET:
                raise FileNotFoundError(what) from None
            raise bucket_error(error, what, where=self.url) from None
        except (library.exceptions.BaseError, OSError, ValueError, NotImplementedError) as error:
            told = bucket_error(error, what, where=self.url)
            if told.kind in REFUSED:
                self._open = None  # keys that were renewed since are found by the next call
            raise told from None


def _file(found: Mapping[str, Any]) -> PackFile:
    name = str(found["path"]).rpartition("/")[2]
    return PackFile(name, int(found["size"]), found["last_modified"].timestamp())


def _without(text: str, options: Mapping[str, Any]) -> str:
    """`text` without what `options` hold, since that may be a secret; a short one only as a word."""
    for value in sorted(map(str, options.values()), key=len, reverse=True):
        if value:
            given = re.escape(value)
            text = re.sub(given if len(value) >= _SHORT else rf"(?<!\w){given}(?!\w)", "…", text)
    return text


def _library(extra: str) -> ModuleType:
    """Obstore for this process, which the package's `extra` brings."""
    with _library_lock:
        library = _libraries.get(os.getpid())
        if library is None:
            try:
                original = importlib.import_module("obstore._obstore")
            except ImportError:
                raise UsageError(
                    "object stores need the package obstore, which is not installed",
                    kind="missing-package",
                    hint=f"pip install 'kitaru-nb[{extra}]'",
                ) from None
            # In a child of a process that used it, its threads are gone and every call would hang.
            library = _private_copy(str(original.__file__)) if _libraries else original
            _libraries[os.getpid()] = library
        return library


def _private_copy(path: str) -> ModuleType:
    """The compiled library loaded a second time, with a runtime of its own (about 10 ms, 15 MB)."""
    content = Path(path).read_bytes()
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("obstore", os.MFD_CLOEXEC)
        with open(fd, "wb") as file:  # noqa: PTH123 - it is no path
            file.write(content)
            file.flush()
            return _loaded(f"/proc/self/fd/{fd}")
    with tempfile.TemporaryDirectory(prefix="kitaru-nb-") as folder:
        copy = Path(folder) / Path(path).name
        copy.write_bytes(content)
        return _loaded(str(copy))


def _loaded(path: str) -> ModuleType:
    loader = importlib.machinery.ExtensionFileLoader("_obstore", path)
    spec = importlib.util.spec_from_file_location("_obstore", path, loader=loader)
    assert spec is not None
    before = {name for name in sys.modules if name.startswith("_obstore")}
    library = importlib.util.module_from_spec(spec)
    loader.exec_module(library)
    for name in {name for name in sys.modules if name.startswith("_obstore")} - before:
        del sys.modules[name]
    return library


def _after_fork() -> None:
    global _library_lock  # noqa: PLW0603 - another thread may have held it
    _library_lock = threading.Lock()
    _unused.append(dict(_memory))
    _memory.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
