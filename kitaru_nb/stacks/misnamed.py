"""Variables that look like settings and are none: a mistyped name would count for nothing, in silence."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from kitaru_nb.stacks.settings import NAMES

__all__ = ["misnamed"]

_PREFIX = "KITARU_NB_"
_OTHERS = ("CONFIG", "CRASH_AT", "LAB", "PARENT", "PLACE", "SUBMITTER")
_NOTICES = "NOTIFY_"
_CLOSE = 0.75


def misnamed(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are nearly called as a setting is, each with the name that is probably meant.

    What is called otherwise may be the user's own, such as a secret that a stack refers to.
    """
    known = [_PREFIX + name.upper() for name in NAMES]
    found: dict[str, str] = {}
    for variable in environ:
        name = variable.removeprefix(_PREFIX)
        if name == variable or variable in known or name in _OTHERS or name.startswith(_NOTICES):
            continue
        close = difflib.get_close_matches(name, [each.upper() for each in NAMES], n=1, cutoff=_CLOSE)
        if close:
            found[variable] = _PREFIX + close[0]
    return found
