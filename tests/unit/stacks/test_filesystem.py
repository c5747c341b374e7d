"""``kitaru-nb://`` for fsspec, zarr and xarray: in a plain process, lazily, and never zeros for damage."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from kitaru_nb.engine.gc import Policy, collect
from kitaru_nb.engine.repack import repack
from kitaru_nb.errors import CorruptError, NotFoundError, StoreError, UsageError
from kitaru_nb.model.checkpoint import Group
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus, Identity, current_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.stacks.filesystem import KitaruFileSystem
from kitaru_nb.stacks.open import ZarrStore, load, open_engine
from kitaru_nb.stacks.views import View
from kitaru_nb.testing import a_draft

ROOT = Path(__file__).parents[3]
WEIGHTS = np.random.default_rng(0).random((3000, 1000))
DATASET = xr.Dataset(
    {"t": (("x", "y"), WEIGHTS[:200])}, coords={"x": np.arange(200), "name": ("x", ["n"] * 200)}
)


class Run:
    """One execution whose steps are committed here."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.newest: int | None = None
        engine = open_engine(Settings(home=home))
        identity = Identity(notebook=f"/{os.urandom(4).hex()}.ipynb")
        self.attempt, _ = engine.journal.start(identity, owner=current_owner())
        engine.close()

    @property
    def id(self) -> ExecutionId:
        return self.attempt.execution

    def keep(self, checkpoint: str, step: str | None = None, /, **values: Any) -> None:
        engine = open_engine(Settings(home=self.home))
        groups, artifacts, places = [], [], []
        for name, value in values.items():
            stored = engine.put({name: value}, namespace={})
            groups.append(Group((name,), stored.artifact.digest, stored.artifact.digest))
            artifacts.append(stored.artifact)
            places += stored.locations
        engine.store.flush()
        draft = a_draft(checkpoint, step=step or checkpoint, groups=tuple(groups), parent=self.newest)
        draft = engine.trust.signed(draft, self.attempt.execution)
        self.newest = engine.journal.commit(self.attempt, draft, artifacts=artifacts, locations=places).seq
        engine.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "home"))
    run = Run(tmp_path / "home")
    run.keep("train", weights=WEIGHTS, note="text", ds=DATASET)
    return run


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(view: View) -> object:
        raise AssertionError(f"{view.ref} was loaded")

    monkeypatch.setattr(View, "load", refuse)


def names(entries: Iterable[str]) -> list[str]:
    return [entry.rpartition("/")[2] for entry in entries]


def test_what_gc_has_removed_since_it_was_opened_is_said_to_be_removed_not_damaged(run: Run) -> None:
    opened = [
        zarr.open("kitaru-nb://weights", mode="r"),
        load("weights", as_zarr=True),
        zarr.open(store=ZarrStore("weights"), mode="r"),
    ]
    engine = open_engine(Settings(home=run.home))
    engine.journal.finish(run.attempt, ExecutionStatus.COMPLETED)

    collect(engine.journal, engine.store, Policy(keep_days=0))
    engine.close()

    for array in opened:
        with pytest.raises(
            StoreError, match=r"`weights` of checkpoint `train` .* were removed by gc"
        ) as caught:
            array[0]
        assert caught.value.kind == "values-removed"


@pytest.mark.parametrize(
    "path",
    [
        "latest/train/weights",
        "{id}/train/weights",
        "{id}/train#1/weights",
        "{id}/train%231/weights",
        "latest/weights",
        "weights",
        "{digest}",
    ],
)
def test_zarr_opens_a_value_by_every_spelling_of_its_ref(run: Run, path: str, never_loaded: None) -> None:
    digest = fsspec.filesystem("kitaru-nb").ls("latest/train")[0]["digest"]

    array = zarr.open("kitaru-nb://" + path.format(id=run.id, digest=digest), mode="r")

    assert isinstance(array, zarr.Array)
    assert array.shape == (3000, 1000)
    assert np.array_equal(array[2990:, 10:20], WEIGHTS[2990:, 10:20])


def test_the_second_checkpoint_of_a_name_is_reached_with_its_number(run: Run) -> None:
    run.keep("train", "again", weights=WEIGHTS + 1)

    for sharp in ("#", "%23"):
        array = zarr.open(f"kitaru-nb://latest/train{sharp}2/weights", mode="r")
        assert array[0, 0] == WEIGHTS[0, 0] + 1  # type: ignore[index]
    assert names(fsspec.filesystem("kitaru-nb").ls("latest", detail=False)) == ["train", "train#2"]


