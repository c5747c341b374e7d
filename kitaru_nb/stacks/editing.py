"""Changing a file of stacks: what a person wrote in it, comments and all, stays as it is."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from kitaru_nb.errors import StoreError, UsageError
from kitaru_nb.model.private import changing, write_private

__all__ = ["add_stack", "remove_stack", "set_use"]

_USE = re.compile(r"^use\s*=.*\n?", re.MULTILINE)
_TABLE = re.compile(r"^\s*\[", re.MULTILINE)


def add_stack(path: Path, name: str, table: Mapping[str, Any]) -> None:
    """Put a stack at the end of the file, which is made when it is missing."""
    key = name if re.fullmatch(r"[\w-]+", name) else json.dumps(name)
    lines = [f"[stacks.{key}]", *_lines(table)]
    for inner in ("options", "settings"):
        if table.get(inner):
            lines += [f"\n[stacks.{key}.{inner}]", *_lines(table[inner])]
    with _changed(path) as edit:
        text = edit.text.rstrip()
        edit.text = (text + "\n\n" if text else "") + "\n".join(lines) + "\n"


def remove_stack(path: Path, name: str) -> None:
    """Take a stack out of the file."""
    key = f"(?:{re.escape(name)}|{re.escape(json.dumps(name))})"
    header = re.compile(rf"^\s*\[\s*stacks\s*\.\s*{key}\s*[.\]]")
    with _changed(path) as edit:
        kept, inside = [], False
        for line in edit.text.splitlines(keepends=True):
            if _TABLE.match(line):
                inside = header.match(line) is not None
            if not inside:
                kept.append(line)
        edit.text = "".join(kept)


def set_use(path: Path, name: str) -> None:
    """Say in the file which stack is used."""
    with _changed(path) as edit:
        text = edit.text
        first = _TABLE.search(text)
        top, rest = (text, "") if first is None else (text[: first.start()], text[first.start() :])
        edit.text = f"use = {json.dumps(name)}\n" + _USE.sub("", top) + rest


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else json.dumps(key)


def _value(value: object) -> str:
    return json.dumps(value)  # a JSON string, number or boolean is one of TOML too


@dataclass(slots=True)
class _Edit:
    """The content of a file, and what it is to become."""

    text: str


@contextlib.contextmanager
def _changed(path: Path) -> Iterator[_Edit]:
    """The file, alone; written at the end all or nothing, also in a power cut.

    Raises:
        UsageError: kind ``duplicate-stack``: what it was to become cannot be read again, since another
            process has added the same meanwhile.
        StoreError: kind ``stack-file-not-written``.
    """
    try:
        with changing(path):
            edit = _Edit(_read(path))
            yield edit
            _refuse_unreadable(path, edit.text)
            write_private(path, edit.text.encode(), replace=True)
    except OSError as error:
        raise StoreError(
            f"the file of stacks {path} could not be written: {error.strerror or error}",
            kind="stack-file-not-written",
            hint=f"ls -ld {quote(str(path.parent))}",
        ) from error


def _refuse_unreadable(path: Path, text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{path} was changed by another process meanwhile: {error}; nothing was written",
            kind="duplicate-stack",
            hint="kitaru-nb stack list",
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
