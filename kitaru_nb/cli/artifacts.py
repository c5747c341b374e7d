"""`artifacts` and `artifact`: what is stored, and how to get it out."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO

from kitaru_nb.cli.output import Json, print_json, print_table, size
from kitaru_nb.engine.describe import artifact_json, artifacts_json
from kitaru_nb.engine.refs import LATEST, find_artifact, find_execution
from kitaru_nb.errors import StoreError
from kitaru_nb.stacks.open import load_stored, open_engine
from kitaru_nb.stacks.settings import resolve

__all__ = ["artifact", "artifacts"]


def artifacts(execution: str = LATEST, /, *, json: Json = False) -> int:
    """List what an execution stored.

    Args:
        execution: An id, the start of one, or latest.
        json: Print one JSON document.
    """
    with closing(open_engine(resolve(), read_only=True)) as engine:
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
        return f"removed by gc on {known['removed']['at'][:10]} under the policy {known['removed']['policy']}"
    return str(known["codec"] or "missing")


def artifact(ref: str, /, *, out: Path | None = None, json: Json = False) -> int:
    """Show one stored value, or write it to a file.

    Args:
        ref: EXECUTION/CHECKPOINT[#n]/NAME, a digest, or a bare name of the latest execution.
        out: File to write the value to: text and bytes as they are, an array as .npy,
            anything else as a pickle.
        json: Print one JSON document.
    """
    if json and out is None:
        with closing(open_engine(resolve(), read_only=True)) as engine:
            found = find_artifact(engine.journal, ref)
    else:
        found, value = load_stored(ref)
        if out is not None:
            _write(out, value)
    if json:
        print_json(artifact_json(ref, found.names, found.artifact))
    elif out is not None:
        print(f"wrote {out} ({size(out.stat().st_size)})")
    else:
        print(f"{size(found.artifact.bytes)}, {found.artifact.codec}, digest {found.artifact.digest}")
        print(f"\n{type(value).__name__}\n{value!r}")
    return 0


def _write(path: Path, value: object) -> None:
    """Put `value` into `path`: wholly, or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("xb") as file:
            _write_to(file, value)
        partial.replace(path)
    except OSError as error:
        raise StoreError(
            f"`{path}` could not be written: {error.strerror or error}",
            kind="out-not-written",
            hint="--out /another/file",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _write_to(file: BinaryIO, value: object) -> None:
    numpy = sys.modules.get("numpy")
    if isinstance(value, str):
        file.write(value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, bytes | bytearray):
        file.write(value)
    elif numpy is not None and isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        numpy.save(file, value)
    else:
        import cloudpickle  # noqa: PLC0415 - only a value that has no form of its own needs it

        cloudpickle.dump(value, file, protocol=5)
