"""Stored values: what they are like, and parts of arrays and tables. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.preview import Preview, preview_of
from kitaru_nb.engine.preview_slices import Cut, picture_of, rows_of, statistics_of, values_of
from kitaru_nb.engine.refs import Found, Ref, find_artifact, parse_ref
from kitaru_nb.errors import UsageError
from kitaru_nb.server.handler import KitaruHandler

__all__ = ["Artifact", "Slice"]

_FORMS = ("values", "rows", "statistics", "png")
_AXES = 32
_LARGEST = 1 << 53
_HINT = "artifacts?ref=EXECUTION/CHECKPOINT/NAME"


class Artifact(KitaruHandler):
    """What one stored value is like."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with its names, its kind, and what there is to say about that kind."""
        self.reply(await self.seen(_described))

    async def seen(self, look: Callable[[str, Found, Preview], dict[str, Any]]) -> dict[str, Any]:
        """What `look` makes of the value that the query names."""
        ref = self.text("ref")
        if ref is None:
            raise UsageError("which value is not said: no `ref`", kind="bad-query", hint=_HINT)
        parsed = parse_ref(ref)

        def work(engine: Engine, _: object = None) -> dict[str, Any]:
            found = find_artifact(engine.journal, ref)
            title = f"`{found.name or found.artifact.digest[:12]}`"
            return look(ref, found, preview_of(engine, found, title=title))

        if isinstance(parsed, Ref):
            return await self.look_at(parsed.execution, work)
        return await self.look(work)


class Slice(Artifact):
    """A part of one stored value."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Answer with values, rows, statistics or a picture."""
        form = self.text("as") or "values"
        if form not in _FORMS:
            raise UsageError(f"`{form}` is no form of a part", kind="bad-query", hint=", ".join(_FORMS))
        path = self.text("path") or ""
        cut = Cut(_places("start", self.text("start")), _places("stop", self.text("stop")))
        columns = (self.text("columns") or "").split(",") if self.text("columns") else []
        pixels = self.number("pixels", least=1, most=1024) or 256

        def part(_ref: str, _found: Found, preview: Preview) -> dict[str, Any]:
            tree = preview.tree
            if tree is None:
                message = f"it is {preview.kind}, of which no part can be read by itself"
                raise UsageError(message, kind="not-an-array", hint=_HINT)
            if form == "statistics":
                return statistics_of(tree, path)
            if form == "png":
                return picture_of(tree, path, pixels=pixels)
            if form == "rows" or (preview.kind == "table" and not path):
                return rows_of(tree, cut, columns)
            return values_of(tree, path, cut)

        self.reply(await self.seen(part))


def _described(ref: str, found: Found, preview: Preview) -> dict[str, Any]:
    artifact = found.artifact
    return {
        "ref": ref,
        "names": list(found.names),
        "name": found.name,
        "checkpoint": found.step,
        "digest": artifact.digest,
        "codec": artifact.codec,
        "bytes": artifact.bytes,
        "recipe": found.recipe,
        "kind": preview.kind,
        **preview.fields,
    }


def _places(name: str, text: str | None) -> tuple[int, ...]:
    """One number for each axis, with commas between.

    Raises:
        UsageError: kind ``bad-slice``.
    """
    if text is None:
        return ()
    parts = text.split(",")
    plain = all(part.isascii() and part.isdigit() and len(part) < 17 for part in parts)
    if not plain or len(parts) > _AXES or any(int(part) > _LARGEST for part in parts):
        message = f"`{name}` is `{text}`, which is no place in an array"
        raise UsageError(message, kind="bad-slice", hint=f"{name}=0,0, one number for each axis")
    return tuple(int(part) for part in parts)
