"""Stored values as plain files that other programs open without kitaru_nb.

The end of the file's name says the form. A file appears whole or not at all; one that is
there already is replaced, as by any program that is told where to write. A folder of zarr is
never replaced, since it could hold something else.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

from kitaru_nb.artifacts.marker import marker_details, marker_in
from kitaru_nb.engine.refs import Found
from kitaru_nb.errors import StoreError, UnstorableError, UsageError
from kitaru_nb.model.private import partial_of, sync_folder
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import load_stored
from kitaru_nb.stacks.plain_forms import FORMS, NotThisFormError, forms_of
from kitaru_nb.stacks.views import View, view_of

__all__ = ["write_plain"]

_ZARR = ".zarr"
_NO_NAMES = frozenset(("", ".", ".."))
_AS_IT_IS = frozenset(("", ".bin", ".dat", ".pickle"))


def write_plain(ref: str, path: Path, *, settings: Settings | None = None) -> tuple[Found, int]:
    """Write a stored value to `path` in the form that the end of its name says.

    ``.zarr`` copies chunk by chunk and needs no memory for the whole; all others load it.

    Args:
        ref: The value.
        path: Where to.
        settings: Of the place that it is read from; those that hold here without them.

    Returns:
        Where the value was found, and the bytes that were written.

    Raises:
        NotFoundError: no such value.
        UnstorableError: kind ``not-stored``: it, or a part of it, was never stored.
        UsageError: kinds ``not-this-form``, ``unknown-form``, ``missing-package``, ``out-exists``,
            ``out-is-folder``; the hint names what fits. Nothing was written.
        StoreError: kind ``out-not-written``: the disk refused. Nothing is left of it.
    """
    suffix = path.suffix.lower()
    if suffix == _ZARR:
        found, view = view_of(ref, settings=settings)
        if os.path.lexists(path):
            raise UsageError(f"`{path}` is there already", kind="out-exists", hint=_another(path))
        return found, _wholly(path, lambda partial: _write_zarr(partial, view, path, found))
    found, value = load_stored(ref, settings=settings)
    _refuse_unstored(value, found, ref)
    if path.is_dir():
        inside = path / f"{found.name or 'value'}{forms_of(value)[0]}"
        raise UsageError(f"`{path}` is a folder", kind="out-is-folder", hint=f"--out {inside}")
    write = _writer(value, suffix, path)
    return found, _wholly(path, lambda partial: _write_value(partial, value, write, path))


def _refuse_unstored(value: object, found: Found, ref: str) -> None:
    """Raise when a marker stands for the value, or for a part of it: a file would pass it on as the value.

    Raises:
        UnstorableError: kind ``not-stored``.
    """
    marker = marker_in(value)
    if marker is None:
        return
    title = f"`{found.name or ref}`" + (f" of checkpoint `{found.step}`" if found.step else "")
    name, kind, reason = marker_details(marker)
    again = f"%%checkpoint {quote(found.step)} --all --fresh" if found.step else "%%checkpoint --all --fresh"
    if found.recipe:
        message = f"{title}, a {kind}, is not stored: {reason}"
        hint = f"%resume in its notebook and save it there, or run its cell with {again}"
    else:
        part = (
            ""
            if marker is value
            else " cannot be written whole: " + (f"`{name}`" if "." in name else "a part of it")
        )
        what = title + part
        message = f"{what} was a {kind}, which could not be stored: {reason}" if kind else f"{what} {reason}"
        root = found.name or name.split(".")[0].split("[")[0]
        hint = (
            f"%resume --remake {root} in its notebook, or the cell that makes it, and save there what can be"
        )
    raise UnstorableError(message, kind="not-stored", hint=hint)


def _writer(value: object, suffix: str, path: Path) -> Callable[[Path, Any], None]:
    """What writes `value` in the form that `suffix` says."""
    if suffix in FORMS:
        return FORMS[suffix]
    if isinstance(value, str | bytes | bytearray):
        return _write_text
    if suffix in _AS_IT_IS:
        return FORMS[".npy" if ".npy" in forms_of(value) else ".pkl"]
    raise UsageError(
        f"`{path.name}` names no form that {_a(value)} can be written in",
        kind="unknown-form",
        hint=_fitting(value, path),
    )


def _a(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name == "ndarray" or name[:1] in "aeioAEIO" else f"a {name}"


def _write_value(partial: Path, value: object, write: Callable[[Path, Any], None], path: Path) -> None:
    try:
        write(partial, value)
    except NotThisFormError as error:
        message = f"{_a(value)} cannot be written as `{path.suffix}`: {error}"
        raise UsageError(message, kind="not-this-form", hint=_fitting(value, path)) from error
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        if not name:  # a library that has looked for it by itself says so in its own words
            message = f"`{path.suffix}` cannot be written here: {str(error).rstrip('.')}"
            raise UsageError(message, kind="missing-package", hint=_fitting(value, path)) from error
        message = f"writing `{path.suffix}` needs the package `{name}`"
        raise UsageError(message, kind="missing-package", hint=f"pip install {name}") from error


def _write_zarr(partial: Path, view: View, path: Path, found: Found) -> None:
    with warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always", UserWarning)
        try:
            tree = view.tree()
        except UsageError as error:
            value = view.load()
            _refuse_unstored(value, found, view.ref)
            raise UsageError(error.message, kind=error.kind, hint=_fitting(value, path)) from error
    if left_out:
        # A folder that lacks a column would look whole to whoever opens it.
        raise UsageError(str(left_out[0].message), kind="not-this-form", hint=_fitting(view.load(), path))
    partial.mkdir()
    for key in tree.keys(""):
        _refuse_path(key)
        target = partial / key
        target.parent.mkdir(parents=True, exist_ok=True)
        data = tree.read(key)
        assert data is not None
        target.write_bytes(data)


def _refuse_path(key: str) -> None:
    """Raise where a name in a record, which anybody may have written, would lead out of the folder.

    Raises:
        UsageError: kind ``not-this-form``.
    """
    if any(part in _NO_NAMES or "\0" in part or os.sep in part for part in key.split("/")):
        raise UsageError(
            f"a part of it is called `{key}`, which can be no file in a folder",
            kind="not-this-form",
            hint="--out FILE.pkl",
        )


def _write_text(partial: Path, value: str | bytes | bytearray) -> None:
    partial.write_bytes(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)


def _wholly(path: Path, write: Callable[[Path], None]) -> int:
    """Let `write` make a file or folder beside `path`, and put it there when it is whole; its bytes."""
    partial = partial_of(path)
    try:
        write(partial)
        size = _synced(partial)
        partial.replace(path)
        sync_folder(path.parent)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"`{path}` could not be written: {error.strerror or error}",
            kind="out-not-written",
            hint="--out /another/file",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
        shutil.rmtree(partial, ignore_errors=True)
    return size


def _synced(path: Path) -> int:
    """The bytes of a file or folder, once a power cut takes none: a chunk that is gone reads as zeros."""
    if path.is_dir():
        size = sum(_synced(inside) for inside in path.iterdir())
        sync_folder(path)
        return size
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _fitting(value: object, path: Path) -> str:
    """The first form that fits `value`, as an option to type, and the others."""
    first, *others = [form for form in forms_of(value) if form != path.suffix] or [".pkl"]
    also = f" (or {', '.join(others)})" if others else ""
    return f"--out {path.with_suffix(first)}{also}"


def _another(path: Path) -> str:
    return f"--out {path.with_name(path.stem + '-2' + path.suffix)}, or remove it first"
