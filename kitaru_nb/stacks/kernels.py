"""Kernels for headless runs: started over IPC in a private folder, and never left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import KernelManager
from jupyter_core.paths import jupyter_path

from kitaru_nb.errors import KernelError, NotFoundError, UsageError
from kitaru_nb.model.words import duration
from kitaru_nb.stacks.vitals import Memory, Vitals

__all__ = ["HeadlessKernel", "describe_exit", "python_kernel", "sweep_folders"]

_PREFIX = "kitaru-nb-"
_SUN_PATH_BYTES = 103  # the shortest sun_path in use (macOS), without its closing NUL
_SOCKET_SUFFIX_BYTES = 3  # "-1" to "-99": jupyter_client numbers the sockets
_SWEEP_AFTER = 60.0  # seconds; a younger folder may not have its lock yet
_LOG_TAIL_BYTES = 4000
_POLL = 0.01  # seconds between two looks at a kernel that ends


def python_kernel(name: str) -> KernelSpec:
    """The installed kernel called `name`.

    Raises:
        NotFoundError: kind ``unknown-kernel``; the hint lists the installed ones.
        UsageError: kind ``not-python``: it does not run Python.
    """
    manager = _specs(name)
    try:
        spec = manager.get_kernel_spec(name)
    except NoSuchKernel:
        known = ", ".join(sorted(manager.find_kernel_specs())) or "none is installed"
        raise NotFoundError(
            f"the notebook asks for the kernel `{name}`, which is not installed here",
            kind="unknown-kernel",
            hint=f"one of the installed ones: {known}",
        ) from None
    if spec.language and spec.language.lower() not in ("python", "python3"):
        raise UsageError(
            f"the kernel `{name}` runs {spec.language}; kitaru_nb makes Python notebooks durable",
            kind="not-python",
            hint="papermill without --engine kitaru",
        )
    return spec


def _specs(name: str) -> KernelSpecManager:
    """What finds the kernel called `name`.

    Last of all it would look in IPython's own folder, and load IPython to know where that is. Where
    the kernel is in a folder before that one, the manager that is given knows of no more.
    """
    before = jupyter_path("kernels")
    manager = KernelSpecManager(kernel_dirs=before)
    with contextlib.suppress(NoSuchKernel):
        if str(Path(manager.get_kernel_spec(name).resource_dir).parent) in before:
            return manager
    return KernelSpecManager()


class HeadlessKernel:
    """One running kernel and the blocking client that talks to it.

    It has its own session, so that a terminal's Ctrl-C reaches the worker alone, and its
    sockets lie in a folder only this user may enter. What the process itself writes to
    stdout and stderr (not what cells print) is kept in a log there, to explain a death.

    Args:
        name: Name of an installed kernel.
        cwd: Folder to start in; this process's by default.
        env: Environment variables to add to this process's.

    Raises:
        KernelError: kind ``kernel-start``: the process could not be started.
    """

    def __init__(self, name: str, *, cwd: str | None = None, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._folder, self._lock = _private_folder()
        self.manager = self._configured_manager(name)
        with (self._folder / "kernel.log").open("wb") as log:
            try:
                self.manager.start_kernel(
                    cwd=cwd,
                    env={**os.environ, **(env or {})},
                    stdout=log,
                    stderr=log,
                    extra_arguments=["--HistoryManager.hist_file=:memory:"] if self.manager.ipykernel else [],
                )
            except Exception as error:
                self._give_back()
                raise KernelError(
                    f"the kernel `{name}` could not be started: {error}",
                    kind="kernel-start",
                    hint=f"jupyter run --kernel {name}, to see it fail alone",
                ) from error
        self._process: Popen[bytes] | None = getattr(self.manager.provisioner, "process", None)
        self.vitals = Vitals(self.pid)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels(shell=True, iopub=True, stdin=False, hb=False, control=False)  # noqa: S604 - a channel, not a command shell
        self.client.allow_stdin = False

    @property
    def pid(self) -> int | None:
        """Process id, where the kernel runs as a child of this process."""
        return self._process.pid if self._process is not None else None

    def is_alive(self) -> bool:
        """Whether the kernel's process runs."""
        if self._process is not None:
            return self._process.poll() is None
        return bool(self.manager.is_alive())

    @property
    def exit_code(self) -> int | None:
        """Exit code of a kernel that has ended (negative: killed by that signal), else None."""
        return self._process.poll() if self._process is not None else None

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it."""
        return (self.exit_code or 0) < 0

    def why_it_ended(self) -> str:
        """Why it ended, in words: by exit code, and by what was seen of its memory."""
        return describe_exit(self.exit_code, self.vitals.memory())

    def log_tail(self) -> str:
        """The end of what the kernel's process itself wrote to stdout and stderr."""
        try:
            content = (self._folder / "kernel.log").read_bytes()
        except OSError:
            return ""
        return content[-_LOG_TAIL_BYTES:].decode("utf-8", "replace").strip()

    def tell(self, code: str) -> None:
        """Have `code` run, without a trace in the history, before anything that is asked later.

        Nobody waits for its end. Where it fails, what comes after it finds what it lacks.
        """
        content = {"code": code, "silent": True, "store_history": False, "allow_stdin": False}
        message = self.client.session.msg("execute_request", {**content, "stop_on_error": False})
        self.client.shell_channel.send(message)

    def interrupt(self) -> None:
        """Send the kernel what a stop button sends."""
        with contextlib.suppress(RuntimeError, OSError):  # it ended meanwhile
            self.manager.interrupt_kernel()

    def stop(self, *, patience: float = 5.0) -> None:
        """End the kernel: asked first, killed after `patience` seconds. Harmless when it is gone."""
        self.client.stop_channels()
        self.manager.shutdown_wait_time = patience
        with contextlib.suppress(RuntimeError, OSError):
            if self.is_alive() and patience > 0:
                self.manager.interrupt_kernel()
                self.manager.request_shutdown()
                self.manager.finish_shutdown(pollinterval=_POLL)
            elif self.is_alive():
                self.manager.shutdown_kernel(now=True)
        self._give_back()

    def _configured_manager(self, name: str) -> KernelManager:
        # what goes wrong is raised with its reason; jupyter_client would log a traceback besides
        manager = KernelManager(kernel_name=name, kernel_spec_manager=_specs(name), log=_quiet_log())
        manager.connection_file = str(self._folder / "kernel.json")
        if os.name == "nt":
            return manager  # ZeroMQ has no IPC there; the kernel listens on loopback TCP with its signed key
        manager.transport = "ipc"
        manager.ip = str(self._folder / "k")
        return manager

    def _give_back(self) -> None:
        with contextlib.suppress(RuntimeError, OSError):
            self.manager.cleanup_resources()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def describe_exit(code: int | None, memory: Memory | None = None) -> str:
    """Why a kernel ended, in words, from its exit code and what is known of its memory."""
    known = memory or Memory()
    if code is None:
        return "it stopped answering"
    if code >= 0:
        return f"it ended with exit code {code}" + (" (a cell called exit())" if code == 0 else "")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    cause = _cause(known) if name == "SIGKILL" else ""
    return f"killed by signal {-code} ({name}){cause}{_used(known)}"


