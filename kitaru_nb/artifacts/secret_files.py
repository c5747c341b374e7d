"""Whether a file holds a secret: text and pickles are looked through, other files are not."""

from __future__ import annotations

from pathlib import Path

from kitaru_nb.artifacts.secret_scan import may_hold_secret
from kitaru_nb.artifacts.vault import VAULT, Ref

__all__ = ["secret_in"]

_BATCH = 1 << 20
_OVERLAP = 16 << 10  # more than a secret is long
_HEAD = 8 << 10
_PICKLE = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def secret_in(path: str | Path) -> str | None:
    """What stands for a secret that the file holds, such as ``secret:env:API_KEY``; None without one.

    Known values and the shapes of keys are looked for. A file is text if nothing in its first
    8 KiB says otherwise. Costs reading it once, a MiB at a time.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(_HEAD)
        if b"\0" in head and not head.startswith(_PICKLE):
            return None
        tail = b""
        while data := (head or file.read(_BATCH)):
            found = _secret_in(tail + data)
            if found is not None:
                return found
            head, tail = b"", (tail + data)[-_OVERLAP:]
    return None


def _secret_in(data: bytes) -> str | None:
    if not may_hold_secret(data):
        return None
    parts = VAULT.parts(data.decode("utf-8", "replace")) or ()
    return next((part.text for part in parts if isinstance(part, Ref)), None)
