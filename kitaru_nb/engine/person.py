"""Who sits at this machine, as the operating system knows it: environment variables can say anything."""

from __future__ import annotations

import getpass
import os
import socket

__all__ = ["this_person"]


def this_person() -> str:
    """``user@host`` of this process."""
    return f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    if not hasattr(os, "getuid"):
        return getpass.getuser()
    import pwd  # noqa: PLC0415 - not on Windows

    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # as in many containers
        return f"uid-{number}"
