"""Steps that kill their process: which one ran when it died, and how often.

While a step runs, a small file beside the records says so. Nothing forces it to the disk, so it
costs microseconds: it outlives the process, and not the machine, whose end no step is blamed for.
Whoever goes on with the execution finds it and puts the death on record.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Any

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import DivergenceError, StoreError
from kitaru_nb.model.checkpoint import CheckpointKey
from kitaru_nb.model.execution import Attempt, current_owner

__all__ = ["MOST", "Deaths"]

MOST = 3
"""A step is held after so many deaths."""

_FOLDER = "running"
_DIED = "step.died"
_LIVED = "step.lived"
_WITHOUT_WARNING = ("ended without warning", "kernel died")


class Deaths:
    """Of one session: the note of the step that runs, and what earlier processes died in.

    Args:
        engine: Journal and store.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._folder = Path(engine.settings.home) / _FOLDER
        self._file: int | None = None
        self._path: Path | None = None
        self._pid = os.getpid()
        self._counts: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}
        self._running: CheckpointKey | None = None
        self._learned: Attempt | None = None

    def learn(self, attempt: Attempt) -> None:
        """This process works in an attempt: what earlier ones of the execution died in is counted, once."""
        if attempt is self._learned:
            return
        self._learned = attempt
        self._counts.clear()
        if attempt.epoch == 1:
            return
        journal = self._engine.journal
        for path in self._folder.glob(f"{attempt.execution}.*"):
            told = _read(path)
            if told is not None and self._is_death(attempt, path.suffix[1:]):
                data = {**told, "reason": self._reason(attempt, path.suffix[1:])}
                journal.record_event(attempt.execution, _DIED, data)
            with suppress(OSError):
                path.unlink()
        if attempt.epoch > MOST:
            for event in journal.events(attempt.execution):
                if event.kind == _DIED:
                    self._counts[event.data["key"]] += 1
                    self._reasons[event.data["key"]] = str(event.data["reason"])
                elif event.kind == _LIVED:
                    self._counts.pop(event.data["key"], None)

    def refuse(self, name: str, key: CheckpointKey, *, headless: bool = False) -> None:
        """Raise where a step is held; `headless` it is run by a command.

        Raises:
            DivergenceError: kind ``killed-kernel``: its process died in it too often.
        """
        count = self._counts[key]
        if count < MOST:
            return
        message = (
            f"`{name}` is held: the kernel died {count} times while it ran, unchanged ({self._reasons[key]})"
        )
        anyway = f"%%checkpoint {quote(name)} --fresh to run it all the same"
        if headless:
            anyway = "the same `run` command with --new, which runs every cell again"
        hint = f"change the cell (one more line, `pass`, will do), or {anyway}"
        raise DivergenceError(message, kind="killed-kernel", hint=hint)

    def begin(self, attempt: Attempt, name: str, key: CheckpointKey) -> None:
        """A step runs from now on. A note that cannot be written is no error."""
        if self._pid != os.getpid():
            return
        self._running = key
        told = json.dumps({"name": name, "key": key})
        with suppress(OSError):
            note = f"{attempt.execution}.{attempt.epoch}"
            if self._path is None or self._path.name != note:
                self.close()
                self._folder.mkdir(mode=0o700, exist_ok=True)
                path = self._folder / note
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                self._path = path
            assert self._file is not None
            os.ftruncate(self._file, 0)  # a longer name that stood there would leave its end behind
            os.pwrite(self._file, told.encode("utf-8", "surrogatepass"), 0)

    def end(self, *, attempt: Attempt | None = None) -> None:
        """The step that ran has come to its end, whichever; with `attempt` it is on record.

        That it has lived may not come on record: then earlier deaths still count in the next kernel.
        """
        running, self._running = self._running, None
        if self._file is not None and self._pid == os.getpid():
            with suppress(OSError):
                os.ftruncate(self._file, 0)
        if attempt is not None and running is not None and self._counts.pop(running, 0):
            with suppress(StoreError):  # the step is on record, which a full disk must not deny
                self._engine.journal.record_event(attempt.execution, _LIVED, {"key": running})

    def close(self) -> None:
        """The session ends: nothing of it runs any more."""
        file, path, self._file, self._path = self._file, self._path, None, None
        if file is None or path is None or self._pid != os.getpid():
            return
        with suppress(OSError):
            os.close(file)
            path.unlink()

    def _is_death(self, attempt: Attempt, epoch: str) -> bool:
        """Whether the attempt ended with its process, and with nothing but that."""
        return self._reason(attempt, epoch).startswith(_WITHOUT_WARNING)

    def _reason(self, attempt: Attempt, epoch: str) -> str:
        found = [
            each
            for each in self._engine.journal.attempts(attempt.execution)
            if str(each.epoch) == epoch and each.owner.boot == current_owner().boot
        ]
        return (found[0].reason or "") if found else ""


def _read(path: Path) -> dict[str, Any] | None:
    """What a note says; None where nothing ran, or it was cut short."""
    try:
        told = json.loads(path.read_text("utf-8", "surrogatepass"))
    except (OSError, ValueError):
        return None
    whole = isinstance(told, dict) and all(isinstance(told.get(name), str) for name in ("name", "key"))
    return {"name": told["name"], "key": told["key"]} if whole else None
