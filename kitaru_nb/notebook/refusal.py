"""How a cell is refused before it runs, in IPython's terms."""

from __future__ import annotations

from IPython.core.error import InputRejected

from kitaru_nb.errors import KitaruError

__all__ = ["refused"]


def refused(error: KitaruError) -> InputRejected:
    """`error` as the one kind of exception that stops a cell before it runs, name and words kept."""
    kind = type(type(error).__name__, (InputRejected, type(error)), {"__module__": type(error).__module__})
    stopped = kind.__new__(kind, *error.args)
    stopped.args = error.args
    stopped.__dict__.update(error.__dict__)
    return stopped  # type: ignore[no-any-return] # IPython is untyped
