"""A pool of worker processes on this machine, each doing one task at a time.

Processes, not threads: papermill changes the folder and the I/O handlers of its whole process. A
task that fails, and a worker that dies, ends nothing but itself. A worker whose batch dies, by
whatever signal, ends what it runs as interrupted.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kitaru_nb.errors import KernelError, KitaruError
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.batch_protocol import Work, answer_heard, task_told
from kitaru_nb.stacks.kernels import describe_exit
from kitaru_nb.stacks.outcome import Outcome
from kitaru_nb.stacks.watch import Signals

__all__ = ["Began", "Ended", "Lost", "Pool", "Said"]

_LOOK = 0.2  # seconds between looks at the signals
_PATIENCE = 20.0  # seconds workers get to close what they run; each closes within 5 but for a slow disk


@dataclass(frozen=True, slots=True)
class Began:
    """A worker has taken a task."""

    key: int


@dataclass(frozen=True, slots=True)
class Said:
    """A line that a task wrote to standard error."""

    key: int
    line: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A task has ended, or could not begin."""

    key: int
    answer: Outcome | KitaruError


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker died; what it ran is on record as far as it came."""

    key: int
    reason: str


Event = Began | Said | Ended | Lost


class Pool:
    """The processes, and the tasks that wait for one. Enter it in the main thread.

    The first SIGINT or SIGTERM is passed on to the workers, and no task begins any more. Leaving the
    block early does the same.

    Args:
        settings: Where the workers record.
        size: How many of them there are at most.
        html: Make a page of each output, too.

    Attributes:
        stopped: The signal that ended it, or None.
    """

    def __init__(self, settings: Settings, *, size: int, html: bool = False) -> None:
        self.stopped: int | None = None
        self._settings = settings
        self._size = size
        self._html = html
        self._waiting: deque[tuple[int, Work]] = deque()
        self._workers: list[_Worker] = []
        self._signals = Signals()
        self._heard: queue.SimpleQueue[tuple[_Worker, Mapping[str, Any] | None]] = queue.SimpleQueue()
        self._events: deque[Event] = deque()
        self._until = float("inf")

    def __enter__(self) -> Self:
        self._signals.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop(signal.SIGINT if kind is KeyboardInterrupt else signal.SIGTERM)
        for worker in self._workers:
            worker.end(max(0.0, min(self._until - time.monotonic(), _PATIENCE)))
        self._signals.__exit__(kind, error, trace)

    def add(self, key: int, work: Work) -> None:
        """Let a worker do `work`, when it is its turn; events about it have this `key`."""
        self._waiting.append((key, work))

    def next(self) -> Event | None:
        """Wait for the next thing to happen; None when nothing is running and nothing can begin.

        Raises:
            KernelError: kind ``no-process``: no worker could be started.
        """
        while not self._events:
            if self._signals.noted is not None and self.stopped is None:
                self._stop(self._signals.noted)
            self._hand_out()
            if self._events:
                break
            if not any(worker.key is not None for worker in self._workers):
                return None
            with suppress(queue.Empty):
                self._take(*self._heard.get(timeout=_LOOK))
            if time.monotonic() > self._until:
                for worker in self._workers:
                    worker.process.kill()
        return self._events.popleft()

    def _hand_out(self) -> None:
        while self._waiting and self.stopped is None:
            worker = next((each for each in self._workers if each.key is None), None)
            if worker is None:
                if len(self._workers) >= self._size:
                    return
                worker = _Worker(self._heard)
                self._workers.append(worker)
            key, work = self._waiting.popleft()
            worker.give(key, task_told(work, self._settings, html=self._html, more=bool(self._waiting)))
            self._events.append(Began(key))

    def _take(self, worker: _Worker, told: Mapping[str, Any] | None) -> None:
        key = worker.key
        if told is None:  # its output has ended, so it has, too
            self._workers.remove(worker)
            worker.end(_PATIENCE)
            if key is not None:
                self._events.append(Lost(key, describe_exit(worker.process.returncode)))
        elif key is None:
            return
        elif "said" in told:
            self._events.append(Said(key, str(told["said"])))
        else:
            worker.key = None
            self._events.append(Ended(key, answer_heard(told)))

    def _stop(self, signum: int) -> None:
        self.stopped = signum
        self._until = time.monotonic() + _PATIENCE
        self._waiting.clear()
        for worker in self._workers:
            with suppress(OSError):
                worker.process.send_signal(signum)


class _Worker:
    """One process and the thread that hears it.

    Attributes:
        process: It.
        key: The task that it works at, or None.
    """

    def __init__(self, heard: queue.SimpleQueue[tuple[_Worker, Mapping[str, Any] | None]]) -> None:
        self.key: int | None = None
        self._heard = heard
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kitaru_nb.stacks", "batch_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                start_new_session=True,  # a terminal's Ctrl-C comes to the batch, which passes it on
            )
        except OSError as error:
            message = f"no process could be started for a point: {error.strerror or error}"
            raise KernelError(message, kind="no-process", hint="-j 1") from error
        self._thread = threading.Thread(target=self._listen, name="kitaru-nb-worker", daemon=True)
        self._thread.start()

    def give(self, key: int, line: str) -> None:
        """Let it do a task."""
        assert self.process.stdin is not None
        self.key = key
        with suppress(OSError):  # it has died: its output ends, which is heard
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def end(self, patience: float) -> None:
        """There is nothing more to do: it ends by itself, or is killed after `patience` seconds."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join()  # no other process has what it listens to

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as answers:
            for line in answers:
                # a line that a kill has cut short is none
                with suppress(ValueError):
                    self._heard.put((self, json.loads(line)))
        self._heard.put((self, None))
