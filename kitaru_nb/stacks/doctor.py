"""Whether kitaru_nb can work here: settings, home, journal, packages, kernels, one look at each."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kitaru_nb.errors import KitaruError, NotFoundError
from kitaru_nb.journal.connection import open_to_read
from kitaru_nb.journal.mounts import file_system, is_network
from kitaru_nb.journal.schema import check_format, newest_format
from kitaru_nb.journal.sqlite_journal import SqliteJournal
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import LOCAL, Stack
from kitaru_nb.stacks.disk import WARNED_AT, limit_of, used_by
from kitaru_nb.stacks.enable import is_enabled, startup_file
from kitaru_nb.stacks.misnamed import misnamed
from kitaru_nb.stacks.open import check_folder, chosen_stack, open_journal
from kitaru_nb.stacks.parts import folders_of, journal_at, journal_file, parted, store_at, store_folder
from kitaru_nb.stacks.quotas import space_of
from kitaru_nb.stacks.settings import NAMES

__all__ = ["Diagnosis", "Problem", "examine", "journal_format"]

PACKAGES = ("ipython", "ipykernel", "jupyter-client", "papermill", "zarr", "numpy")
KERNEL_SECONDS = 15.0
"""How long one kernel's Python may take to say whether it has kitaru_nb."""