def test_executions_checkpoints_names_and_keys_are_listed(run: Run) -> None:
    fs = fsspec.filesystem("kitaru-nb")

    assert fs.ls("kitaru-nb://", detail=False) == [run.id]
    assert fs.ls(f"kitaru-nb://{run.id}", detail=False) == [f"{run.id}/train"]
    assert names(fs.ls("latest/train", detail=False)) == ["weights", "note", "ds"]
    assert names(fs.ls("latest/train/weights", detail=False)) == ["zarr.json", "c"]
    assert names(fs.ls("latest/train/weights/c", detail=False)) == ["0", "1", "2", "3", "4", "5"]
    assert fs.ls("latest/train/weights/c/5", detail=False) == ["latest/train/weights/c/5/0"]
    assert fs.ls("latest/train/note") == []


def test_patterns_walks_and_sizes_work_as_on_any_file_system(run: Run) -> None:
    fs = fsspec.filesystem("kitaru-nb")

    assert fs.glob("kitaru-nb://latest/*/w*") == ["latest/train/weights"]
    assert len(fs.glob("latest/train/weights/c/**")) > 6
    assert fs.find("latest/train/ds/x") == ["latest/train/ds/x/c/0", "latest/train/ds/x/zarr.json"]
    assert fs.info("latest/train/weights/c/0/0")["size"] == len(fs.cat("latest/train/weights/c/0/0"))
    assert fs.isdir("latest/train")
    assert fs.isdir("latest/train/weights/c")
    assert fs.isfile("latest/train/weights/zarr.json")
    assert fs.du("latest/train/weights") > WEIGHTS.nbytes


@pytest.mark.parametrize("path", ["nope", "latest/nope", "latest/train/nope", "latest/train/weights/c/6/0"])
def test_what_is_not_stored_does_not_exist(run: Run, path: str) -> None:
    fs = fsspec.filesystem("kitaru-nb")

    assert not fs.exists(path)
    for look in (fs.info, fs.ls):
        with pytest.raises(FileNotFoundError):
            look(path)


def test_a_file_is_opened_and_downloaded(run: Run, tmp_path: Path) -> None:
    url = "kitaru-nb://latest/train/weights"

    with fsspec.open(url + "/zarr.json", "rt") as file:
        assert '"shape"' in file.read()
    with fsspec.open(url + "/c/0/0") as file:
        file.seek(8)
        assert np.frombuffer(file.read(8))[0] == WEIGHTS[0, 1]
    fsspec.filesystem("kitaru-nb").get(url, str(tmp_path / "w.zarr"), recursive=True)

    assert np.array_equal(zarr.open(tmp_path / "w.zarr", mode="r")[...], WEIGHTS)  # type: ignore[index]


def test_a_part_of_a_file_is_read(run: Run) -> None:
    fs = fsspec.filesystem("kitaru-nb")
    whole = fs.cat("latest/weights/c/1/0")

    assert fs.cat_file("latest/weights/c/1/0", start=10, end=90) == whole[10:90]
    assert fs.cat_file("latest/weights/c/1/0", start=-7) == whole[-7:]
    assert fs.cat_ranges(["latest/weights/c/1/0"] * 2, [0, 8], [8, 16]) == [whole[:8], whole[8:16]]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("latest/train/weihgts", "weights"),
        ("latest/trian/weights", "train"),
        ("weihgts", "weights"),
        ("ex_00/train/weights", "kitaru-nb executions (lists them), or latest"),
        ("latest/train", "latest/train/weights"),
    ],
)
@pytest.mark.parametrize("mode", ["r", "a"])
def test_a_name_that_is_not_stored_is_an_error_with_a_close_one(
    run: Run, path: str, hint: str, mode: Any
) -> None:
    with pytest.raises(NotFoundError) as caught:
        zarr.open("kitaru-nb://" + path, mode=mode)

    assert caught.value.hint == hint


def test_a_value_that_is_no_array_is_told_as_such(run: Run) -> None:
    with pytest.raises(UsageError, match="a str is no array") as caught:
        zarr.open("kitaru-nb://latest/train/note", mode="r")

    assert caught.value.kind == "not-an-array"


def test_nothing_recorded_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", str(tmp_path / "empty"))

    with pytest.raises(NotFoundError, match="nothing is recorded"):
        zarr.open("kitaru-nb://weights", mode="r")

    assert not (tmp_path / "empty").exists()


