"""A check of everything, while others go on: it tells of damage, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.engine.verify import verify
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from tests.unit.engine.kernel import Kernel

CELL = "from random import Random\nbig = Random({}).randbytes(300_000)"


def once(action: Callable[[], None], method: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
    """`method`, and at its first call `action` before it or after it."""
    left, lock = [action], Lock()

    def call(*args: Any, **kwargs: Any) -> Any:
        with lock:  # the others wait for it
            if before and left:
                left.pop()()
        result = method(*args, **kwargs)
        with lock:
            if left:
                left.pop()()
        return result

    return call


def test_what_is_saved_meanwhile_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.cell(CELL.format(1), step="1")

    def save() -> None:
        kernel.cell(CELL.format(2), step="2")

    with closing(open_engine(Settings(home=tmp_path / "home"), read_only=True)) as engine:
        listed = once(save, engine.journal.every_extent, before=False)
        monkeypatch.setattr(engine.journal, "every_extent", listed)

        found = verify(engine.journal, engine.store, rows=list)

    assert found.damage == []
    kernel.stop()


def test_what_is_removed_meanwhile_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.cell(CELL.format(1), step="1")
    kernel.stop()
    settings = Settings(home=tmp_path / "home")

    def remove() -> None:
        with closing(open_engine(settings)) as other:
            assert collect(other.journal, other.store, Policy(keep_days=0)).packs

    with closing(open_engine(settings, read_only=True)) as engine:
        monkeypatch.setattr(engine.store, "read", once(remove, engine.store.read, before=True))

        found = verify(engine.journal, engine.store, rows=list)

    assert found.damage == []


def test_an_extent_that_is_gone_is_damage(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.cell(CELL.format(1), step="1")
    kernel.stop()
    for pack in (tmp_path / "home").rglob("*.pack"):
        pack.unlink()

    with closing(open_engine(Settings(home=tmp_path / "home"), read_only=True)) as engine:
        found = verify(engine.journal, engine.store, rows=list)

    assert [
        sorted(name for step in damage.checkpoints for name in step.names) for damage in found.damage
    ] == [["big"]]
