"""Canary secrets, and the search for them in every byte of a folder."""

from __future__ import annotations

import base64
import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

__all__ = ["found_in", "spellings"]


def spellings(secret: str) -> list[bytes]:
    """A secret as it may stand in a file: plain, escaped, encoded, as base64 at any place."""
    data = secret.encode()
    found = [
        data,
        json.dumps(secret)[1:-1].encode(),
        repr(secret)[1:-1].encode(),
        quote(secret, safe="").encode(),
    ]
    found += [secret.encode("utf-16-le"), secret.encode("utf-32-le"), data.hex().encode()]
    for ahead in range(3):
        text = base64.b64encode(b"\0" * ahead + data)
        found.append(text[(ahead * 8 + 5) // 6 : (ahead + len(data)) * 8 // 6])
    return found


def found_in(folders: Iterable[Path], secrets: Iterable[str]) -> list[str]:
    """Each secret with each file that holds it in some spelling."""
    wanted = {secret: spellings(secret) for secret in secrets}
    return [
        f"{secret} in {path}"
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for content in _contents(path)
        for secret, forms in wanted.items()
        if any(form in content for form in forms)
    ]


def _contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and those it holds compressed."""
    data = path.read_bytes()
    yield data
    for start in (b"\x78\x9c", b"\x78\x01", b"\x78\xda"):
        at = data.find(start)
        while at >= 0:
            with contextlib.suppress(zlib.error):
                yield zlib.decompressobj().decompress(data[at:])
            at = data.find(start, at + 1)
    if data.startswith(b"SQLite format 3"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            yield "\n".join(connection.iterdump()).encode("utf-8", "surrogatepass")
        connection.close()
