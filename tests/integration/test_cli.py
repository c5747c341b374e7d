"""The command as people and programs start it: processes, pipes, kernels and a plain Python beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kitaru_nb.stacks.doctor import examine
from kitaru_nb.stacks.enable import disable, enable
from kitaru_nb.stacks.settings import resolve
from tests.integration.headless import Notebook
from tests.integration.kernel import Kernel
from tests.patience import PATIENCE

HEAVY = ("papermill", "zarr", "pandas", "numpy", "nbclient", "IPython", "jupyter_client")


def kitaru(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kitaru_nb", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
        check=False,
    )


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return done.stdout


def document(done: subprocess.CompletedProcess[str]) -> Mapping[str, object]:
    return json.loads(done.stdout)


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    """Three cells; the last one raises unless `fixed` is set."""
    return Notebook(
        tmp_path,
        [
            "import numpy as np\nweights = np.arange(2_000_000.0).reshape(2000, 1000)",
            "rows = [1, 2, 3]",
            "import os\nif not os.path.exists('fixed'):\n    raise ValueError('not yet')\ntotal = sum(rows)",
        ],
    )


def test_a_notebook_fails_is_looked_at_and_goes_on(notebook: Notebook, tmp_path: Path) -> None:
    failed = kitaru("run", str(notebook.path), "--json")
    listed = kitaru("executions", "--status", "failed", "--json")
    shown = document(kitaru("show", "--json"))
    why = document(kitaru("why", "latest", shown["checkpoints"][-1]["name"], "--json"))
    (tmp_path / "fixed").touch()
    resumed = kitaru("resume", "latest", "--json")
    after = document(kitaru("show", "--json"))

    assert failed.returncode == 1
    assert failed.stderr.strip().splitlines()[-1].startswith("kitaru: failed execution=ex_")
    assert [e["id"] for e in document(listed)] == [shown["id"]]
    assert [c["status"] for c in shown["checkpoints"]][-3:] == ["completed", "completed", "failed"]
    assert why["reasons"][0]["kind"] == "failed"
    assert resumed.returncode == 0
    assert document(resumed)["id"] == shown["id"]
    assert [c["status"] for c in after["checkpoints"]][-3:] == ["restored", "restored", "completed"]


def test_a_committed_array_is_read_with_zarr_by_a_process_without_a_kernel(notebook: Notebook) -> None:
    kitaru("run", str(notebook.path))
    ref = next(a["ref"] for a in document(kitaru("artifacts", "--json")) if a["names"] == ["weights"])

    out = python(
        "import kitaru_nb, zarr, sys\n"
        f"array = zarr.open(store=kitaru_nb.ZarrStore({ref!r}), mode='r')\n"
        "print(array.shape, float(array[1999, 999]), array[10:12, 5].tolist())\n"
        "print(kitaru_nb.load('rows'), 'ipykernel' in sys.modules)\n"
    )

    assert out.splitlines() == ["(2000, 1000) 1999999.0 [10005.0, 11005.0]", "[1, 2, 3] False"]


@pytest.mark.parametrize(
    "words", [("--help",), ("executions",), ("show",), ("run", "--help"), ("--version",)]
)
def test_looking_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    out = python(
        "import sys\nfrom kitaru_nb.cli.main import main\n"
        f"main({list(words)!r})\n"
        f"print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )

    assert out.splitlines()[-1] == "heavy: []"


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m kitaru_nb --help | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.stderr == ""


def test_a_home_on_a_read_only_folder_can_be_listed_and_loaded(notebook: Notebook, tmp_path: Path) -> None:
    kitaru("run", str(notebook.path))
    home = Path(os.environ["KITARU_NB_HOME"])
    folders = [home, *(path for path in home.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    try:
        code = "import kitaru_nb; print(kitaru_nb.load('rows'))"
        listed, loaded = kitaru("executions", "--json"), python(code)
    finally:
        for folder in folders:
            folder.chmod(0o700)

    assert len(document(listed)) == 1
    assert loaded == "[1, 2, 3]\n"


@pytest.mark.further
def test_a_wrong_setting_names_its_source() -> None:
    done = kitaru("executions", KITARU_NB_LEASE="soon")

    assert done.returncode == 2
    assert done.stderr.startswith("error: lease (from KITARU_NB_LEASE) is `soon`")


@pytest.mark.further
def test_enable_loads_kitaru_nb_in_a_new_kernel_and_off_takes_it_back(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    loaded = {}
    for state, change in (("on", enable), ("off", disable)):
        change()
        kernel = Kernel(tmp_path / "home", load=False)
        try:
            ran = kernel.run("'checkpoint' in get_ipython().magics_manager.magics['cell']")
            loaded[state] = ran.result
        finally:
            kernel.close()

    assert loaded == {"on": "True", "off": "False"}


def test_doctor_asks_the_real_kernels(tmp_path: Path) -> None:
    found = examine(resolve(home=tmp_path / "home"))

    assert [kernel["kitaru_nb"] for kernel in found.kernels if kernel["name"] == "python3"] == [True]
    assert found.usable


def test_doctor_names_kernels_that_cannot_work(tmp_path: Path, monkeypatch) -> None:
    for name, argv, language in (("gone", ["/no/such/python"], "python"), ("julia", ["julia"], "julia")):
        folder = tmp_path / "jupyter" / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": [*argv, "{connection_file}"], "display_name": name, "language": language}
        (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))

    found = examine(resolve(home=tmp_path / "home"))

    kernels = {kernel["name"]: kernel for kernel in found.kernels}
    assert "No such file" in kernels["gone"]["error"]
    assert (kernels["julia"]["kitaru_nb"], kernels["julia"]["error"]) == (None, None)
    assert [problem.kind for problem in found.warnings if "gone" in problem.message] == ["broken-kernel"]
    assert found.usable
