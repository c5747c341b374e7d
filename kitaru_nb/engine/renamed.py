"""A notebook that was renamed or moved goes on with what is on record of it; a copy begins its own.

A file is known by what renaming it leaves as it is, see `model.file_mark`. Where a volume does not tell
that, and where a file was copied to its new place, a notebook is known by its path alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.execution import Identity, default_output
from kitaru_nb.model.file_mark import FileMark, mark_of

__all__ = ["as_recorded", "file_of", "follow", "recorded_name"]

_SUFFIX = ".ipynb"  # what an editor calls `NAME.ipynb~` or `NAME.ipynb.bak` is not the notebook


def file_of(identity: Identity) -> FileMark | None:
    """The mark of an identity's notebook; None where it is no file of this machine."""
    return None if identity.notebook is None else mark_of(identity.notebook)


def as_recorded(journal: Journal, identity: Identity) -> Identity:
    """What is about to be run, as the record calls it so far: for whoever only reads. See `follow`."""
    name = identity.notebook
    known = name if name is None else recorded_name(journal, name)
    if name is None or known is None or known == name:
        return identity
    return _renaming(name, known)(identity)


def follow(journal: Journal, identity: Identity) -> Identity:
    """Have the record call a notebook what it is called now, before it is run.

    Args:
        journal: Where it is on record.
        identity: What is about to be run.

    Returns:
        What is to be run: with its name of today where the identity has one of before.
    """
    name = identity.notebook
    if name is None or not Path(name).is_absolute():
        return identity
    mark = mark_of(name)
    if mark is not None:
        _leave(journal, name, mark)
    known = recorded_name(journal, name)
    if known == name:
        return identity
    if mark is None:
        return replace(identity, notebook=known)
    journal.rename(known, name, _renaming(known, name))
    return identity


def recorded_name(journal: Journal, notebook: str) -> str:
    """What a notebook is called on record: as it is called now, or as it was before it was renamed.

    The record learns of a new name when the notebook is next run; whoever reads it before asks here.
    """
    if journal.executions(notebook=notebook, limit=1):
        return notebook
    mark = mark_of(notebook)
    if mark is None:
        return journal.name_now(notebook)
    known = journal.name_of_file(mark)
    if known is None or mark_of(known) == mark:
        return notebook
    # where another file has been run under that name since, what is on record is that one's
    return known if journal.number_of_file(known) == mark.number else notebook


def _leave(journal: Journal, name: str, mark: FileMark) -> None:
    """What has run under this name is another file's, which is called something else in the same folder."""
    number = journal.number_of_file(name)
    if number is None or number == mark.number:
        return
    try:
        with os.scandir(Path(name).parent) as listed:
            beside = [
                entry.path for entry in listed if entry.inode() == number and entry.name.endswith(_SUFFIX)
            ]
    except OSError:
        return
    for path in beside:
        other = mark_of(path)
        if other is None or journal.name_of_file(other) != name:
            continue
        if journal.number_of_file(path) == mark.number:  # the two have swapped names
            aside = f"{path}.{mark.number}"  # found there by the file, see `recorded_name`
            journal.rename(path, aside, _renaming(path, aside))
        journal.rename(name, path, _renaming(name, path))


def _renaming(old: str, new: str) -> Callable[[Identity], Identity]:
    """What an identity that names a notebook is once that is called `new`, and its default output like it."""

    def renamed(before: Identity) -> Identity:
        if before.notebook == old:
            output = default_output(new) if before.output == default_output(old) else before.output
            return replace(before, notebook=new, output=output)
        if before.file == old:  # a flow that is defined in it, and called like it
            _, colon, qualname = (before.flow or "").partition(":")
            return replace(before, file=new, flow=Path(new).stem + colon + qualname)
        return before

    return renamed
