"""Stored values as files for fsspec: what ``kitaru-nb://`` is, for zarr, xarray, dask and pandas.

``kitaru-nb://EXECUTION/CHECKPOINT/NAME`` is a folder that holds the value the way zarr keeps
it. A value that was opened stays the one it was, however the run goes on; other values can
be opened meanwhile, and in other processes the same one is opened again.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from fsspec.asyn import AsyncFileSystem

from kitaru_nb.artifacts.loops import settle_at_exit
from kitaru_nb.artifacts.zarr_tree import Tree
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import NotFoundError, StoreError, UsageError
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.places import Listed, Place, find_place
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.views import View

__all__ = ["KitaruFileSystem"]

_SCHEME = "kitaru-nb"


class NoSuchPathError(NotFoundError, FileNotFoundError):
    """Nothing is stored under a path; what fsspec expects to be told when it looks."""


class KitaruFileSystem(AsyncFileSystem):  # type: ignore[misc] # fsspec is untyped
    """A read-only file system over what is stored on a stack.

    Executions hold checkpoints, checkpoints hold names, and a name holds the documents and
    chunks of zarr. Needs no kernel. Can be pickled; each worker opens the stack for itself.

    Args:
        home: Folder of the store, when it is not the one that the settings name.
        stack: Stack to read from, likewise.
        **options: fsspec's own.
    """

    protocol = _SCHEME
    root_marker = ""
    # Each opening looks anew at what is stored now; with fsspec's cache "latest" would stay what it was.
    cachable = False

    def __init__(self, home: str | None = None, stack: str | None = None, **options: Any) -> None:
        super().__init__(home=home, stack=stack, **options)
        self._settings: Settings = resolve(home=home, stack=stack)
        self._views: dict[str, View] = {}
        self._trees: dict[str, Tree] = {}
        self._opening = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        """The values that were opened go along: elsewhere, too, a path means what it means here."""
        return _again, (
            type(self),
            self.storage_args,
            self.storage_options,
            self._settings,
            dict(self._views),
        )

    def __eq__(self, other: object) -> bool:
        """Whether `other` reads the same values of the same stack."""
        if not isinstance(other, KitaruFileSystem):
            return NotImplemented
        mine, theirs = self._settings, other._settings
        return (mine.home, mine.stack, self._views) == (theirs.home, theirs.stack, other._views)

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash((self._settings.home, self._settings.stack))

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Names the content, so that what was computed from it is not taken for what came later."""
        views = tuple(sorted((path, view.digest, view.name) for path, view in self._views.items()))
        return _SCHEME, str(self._settings.home), self._settings.stack, views

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        # `#n` of a checkpoint may be written as URLs want it
        return str(super()._strip_protocol(path)).strip("/").replace("%23", "#")

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what was opened, so that ``latest`` is looked up anew.

        Args:
            path: The value to forget; all of them if it is not given.
        """
        with self._opening:
            for held in (self._views, self._trees):
                if path is None:
                    held.clear()
                else:
                    held.pop(self._strip_protocol(path), None)

    # --- reading --------------------------------------------------------------------------

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        settle_at_exit()
        return await asyncio.to_thread(self._read, self._strip_protocol(path), start, end)

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        return await asyncio.to_thread(self._look, self._strip_protocol(path))

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's
        found = await asyncio.to_thread(self._listed, self._strip_protocol(path))
        return found if detail else [entry["name"] for entry in found]

    async def _get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        data = None if await self._isdir(rpath) else await self._cat_file(rpath)
        await asyncio.to_thread(_keep, Path(lpath), data)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode != "rb":
            _refuse(path)
        data: bytes = self.cat_file(path)
        return io.BytesIO(data)

    def _read(self, path: str, start: int | None, end: int | None) -> bytes:
        place = self._place(path)
        if place.view is None:
            raise NotFoundError(
                f"`{path}` is no file",
                kind="not-a-value",
                hint=place.hint or "EXECUTION/CHECKPOINT/NAME/zarr.json",
            )
        tree = self._tree(path, place)
        data = tree.read(place.inner)
        if data is None:
            raise FileNotFoundError(f"`{path}` is not stored")
        return data[start:end]

    def _look(self, path: str) -> dict[str, Any]:
        place = self._looked_up(path)
        if place.view is None or not place.inner:
            return _folder(path, **place.facts)
        tree = self._tree(path, place)
        size = tree.size(place.inner)
        if size is not None:
            return {"name": path, "size": size, "type": "file"}
        if tree.names(place.inner):
            return _folder(path)
        raise NoSuchPathError(f"`{path}` is not stored", kind="unknown-path")

    def _listed(self, path: str) -> list[dict[str, Any]]:
        place = self._looked_up(path)
        if place.view is None:
            return [_folder(_join(path, one.name), **one.facts) for one in self._inside(place)]
        try:
            tree = self._tree(path, place)
        except UsageError:
            return []  # it has no zarr form, so there is nothing in it
        if place.inner in tree:
            return [self._look(path)]
        names = tree.names(place.inner)
        if not names:
            raise NoSuchPathError(f"`{path}` is not stored", kind="unknown-path")
        return [
            _folder(_join(path, name)) if folder else self._look(_join(path, name))
            for name, folder in names.items()
        ]

    # --- finding --------------------------------------------------------------------------

    def _engine(self) -> Engine:
        return open_engine(self._settings, read_only=True)

    def _inside(self, place: Place) -> list[Listed]:
        with closing(self._engine()) as engine:
            return place.inside(engine)

    def _looked_up(self, path: str) -> Place:
        try:
            return self._place(path)
        except (NotFoundError, UsageError) as error:
            raise NoSuchPathError(error.message, kind=error.kind, hint=error.hint) from error

    def _place(self, path: str) -> Place:
        """What `path` names: a value that is open already, or what is on record now."""
        with self._opening:
            for opened, view in self._views.items():
                if path == opened or path.startswith(opened + "/"):
                    return Place(path, view=view, depth=opened.count("/") + 1)
        with closing(self._engine()) as engine:
            return find_place(engine, path)

    def _tree(self, path: str, place: Place) -> Tree:
        opened = "/".join(path.split("/")[: place.depth])
        assert place.view is not None
        with self._opening:
            view = self._views.setdefault(opened, place.view)
            if opened not in self._trees:
                self._trees[opened] = view.tree()
            return self._trees[opened]

    # --- refusing -------------------------------------------------------------------------

    async def _pipe_file(self, path: str, *_: Any, **__: Any) -> NoReturn:
        _refuse(path)

    async def _put_file(self, lpath: str, rpath: str, *_: Any, **__: Any) -> NoReturn:  # noqa: ARG002 - fsspec's
        _refuse(rpath)

    async def _rm_file(self, path: str, **_: Any) -> NoReturn:
        _refuse(path)

    async def _rm(self, path: Any, *_: Any, **__: Any) -> NoReturn:
        _refuse(path)

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> NoReturn:  # noqa: ARG002 - fsspec's
        _refuse(path2)

    async def _mkdir(self, path: str, *_: Any, **__: Any) -> NoReturn:
        _refuse(path)

    async def _makedirs(self, path: str, *_: Any, **__: Any) -> NoReturn:
        _refuse(path)


def _again(
    cls: type[KitaruFileSystem],
    args: tuple[Any, ...],
    options: Mapping[str, Any],
    settings: Settings,
    views: Mapping[str, View],
) -> KitaruFileSystem:
    made = cls(*args, **options)
    made._settings = settings
    made._views.update(views)
    return made


def _keep(target: Path, data: bytes | None) -> None:
    """Write a downloaded file, or make a folder."""
    (target if data is None else target.parent).mkdir(parents=True, exist_ok=True)
    if data is not None:
        target.write_bytes(data)


def _folder(path: str, **facts: Any) -> dict[str, Any]:
    return {"name": path, "size": 0, "type": "directory", **facts}


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _refuse(path: Any) -> NoReturn:
    raise StoreError(
        f"`{_SCHEME}://{path}` cannot be written: what is stored never changes",
        kind="store-read-only",
        hint="open it with mode='r', and write the result elsewhere",
    )
