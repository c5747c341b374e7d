"""Workers on a Dask cluster, or on one of this process's own: the launcher ``dask``.

A job is a task that starts our worker as a process beside the Dask worker (`dask_task`). The scheduler
keeps the task until it has run, whoever submitted it, and the events that it reports: they say that it
began, what it printed and how it ended. Both are gone when the scheduler is; the journal is not.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from typing import Any

import cloudpickle
from distributed import Event, Future, fire_and_forget

from kitaru_nb.errors import StackError, UsageError
from kitaru_nb.model.execution import Owner, current_owner, is_alive
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks import dask_task
from kitaru_nb.stacks.dask_calls import own_cluster, talk
from kitaru_nb.stacks.launcher import Capabilities, Handle, JobState, JobStatus, RunSpec, option

__all__ = ["DaskLauncher", "printed", "state_of"]

cloudpickle.register_pickle_by_value(dask_task)

_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://\S+:\d+")
_JOB = re.compile(r"kitaru-nb-[0-9a-z_]+-[0-9a-f]{8}")
_KNOWN = 100  # looks, 50 ms apart, until the scheduler has the task that it was sent
_OVER = (None, "memory", "erred", "released", "forgotten")
_NO_WORKERS = "no Dask worker has joined the scheduler: dask worker ADDRESS on a machine that is to run it"
_QUEUED = {"no-worker": "no worker of the cluster is there that has what it asks for"}


class DaskLauncher:
    """Starts processes beside Dask workers. See `launcher.Launcher`."""

    OPTIONS = ("scheduler", "workers", "resources", "python")

    def __init__(self, stack: Stack, _settings: Settings) -> None:
        self._stack = stack
        self._scheduler: str | None = option(stack, "scheduler", str)
        self._workers: int = option(stack, "workers", int, 0)
        self._resources: Mapping[str, Any] = option(stack, "resources", dict, {})
        self._python: str | None = option(stack, "python", str)
        self._check()
        own = self._scheduler is None
        # what a cluster of this process's own starts ends with it, so nothing can start it again
        self.capabilities = Capabilities(detached=not own, restarts=not own, same_files=own, queues=not own)

    def submit(self, spec: RunSpec) -> Handle:
        """Send the scheduler a task that no client has to wait for."""
        job = f"kitaru-nb-{spec.execution}-{secrets.token_hex(4)}"
        sent = False

        async def call(client: Any) -> None:
            nonlocal sent
            future = client.submit(
                dask_task.work,
                job,
                list(spec.words),
                dict(spec.env),
                self._python,
                spec.folder,
                key=job,
                pure=False,
                resources=dict(self._resources) or None,
            )
            fire_and_forget(future)
            sent = True
            for _ in range(_KNOWN):
                if await _status(client, job) or await client.scheduler.events(topic=job):
                    return
                await asyncio.sleep(0.05)

        try:
            if self._scheduler is None:
                talk(own_cluster(self._workers), call)
            else:
                talk(self._scheduler, call)
        except StackError:
            if not sent:
                raise
            # It may have been begun. `poll` tells whether it was.
        return _handle(job, self._scheduler)

    def poll(self, handle: Handle) -> JobState:
        """What the scheduler says of the task, and the task of its process."""
        job, scheduler, owner = _parsed(handle)
        if owner is not None and owner != current_owner():
            if is_alive(owner) is False:
                return JobState(JobStatus.LOST, reason="the process whose cluster it was on has ended")
            return JobState(JobStatus.RUNNING, reason=f"in process {owner.pid} on {owner.host}")
        return talk(self._cluster(scheduler), lambda client: _state(client, job))

    def cancel(self, handle: Handle) -> None:
        """Have the task end its process: SIGTERM, and SIGKILL where that did not do."""
        job, scheduler, owner = _parsed(handle)
        if owner is not None and owner != current_owner():
            if is_alive(owner) is False:
                return
            raise StackError(
                f"it is on the Dask cluster of process {owner.pid} on {owner.host}, which no other can reach",
                kind="stack-unreachable",
                hint=f"kill {owner.pid}",
            )

        async def call(client: Any) -> None:
            status, events = await _facts(client, job)
            if status in _OVER:
                return
            await Event(job, client=client).set()
            if state_of(status, events).status is JobStatus.QUEUED:
                # Taken out of the queue. One that is beginning just now finds the event.
                await client.cancel([Future(job, client)], force=True)

        talk(self._cluster(scheduler), call)

    def logs(self, handle: Handle, *, offset: int = 0) -> bytes:
        """What our workers have printed, all tries at the job in order; the scheduler keeps it."""
        job, scheduler, owner = _parsed(handle)
        if owner is not None and owner != current_owner():
            return b""
        _, events = talk(self._cluster(scheduler), lambda client: _facts(client, job))
        return printed(events, offset)

    def _cluster(self, scheduler: str | None) -> Any:
        return own_cluster(self._workers) if scheduler is None else scheduler

    def _check(self) -> None:
        where = f"launcher of stack `{self._stack.name}`"
        if self._scheduler is None and self._workers < 1:
            self._refuse(
                f"the {where} names no Dask cluster", 'scheduler = "tcp://HOST:8786", or workers = 2'
            )
        if self._scheduler is not None and self._workers:
            self._refuse(f"the {where} has both `scheduler` and `workers`", "leave one out")
        if self._scheduler is not None and not _ADDRESS.fullmatch(self._scheduler):
            self._refuse(
                f"`scheduler` of the {where} is `{self._scheduler}`, which is no address of a Dask scheduler",
                'scheduler = "tcp://HOST:8786"',
            )
        for name, amount in self._resources.items():
            if isinstance(amount, bool) or not isinstance(amount, int | float):
                self._refuse(
                    f"`resources.{name}` of the {where} is {amount!r}, which is no number", f"{name} = 1"
                )

    def _refuse(self, message: str, hint: str) -> None:
        raise UsageError(message, kind="bad-launcher-option", hint=f"{hint}; in {self._stack.source}")


def state_of(task: str | None, events: Sequence[Mapping[str, Any]], workers: int = 1) -> JobState:
    """Where a job stands.

    Args:
        task: The state of its task; None where the scheduler has none of that name.
        events: What the task has reported, in order; of several tries the last counts.
        workers: How many Dask workers there are.
    """
    last = next((each for each in reversed(events) if "begun" in each or "exit" in each), None)
    if task in _OVER:
        if last is not None and "exit" in last:
            return JobState(JobStatus.EXITED, code=int(last["exit"]))
        where = f" after it began on {last['begun']}" if last is not None else ""
        return JobState(JobStatus.LOST, reason=f"the Dask scheduler does not know it any more{where}")
    if last is None or task != "processing":
        why = "" if workers else _NO_WORKERS
        return JobState(JobStatus.QUEUED, reason=why or _QUEUED.get(str(task), ""))
    host = next(each["begun"] for each in reversed(events) if "begun" in each)
    return JobState(JobStatus.RUNNING, reason=f"on {host}")


def printed(events: Sequence[Mapping[str, Any]], offset: int = 0) -> bytes:
    """What was printed from byte `offset` on; where the scheduler has dropped some, from what it has on."""
    parts: list[tuple[int, bytes]] = []
    base = end = 0
    for event in events:
        if "begun" in event:
            base = end
        elif "said" in event:
            parts.append((base + event["at"], event["said"]))
            end = base + event["at"] + len(event["said"])
    return b"".join(part[max(0, offset - at) :] for at, part in parts)


async def _state(client: Any, job: str) -> JobState:
    status, events = await _facts(client, job)
    known = await client.scheduler.identity(n_workers=0)
    return state_of(status, events, int(known.get("n_workers", len(known["workers"]))))


async def _facts(client: Any, job: str) -> tuple[str | None, list[Mapping[str, Any]]]:
    status = await _status(client, job)
    return status, [told for _, told in await client.scheduler.events(topic=job)]


async def _status(client: Any, job: str) -> str | None:
    found: Mapping[str, str | None] = await client.scheduler.get_task_status(keys=[job])
    return found.get(job)


def _handle(job: str, scheduler: str | None) -> Handle:
    where = {"process": astuple(current_owner())} if scheduler is None else {"scheduler": scheduler}
    return Handle(json.dumps({"job": job, **where}))


def _parsed(handle: Handle) -> tuple[str, str | None, Owner | None]:
    """The name of the task, and the scheduler's address or the process whose cluster it is."""
    with suppress(ValueError, TypeError, KeyError):
        told = json.loads(handle)
        job, scheduler, process = told["job"], told.get("scheduler"), told.get("process")
        if _JOB.fullmatch(job) and (process is not None or _ADDRESS.fullmatch(scheduler)):
            return job, scheduler, None if process is None else Owner(*process)
    raise StackError(
        f"`{handle}` is no job of a Dask cluster",
        kind="bad-handle",
        hint="was the stack's launcher another one when it was submitted?",
    )
