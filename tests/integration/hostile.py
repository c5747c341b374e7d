"""A store that mallory made: honest cells, and on top of each a record that runs something when acted upon.

Every payload touches a file of its own, so a test sees which of them ran.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from kitaru_nb.artifacts.values import Stored
from kitaru_nb.model.artifact import Digest
from kitaru_nb.model.checkpoint import Checkpoint, Group
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.open import open_engine
from tests.unit.engine.kernel import Kernel

__all__ = ["CELLS", "PAYLOADS", "Payload", "made_by_mallory", "ran"]

CELLS = (
    "%%checkpoint load\nnumber = 7\nrows = [[1], [2]]",
    "%%checkpoint define\ndef far(x):\n    return x + number",
    "%%checkpoint make\nclass Point:\n    pass\npoint = Point()",
    "%%checkpoint report\nwith open('report.txt', 'w') as file:\n    _ = file.write('done')\nfar(1)",
)
"""The cells of the notebook; mallory, and whoever is handed the store, have the same."""

PAYLOADS = ("value", "function", "class", "process", "result", "file", "recipe", "import")


class Payload:
    """Touches a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.canary}'",)


def made_by_mallory(home: Path, notebook: Path, canaries: Path) -> ExecutionId:
    """Run the notebook's cells and record something hostile over each, all well signed. The process
    must have mallory's configuration folder."""
    kernel = Kernel(home, notebook=notebook, settings={"paranoid": False})
    kernel.identity = replace(kernel.identity, notebook=str(notebook))
    os.chdir(notebook.parent)
    for number, source in enumerate(CELLS):
        kernel.cell(source, step=f"c{number}")
    execution = kernel.last.execution
    kernel.stop()
    with closing(open_engine(Settings(home=home))) as engine:
        attempt = engine.journal.resume(execution, owner=current_owner())
        honest = list(engine.journal.checkpoints(execution))
        engine.trust.require(honest)
        last: Checkpoint = honest[-1]
        for step, change in zip(honest, _changes(engine, honest, canaries), strict=True):
            fields, stored = change
            draft = replace(step.draft, parent=last.seq, signature=None, **fields)
            engine.store.flush()
            draft = engine.trust.signed(draft, execution, fresh=[each.artifact for each in stored])
            last = engine.journal.commit(
                attempt,
                draft,
                artifacts=[each.artifact for each in stored],
                locations=[place for each in stored for place in each.locations],
            )
            engine.trust.committed(last)
        engine.journal.finish(attempt, ExecutionStatus.COMPLETED)
    return execution


def ran(canaries: Path) -> list[str]:
    """The payloads that ran."""
    return sorted(path.name for path in canaries.iterdir())


def _changes(
    engine: Any, honest: Iterable[Checkpoint], canaries: Path
) -> Iterable[tuple[dict[str, Any], list[Stored]]]:
    """For each honest step what to put in its place."""

    def put(name: str, payload: str, **values: object) -> tuple[Group, Stored]:
        stored = engine.put({name: Payload(canaries / payload), **values}, namespace={})
        digest = stored.artifact.digest
        return Group((name,), digest, digest), stored

    load, define, make, report = honest
    rows, rows_stored = put("rows", "value")
    recipe = {
        "code": f"import os\nmade = os.system('touch {canaries / 'recipe'}')",
        "inputs": {},
        "files": {},
        "cwd": "/",
        "step": "load",
        "seconds": 1.0,
    }
    made = replace(rows, names=("made",), recipe=recipe)
    kept = tuple(group for group in load.draft.groups if "number" in group.names)
    yield {"groups": (*kept, rows, made)}, [rows_stored]

    def far(x: int, _payload: object = Payload(canaries / "function")) -> int:
        return x + 7

    function = engine.put({"far": far}, namespace={})
    digest = function.artifact.digest
    yield {"groups": (Group(("far",), digest, digest),)}, [function]

    point, point_stored = put("point", "class")
    process = engine.put(
        {"parts": {"random": Payload(canaries / "process")}, "by_step": ["random"]}, namespace={}
    )
    yield (
        {"groups": (point,), "process": process.artifact.digest, "imports": (_module(canaries),)},
        [point_stored, process],
    )

    result, result_stored = put("_", "result")
    text, text_stored = put("file", "file")
    (file,) = report.draft.files
    files = (
        {**file, "artifact": text.artifact, "digest": "0" * 64},
        {**file, "artifact": text.artifact, "below": "../outside", "path": "/tmp/outside"},
    )
    del define, make
    yield (
        {"result": f"artifact:{Digest(result.artifact)}", "files": files, "groups": ()},
        [result_stored, text_stored],
    )


def _module(canaries: Path) -> str:
    """A module beside the notebook that touches a file when it is imported."""
    name = "helpers_of_mallory"
    Path(f"{name}.py").write_text(f"import os\nos.system('touch {canaries / 'import'}')\n")
    return name
