"""Kernels that are started ahead: while one notebook runs, the kernel for the next one gets ready.

A worker that runs many notebooks keeps one spare kernel. It has loaded what every headless run
loads and nothing of the user's. A notebook gets it only where it is what a kernel started that moment
would be: of the same kernel spec, with the same environment, in a folder that changes nothing about
how it started. Else it is ended and the notebook gets a cold one. A kernel serves one notebook.

Nothing is left behind: the spare one ends with `Warm.close`, and with the worker however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kitaru_nb.errors import KernelError, NotFoundError, UsageError
from kitaru_nb.stacks.kernels import HeadlessKernel, python_kernel

__all__ = ["Made", "Warm", "fits", "kernel_for", "made_here", "ready_next"]

_PREPARE = "__import__('kitaru_nb.stacks.kernel_side', fromlist=['x']).prepare({pid})"
_ENTER = "__import__('kitaru_nb.stacks.kernel_side', fromlist=['x']).enter({folder!r})"

_current: Warm | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What decides how a kernel starts.

    Attributes:
        spec: The kernel spec.
        environment: The environment variables.
        folder: The working folder.
        bound: Whether something that it has loaded at its start can depend on that folder.
    """

    spec: Mapping[str, Any]
    environment: Mapping[str, str]
    folder: str
    bound: bool


def made_here(name: str) -> Made:
    """What a kernel called `name` would be made from that was started now.

    Raises:
        NotFoundError: there is no such kernel.
        UsageError: it does not run Python.
    """
    environment = dict(os.environ)
    return Made(python_kernel(name).to_dict(), environment, os.getcwd(), _is_bound(environment))  # noqa: PTH109 - as text, links kept


def fits(spare: Made, wanted: Made) -> bool:
    """Whether a kernel that was made from `spare` can stand for one made from `wanted`."""
    same = (spare.spec, spare.environment) == (wanted.spec, wanted.environment)
    return same and (spare.folder == wanted.folder or not (spare.bound or wanted.bound))


class Warm:
    """Keeps one spare kernel for this process while the block runs.

    Use it in the main thread: on Linux a kernel ends with the thread that started it.

    Attributes:
        more: Whether another notebook is to be expected, so that a spare kernel is worth its start.
    """

    def __init__(self) -> None:
        self.more = True
        self._spare: tuple[HeadlessKernel, Made] | None = None

    def __enter__(self) -> Self:
        global _current  # noqa: PLW0603 - one process has one worker
        _current = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _current  # noqa: PLW0603 - as above
        _current = None
        self.close()

    def prepare(self, name: str) -> None:
        """Start the spare kernel, without waiting for it.

        One that cannot be started is no error here: the notebook that needs one says why.
        """
        if self._spare is not None or not self.more:
            return
        with suppress(KernelError, NotFoundError, UsageError):
            made = made_here(name)
            kernel = HeadlessKernel(name)
            if kernel.pid is None:  # it runs somewhere else, where folders may be others
                kernel.stop(patience=0)
                return
            kernel.tell(_PREPARE.format(pid=os.getpid()))
            self._spare = kernel, made

    def take(self, name: str) -> HeadlessKernel | None:
        """The spare kernel, if it can stand for one started now; the caller has to end it."""
        spare, self._spare = self._spare, None
        if spare is None:
            return None
        kernel, made = spare
        wanted = made_here(name)
        if not kernel.is_alive() or not fits(made, wanted):
            kernel.stop(patience=0)
            return None
        kernel.tell(_ENTER.format(folder=wanted.folder))
        return kernel

    def close(self) -> None:
        """End the spare kernel."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare[0].stop(patience=0)


def kernel_for(name: str) -> HeadlessKernel:
    """A kernel that nothing has run in, in this process's folder: the spare one if there is one that fits.

    Raises:
        KernelError: kind ``kernel-start``: the process could not be started.
    """
    spare = None if _current is None else _current.take(name)
    return spare or HeadlessKernel(name)


def ready_next(name: str) -> None:
    """Have a spare kernel ready for the notebook after this one, where this process runs many."""
    if _current is not None:
        _current.prepare(name)


def _is_bound(environment: Mapping[str, str]) -> bool:
    """Whether what Python or IPython load at their start can depend on the folder they start in."""
    entries = environment.get("PYTHONPATH", "").split(os.pathsep)
    if any(entry and not Path(entry).is_absolute() for entry in entries):
        return True
    profiles = Path(environment.get("IPYTHONDIR") or Path.home() / ".ipython")
    return any(file.suffix in (".py", ".ipy") for file in profiles.glob("profile_*/startup/*"))