_LOW_SPACE = 1 << 30
_FULLY_CHECKED = 256 << 20  # a journal up to this size is read in full; more would take more than seconds
_OLDEST_IPYTHON = 8
_QUESTION = (
    "from importlib.util import find_spec; print(*(bool(find_spec(n)) for n in ('ipykernel', 'kitaru_nb')))"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to see to: what is wrong, and what to type."""

    kind: str
    message: str
    hint: str


@dataclass(slots=True)
class Diagnosis:
    """What was found. `problems` keep kitaru_nb from working, `warnings` do not."""

    settings: list[dict[str, Any]] = field(default_factory=list)
    home: dict[str, Any] = field(default_factory=dict)
    folders: list[dict[str, Any]] = field(default_factory=list)
    disk: dict[str, Any] = field(default_factory=dict)
    journal: dict[str, Any] = field(default_factory=dict)
    stack: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str | None] = field(default_factory=dict)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    enabled: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.problems


def examine(settings: Settings) -> Diagnosis:
    """Look at everything once. Changes nothing, and takes at most `KERNEL_SECONDS` and a little.

    What is said of folders, disk and journal is about those of the stack that `settings` choose.
    """
    found = Diagnosis()
    found.settings = [
        {"name": n, "value": _plain(getattr(settings, n)), "source": settings.sources.get(n, "argument")}
        for n in NAMES
    ]
    for variable, meant in misnamed(os.environ).items():
        message = f"there is no setting `{variable}`, so it counts for nothing"
        found.warnings.append(Problem("unknown-setting", message, f"{meant}=…, if that is meant"))
    try:
        stack = chosen_stack(settings)
        folders = folders_of(settings, stack)
    except KitaruError as error:
        found.problems.append(_problem(error))
        stack, folders = LOCAL, (settings.home,)
    else:
        where = {"journal": journal_at(settings, stack), "store": store_at(settings, stack)}
        found.stack = stack.to_json() | {"where": where}
    found.home = {"used": settings.home in folders} | _looked_at(settings.home)
    file = journal_file(settings, stack)
    found.folders = [
        _examine_folder(folder, stack, found, has_journal=file is not None and file.parent == folder)
        for folder in folders
    ]
    found.home["writable"] = not found.home["used"] or found.folders[folders.index(settings.home)]["writable"]
    _examine_disk(settings, stack, found)
    _examine_stack(settings, stack, found)
    _examine_packages(found)
    _examine_kernels(found)
    found.enabled = {"enabled": is_enabled(), "file": str(startup_file())}
    return found


def _looked_at(folder: Path) -> dict[str, Any]:
    exists = folder.is_dir()
    kind = file_system(folder)
    space = space_of(_existing(folder))
    return {
        "path": str(folder),
        "exists": exists,
        "free": space.free,
        "quota": space.total if space.quota else None,
        "file_system": kind,
        "network": is_network(kind),
        "mode": f"{stat.S_IMODE(folder.stat().st_mode):04o}" if exists else None,
    }


def _examine_folder(folder: Path, stack: Stack, found: Diagnosis, *, has_journal: bool) -> dict[str, Any]:
    """A folder that the stack writes to; what is wrong with it goes to `found`."""
    seen = _looked_at(folder) | {"writable": True}
    try:
        check_folder(folder, stack)
    except KitaruError as error:
        seen["writable"] = False
        found.problems.append(_problem(error))
    if seen["network"] and has_journal:
        found.warnings.append(
            Problem(
                "network-file-system",
                f"`{folder}` is on a network file system ({seen['file_system']}): the journal keeps a "
                "rollback journal there instead of a write-ahead log, which is slower, and trusts the locks "
                "of that file system",
                "export KITARU_NB_HOME=/a/folder/on/a/local/disk, or a stack with a postgresql:// journal",
            )
        )
    if seen["exists"] and folder.stat().st_mode & 0o077:
        message = f"other users of this machine can look into `{folder}` (mode {seen['mode']})"
        found.warnings.append(Problem("home-open-to-others", message, f"chmod 700 {folder}"))
    if seen["writable"] and seen["free"] < _LOW_SPACE:
        message = f"only {seen['free'] >> 20} MiB are free for `{folder}`"
        found.warnings.append(Problem("low-space", message, f"df -h {_existing(folder)}"))
    return seen


def _examine_stack(settings: Settings, stack: Stack, found: Diagnosis) -> None:
    """The stack's journal; a file is read, a server is asked whether it answers."""
    file = journal_file(settings, stack)
    if file is not None:
        _examine_journal(file, found)
        return
    found.journal = {"path": str(stack.journal), "exists": False, "format": None, "executions": 0} | {
        "bytes": 0,
        "checked": False,
    }
    try:
        with closing(open_journal(settings, read_only=True)) as journal:
            found.journal["executions"] = len(journal.executions())
            found.journal["bytes"] = journal.space()[0]
            found.journal |= {"exists": True, "format": newest_format()}
    except NotFoundError:
        pass  # nothing recorded yet
    except KitaruError as error:
        found.problems.append(_problem(error))


def _examine_journal(path: Path, found: Diagnosis) -> None:
    found.journal = {
        "path": str(path),
        "exists": path.is_file(),
        "format": None,
        "executions": 0,
        "bytes": 0,
        "checked": False,
    }
    if not path.is_file():
        return
    found.journal["bytes"] = path.stat().st_size
    try:
        with closing(SqliteJournal(path, read_only=True)) as journal:
            found.journal["executions"] = len(journal.executions())
            found.journal["format"] = journal_format(path)
            if found.journal["bytes"] <= _FULLY_CHECKED:
                found.problems += [_problem(error) for error in journal.verify()]
                found.journal["checked"] = True
    except NotFoundError:
        pass  # as above
    except KitaruError as error:
        found.problems.append(_problem(error))


def _examine_disk(settings: Settings, stack: Stack, found: Diagnosis) -> None:
    """What the stack's store takes, and what it may take. What is on a server is not counted."""
    folder = store_folder(settings, stack)
    used = used_by(journal_file(settings, stack), folder)
    limit = None if folder is None else limit_of(folder, settings.max_bytes)
    found.disk = {
        "path": None if folder is None else str(folder),
        "bytes": used,
        "max_bytes": limit,
        "quota": str(settings.max_bytes),
        "keep_days": settings.keep_days,
    }
    if limit is not None and used > WARNED_AT * limit:
        message = f"the store takes {used} bytes of the {limit} it may take ({settings.max_bytes})"
        hint = "kitaru-nb gc --dry-run, or export KITARU_NB_MAX_BYTES=50GB"
        found.warnings.append(Problem("disk-limit", message, hint))
    apart = parted(settings, stack)
    if apart is not None:
        found.warnings.append(Problem("values-on-one-machine", *apart))


def journal_format(path: Path) -> int:
    """The format version of the journal at `path`, which is left as it is."""
    connection, copy = open_to_read(path)
    try:
        return check_format(connection, path)
    finally:
        connection.close()
        if copy is not None:
            copy.cleanup()


def _examine_packages(found: Diagnosis) -> None:
    try:
        own = version("kitaru-nb")
    except PackageNotFoundError:
        own = f"not installed, run from {Path(__file__).parents[2]}"
    found.versions = {
        "kitaru-nb": own,
        "python": ".".join(map(str, sys.version_info[:3])),
        "sqlite": sqlite3.sqlite_version,
    }
    for package in PACKAGES:
        try:
            found.versions[package] = version(package)
        except PackageNotFoundError:
            found.versions[package] = None
            hint = f"{sys.executable} -m pip install {package}"
            found.problems.append(Problem("missing-package", f"`{package}` is not installed", hint))
    ipython = found.versions["ipython"]
    if ipython and int(ipython.partition(".")[0]) < _OLDEST_IPYTHON:
        hint = f"{sys.executable} -m pip install --upgrade ipython"
        message = f"IPython {ipython} is too old; {_OLDEST_IPYTHON} is the oldest that works"
        found.problems.append(Problem("ipython-too-old", message, hint))


def _examine_kernels(found: Diagnosis) -> None:
    from jupyter_client.kernelspec import KernelSpecManager  # noqa: PLC0415 - slow to import, and only this needs it

    specs: Mapping[str, Any] = KernelSpecManager().get_all_specs()
    with ThreadPoolExecutor(max_workers=4) as pool:
        found.kernels = list(
            pool.map(_kernel, sorted(specs), [specs[name]["spec"] for name in sorted(specs)])
        )
    for kernel in found.kernels:
        if kernel["error"]:
            message = f"kernel `{kernel['name']}` cannot start: {kernel['error']}"
            hint = f"jupyter kernelspec remove {kernel['name']}"
            found.warnings.append(Problem("broken-kernel", message, hint))
        elif kernel["kitaru_nb"] is False:
            message = f"kernel `{kernel['name']}` runs a Python without kitaru_nb"
            hint = f"{kernel['python']} -m pip install kitaru-nb"
            found.warnings.append(Problem("kernel-without-kitaru", message, hint))
    if not any(kernel["kitaru_nb"] for kernel in found.kernels):
        hint = f"{sys.executable} -m pip install kitaru-nb ipykernel"
        found.problems.append(Problem("no-kernel", "there is no Python kernel that has kitaru_nb", hint))


def _kernel(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What one kernel spec is; `kitaru_nb` is None when its language is not Python or it cannot be asked."""
    argv: Sequence[str] = spec.get("argv") or [""]
    kernel = {
        "name": name,
        "display_name": spec.get("display_name", name),
        "language": spec.get("language", ""),
        "python": None,
        "kitaru_nb": None,
        "error": None,
    }
    if str(spec.get("language", "")).lower() != "python":
        return kernel
    # jupyter_client starts its own Python for a spec that just says `python`
    own = {"python", f"python{sys.version_info[0]}", f"python{sys.version_info[0]}.{sys.version_info[1]}"}
    kernel["python"] = sys.executable if argv[0] in own else argv[0]
    try:
        done = subprocess.run(  # noqa: S603 - the very program that starting the kernel would run
            [str(kernel["python"]), "-c", _QUESTION],
            capture_output=True,
            text=True,
            timeout=KERNEL_SECONDS,
            cwd="/",
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        kernel["error"] = _reason(error, str(kernel["python"]))
        return kernel
    has_kernel, has_kitaru = done.stdout.split()[-2:]
    kernel["kitaru_nb"] = has_kitaru == "True"
    kernel["error"] = None if has_kernel == "True" else "its Python has no ipykernel"
    return kernel


def _reason(error: Exception, python: str) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"`{python}` did not answer in {KERNEL_SECONDS:g} s"
    if isinstance(error, OSError):
        return f"`{python}`: {error.strerror}"
    return f"`{python}` does not run Python code"


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _problem(error: KitaruError) -> Problem:
    return Problem(error.kind, error.message, error.hint)


def _plain(value: object) -> Any:
    return value if value is None or isinstance(value, str | int | float) else str(value)
