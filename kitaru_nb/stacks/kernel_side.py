"""What a headless kernel is told before it takes part in an attempt.

This runs inside the kernel and is loaded first, so it imports the standard library only.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any

from kitaru_nb.stacks.loading import nothing_collected
from kitaru_nb.stacks.orphans import end_with_parent

__all__ = ["FOLDER", "enter", "prepare"]

FOLDER = ""
"""The entry of ``sys.path`` that stands for the folder a kernel is in."""

_LOADED = ("kitaru_nb.notebook.headless", "kitaru_nb.notebook.late")
_PATIENCE = 10.0  # seconds for the thread that sends outputs to come to it


def prepare(parent: int) -> None:
    """Tie this kernel to its worker and load what every headless run needs.

    None of it is looked for in the kernel's folder: a `queue.py` beside a notebook is the
    notebook's own, and a kernel that is made ready in one folder may come to serve another.
    """
    end_with_parent(parent)
    _leave_tcp()
    place = sys.path.index(FOLDER) if FOLDER in sys.path else None
    if place is not None:
        del sys.path[place]
    try:
        with nothing_collected():
            for name in _LOADED:
                importlib.import_module(name)
    finally:
        if place is not None:
            sys.path.insert(place, FOLDER)


def _leave_tcp() -> None:
    """What forked processes print comes by a socket in the kernel's folder, like all that is said to it.

    ipykernel has them send it to a TCP port, whatever the transport, which anybody on this machine
    can reach. One that does this otherwise is left as it is.
    """
    kernels = sys.modules.get("ipykernel.kernelapp")
    app: Any = kernels.IPKernelApp.instance() if kernels is not None else None
    thread: Any = getattr(app, "iopub_thread", None)
    stream, port = getattr(thread, "_pipe_in", None), getattr(thread, "_pipe_port", None)
    if stream is None or port is None or app.transport != "ipc":
        return
    zmq: Any = sys.modules["zmq"]
    address, moved = f"ipc://{app.ip}-0", threading.Event()  # the kernel's own sockets are numbered from 1

    def move() -> None:
        try:
            stream.socket.bind(address)
            stream.socket.unbind(f"tcp://127.0.0.1:{port}")
            thread._setup_pipe_out = pipe_out  # noqa: SLF001 - where it sends to is written there
        finally:
            moved.set()

    def pipe_out() -> tuple[Any, Any]:
        context = zmq.Context()  # after a fork it has to be a new one
        pipe = context.socket(zmq.PUSH)
        pipe.linger = 3000
        pipe.connect(address)
        return context, pipe

    thread.schedule(move)
    moved.wait(_PATIENCE)


def enter(folder: str) -> None:
    """From now on the kernel is as one that was started this moment in `folder`.

    Where it cannot go there it ends: nobody waits for this to be done, and cells that ran in the
    wrong folder would read the wrong files.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        # to the kernel's log, which tells why it died; `sys.stderr` goes to the notebook
        print(f"the folder {folder!r} cannot be entered: {error.strerror}", file=sys.__stderr__, flush=True)
        os._exit(1)
    from kitaru_nb.engine import process  # noqa: PLC0415 - `prepare` has loaded it, apart from any folder

    process.begin_anew()
