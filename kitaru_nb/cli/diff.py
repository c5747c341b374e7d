"""`diff`: two executions side by side, in the terminal, as JSON, or as a page that needs nothing else."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, clean, print_json, tidy_path
from kitaru_nb.engine.diff import ExecutionDiff, diff_executions
from kitaru_nb.errors import StoreError
from kitaru_nb.stacks.comparing import beside, line_of, page, told_first
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["diff"]


def diff(
    a: str,
    b: str,
    /,
    *,
    html: Annotated[str | None, Parameter(metavar="FILE")] = None,
    json: Json = False,
) -> int:
    """Compare two executions: where they part, and what differs in each step.

    Args:
        a: The first execution: an id, the start of one, or latest.
        b: The second.
        html: Write the comparison to this file, as a page that needs nothing else.
        json: Print one JSON document.
    """
    with closing(engine_with(a, read_only=True)) as engine:
        settings = engine.settings
    found = diff_executions(lambda: open_engine(settings, read_only=True), a, b)
    if html is not None:
        _write(html, page(found))
    if json:
        print_json(found.to_json())
    elif html is not None:
        print(f"wrote {tidy_path(str(Path(html).absolute()))}")
    else:
        _print(found)
    return 0


def _write(path: str, text: str) -> None:
    target = Path(path).absolute()
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(target)
    except OSError as error:
        message = f"`{path}` could not be written: {error.strerror or error}"
        raise StoreError(
            message, kind="output-not-written", hint="--html FILE in a folder that is there"
        ) from error


_COLOURS = {"-": "\x1b[31m", "+": "\x1b[32m", "@": "\x1b[36m"}
_END = "\x1b[0m"


def _print(found: ExecutionDiff) -> None:
    colour = sys.stdout.isatty()
    for mark, execution in (("-", found.a), ("+", found.b)):
        print(_coloured(f"{mark} {line_of(execution)}", colour=colour))
    for name, (one, other) in found.parameters.items():
        print(f"  {clean(name)}: {clean(repr(one))} became {clean(repr(other))}")
    print(f"\n{clean(told_first(found))}")
    if found.first is None:
        return
    for step in (*found.steps, *found.kept):
        if step.same:
            continue
        print(f"\n{clean(step.title)}  {beside(step)}".rstrip())
        for each in step.differences:
            print(f"  {each.what}{f' {clean(each.name)}' if each.name else ''}")
            for line in each.lines:
                print(_coloured(f"    {clean(line)}", colour=colour, mark=line[:1]))
    same = sum(step.same for step in found.steps)
    if same:
        print("\n1 step is the same" if same == 1 else f"\n{same} steps are the same")


def _coloured(line: str, *, colour: bool, mark: str | None = None) -> str:
    start = _COLOURS.get(line[:1] if mark is None else mark)
    return f"{start}{line}{_END}" if colour and start else line