def test_nothing_can_be_written(run: Run) -> None:
    fs = fsspec.filesystem("kitaru-nb")
    attempts = [
        lambda: zarr.open("kitaru-nb://weights").__setitem__(0, 1.0),
        lambda: fs.pipe("latest/train/x", b""),
        lambda: fs.rm("latest/train/weights/zarr.json"),
        lambda: fs.rm("latest", recursive=True),
        lambda: fs.mkdir("a"),
        lambda: fs.makedirs("a/b"),
        lambda: fs.put(__file__, "a"),
        lambda: fs.cp("latest/weights/zarr.json", "a"),
        lambda: fs.open("a", "wb"),
    ]

    for attempt in attempts:
        with pytest.raises(StoreError, match="cannot be written") as caught:
            attempt()
        assert caught.value.kind == "store-read-only"


# --- what was opened stays what it was ----------------------------------------------------


def test_an_open_array_stays_the_one_it_was_when_the_run_goes_on(run: Run) -> None:
    array = zarr.open("kitaru-nb://latest/train/weights", mode="r")
    sent = pickle.dumps(array)
    store = pickle.dumps(ZarrStore("weights"))
    run.keep("train", weights=WEIGHTS + 1)

    for old in (array, pickle.loads(sent), zarr.open(store=pickle.loads(store), mode="r")):
        assert old[2999, 999] == WEIGHTS[2999, 999]
    assert zarr.open("kitaru-nb://latest/train/weights", mode="r")[0, 0] == WEIGHTS[0, 0] + 1  # type: ignore[index]


def test_a_file_system_can_forget_what_it_opened(run: Run) -> None:
    fs = KitaruFileSystem()
    before = fs.cat("weights/c/0/0")
    run.keep("train", weights=WEIGHTS + 1)

    assert fs.cat("weights/c/0/0") == before
    fs.invalidate_cache()
    assert fs.cat("weights/c/0/0") != before


def test_what_was_opened_goes_into_the_names_that_dask_gives(run: Run) -> None:
    fs = KitaruFileSystem()
    fs.cat("weights/zarr.json")
    first = fs.__dask_tokenize__()
    run.keep("train", weights=WEIGHTS + 1)
    again = KitaruFileSystem()
    again.cat("weights/zarr.json")

    assert pickle.loads(pickle.dumps(fs)).__dask_tokenize__() == first
    assert pickle.loads(pickle.dumps(fs)) == fs
    assert again.__dask_tokenize__() != first
    assert again != fs


@pytest.mark.parametrize("way", ["url", "store"])
def test_an_open_array_is_found_where_gc_has_moved_it(run: Run, way: str) -> None:
    store = "kitaru-nb://weights" if way == "url" else ZarrStore("weights")
    array = zarr.open(store=store, mode="r")
    assert array[0, 0] == WEIGHTS[0, 0]  # type: ignore[index]
    engine = open_engine(Settings(home=run.home))
    for pack in list(engine.store.packs()):
        for name in repack(engine.journal, engine.store, pack.name, "a policy"):
            engine.store.remove(name)
    engine.close()

    assert np.array_equal(array[1000:], WEIGHTS[1000:])  # type: ignore[index]


def test_another_home_is_an_option_and_goes_along_to_other_processes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_NB_HOME", "/nowhere")

    array = zarr.open("kitaru-nb://weights", mode="r", storage_options={"home": str(run.home)})

    assert pickle.loads(pickle.dumps(array))[1, 1] == WEIGHTS[1, 1]


# --- damage -------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flipped", "short", "deleted", "emptied"])
@pytest.mark.parametrize("way", ["url", "store", "load"])
def test_damage_under_an_open_array_is_an_error_that_names_the_checkpoint(
    run: Run, damage: str, way: str
) -> None:
    ways: dict[str, Any] = {
        "url": lambda: zarr.open("kitaru-nb://latest/train/weights", mode="r"),
        "store": lambda: zarr.open(store=ZarrStore("weights"), mode="r"),
        "load": lambda: load("weights", as_zarr=True),
    }
    array = ways[way]()
    for path in run.home.rglob("*.pack"):
        data = bytearray(path.read_bytes())
        if damage == "flipped":
            path.write_bytes(data.translate(bytes(range(1, 256)) + b"\0"))
        elif damage == "short":
            path.write_bytes(data[: len(data) // 2])
        elif damage == "emptied":
            path.write_bytes(b"")
        else:
            path.unlink()

    with pytest.raises(CorruptError) as caught:
        array[...]

    assert f"`weights` of checkpoint `train` ({run.id}) cannot be read: " in caught.value.message
    with pytest.raises(CorruptError):
        ways[way]()[2999, 999]


def test_one_damaged_extent_spoils_only_the_chunks_in_it(run: Run) -> None:
    array = zarr.open("kitaru-nb://weights", mode="r")
    assert isinstance(array, zarr.Array)
    (path,) = [path for path in run.home.rglob("*.pack") if path.stat().st_size > WEIGHTS.nbytes]
    data = path.read_bytes()
    at = data.index(WEIGHTS[1000].tobytes())
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])

    with pytest.raises(CorruptError):
        array[1000]

    assert np.array_equal(array[2500:], WEIGHTS[2500:])


