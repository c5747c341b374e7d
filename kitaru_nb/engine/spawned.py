"""Worker processes that are started anew: they belong to whoever started them, or handed them a job.

A forked process has all that its parent knows. One that `multiprocessing`, its fork server or loky
spawns knows nothing. So the object of such a process takes along whose worker it is, and so does
each job that is handed to a pool of them, which may be there since another cell or attempt. Only
these read it: a process that is started in any other way belongs to nobody.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kitaru_nb.engine.context import belong, job_of, scope_in_use
from kitaru_nb.llm.patches import Patches

if TYPE_CHECKING:
    from kitaru_nb.engine.scope import Scope
    from kitaru_nb.llm.meter import Meter

__all__ = ["Belonging", "Job", "follow"]

_WITH_PROCESS = "_kitaru_nb"
_given = False
_metered = False


class Belonging:
    """Whose worker a process is, as that process is told.

    Args:
        token: What the run of the scope is known by.
        told: What there is to know of it, see `engine.joining`. Nothing is loaded for it before
            code in the worker asks.
    """

    def __init__(self, token: str, told: bytes) -> None:
        self._token = token
        self._told = told

    def __reduce__(self) -> Any:
        return Belonging, (self._token, self._told)

    def scope(self) -> Scope:
        """The scope, in this process.

        Raises:
            ConflictError: the process that the attempt belongs to has ended.
        """
        from kitaru_nb.engine import joining  # noqa: PLC0415 - the engine loads with it

        return joining.join(self._token, self._told)


class Job:
    """What a pool is handed to do, together with who handed it.

    Args:
        belonging: Whose job it is; None where that is nobody's.
        job: What is called.
    """

    def __init__(self, belonging: Belonging | None, job: Callable[..., Any]) -> None:
        self._belonging = belonging
        self._job = job

    def __reduce__(self) -> Any:
        return Job, (self._belonging, self._job)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do it."""
        if self._belonging is None:
            with job_of(lambda: None):
                return self._job(*args, **kwargs)
        _meter()
        with job_of(self._belonging.scope):
            return self._job(*args, **kwargs)


class _Along:
    """Goes with the object of a process; where that is pickled for it, so is whose worker it will be."""

    def __reduce__(self) -> Any:
        return _begin, (_belonging(),)


def _begin(belonging: Belonging | None) -> _Along:
    """This process has just been started as a worker."""
    if belonging is not None:
        belong(belonging.scope)
        _meter()
    return _Along()


def _belonging() -> Belonging | None:
    """What a worker is told that is started, or handed a job, here and now."""
    global _given  # noqa: PLW0603 - once a process
    scope = scope_in_use()
    if scope is None:
        return None
    from kitaru_nb.engine import joining  # noqa: PLC0415 - where there is a scope the engine is loaded

    found = joining.belonging_of(scope)
    _given = _given or found is not None
    return found


def _meter() -> None:
    """Meter the model calls of this worker; the engine is loaded with the first of them."""
    global _metered  # noqa: PLW0603 - once a process
    if not _metered:
        _metered = True
        from kitaru_nb.llm import tap  # noqa: PLC0415 - only workers come here

        tap.install(_current_meter)


def _current_meter() -> Meter | None:
    from kitaru_nb.engine.meter import current_meter  # noqa: PLC0415 - see `_meter`

    return current_meter()


def follow() -> None:
    """Let processes and jobs of their pools belong to whoever starts them, or hands them over, from now on.

    As tracers do, since none of them offers a hook.
    """
    jobs = {f"{package}loky.process_executor" for package in ("", "joblib.externals.")}
    jobs.add("concurrent.futures.process")
    Patches(
        dict.fromkeys(jobs, ("ProcessPoolExecutor", _follow_executors))
        | {"multiprocessing.process": ("BaseProcess", _follow_processes)}
        | {"multiprocessing.pool": ("ThreadPool", _follow_pools)}
    ).put_on()


def _follow_processes(module: ModuleType) -> Callable[[], None]:
    start = module.BaseProcess.start

    @functools.wraps(start)
    def started(process: Any) -> Any:
        if _serves_anybody(process):
            return start(process)
        _know()
        vars(process)[_WITH_PROCESS] = _Along()
        try:
            return start(process)
        finally:
            vars(process).pop(_WITH_PROCESS, None)

    return _put(module.BaseProcess, "start", started)


def _serves_anybody(process: Any) -> bool:
    """Whether a process does what any cell or attempt may ask of it later: it is nobody's worker."""
    target = getattr(process, "_target", None) or type(process)
    module = str(getattr(target, "__module__", ""))
    return module == "multiprocessing.managers" or module.partition(".")[0] == "distributed"


def _know() -> None:
    """A process that is forked now has the scope in its memory: its jobs find it there."""
    scope = scope_in_use()
    if scope is not None:
        from kitaru_nb.engine import joining  # noqa: PLC0415 - where there is a scope the engine is loaded

        joining.know(scope)


def _follow_executors(module: ModuleType) -> Callable[[], None]:
    submit = module.ProcessPoolExecutor.submit

    @functools.wraps(submit)
    def submitted(pool: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return submit(pool, _job(fn), *args, **kwargs)

    return _put(module.ProcessPoolExecutor, "submit", submitted)


def _follow_pools(module: ModuleType) -> Callable[[], None]:
    names = ("apply_async", "_map_async", "imap", "imap_unordered")
    undo = [
        _put(module.Pool, name, _handing(getattr(module.Pool, name), module.ThreadPool)) for name in names
    ]

    def back() -> None:
        for each in undo:
            each()

    return back


def _handing(hand: Callable[..., Any], threads: type) -> Callable[..., Any]:
    @functools.wraps(hand)
    def handed(pool: Any, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return hand(pool, func if isinstance(pool, threads) else _job(func), *args, **kwargs)

    return handed


def _job(job: Callable[..., Any]) -> Callable[..., Any]:
    belonging = _belonging()
    # Once a worker has belonged to somebody, a job that is nobody's has to say so.
    return job if belonging is None and not _given else Job(belonging, job)


def _put(owner: Any, name: str, value: Any) -> Callable[[], None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    return lambda: setattr(owner, name, before)