def _cause(memory: Memory) -> str:
    if memory.killed is None:
        return "; out of memory is the usual cause"
    if not memory.killed:
        return "; the system counts no kill for want of memory"
    limit = "" if memory.limit is None else f", of which it may have {_gigabytes(memory.limit)}"
    return f"; the system killed it for want of memory{limit}"


def _used(memory: Memory) -> str:
    if memory.used is None:
        return ""
    return f"; it used {_gigabytes(memory.used)} of memory {duration(memory.ago)} before"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def sweep_folders(now: float | None = None) -> list[Path]:
    """Remove socket folders of workers that were killed; gives the ones removed."""
    removed = []
    for base in _bases():
        for folder in base.glob(_PREFIX + "*"):
            if _is_abandoned(folder, time.time() if now is None else now):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _quiet_log() -> logging.Logger:
    log = logging.getLogger("kitaru_nb.kernels")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    return log


def _private_folder() -> tuple[Path, int | None]:
    """A new folder for sockets, 0700, and the lock that says it is in use."""
    sweep_folders()
    for base in _bases():
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        except OSError:
            continue
        if len(os.fsencode(folder / "k")) + _SOCKET_SUFFIX_BYTES > _SUN_PATH_BYTES and os.name != "nt":
            folder.rmdir()
            continue
        return folder, _locked(folder / "lock")
    raise KernelError(
        "no folder for the kernel's sockets: none of "
        + ", ".join(f"`{base}`" for base in _bases())
        + f" can be written and has a path short enough ({_SUN_PATH_BYTES} bytes)",
        kind="no-socket-folder",
        hint="TMPDIR=/tmp",
    )


def _bases() -> list[Path]:
    named = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), None if os.name == "nt" else "/tmp"]  # noqa: S108 - each gets a private folder inside
    return [Path(base) for base in dict.fromkeys(named) if base]


def _locked(path: Path) -> int | None:
    """An open, locked file; the lock goes with this process, however it ends."""
    if sys.platform == "win32":
        return None
    import fcntl  # noqa: PLC0415 - not on Windows

    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    with contextlib.suppress(
        OSError
    ):  # a file system without locks: the folder counts as abandoned after its age
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _is_abandoned(folder: Path, now: float) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl  # noqa: PLC0415 - not on Windows

    try:
        info = folder.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or now - info.st_mtime < _SWEEP_AFTER:
            return False
        lock = os.open(folder / "lock", os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)
