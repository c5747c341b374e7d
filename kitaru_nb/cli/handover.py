"""`export` and `import`: an execution as a file, for a colleague or for later."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kitaru_nb.cli.output import Json, clean, print_json, size
from kitaru_nb.engine.describe import execution_json
from kitaru_nb.engine.export import Exported, export_execution
from kitaru_nb.engine.importing import Imported, import_file
from kitaru_nb.engine.refs import find_execution
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["export", "import_"]


def export(
    execution: str,
    file: Path,
    /,
    *,
    records: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> int:
    """Write an execution to a file that somebody else can import, with all that it needs.

    The file holds its source, outputs and values, signed by you. Secrets are in it as references
    only.

    Args:
        execution: An id, the start of one, or latest.
        file: Where to; a file that is there already is replaced once the new one is whole.
        records: Only records and outputs, no values. What is imported can be looked at, not restored.
        json: Print one JSON document.
    """
    with closing(engine_with(execution, read_only=True)) as engine:
        chosen = find_execution(engine.journal, execution)
        written = export_execution(engine, chosen.id, file, values=not records)
    if json:
        print_json(_exported(file, written))
        return 0
    others = f" and {_counted(len(written.others), 'execution')} that it needs" if written.others else ""
    print(
        clean(
            f"wrote {file} ({size(written.bytes)}): {chosen.id}{others}, "
            f"{_counted(written.checkpoints, 'checkpoint')}, "
            + ("no values" if records else _counted(written.artifacts, "value"))
        )
    )
    print(f"signed with {written.key}: whoever imports it trusts it with `kitaru-nb trust {written.key}`")
    return 0


def import_(file: Path, /, *, json: Json = False) -> int:
    """Take in an execution that somebody exported. Nothing of it is run, and nothing here is changed.

    All of the file is checked before anything is recorded. To import it twice is harmless.

    Args:
        file: What `kitaru-nb export` wrote.
        json: Print one JSON document.
    """
    with closing(open_engine(resolve())) as engine:
        found = import_file(engine, file)
    if json:
        print_json(_imported(file, found))
    else:
        _print(found)
    return 0


def _exported(file: Path, written: Exported) -> dict[str, object]:
    return {
        "file": str(file),
        "bytes": written.bytes,
        "execution": written.execution.id,
        "others": list(written.others),
        "checkpoints": written.checkpoints,
        "artifacts": written.artifacts,
        "key": written.key,
    }


def _imported(file: Path, found: Imported) -> dict[str, object]:
    return {
        "file": str(file),
        "execution": execution_json(found.execution),
        "executions": [{"id": each, "new": new} for each, new in found.executions.items()],
        "checkpoints": found.checkpoints,
        "artifacts": found.artifacts,
        "bytes": found.bytes,
        "values": found.values,
        "exported_by": found.key,
        "signed_by": [
            {"key": key, "checkpoints": count, "trusted": trusted}
            for key, (count, trusted) in found.signers.items()
        ],
    }


def _print(found: Imported) -> None:
    id_ = found.execution.id
    new = [execution for execution, is_new in found.executions.items() if is_new]
    if not new and not found.artifacts:
        print(f"{id_} is here already: nothing was changed")
    elif not new:
        print(f"{id_} is here already; {_counted(found.artifacts, 'value')} came back ({size(found.bytes)})")
    else:
        values = f"{_counted(found.artifacts, 'new value')} ({size(found.bytes)})"
        values = values if found.values else "its values were not exported"
        print(f"imported {', '.join(new)}: {_counted(found.checkpoints, 'checkpoint')}, {values}")
    for key, (count, trusted) in found.signers.items():
        signed = f"{_counted(count, 'checkpoint')} signed with {key}"
        if trusted:
            print(f"{signed}, which you trust")
        else:
            print(f"{signed}, which you do not trust yet: arrays, numbers and text load, nothing else does")
            print(f"  if you know whose it is: kitaru-nb trust {key}")
    resume = "%resume" if found.execution.identity.flow is None else "kitaru-nb resume"
    print(f"look at it: kitaru-nb show {id_}; go on with it: {resume} {id_}")


def _counted(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
