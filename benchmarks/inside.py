"""What runs inside the kernels of `values`: a value is held out of every namespace until it is kept.

Kishu's Python knows nothing of kitaru_nb, so it is imported where it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.kinds import KINDS
from benchmarks.ways import COMMON, Way, synced

__all__ = ["forget_peak", "get", "hold", "load", "open_store", "put", "save", "take", "use"]

_KEPT = Path("kept")
_held: list[Any] = []
_engine: list[Any] = []


def hold(kind: str, size: int) -> float:
    """Make a value and keep it where no notebook looks; gives what `use` says of it."""
    _held[:] = [KINDS[kind].make(size)]
    return KINDS[kind].use(_held[0])


def take() -> Any:
    """The value, which is then held no more."""
    return _held.pop()


def save(kind: str, way: str) -> None:
    """Make the value durable."""
    _way(kind, way).save(_held[0], _KEPT)
    synced(_KEPT)


def load(kind: str, way: str) -> Any:
    """The value again, in another process."""
    return _way(kind, way).load(_KEPT)


def _way(kind: str, way: str) -> Way:
    return {**COMMON, **KINDS[kind].ways}[way]


def use(kind: str, value: Any, expected: float) -> None:
    """Look at all of a value.

    Raises:
        ValueError: it is another one.
    """
    found = KINDS[kind].use(value)
    if found != expected:
        raise ValueError(f"it was {expected!r} and is {found!r}")


def forget_peak() -> None:
    """From now on the most memory that this process has had is what it has now, where Linux allows that."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def open_store() -> None:
    """Make ready to keep values with kitaru_nb's engine, without a notebook."""
    from kitaru_nb.model.execution import Identity, current_owner
    from kitaru_nb.stacks.open import open_engine
    from kitaru_nb.stacks.settings import resolve

    engine = open_engine(resolve())
    attempt, _ = engine.journal.start(Identity(notebook="/bench", output="/bench"), owner=current_owner())
    _engine[:] = [engine, attempt]


def put() -> None:
    """Make the value durable and put it on record, as a checkpoint does."""
    from kitaru_nb.model.checkpoint import Group
    from kitaru_nb.testing import a_draft

    engine, attempt = _engine
    stored = engine.put({"x": _held[0]}, namespace={})
    engine.store.flush()
    digest = stored.artifact.digest
    draft = a_draft(f"put-{digest[:8]}", groups=(Group(("x",), digest, digest),))
    engine.journal.commit(attempt, draft, artifacts=[stored.artifact], locations=stored.locations)
    _KEPT.write_text(digest, encoding="ascii")


def get() -> Any:
    """The value again, checked, in another process."""
    from kitaru_nb.artifacts.values import load_values

    engine, _ = _engine
    checks: list[Any] = []
    artifact = engine.artifact(_KEPT.read_text(encoding="ascii"))  # which nobody has signed
    value = load_values(artifact, store=engine.store, index=engine.journal, namespace={}, later=checks)["x"]
    for check in checks:
        check.wait()
    return value
