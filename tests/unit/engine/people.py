"""People with homes, notebooks and keys of their own, who hand executions to each other in files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitaru_nb.engine.export import export_execution
from kitaru_nb.engine.export_file import ARTIFACTS, EXTENTS, RECORDS, ExportWriter
from kitaru_nb.engine.importing import Imported, import_file
from kitaru_nb.engine.trust import mark_of, statement_of
from kitaru_nb.journal.portable import step_from
from kitaru_nb.model.checkpoint import Checkpoint
from kitaru_nb.model.execution import ExecutionId
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.keys import CONFIG, Keyring
from kitaru_nb.stacks.open import open_engine
from tests.unit.engine.kernel import Kernel

__all__ = ["ARRAY", "CELLS", "DEFINE", "LOAD", "USE", "People", "members", "rewritten", "signed_by", "told"]

LOAD = "%%checkpoint load\nrows = [[1], [2]]\nalso = rows[0]\nnumber = 7"
ARRAY = "%%checkpoint array\narray = np.arange(200_000.0)"
DEFINE = "%%checkpoint define\nclass Point:\n    pass\ndef far(point):\n    return point.x + number"
USE = "%%checkpoint use\npoint = Point()\npoint.x = far(type('P', (), {'x': 1}))"
CELLS = (LOAD, ARRAY, DEFINE, USE)


class People:
    """Everybody has a configuration folder, a home and a notebook of their own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = monkeypatch

    def be(self, name: str) -> Keyring:
        self._patch.setenv(CONFIG, str(self.folder / f"{name}-config"))
        self._patch.setenv("KITARU_NB_HOME", str(self.home(name)))
        return Keyring(self.folder / f"{name}-config")

    def home(self, name: str) -> Path:
        return self.folder / name / "home"

    def kernel(self, name: str, **options: Any) -> Kernel:
        self.be(name)
        kernel = Kernel(self.home(name), settings={"paranoid": False}, **options)
        kernel.live["np"] = np
        return kernel

    def runs(self, name: str, *cells: str, **options: Any) -> ExecutionId:
        """`name` runs the cells in a kernel, which then ends."""
        kernel = self.kernel(name, **options)
        for number, source in enumerate(cells):
            kernel.cell(source, step=f"c{number}")
        kernel.stop()
        return kernel.last.execution

    def exports(self, name: str, execution: str, *, to: str = "x.kitaru", **options: Any) -> Path:
        self.be(name)
        path = self.folder / to
        with closing(open_engine(Settings(home=self.home(name)), read_only=True)) as engine:
            export_execution(engine, ExecutionId(execution), path, **options)
        return path

    def imports(self, name: str, path: Path) -> Imported:
        self.be(name)
        with closing(open_engine(Settings(home=self.home(name)))) as engine:
            return import_file(engine, path)

    def records(self, name: str) -> Any:
        """Everything that `name`'s journal says, and all packs."""
        self.be(name)
        with closing(open_engine(Settings(home=self.home(name)), read_only=True)) as engine:
            journal = engine.journal
            assert journal.verify() == []  # type: ignore[attr-defined]
            extents = sorted(journal.every_extent(), key=lambda place: place.extent.digest)
            packs = sorted((pack.name, pack.bytes) for pack in engine.store.packs())
            return [
                journal.executions(),
                list(journal.every_checkpoint()),
                journal.events(),
                sorted(journal.artifact_digests()),
                extents,
                packs,
            ]

    def steps(self, name: str, execution: str) -> list[Checkpoint]:
        self.be(name)
        with closing(open_engine(Settings(home=self.home(name)), read_only=True)) as engine:
            return engine.journal.checkpoints(ExecutionId(execution))

    def within(self, name: str, execution: str) -> list[Checkpoint]:
        self.be(name)
        with closing(open_engine(Settings(home=self.home(name)), read_only=True)) as engine:
            return engine.journal.steps_within(ExecutionId(execution))


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def told(path: Path) -> list[Any]:
    return [json.loads(line) for line in members(path)["records.jsonl"].splitlines()]


def rewritten(
    path: Path,
    key: Keyring,
    *,
    records: Callable[[list[Any]], None] = lambda _records: None,
    artifacts: Callable[[list[Any]], None] = lambda _artifacts: None,
    extents: Callable[[bytes], bytes] = bytes,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """The same file with something changed, put together and signed by the owner of `key`."""
    parts = members(path)
    manifest = json.loads(parts["manifest.json"])
    listed = [json.loads(line) for line in parts[ARTIFACTS].splitlines()]
    lines = told(path)
    records(lines)
    artifacts(listed)
    target = path.with_name("rewritten.kitaru")
    with ExportWriter(target) as writer:
        for name, values in ((RECORDS, lines), (ARTIFACTS, listed)):
            with writer.member(name) as write:
                write("".join(json.dumps(value) + "\n" for value in values).encode())
        with writer.member(EXTENTS) as write:
            write(extents(parts[EXTENTS]))
        writer.finish(
            {"execution": manifest["execution"], "values": manifest["values"], **(about or {})}, key.sign
        )
    return target


def signed_by(key: Keyring) -> Callable[[list[Any]], None]:
    """Signs every step anew, as somebody may who has written them."""

    def sign(lines: list[Any]) -> None:
        marks: dict[int, str] = {}
        for kind, fields in lines:
            if kind != "step":
                continue
            fields["body"].pop("signature", None)
            step = step_from(fields)
            statement = statement_of(step.draft, step.execution, marks.get(step.draft.parent or 0))
            marks[step.seq] = mark_of(statement)
            fields["body"]["signature"] = dict(key.sign(statement))

    return sign
