"""How a cell is refused before it runs, in IPython's terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from IPython.core.error import InputRejected

from kitaru_nb.errors import KitaruError, Suspended

__all__ = ["refused", "refusing"]


@contextmanager
def refusing() -> Iterator[None]:
    """Whatever is raised inside the block stops the cell before it runs.

    For transformers of its tree: IPython answers any other error of one by running the cell as if
    nothing had been said.
    """
    try:
        yield
    except KitaruError as error:
        raise refused(error) from error
    except KeyboardInterrupt as error:
        stopped = KitaruError("the cell was stopped before it ran", kind="interrupted")
        raise refused(stopped) from error
    except Exception as error:
        message = f"the cell was not run: {type(error).__name__}: {error}"
        raise refused(KitaruError(message, kind="internal", hint="%tb shows where")) from error


def refused(error: KitaruError | Suspended) -> InputRejected:
    """`error` as the one kind of exception that stops a cell before it runs, name and words kept."""
    kind = type(type(error).__name__, (InputRejected, type(error)), {"__module__": type(error).__module__})
    stopped = kind.__new__(kind, *error.args)
    stopped.args = error.args
    stopped.__dict__.update(error.__dict__)
    return stopped  # type: ignore[no-any-return] # IPython is untyped
