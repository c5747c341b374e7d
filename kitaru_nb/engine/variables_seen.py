"""Whether steps on record saw the environment variables that there are now.

A line of commits is put back whole, so a step of it saw what there was when its kernel began, or what a
step before it has set. The first is looked at. The second comes back with that step. A variable that is
not set where a run goes on tells nothing: a server, a scheduler and another shell have not what the shell
had that began it, and what is done stays done there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any

from kitaru_nb.artifacts.digest import digest_values
from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import KitaruError
from kitaru_nb.model.checkpoint import Checkpoint

__all__ = ["named_by", "seen_otherwise", "set_by", "value_digest"]

# They say who runs it, on which machine, in which job, session or terminal. An attempt that goes on
# where another has stopped is another job by its nature.
_OF_THE_PROCESS = re.compile(
    r"(?:SLURM|PBS|LSB|KUBERNETES|JPY|SSH|XDG)_\w+|PATH|PWD|OLDPWD|SHLVL|HOME|USER|LOGNAME|SHELL|"
    r"HOSTNAME|TERM|TMPDIR|CUDA_VISIBLE_DEVICES"
)


def named_by(checkpoint: Checkpoint) -> Mapping[str, Collection[str]]:
    """The environment variables that a step names, each with digests of the values that it may have."""
    found = {}
    for what, digests in checkpoint.draft.conditions.items():
        kind, _, name = what.partition(":")
        if kind == "env" and _OF_THE_PROCESS.fullmatch(name) is None:
            found[name] = digests.split("|")
    return found


def seen_otherwise(
    line: Sequence[Checkpoint],
    *,
    now: Callable[[str], str | None],
    set_by: Callable[[Checkpoint], Collection[str] | None],
) -> dict[int, str]:
    """Places in `line` of the steps that saw another value of a variable than there is now, and which.

    Args:
        line: Commits, oldest first, from the beginning of a kernel.
        now: The digest of a variable's value in a new kernel, see `value_digest`; None where it is not set.
        set_by: The variables that cells have set as of a commit; None where that cannot be told.
    """
    found: dict[int, str] = {}
    settled: set[str] = set()  # by steps before
    now = cache(now)
    for place, checkpoint in enumerate(line):
        named = named_by(checkpoint)
        unlike = [
            name
            for name, digests in named.items()
            if name not in settled and now(name) not in (None, *digests)
        ]
        if unlike:
            found[place] = min(unlike)
        settled.update(name for name, digests in named.items() if len(digests) > 1)
        more = set_by(checkpoint)
        if more is None:
            return found
        settled.update(more)
    return found


def value_digest(name: str) -> str | None:
    """What tells the values of an environment variable apart, here and now; None where it is not set."""
    value = os.environ.get(name)
    return None if value is None else digest_values({"": value}, namespace={})


def set_by(engine: Engine, checkpoint: Checkpoint) -> Collection[str] | None:
    """The variables that cells have set as of a commit; None where that cannot be told here.

    What is stored with them is loaded, so this is for the kernel.
    """
    digest = checkpoint.draft.process
    if digest is None:
        return ()
    try:
        stored: Any = engine.get(digest, namespace={})
    except KitaruError:  # it leads to what only comes back with the notebook's names
        return None
    return frozenset(stored["parts"].get("env", ()))
