"""What the committed assets were built from, so that a test can tell without Node whether they are current.

`make labextension` writes the stamp after a build; `tests/unit/test_labextension.py` compares it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
STAMP = HERE / "stamp.json"


def sources() -> Iterator[Path]:
    """Everything that a build reads, without tests."""
    yield from (HERE / name for name in ("package.json", "tsconfig.json", "yarn.lock"))
    for folder in ("schema", "src", "style"):
        yield from (
            path for path in (HERE / folder).rglob("*") if path.is_file() and "__tests__" not in path.parts
        )


def assets() -> Iterator[Path]:
    """Everything that a build writes."""
    yield from (path for path in (HERE / "assets").rglob("*") if path.is_file())


def digest(files: Iterator[Path]) -> str:
    """One digest of files, their names and their contents."""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(f"{path.relative_to(HERE).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def stamp() -> dict[str, str]:
    """Of the files as they are now."""
    return {"sources": digest(sources()), "assets": digest(assets())}


if __name__ == "__main__":
    STAMP.write_text(json.dumps(stamp(), indent=2) + "\n", encoding="utf-8")
