"""Where code comes from: the file of a module, and of a script also once that has come to its end.

Python takes `__file__` out of a script's variables at its last line, while threads go on in it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

__all__ = ["file_of", "note_script"]

_script: tuple[Mapping[str, object], str] | None = None


def note_script() -> None:
    """Remember which file this process's script is; called while it defines its flows."""
    global _script  # noqa: PLW0603 - one a process
    if _script is None:
        variables = vars(sys.modules["__main__"])
        file = variables.get("__file__")
        if isinstance(file, str):
            _script = variables, file


def file_of(variables: Mapping[str, object]) -> str | None:
    """The file of the module that has these variables."""
    file = variables.get("__file__")
    if isinstance(file, str):
        return file
    return _script[1] if _script is not None and _script[0] is variables else None
