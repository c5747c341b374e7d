"""Commands and kernels that are forked from a process which has loaded what they load.

Starting Python and importing is nearly all that a short run takes. A forked command is killed like any
other, and so is its kernel: both are processes of their own.
"""

# ruff: noqa: PLC0415 - it speaks through its pipe, and loads things when it says so

from __future__ import annotations

import atexit
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from kitaru_nb.stacks.orphans import end_with_parent

__all__ = ["Forks", "Running"]

_ROOT = Path(__file__).parents[2]
_LOADED = (
    "nbclient papermill.cli papermill.execute papermill.engines ipykernel.kernelapp ipykernel.ipkernel "
    "ipykernel.zmqshell IPython.core.interactiveshell IPython.core.completer kitaru_nb.cli.main "
    "kitaru_nb.cli.run kitaru_nb.cli.resume kitaru_nb.cli.replay kitaru_nb.cli.verbs "
    "kitaru_nb.stacks.papermill_engine kitaru_nb.stacks.worker kitaru_nb.stacks.attempt "
    "kitaru_nb.stacks.kernel_side kitaru_nb.notebook.headless kitaru_nb.notebook.late "
    "tests.unit.engine.picture tests.unit.engine.machine_cells tests.unit.engine.kernel "
    "tests.integration.headless_cells numpy pandas"
)


class Running:
    """A command that has been forked."""

    def __init__(self, pid: int, kernel: int, answer: Callable[[], int]) -> None:
        self.pid = pid
        self.kernel = kernel
        self._answer = answer

    def wait(self) -> int:
        """Its exit code; negative where a signal ended it."""
        return self._answer()


class Forks:
    """The process that commands are forked from.

    Args:
        env: Its environment.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.forked"],
            cwd=_ROOT,
            env={**env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, words: Sequence[str], *, folder: Path, env: Mapping[str, str], out: Path) -> Running:
        """Start a command; what it says is in `out` with the endings ``.out`` and ``.err``.

        Args:
            words: ``kitaru-nb`` or ``papermill`` with their arguments, or ``call`` with the name of a
                function of `headless_cells` and its arguments as JSON; what it gives is in `out` with
                the ending ``.json``.
            folder: Where it runs.
            env: Environment variables besides those of the process.
            out: See above.
        """
        told = {"words": list(words), "folder": str(folder), "env": dict(env), "out": str(out)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        started = self._read()
        return Running(started["pid"], started["kernel"], lambda: int(self._read()["code"]))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that commands are forked from has died"
        return json.loads(line)


def _serve() -> None:
    import importlib

    for name in _LOADED.split():
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        told = json.loads(line)
        ready, kernel_of = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            _carry_out(told, kernel_of)
        os.close(kernel_of)
        kernel = int(os.read(ready, 32) or b"0")
        os.close(ready)
        print(json.dumps({"pid": pid, "kernel": kernel}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


def _carry_out(told: Mapping[str, Any], kernel_of: int) -> None:
    code = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, ending in ((1, "out"), (2, "err")):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(f"{told['out']}.{ending}", flags, 0o600), number)
        os.environ.update(told["env"])
        os.chdir(told["folder"])
        spare = _Spare() if told["words"][0] != "call" else None
        os.write(kernel_of, b"%d" % (spare.pid if spare else 0))
        os.close(kernel_of)
        code = _command(told["words"], told["out"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:  # noqa: BLE001 - as Python's own end would
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined] # as Python does at its end
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command(words: Sequence[str], out: str) -> int:
    sys.argv = list(words)
    if words[0] == "call":
        from tests.integration import headless_cells

        found = json.dumps(getattr(headless_cells, words[1])(**json.loads(words[2])))
        Path(f"{out}.json").write_text(found)  # a cell may have closed what it prints to
        return 0
    if words[0] == "papermill":
        from papermill.cli import papermill

        papermill()
        return 0
    from kitaru_nb.cli.main import main

    return main(words[1:])


class _Spare:
    """A process that becomes the next kernel which this one starts."""

    def __init__(self) -> None:
        mine, its = socket.socketpair()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            mine.close()
            end_with_parent(parent)  # ipykernel looks for its parent when it is imported, which it has been
            _become_kernel(its)
        its.close()
        self._told = mine
        self._used = False
        from jupyter_client import launcher

        self._popen = launcher.Popen
        launcher.Popen = self.popen  # type: ignore[misc, assignment] # so kernels are forked

    def popen(self, words: Sequence[str], **options: Any) -> Any:
        if self._used or "ipykernel_launcher" not in words:
            return self._popen(words, **options)
        self._used = True
        env = options["env"] if options.get("env") is not None else dict(os.environ)
        told = {"words": list(words), "env": env, "folder": os.fspath(options.get("cwd") or Path.cwd())}
        streams = [
            number if (stream := options.get(name)) is None else stream.fileno()
            for number, name in ((1, "stdout"), (2, "stderr"))
        ]
        socket.send_fds(self._told, [json.dumps(told).encode()], streams)
        self._told.shutdown(socket.SHUT_WR)
        process = subprocess.Popen.__new__(subprocess.Popen)
        process.__dict__.update(
            args=list(words),
            pid=self.pid,
            returncode=None,
            stdin=Path(os.devnull).open("rb"),  # noqa: SIM115 - whoever started it closes it
            stdout=None,
            stderr=None,
            _child_created=True,
            _communication_started=False,
            _input=None,
            _sigint_wait_secs=0.25,
            _closed_child_pipe_fds=True,
            _waitpid_lock=threading.Lock(),
            pipesize=-1,
            process_group=None,
            encoding=None,
            errors=None,
            text_mode=None,
            universal_newlines=None,
        )
        return process


def _become_kernel(heard: socket.socket) -> None:
    os.setsid()
    got, streams, _, _ = socket.recv_fds(heard, 1 << 20, 2)
    while got and (more := heard.recv(1 << 20)):
        got += more
    if not got:
        os._exit(0)
    told = json.loads(got)
    for number, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(told["env"])
    os.chdir(told["folder"])
    sys.argv = ["ipykernel_launcher", *told["words"][told["words"].index("-f") :]]
    sys.modules["__main__"] = ModuleType("__main__")
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(_ROOT))] + [str(_ROOT)]
    code = 1
    try:
        from ipykernel import kernelapp

        kernelapp.launch_new_instance()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:  # noqa: BLE001 - as Python's own end would
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve()
