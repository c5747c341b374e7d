"""Loading kitaru_nb in every kernel of this user by itself, and taking that back.

One file of our own in the startup folder of IPython's default profile does it. Nothing of
the user's is edited, so taking it back is removing that file. A kernel whose environment
has no kitaru_nb passes over it in silence.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from kitaru_nb.errors import StoreError

__all__ = ["disable", "enable", "is_enabled", "startup_file"]

_FILE = "90-kitaru-nb.py"

_ELSEWHERE = "IPYTHONDIR=/a/folder kitaru-nb enable, or %load_ext kitaru_nb in the notebook"

_CODE = """\
# Written by `kitaru-nb enable`: loads kitaru_nb in every kernel. `kitaru-nb enable --off` removes it.
if __import__("importlib.util").util.find_spec("kitaru_nb"):
    get_ipython().extension_manager.load_extension("kitaru_nb")
"""


def startup_file() -> Path:
    """Where the file is or would be; ``IPYTHONDIR`` moves it, as it moves all of IPython."""
    # IPython is slow to import and knows best where its folder is
    from IPython.paths import get_ipython_dir  # noqa: PLC0415

    return Path(get_ipython_dir()) / "profile_default" / "startup" / _FILE


def is_enabled() -> bool:
    """Whether kernels that start now load kitaru_nb by themselves."""
    with suppress(OSError):
        return startup_file().read_text(encoding="utf-8") == _CODE
    return False


def enable() -> tuple[Path, bool]:
    """Make every kernel that starts from now on load kitaru_nb; harmless when it is on already.

    Returns:
        The file, and whether it was written now.

    Raises:
        StoreError: kind ``startup-not-writable``.
    """
    path = startup_file()
    if path != startup_file():  # IPython makes a new temporary folder each time where it may not write
        message = "IPython's folder cannot be made: the home folder is missing or not writable"
        raise StoreError(message, kind="startup-not-writable", hint=_ELSEWHERE)
    if is_enabled():
        return path, False
    partial = path.with_name(f".{_FILE}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(_CODE, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise _refused("written", path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return path, True


def disable() -> tuple[Path, bool]:
    """Take `enable` back for kernels that start from now on.

    Returns:
        The file, and whether there was one to remove.

    Raises:
        StoreError: kind ``startup-not-writable``.
    """
    path = startup_file()
    try:
        path.unlink()
    except FileNotFoundError:
        return path, False
    except OSError as error:
        raise _refused("removed", path, error) from error
    return path, True


def _refused(verb: str, path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"`{path}` could not be {verb}: {error.strerror or error}",
        kind="startup-not-writable",
        hint=_ELSEWHERE,
    )
