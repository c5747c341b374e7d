"""Opening an engine: what makes a home usable, and how a bad one is told."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from kitaru_nb.artifacts.memory import SMALLEST_MAPPED, Memory
from kitaru_nb.errors import CorruptError, NotFoundError, StoreError, UsageError
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks import open as opening
from kitaru_nb.stacks.open import load, open_engine
from kitaru_nb.testing import a_draft


def keep(home: Path, **values) -> str:
    """Store `values` as checkpoint `train` of a new execution; its id."""
    engine = open_engine(Settings(home=home))
    attempt, _ = engine.journal.start(Identity(notebook="/a.ipynb"), owner=current_owner())
    stored = engine.put(values, namespace={})
    engine.store.flush()
    group = Group(tuple(sorted(values)), stored.artifact.digest, stored.artifact.digest)
    draft = a_draft("train", groups=(group,))
    draft = engine.trust.signed(draft, attempt.execution)
    engine.journal.commit(attempt, draft, artifacts=[stored.artifact], locations=stored.locations)
    engine.close()
    return attempt.execution


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_missing_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"

    open_engine(Settings(home=home)).close()

    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "journal.db").stat().st_mode) == 0o600


def test_a_journal_that_was_deleted_is_no_store_in_which_nothing_ever_was(tmp_path: Path) -> None:
    """Else `executions` and `run --dry-run` would say that all of it is still to be run."""
    settings = Settings(home=tmp_path / "home")
    with closing(open_engine(settings)) as engine:
        engine.journal.start(Identity(notebook="/nb.ipynb"), owner=current_owner())
    (settings.home / "journal.db").unlink()

    with pytest.raises(CorruptError, match="is gone, though") as caught:
        open_engine(settings, read_only=True)

    assert "put a backup of it back" in caught.value.hint


def test_reading_makes_no_home(tmp_path: Path) -> None:
    home = tmp_path / "home"

    with pytest.raises(NotFoundError) as caught:
        open_engine(Settings(home=home), read_only=True)

    assert caught.value.kind == "nothing-recorded"
    assert not home.exists()


@pytest.mark.parametrize("inside", ["", "below"])
def test_a_home_that_is_or_lies_under_a_file_is_named(inside: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")

    with pytest.raises(StoreError) as caught:
        open_engine(Settings(home=file / inside))

    assert caught.value.kind == "home-not-a-folder"
    assert str(file) in caught.value.message
    assert "KITARU_NB_HOME=" in caught.value.hint
    assert file.read_text() == "mine"


def test_a_full_disk_is_told_before_anything_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LEAST_FREE", 1 << 80)

    with pytest.raises(StoreError) as caught:
        open_engine(Settings(home=tmp_path / "home"))

    assert caught.value.kind == "disk-full"
    assert not (tmp_path / "home").exists()


def test_what_is_stored_can_be_read_on_a_full_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(home, model=[1, 2])
    monkeypatch.setattr(opening, "LEAST_FREE", 1 << 80)

    assert load("latest/train/model") == [1, 2]


def test_a_home_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so the answer of the system is given here.
    monkeypatch.setattr(opening.os, "access", lambda path, mode: False)

    with pytest.raises(StoreError, match="Permission denied") as caught:
        open_engine(Settings(home=tmp_path / "home"))

    assert caught.value.kind == "home-not-writable"


def test_a_journal_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database" * 100)

    with pytest.raises((CorruptError, StoreError)) as caught:
        open_engine(Settings(home=tmp_path))

    assert caught.value.hint
    assert (tmp_path / "journal.db").read_bytes() == b"not a database" * 100


def test_an_unknown_stack_is_named_with_its_source(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, stack="prod", sources={"stack": "KITARU_NB_STACK"})

    with pytest.raises(UsageError, match="no stack `prod` \\(from KITARU_NB_STACK\\)"):
        open_engine(settings)


def test_a_value_is_loaded_by_name_by_ref_and_by_digest(home: Path) -> None:
    execution = keep(home, model={"w": [1.5]})

    assert load("model") == load(f"{execution}/train/model") == {"w": [1.5]}
    assert load("model", execution=execution) == {"w": [1.5]}


def test_names_stored_together_share_objects_when_loaded_by_digest(home: Path) -> None:
    shared = [1]
    keep(home, a=shared, b=shared)
    engine = open_engine(Settings(home=home), read_only=True)
    digest = engine.journal.checkpoints(engine.journal.execution("latest").id)[0].draft.groups[0].artifact
    engine.close()

    values = load(digest)

    assert values == {"a": [1], "b": [1]}
    assert values["a"] is values["b"]


def test_what_is_no_array_has_no_zarr_store(home: Path) -> None:
    keep(home, model=[1])

    with pytest.raises(UsageError) as caught:
        load("model", as_zarr=True)

    assert caught.value.kind == "not-an-array"
    assert caught.value.hint == "kitaru_nb.load('model')"


def test_an_array_is_read_through_zarr_in_parts(home: Path) -> None:
    numpy = pytest.importorskip("numpy")
    weights = numpy.arange(3_000_000, dtype="f8").reshape(3000, 1000)
    keep(home, weights=weights)

    array = load("latest/train/weights", as_zarr=True)

    assert array.shape == (3000, 1000)
    assert numpy.array_equal(array[2990:, 10:20], weights[2990:, 10:20])
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1.0


@pytest.mark.parametrize(("kind", "mapped"), [("ext4", True), ("nfs4", False)])
def test_nothing_is_mapped_from_a_disk_on_which_another_machine_may_delete_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, mapped: bool
) -> None:
    monkeypatch.setattr(opening, "file_system", lambda _: kind)
    with closing(open_engine(Settings(home=tmp_path / "home"))) as engine:
        stored = engine.put({"value": np.arange(SMALLEST_MAPPED)}, namespace={})
        engine.store.flush()
        memory = Memory.to_map(sum(place.extent.length for place in stored.locations))
        if memory is None:
            pytest.skip("files are not mapped on this platform")

        assert engine.store.map_into(stored.locations, memory) is mapped
