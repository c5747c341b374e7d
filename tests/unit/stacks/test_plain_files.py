"""`artifact --out`: plain files that other programs open, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import pickle
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
import scipy.sparse
import xarray as xr
import zarr

from kitaru_nb.artifacts.values import manifest_digest
from kitaru_nb.engine import cheaper
from kitaru_nb.errors import CorruptError, NotFoundError, StoreError, UnstorableError, UsageError
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks import plain_files
from kitaru_nb.stacks.open import load, open_engine
from kitaru_nb.stacks.plain_files import write_plain
from kitaru_nb.testing import a_draft
from tests.unit.engine.kernel import Kernel

FRAME = pd.DataFrame(
    {
        "n": np.arange(3),
        "x": [0.1, 1 / 3, np.nan],
        "s": ["a", None, "ö,"],
        "t": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
        "k": pd.Categorical(["u", "v", "u"]),
    }
)
ARRAY = np.random.default_rng(0).random((1500, 1000))
CYCLE: list[Any] = [1]
CYCLE.append(CYCLE)
DATASET = xr.Dataset({"t": (("x", "y"), ARRAY[:20])}, coords={"x": np.arange(20)}, attrs={"a": 1})


@dataclass
class Point:
    x: float
    label: str


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def keep(home: Path, value: Any) -> None:
    engine = open_engine(Settings(home=home))
    attempt, _ = engine.journal.start(Identity(notebook="/a.ipynb"), owner=current_owner())
    stored = engine.put({"value": value}, namespace={})
    engine.store.flush()
    draft = a_draft("train", groups=(Group(("value",), stored.artifact.digest, stored.artifact.digest),))
    draft = engine.trust.signed(draft, attempt.execution)
    engine.journal.commit(attempt, draft, artifacts=[stored.artifact], locations=stored.locations)
    engine.close()


def written(home: Path, value: Any, name: str) -> Path:
    keep(home, value)
    path = home.parent / name
    write_plain("latest/train/value", path)
    return path


def test_an_array_is_written_as_npy(home: Path) -> None:
    assert np.array_equal(np.load(written(home, ARRAY, "a.npy"), allow_pickle=False), ARRAY)


def test_an_array_is_written_as_zarr_without_being_loaded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_files, "load_stored", None)

    array = zarr.open(written(home, ARRAY, "a.zarr"), mode="r")

    assert np.array_equal(array[...], ARRAY)  # type: ignore[index]


def test_a_dataset_is_written_as_zarr(home: Path) -> None:
    found = xr.open_zarr(written(home, DATASET, "a.zarr"), chunks=None)

    xr.testing.assert_identical(found.load(), DATASET)


def test_a_frame_is_written_as_parquet(home: Path) -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(written(home, FRAME, "a.parquet")), FRAME)


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_other_tables_are_written_as_parquet(home: Path, make: Any) -> None:
    table = make({"a": [1, 2], "b": ["x", None]})

    assert pa.parquet.read_table(written(home, table, "a.parquet")).to_pylist() == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": None},
    ]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_tables_are_written_as_csv(home: Path, make: Any) -> None:
    with written(home, make({"a": [1, 2], "b": ["x", "ö,"]}), "a.csv").open(
        newline="", encoding="utf-8"
    ) as file:
        rows = list(csv.reader(file))

    assert rows == [["a", "b"], ["1", "x"], ["2", "ö,"]]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_tables_are_written_as_json_rows(home: Path, make: Any) -> None:
    path = written(home, make({"a": [0.1, 1 / 3], "b": ["x", None]}), "a.json")

    assert json.loads(path.read_text()) == [{"a": 0.1, "b": "x"}, {"a": 1 / 3, "b": None}]


def test_a_frame_keeps_its_index_and_its_times_in_json(home: Path) -> None:
    path = written(home, FRAME[["n", "t", "x"]].set_index("n"), "a.json")

    rows = json.loads(path.read_text())

    assert rows[1] == {"n": 1, "t": "2020-01-02T00:00:00+01:00", "x": 1 / 3}
    assert rows[2]["x"] is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, None, True], "b": {"c": "ö"}}, {"a": [1, 2.5, None, True], "b": {"c": "ö"}}),
        ("text", "text"),
        ((1, np.int64(2), np.array([0.1, 3.0])), [1, 2, [0.1, 3.0]]),
        (Point(1.5, "p"), {"x": 1.5, "label": "p"}),
        (None, None),
        (1 << 70, 1 << 70),
    ],
)
def test_plain_values_are_written_as_json(home: Path, value: Any, expected: Any) -> None:
    assert json.loads(written(home, value, "a.json").read_text(encoding="utf-8")) == expected


def test_a_dict_of_arrays_is_written_as_npz(home: Path) -> None:
    with np.load(written(home, {"w": ARRAY, "file": np.arange(3)}, "a.npz")) as arrays:
        assert sorted(arrays) == ["file", "w"]
        assert np.array_equal(arrays["w"], ARRAY)


def test_a_sparse_matrix_is_written_as_npz(home: Path) -> None:
    matrix = scipy.sparse.random(50, 60, density=0.1, format="csr", random_state=0)

    again = scipy.sparse.load_npz(written(home, matrix, "m.npz"))

    assert (again != matrix).nnz == 0


def test_anything_is_written_as_a_pickle(home: Path) -> None:
    assert pickle.loads(written(home, {1: {"a"}}, "a.pkl").read_bytes()) == {1: {"a"}}


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ("tëxt\n", "report.md", "tëxt\n".encode()),
        (b"\x89PNG", "plot.png", b"\x89PNG"),
        ("a,b\n1,2\n", "rows.tsv", b"a,b\n1,2\n"),
    ],
)
def test_text_and_bytes_are_written_as_they_are(home: Path, value: Any, name: str, expected: bytes) -> None:
    assert written(home, value, name).read_bytes() == expected


# --- refusing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name", "kind", "hint"),
    [
        (ARRAY, "a.parquet", "not-this-form", "a.npy (or .zarr, .pkl)"),
        (ARRAY, "a.csv", "not-this-form", "a.npy (or .zarr, .pkl)"),
        (ARRAY, "a.xlsx", "unknown-form", "a.npy (or .zarr, .pkl)"),
        (FRAME, "a.npy", "not-this-form", "a.parquet (or .csv, .json, .zarr, .pkl)"),
        (FRAME, "a.nc", "not-this-form", "a.parquet"),
        (FRAME, "a.npz", "not-this-form", "a.parquet"),
        (pd.DataFrame({"a": [1, "x"]}), "a.parquet", "not-this-form", "a.csv (or .json"),
        (pd.DataFrame({"a": [{}]}), "a.zarr", "not-an-array", "a.parquet"),
        (pd.DataFrame({"a": [{}], "b": [1]}), "a.zarr", "not-this-form", "a.parquet"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "a.json", "not-this-form", "a.parquet"),
        ({"a": float("nan")}, "a.json", "not-this-form", "a.pkl"),
        ({1: 2}, "a.json", "not-this-form", "a.pkl"),
        ({"a": {1, 2}}, "a.json", "not-this-form", "a.pkl"),
        ({"a": 1}, "a.zarr", "not-an-array", "a.json (or .pkl)"),
        ({"a": 1}, "a.npz", "not-this-form", "a.json (or .pkl)"),
        ("text", "a.npy", "not-this-form", "a.txt"),
        (np.ma.masked_array([1, 2], mask=[0, 1]), "a.npy", "not-this-form", "a.pkl"),
        (np.ma.masked_array([1, 2], mask=[0, 1]), "a.json", "not-this-form", "a.pkl"),
        (np.array([{}], dtype=object), "a.npy", "not-this-form", "a.pkl"),
        (np.ones(2, dtype=np.longdouble), "a.json", "not-this-form", "a.npy (or .zarr, .pkl)"),
        (np.longdouble(1), "a.json", "not-this-form", "a.pkl"),
        (CYCLE, "a.json", "not-this-form", "a.pkl"),
        (scipy.sparse.eye(3, format="lil"), "a.npz", "not-this-form", "a.pkl"),
    ],
)
def test_a_form_that_would_lose_something_is_refused_with_those_that_fit(
    home: Path, value: Any, name: str, kind: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        written(home, value, name)

    assert caught.value.kind == kind
    assert f"--out {home.parent}/{hint}" in caught.value.hint
    assert sorted(path.name for path in home.parent.iterdir()) == ["home"]


@pytest.mark.parametrize(("name", "package"), [("a.parquet", "pyarrow"), ("a.nc", "h5netcdf")])
def test_a_missing_package_is_named(
    home: Path, name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module = plain_files.FORMS[name[1:]].__globals__["importlib"].import_module

    def without(module: str) -> Any:
        if module.startswith("pyarrow"):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return import_module(module)

    monkeypatch.setattr("importlib.import_module", without)
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)

    with pytest.raises(UsageError) as caught:
        written(home, DATASET if name == "a.nc" else FRAME, name)

    assert (caught.value.kind, caught.value.hint) == ("missing-package", f"pip install {package}")


def test_a_file_that_is_there_is_replaced(home: Path) -> None:
    (home.parent / "a.json").write_text("old and longer than what replaces it")

    assert json.loads(written(home, [1], "a.json").read_text()) == [1]


@pytest.mark.parametrize("name", ["a.npy", "a.pkl", "a.zarr"])
def test_what_was_written_survives_a_power_cut(home: Path, name: str, synced: Callable[[Path], bool]) -> None:
    path = written(home, ARRAY, name)

    assert all(map(synced, [path.parent, path, *path.rglob("*")]))


def test_what_a_killed_process_of_the_same_number_left_is_in_nobodys_way(home: Path) -> None:
    (home.parent / f".a.zarr.{os.getpid()}.part").mkdir()

    assert zarr.open(written(home, ARRAY, "a.zarr"))[-1, -1] == ARRAY[-1, -1]


def test_a_file_that_is_there_outlives_a_failure(home: Path) -> None:
    (home.parent / "a.json").write_text("old")

    with pytest.raises(UsageError):
        written(home, [1.0, float("inf")], "a.json")

    assert (home.parent / "a.json").read_text() == "old"


@pytest.mark.parametrize(("out", "instead"), [(".", "value.npy"), ("there", "there/value.npy")])
def test_a_folder_is_no_file_to_write_to(
    home: Path, monkeypatch: pytest.MonkeyPatch, out: str, instead: str
) -> None:
    keep(home, ARRAY)
    (home.parent / "there").mkdir()
    monkeypatch.chdir(home.parent)

    with pytest.raises(UsageError) as caught:
        write_plain("latest/train/value", Path(out))

    assert (caught.value.kind, caught.value.hint) == ("out-is-folder", f"--out {instead}")


@pytest.mark.parametrize("there", ["folder", "file"])
def test_nothing_is_replaced_by_a_zarr_folder(home: Path, there: str) -> None:
    path = home.parent / "a.zarr"
    if there == "folder":
        path.mkdir()
        (path / "mine").write_text("mine")
    else:
        path.write_text("mine")

    with pytest.raises(UsageError) as caught:
        written(home, ARRAY, "a.zarr")

    assert caught.value.kind == "out-exists"
    assert (path / "mine" if there == "folder" else path).read_text() == "mine"


@pytest.mark.parametrize("name", ["a.npy", "a.zarr"])
def test_damage_leaves_no_part_of_a_file(home: Path, name: str) -> None:
    keep(home, ARRAY)
    for path in home.rglob("*.pack"):
        data = bytearray(path.read_bytes())
        data[-5000] ^= 1
        path.write_bytes(data)

    with pytest.raises(CorruptError, match="`value`"):
        write_plain("value", home.parent / name)

    assert sorted(path.name for path in home.parent.iterdir()) == ["home"]


@pytest.mark.parametrize("name", ["a.npy", "a.zarr"])
def test_a_disk_that_fails_half_way_leaves_no_part_of_a_file(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    keep(home, ARRAY)
    monkeypatch.setattr(Path, "replace", full)

    with pytest.raises(StoreError, match="No space left") as caught:
        write_plain("value", home.parent / name)

    assert caught.value.kind == "out-not-written"
    assert sorted(path.name for path in home.parent.iterdir()) == ["home"]


def test_a_name_that_is_not_stored_writes_nothing(home: Path) -> None:
    keep(home, [1])

    for name in ("a.json", "a.zarr"):
        with pytest.raises(NotFoundError) as caught:
            write_plain("value2", home.parent / name)
        assert caught.value.hint == "value"


@pytest.mark.parametrize("name", ["../../outside", "..", "/tmp/outside", "a/../../../outside", "a\0b"])
def test_a_name_in_a_strangers_record_leads_out_of_no_folder(home: Path, name: str) -> None:
    keep(home, pd.DataFrame({"n": np.arange(200_000), "m": np.arange(200_000)}))
    with closing(open_engine(Settings(home=home))) as engine:
        (step,) = engine.journal.every_checkpoint()
        (honest,) = engine.journal.artifacts(step.draft.stored).values()
        manifest: Any = json.loads(json.dumps(honest.manifest))
        members = manifest["meta"]["arrays"]["value"]["members"]
        members[name] = members.pop("m")
        artifact = replace(honest, digest=manifest_digest(manifest), manifest=manifest)
        attempt, _ = engine.journal.start(Identity(notebook="/b.ipynb"), owner=current_owner())
        draft = a_draft("train", groups=(Group(("value",), artifact.digest, artifact.digest),))
        engine.journal.commit(attempt, draft, artifacts=[artifact])

    folder = home.parent / "out"
    folder.mkdir()

    with pytest.raises(UsageError, match="no file in a folder") as refused:
        write_plain("latest/train/value", folder / "a.zarr")

    assert refused.value.kind == "not-this-form"
    assert not list(home.parent.rglob("*outside*"))
    assert not Path("/tmp/outside").exists()
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["out.pkl", "out", "out.zarr", "out.json"])
def test_a_value_that_was_never_stored_is_an_error_that_names_it_and_leaves_no_file(
    home: Path, name: str
) -> None:
    keep(home, (n for n in range(3)))

    with pytest.raises(UnstorableError) as refused:
        write_plain("latest/train/value", home.parent / name)

    assert refused.value.kind == "not-stored"
    assert (
        "`value` of checkpoint `train` was a generator, which could not be stored: " in refused.value.message
    )
    assert "--remake value" in refused.value.hint
    assert not (home.parent / name).exists()


def test_a_part_that_was_never_stored_is_named_too(home: Path) -> None:
    keep(home, {"rows": [1, 2], "rest": (n for n in range(3))})

    with pytest.raises(UnstorableError, match="cannot be written whole: a part of it was a generator"):
        write_plain("latest/train/value", home.parent / "out.pkl")

    assert not (home.parent / "out.pkl").exists()


def test_a_value_kept_as_a_recipe_says_how_to_get_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cheaper, "LARGE", 1000)
    monkeypatch.setattr(cheaper, "disk_speed", lambda _home: 1.0)
    kernel = Kernel(home, notebook=home.parent / "n.ipynb", settings={"paranoid": False})
    kernel.cell("%%checkpoint load\nimport numpy as np\nrows = np.arange(100_000)")
    assert any(group.recipe for group in kernel.last.draft.groups)
    kernel.stop()

    with pytest.raises(UnstorableError) as refused:
        write_plain("latest/load/rows", home.parent / "out.npy")

    assert refused.value.kind == "not-stored"
    assert "is not stored: it is made again by the cell" in refused.value.message
    assert "%%checkpoint load --all --fresh" in refused.value.hint
    assert not (home.parent / "out.npy").exists()


def test_a_library_that_looks_for_its_own_package_says_so_in_its_own_words(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise ImportError("No module named 'h5py', backend not available. Please install 'h5py'.")

    monkeypatch.setitem(plain_files.FORMS, ".nc", without)

    with pytest.raises(UsageError, match="cannot be written here: No module named 'h5py'") as caught:
        written(home, DATASET, "a.nc")

    assert caught.value.kind == "missing-package"
    assert "pip install No" not in caught.value.hint


def test_what_is_no_name_at_all_is_refused(home: Path) -> None:
    keep(home, 1)

    with pytest.raises(UsageError, match="takes a name or a reference, and got int"):
        load(3)  # type: ignore[arg-type]
