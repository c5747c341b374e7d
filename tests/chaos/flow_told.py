"""What a fuzzed program tells of itself: what it did, how far it is, and what it ends with.

It writes to the file that ``FUZZ_TOLD`` names, and dies where ``FUZZ_DIE`` says: ``12 SIGKILL`` at the
twelfth place of this attempt.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import random
import signal
import zlib
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

__all__ = [
    "aask",
    "acall",
    "ask",
    "begin",
    "call",
    "end",
    "failing",
    "here",
    "note",
    "num",
    "picture",
    "tell",
]

_places = itertools.count(1)
_pid = os.getpid()


def begin() -> None:
    """An attempt begins in this process."""
    global _places, _pid
    _places, _pid = itertools.count(1), os.getpid()


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


def _body(text: str, *, stream: bool = False) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "gpt-4o", "messages": messages, "max_tokens": 20, "stream": stream}


def ask(text: str) -> str:
    """Ask the model; every other question has its answer streamed."""
    here()
    tell("begun", "llm")
    url = f"{os.environ['FUZZ_LLM']}/chat/completions"
    with httpx.Client() as client:
        if len(text) % 2:
            answer = (
                client.post(url, json=_body(text))
                .raise_for_status()
                .json()["choices"][0]["message"]["content"]
            )
        else:
            answer = ""
            with client.stream("POST", url, json=_body(text, stream=True)) as reply:
                for line in reply.raise_for_status().iter_lines():
                    if line.startswith("data: {"):
                        for choice in json.loads(line[6:])["choices"]:
                            answer += choice["delta"].get("content") or ""
    tell("ended", "llm")
    here()
    return answer


async def aask(text: str) -> str:
    """As `ask`, in an event loop."""
    here()
    tell("begun", "llm")
    url = f"{os.environ['FUZZ_LLM']}/chat/completions"
    async with httpx.AsyncClient() as client:
        reply = await client.post(url, json=_body(text))
    tell("ended", "llm")
    here()
    return reply.raise_for_status().json()["choices"][0]["message"]["content"]


def num(value: object) -> int:
    """A number that hangs on all that a value holds."""
    return zlib.crc32(json.dumps(picture(value)).encode()) % 1000


def end(**values: object) -> None:
    """What the program ends with."""
    Path(os.environ["FUZZ_END"]).write_text(json.dumps(picture(values)))


def picture(value: object) -> Any:
    """What a value holds, and which parts of it are one object."""
    return _picture(value, {}, [], {})


def _picture(value: Any, seen: dict[int, int], kept: list[Any], memory: dict[int, int]) -> Any:  # noqa: C901, PLR0912 - one of each kind
    if isinstance(value, (int, float, str, bytes, bool, type(None), complex, np.generic)):
        return repr(value)
    if isinstance(value, tuple):
        return ["tuple", *(_picture(each, seen, kept, memory) for each in value)]
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        cells = getattr(value, "__closure__", None)
        held = [c.cell_contents for c in cells or () if value.__name__ == "add"]
        return ["code", value.__qualname__, *(_picture(each, seen, kept, memory) for each in held)]
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
        number = memory.setdefault(id(root), len(memory))
        return [name, str(value.dtype), list(value.shape), repr(value.tolist()), f"in {number}"]
    if isinstance(value, pd.DataFrame):
        columns = [[str(n), str(value[n].dtype), repr(value[n].tolist())] for n in value.columns]
        return [name, repr(list(value.index)), columns]
    if isinstance(value, pd.Index):
        return [name, str(value.dtype), repr(list(value))]
    if isinstance(value, pd.Series):
        return [name, str(value.dtype), repr(value.tolist()), repr(list(value.index))]
    if isinstance(value, dict):
        return [name, *([repr(k), _picture(v, seen, kept, memory)] for k, v in value.items())]
    if isinstance(value, (set, frozenset)):
        return [name, *sorted(repr(each) for each in value)]
    if isinstance(value, BaseException):
        return [name, *(_picture(each, seen, kept, memory) for each in value.args)]
    if isinstance(value, Enum):
        return repr(value)
    if isinstance(value, (random.Random, np.random.Generator)):
        state = value.getstate() if isinstance(value, random.Random) else value.bit_generator.state
        return [name, zlib.crc32(repr(state).encode())]
    if isinstance(value, deque):
        return [name, value.maxlen, *(_picture(each, seen, kept, memory) for each in value)]
    if name == "list_iterator":
        return [name, repr(list(copy.copy(value)))]
    if (
        hasattr(type(value), "__slots__")
        and not hasattr(value, "__dict__")
        and type(value).__module__ == "__main__"
    ):
        return [name, *([k, _picture(getattr(value, k), seen, kept, memory)] for k in type(value).__slots__)]
    if isinstance(value, list):
        return [name, *(_picture(each, seen, kept, memory) for each in value)]
    if hasattr(value, "__dict__"):
        return [name, *([k, _picture(v, seen, kept, memory)] for k, v in sorted(vars(value).items()))]
    return [name, repr(value)]
