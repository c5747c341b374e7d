"""`artifacts` and `artifact`: what is stored, and how to get it out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from kitaru_nb.cli.output import Json, print_json, print_table, size
from kitaru_nb.engine.describe import artifact_json, artifacts_json
from kitaru_nb.engine.refs import LATEST, Ref, find_artifact, find_execution, parse_ref
from kitaru_nb.model.artifact import LEFT_OUT
from kitaru_nb.stacks.open import load_stored, open_engine
from kitaru_nb.stacks.plain_files import write_plain
from kitaru_nb.stacks.whereabouts import engine_with

__all__ = ["artifact", "artifacts"]


def artifacts(execution: str = LATEST, /, *, json: Json = False) -> int:
    """List what an execution stored.

    Args:
        execution: An id, the start of one, or latest.
        json: Print one JSON document.
    """
    with closing(engine_with(execution, read_only=True)) as engine:
        chosen = find_execution(engine.journal, execution)
        found = artifacts_json(engine.journal, chosen)
    if json:
        print_json(found)
    elif not found:
        print(f"{chosen.id} has stored nothing")
    else:
        rows = [[a["ref"], ", ".join(a["names"]), size(a["bytes"]), _codec(a)] for a in found]
        print_table(("ref", "names", "size", "codec"), rows)
    return 0


def _codec(known: Mapping[str, Any]) -> str:
    if "removed" in known:
        day, policy = known["removed"]["at"][:10], known["removed"]["policy"]
        if policy == LEFT_OUT:
            return f"not in the file that it was imported from on {day}"
        return f"removed by gc on {day} under the policy {policy}"
    return str(known["codec"] or "missing")


def artifact(ref: str, /, *, out: Path | None = None, json: Json = False) -> int:
    """Show one stored value, or write it to a file.

    Args:
        ref: EXECUTION/CHECKPOINT[#n]/NAME, a digest, or a bare name of the latest execution.
        out: File to write the value to, in the form that the end of its name says: .zarr,
            .parquet, .csv, .json, .npy, .npz, .nc or .pkl. Text and bytes are written as they
            are to any other. A file is replaced, a .zarr folder is not.
        json: Print one JSON document.
    """
    with closing(engine_with(_execution_in(ref), read_only=True)) as engine:
        settings = engine.settings
    value: object = None
    written = 0
    if out is not None:
        found, written = write_plain(ref, out, settings=settings)
    elif json:
        with closing(open_engine(settings, read_only=True)) as engine:
            found = find_artifact(engine.journal, ref)
    else:
        found, value = load_stored(ref, settings=settings)
    if json:
        print_json(artifact_json(ref, found.names, found.artifact))
    elif out is not None:
        print(f"wrote {out} ({size(written)})")
    else:
        print(f"{size(found.artifact.bytes)}, {found.artifact.codec}, digest {found.artifact.digest}")
        print(f"\n{type(value).__name__}\n{value!r}")
    return 0


def _execution_in(ref: str) -> str | None:
    """The execution that a REF names; None for a digest or a bare name.

    Raises:
        UsageError: kind ``bad-ref``.
    """
    found = parse_ref(ref) if "/" in ref else None
    return found.execution if isinstance(found, Ref) else None
