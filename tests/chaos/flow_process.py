"""A program's attempt in a process that is forked, so that what it imports was imported before."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell

import kitaru_nb
from kitaru_nb.engine import checkpoint
from kitaru_nb.engine.describe import show_json
from kitaru_nb.engine.engine import Engine
from kitaru_nb.model.wait import WaitStatus
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from tests.chaos import flow_plain, flow_told

__all__ = ["answer_waits", "begin", "executions", "warm"]

INTERRUPTED = 130


def warm() -> None:
    """Import what attempts need, and let retries come at once."""
    assert httpx
    assert np
    assert pd
    for name in (
        "flow",
        "checkpoint",
        "wait",
        "once",
        "channel",
        "steps",
        "load",
        "save",
        "stream",
        "gather",
    ):
        getattr(kitaru_nb, name)
    checkpoint._pause = lambda tries, options: 0.01


def begin(path: Path, out: Path, environ: dict[str, str], cells: list[str]) -> int:
    """Begin an attempt at a script, or at a notebook with these cells; the id of its process."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    file = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environ)
    os.chdir(path.parent)
    sys.path.insert(0, str(path.parent))
    sys.argv = [str(path)]
    flow_told.begin()
    main = ModuleType("__main__")
    main.__file__ = str(path)
    sys.modules["__main__"] = main
    code = _ended(lambda: _run_cells(cells) if cells else _run(path, main))
    ending = _ended(_end)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or ending)


def _ended(work: Callable[[], None]) -> int:
    try:
        work()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return INTERRUPTED
    except BaseException:  # noqa: BLE001 - as Python itself does at the end of a script
        traceback.print_exc()
        return 1
    return 0


def _end() -> None:
    threading._shutdown()  # type: ignore[attr-defined] # what Python does itself at its end
    atexit._run_exitfuncs()


def _run(path: Path, main: ModuleType) -> None:
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), main.__dict__)


def _run_cells(cells: list[str]) -> None:
    if os.environ.get("FUZZ_PLAIN"):
        for cell in cells:
            exec(cell.replace("%%checkpoint\n", ""), sys.modules["__main__"].__dict__)
        return
    shell = InteractiveShell.instance()
    sys.modules["__main__"] = shell.user_module
    shell.run_line_magic("load_ext", "kitaru_nb")
    for number, cell in enumerate(cells):
        ran = shell.run_cell(cell, store_history=True, cell_id=f"c{number}")
        error = ran.error_before_exec or ran.error_in_exec
        if error is not None:
            raise error


# What is on record, asked in a process of its own


def answer_waits(home: Path) -> None:
    """Answer every wait that nobody has answered."""

    def answer(engine: Engine) -> None:
        for execution in engine.journal.executions():
            for wait in engine.journal.waits(execution.id):
                if wait.status is WaitStatus.PENDING:
                    given = flow_plain.answer(wait.name)
                    engine.journal.answer_wait(wait.address, given, by="ana", source="cli")

    _asked(home, answer)


def executions(home: Path) -> list[dict[str, Any]]:
    """What ``show --json`` says of each execution."""
    out = home.parent / "shown.json"

    def show(engine: Engine) -> None:
        found = [show_json(engine.journal, each) for each in engine.journal.executions()]
        out.write_text(json.dumps(found), encoding="utf-8")

    if not home.exists():
        return []
    _asked(home, show)
    shown: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
    return shown


def _asked(home: Path, ask: Callable[[Engine], None]) -> None:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        if os.waitpid(pid, 0)[1]:
            raise AssertionError("the journal cannot be asked")
        return
    os.environ["KITARU_NB_HOME"] = str(home)

    def work() -> None:
        with closing(open_engine(resolve())) as engine:
            ask(engine)

    os._exit(_ended(work))
