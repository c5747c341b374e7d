"""What code asks the process for, as far as its words and those of the code it reaches tell.

A setting that a step was told of decides its result as a value does that it reads. A word too many
only makes a record count under fewer circumstances.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

__all__ = ["libraries_named", "parts_asked", "runs_programs", "variables_asked"]

# What code calls to be told of a setting.
_TOLD_BY = {
    "getrecursionlimit": "recursion limit",
    "getswitchinterval": "setting switch interval",
    "get_int_max_str_digits": "setting integer digits",
    "getdefaulttimeout": "setting socket timeout",
    "getlocale": "setting locale",
    "localeconv": "setting locale",
    "getsignal": "setting signals",
    "isenabled": "setting gc",
    "get_threshold": "setting gc",
    "get_start_method": "setting start method",
}
# What code speaks of that computes with the local time.
_LOCAL_TIME = frozenset(
    "altzone asctime astimezone ctime daylight fromtimestamp get_localzone localtime mktime now strftime "
    "timestamp timezone today tzlocal tzname".split()
)
_PROGRAMS = frozenset({"Popen", "getoutput", "popen", "subprocess", "sx", "system"})
_SHELL_MAGICS = frozenset({"bash", "script", "sh", "sx", "system"})


def parts_asked(words: AbstractSet[str]) -> frozenset[str]:
    """The parts of process state that code with these words is told of."""
    return frozenset(_TOLD_BY[word] for word in words & _TOLD_BY.keys())


def variables_asked(words: AbstractSet[str]) -> frozenset[str]:
    """The environment variables that code with these words is told of without naming them."""
    return frozenset() if _LOCAL_TIME.isdisjoint(words) else frozenset({"TZ"})


def libraries_named(words: AbstractSet[str]) -> frozenset[str]:
    """Libraries whose settings code with these words meets though it reaches no value of them."""
    warns = any(word.endswith("Warning") for word in words)  # it catches one
    return frozenset({"warnings"} if warns else ()) | ({"locale"} if "strftime" in words else frozenset())


def runs_programs(words: AbstractSet[str], constants: Iterable[object]) -> bool:
    """Whether a cell starts programs, such as a shell, which read what they like."""
    magic = "run_cell_magic" in words and not _SHELL_MAGICS.isdisjoint(constants)
    return magic or not _PROGRAMS.isdisjoint(words)