def test_a_store_that_loses_files_in_its_own_way_is_no_reason_for_zeros(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError(2, "No such object")

    for name in ("read", "read_into"):
        monkeypatch.setattr(f"kitaru_nb.artifacts.local_store.LocalStore.{name}", gone)

    for way in (lambda: zarr.open("kitaru-nb://weights", mode="r"), lambda: load("weights", as_zarr=True)):
        with pytest.raises(CorruptError, match="checkpoint `train`"):
            way()[0, 0]  # type: ignore[index]


# --- a plain process ----------------------------------------------------------------------


@pytest.fixture
def entry_points(tmp_path: Path) -> Path:
    """A folder that makes this tree's entry points known, whatever was installed when."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    folder = tmp_path / "meta" / "kitaru_nb-0.dist-info"
    folder.mkdir(parents=True)
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in found.items())
        for group, found in declared.items()
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: kitaru-nb\nVersion: 0\n")
    return folder.parent


def plain(code: str, run: Run, entry_points: Path) -> str:
    """What `code` prints in a process that knows nothing but the packages that are installed."""
    environ = {
        "KITARU_NB_HOME": str(run.home),
        "PYTHONPATH": f"{entry_points}:{ROOT}",
        "PYTHONWARNINGS": "error",
        "PATH": "",
        "HOME": str(run.home),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environ, cwd=run.home
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_process_with_only_zarr_opens_the_url(run: Run, entry_points: Path) -> None:
    code = "import zarr; a = zarr.open('kitaru-nb://latest/train/weights'); print(a.shape, a[2999, 999])"

    assert plain(code, run, entry_points) == f"(3000, 1000) {WEIGHTS[2999, 999]}"


@pytest.mark.parametrize(
    "call",
    [
        "open_zarr('kitaru-nb://latest/train/ds')",
        "open_dataset('kitaru-nb://latest/train/ds')",
        "open_dataset('kitaru-nb://latest/train/ds', engine='kitaru-nb', chunks=None)",
    ],
)
def test_a_process_with_only_xarray_opens_the_url(
    call: str, run: Run, entry_points: Path, tmp_path: Path
) -> None:
    (tmp_path / "ds.pkl").write_bytes(pickle.dumps(DATASET))
    pickled = str(tmp_path / "ds.pkl")
    code = (
        f"import pathlib, pickle, xarray; ds = xarray.{call}; print(type(ds).__name__, ds.t.shape);"
        f"xarray.testing.assert_identical(ds.load(), pickle.loads(pathlib.Path({pickled!r}).read_bytes()))"
    )

    assert plain(code, run, entry_points) == "Dataset (200, 1000)"


def test_reading_a_url_brings_no_kernel_and_loads_no_pickle(run: Run, entry_points: Path) -> None:
    code = (
        "import sys, zarr; from kitaru_nb.artifacts import pickle_codec;"
        "pickle_codec.PickleCodec.decode = None;"
        "print(zarr.open('kitaru-nb://latest/train/ds')['t'][0, 0]);"
        "print([name for name in ('IPython', 'ipykernel', 'papermill', 'pandas') if name in sys.modules])"
    )

    assert plain(code, run, entry_points).splitlines() == [str(WEIGHTS[0, 0]), "[]"]


def test_every_block_of_the_how_to_page_runs_and_gives_what_it_says(run: Run, entry_points: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "read-an-array-with-zarr.md").read_text(encoding="utf-8")
    frame = pd.DataFrame(
        {
            "price": np.arange(20_000.0),
            "city": ["Bonn", "Cali"] * 10_000,
            "when": pd.date_range("2020", periods=20_000, freq="s"),
            "kind": pd.Categorical(["x", "y"] * 10_000),
        }
    )
    again = Run(run.home)
    again.keep("train", weights=WEIGHTS, rows=frame, climate=DATASET)
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = []
    for line in "".join(blocks).splitlines():
        code, _, said = line.partition("  # ")
        checked = said.startswith(("(", "["))
        lines.append(f"assert ({code}) == ({said}), {code!r}" if checked else line)

    assert len(blocks) == 4
    assert sum(line.startswith("assert") for line in lines) == 3
    assert not plain("\n".join(lines), again, entry_points)
