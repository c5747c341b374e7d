"""Stored functions and objects in a process that has no notebook."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

import kitaru_nb
from kitaru_nb.engine.refs import find_artifact
from kitaru_nb.engine.stored import names_at, stored_names
from kitaru_nb.errors import CorruptError
from kitaru_nb.journal.integrity import checksum
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.testing import a_draft


class Kept:
    """Cells run in a namespace, each committed with the names it is said to have set."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home)
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        with closing(open_engine(self.settings)) as engine:
            self.attempt, _ = engine.journal.start(Identity(notebook="/a.ipynb"), owner=current_owner())
        self.seq: int | None = None

    def cell(self, source: str, *names: str, deleted: Sequence[str] = ()) -> int:
        exec(source, self.namespace)
        with closing(open_engine(self.settings)) as engine:
            stored = [engine.put({name: self.namespace[name]}, namespace=self.namespace) for name in names]
            engine.store.flush()
            groups = [
                Group((n,), s.artifact.digest, s.artifact.digest) for n, s in zip(names, stored, strict=True)
            ]
            draft = a_draft(
                names[0] if names else "del", groups=tuple(groups), parent=self.seq, deleted=tuple(deleted)
            )
            step = engine.journal.commit(
                self.attempt,
                engine.trust.signed(draft, self.attempt.execution),
                artifacts=[s.artifact for s in stored],
                locations=[place for s in stored for place in s.locations],
            )
        self.seq = step.seq
        return step.seq

    def load(self, name: str, seq: int) -> Any:
        with closing(open_engine(self.settings, read_only=True)) as engine:
            digests = names_at(engine.journal, seq)
        names = stored_names(lambda: open_engine(self.settings, read_only=True), seq)
        return names.artifact(digests[name])[name]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "home")


def test_a_function_finds_what_it_reads(kept: Kept) -> None:
    kept.cell("factor = 3", "factor")
    kept.cell("def times(x):\n    return factor * abs(x)", "times")
    seq = kept.cell("def twice(x):\n    return 2 * times(x)", "twice")

    assert kept.load("twice", seq)(-5) == 30


def test_a_function_sees_the_names_of_its_own_checkpoint(kept: Kept) -> None:
    kept.cell("factor = 3", "factor")
    before = kept.cell("def times(x):\n    return factor * x", "times")
    after = kept.cell("factor = 100", "factor")

    assert kept.load("times", before)(1) == 3
    assert kept.load("times", after)(1) == 100


def test_a_name_that_was_deleted_is_not_there(kept: Kept) -> None:
    kept.cell("factor = 3", "factor")
    kept.cell("def times(x):\n    return factor * x", "times")
    seq = kept.cell("del factor", deleted=["factor"])

    with pytest.raises(NameError, match="factor"):
        kept.load("times", seq)(1)


def test_a_loaded_value_is_the_same_object_for_everyone(kept: Kept) -> None:
    kept.cell("rows = [1]", "rows")
    seq = kept.cell("def get():\n    return rows\ndef add():\n    rows.append(2)", "get", "add")
    with closing(open_engine(kept.settings, read_only=True)) as engine:
        found = find_artifact(engine.journal, "get")
    names = stored_names(lambda: open_engine(kept.settings, read_only=True), seq)

    get = found.pick(names.artifact(found.artifact.digest))
    names["add"]()

    assert get() == [1, 2]
    assert get() is names["rows"]


def test_a_function_may_call_c_code_that_imports_something(kept: Kept) -> None:
    source = """
import ctypes
def f():
    call = ctypes.pythonapi.PyImport_Import  # as numpy does in the midst of things
    call.restype = ctypes.py_object
    return call(ctypes.py_object('calendar'))
"""
    seq = kept.cell(source, "ctypes", "f")

    assert kept.load("f", seq)().__name__ == "calendar"


@pytest.mark.parametrize("name", ["told", "story"])
def test_a_changed_byte_in_what_was_compressed_is_an_error_that_names_the_step(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kept.cell("story = 'once upon a time ' * 300\ntold = [story, 'x' * 2000]", "told", "story")
    digest = blake3(kept.namespace["story"].encode()).digest()
    with closing(sqlite3.connect(kept.settings.home / "journal.db")) as db, db:
        length, data = db.execute("SELECT length, data FROM extents WHERE digest = ?", (digest,)).fetchone()
        changed = bytes([*data[:20], data[20] ^ 1, *data[21:]])
        row = (digest, length, None, 0, changed)
        # with a right checksum, as somebody makes it who has write access
        db.execute("UPDATE extents SET data = ?, checksum = ?", (changed, checksum("extents", row)))

    monkeypatch.setenv("KITARU_NB_HOME", str(kept.settings.home))
    with pytest.raises(CorruptError) as refused:
        kitaru_nb.load(f"latest/told/{name}")

    assert len(data) < length / 4
    assert "is damaged" in refused.value.message
