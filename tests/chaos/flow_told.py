"""What a fuzzed program tells of itself: what it did, how far it is, and what it ends with.

It writes to the file that ``FUZZ_TOLD`` names, and dies where ``FUZZ_DIE`` says: ``12 SIGKILL`` at the
twelfth place of this attempt.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["call", "end", "failing", "here", "note", "num", "picture", "tell"]

_places = itertools.count(1)
_pid = os.getpid()


def here() -> None:
    """A place at which this attempt may die."""
    die = os.environ.get("FUZZ_DIE", "")
    if os.getpid() != _pid or not die:
        return
    at, name = die.split()
    if next(_places) == int(at):
        os.kill(_pid, getattr(signal, name))


def tell(kind: str, label: str) -> None:
    """Append a line: which attempt, what kind of thing it tells, of what."""
    line = f"{os.environ.get('FUZZ_ATTEMPT', '0')} {kind} {label}\n"
    file = os.open(os.environ["FUZZ_TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


def note(label: str) -> None:
    """An effect: it is to happen once."""
    here()
    tell("did", label)
    here()


def failing(label: str, times: int) -> None:
    """Fail as often as that, in all attempts together."""
    told = Path(os.environ["FUZZ_TOLD"])
    lines = told.read_text().splitlines() if told.exists() else []
    if sum(line.split(" ", 1)[1] == f"failed {label}" for line in lines) < times:
        tell("failed", label)
        raise ValueError(label)


def call(label: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call it; tell when it begins and when the caller has its result or its exception."""
    here()
    tell("begun", label)
    try:
        result = function(*args, **kwargs)
    except Exception:
        tell("ended", label)
        raise
    tell("ended", label)
    here()
    return result


async def acall(label: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """As `call`, of a coroutine function."""
    here()
    tell("begun", label)
    try:
        result = await function(*args, **kwargs)
    except Exception:
        tell("ended", label)
        raise
    tell("ended", label)
    here()
    return result


def num(value: object) -> int:
    """A number that hangs on all that a value holds."""
    return zlib.crc32(json.dumps(picture(value)).encode()) % 1000


def end(**values: object) -> None:
    """What the program ends with."""
    Path(os.environ["FUZZ_END"]).write_text(json.dumps(picture(values)))


def picture(value: object) -> Any:
    """What a value holds, and which parts of it are one object."""
    return _picture(value, {}, [])


def _picture(value: Any, seen: dict[int, int], kept: list[Any]) -> Any:
    if isinstance(value, (int, float, str, bytes, bool, type(None), complex, np.generic)):
        return repr(value)
    if isinstance(value, tuple):
        return ["tuple", *(_picture(each, seen, kept) for each in value)]
    if isinstance(value, type) or callable(value) and hasattr(value, "__qualname__"):
        return f"code {value.__qualname__}"
    if id(value) in seen:
        return f"#{seen[id(value)]}"
    seen[id(value)] = len(seen)
    kept.append(value)
    name = type(value).__name__
    if isinstance(value, np.ndarray):
        root = value
        while isinstance(root.base, np.ndarray):
            root = root.base
        kept.append(root)
        number = seen.setdefault(id(root), len(seen))
        return [name, str(value.dtype), list(value.shape), repr(value.tolist()), f"in {number}"]
    if isinstance(value, pd.DataFrame):
        columns = [[str(n), str(value[n].dtype), repr(value[n].tolist())] for n in value.columns]
        return [name, repr(list(value.index)), columns]
    if isinstance(value, pd.Series):
        return [name, str(value.dtype), repr(value.tolist()), repr(list(value.index))]
    if isinstance(value, dict):
        return [name, *([repr(k), _picture(v, seen, kept)] for k, v in value.items())]
    if isinstance(value, (set, frozenset)):
        return [name, *sorted(repr(each) for each in value)]
    if isinstance(value, BaseException):
        return [name, str(value)]
    if isinstance(value, list):
        return [name, *(_picture(each, seen, kept) for each in value)]
    if hasattr(value, "__dict__"):
        return [name, *([k, _picture(v, seen, kept)] for k, v in sorted(vars(value).items()))]
    return [name, repr(value)]
