"""What an artifact refers to: named by its manifest, or found in a pickle of an earlier format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kitaru_nb.artifacts.refers import refers_to
from kitaru_nb.artifacts.values import checked_buffers
from kitaru_nb.model.artifact import Artifact, Digest, Extent
from tests.unit.engine.kernel import Kernel


def kept(home: Path) -> tuple[Kernel, Artifact, Digest]:
    """A list of instances, and what their class is stored in."""
    kernel = Kernel(home)
    kernel.cell("%%checkpoint kind\nclass Kind:\n    pass")
    kind = kernel.last.draft.groups[0].artifact
    kernel.cell("%%checkpoint many\nmany = [Kind(), Kind()]")
    return kernel, kernel.engine.artifact(kernel.last.draft.groups[0].artifact), kind


def test_a_manifest_names_the_definitions_that_its_pickle_refers_to(tmp_path: Path) -> None:
    kernel, artifact, kind = kept(tmp_path / "home")

    found = refers_to(artifact, extents=lambda _n: (), read=lambda _e: memoryview(b""), known=())

    kernel.stop()
    assert found == {kind}


def test_a_pickle_of_the_first_format_is_looked_through_for_what_is_on_record(tmp_path: Path) -> None:
    kernel, artifact, kind = kept(tmp_path / "home")
    meta = {**artifact.manifest["meta"], "format": 1}
    del meta["anchors"]
    old = replace(artifact, manifest={**artifact.manifest, "meta": meta})

    def read(extent: Extent) -> memoryview:
        return kernel.engine.store.read(kernel.engine.journal.locate([extent.digest])[extent.digest])

    rows = checked_buffers(artifact)
    known = {kind, artifact.digest}
    found = refers_to(old, extents=rows.__getitem__, read=read, known=known)
    unknown = refers_to(old, extents=rows.__getitem__, read=read, known=())

    kernel.stop()
    assert (found, unknown) == ({kind}, frozenset())


def test_a_value_that_has_grown_needs_what_it_shares_its_beginning_with(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "home")
    kernel.cell("%%checkpoint one\nlog = [str(n) * 50 for n in range(300)]")
    before = kernel.last.draft.groups[0].artifact

    shared = kernel.engine.put({"log": [*kernel["log"], "more"]}, namespace=kernel.live, before=before)
    alone = kernel.engine.put({"log": ["other"] * 3000}, namespace=kernel.live, before=before)

    kernel.stop()
    assert shared.needs == {before}
    assert alone.needs == frozenset()
