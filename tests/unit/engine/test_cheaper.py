"""Large values that are made again faster than read are kept as recipes; what cannot be is said."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest

from kitaru_nb.artifacts.marker import is_marker
from kitaru_nb.engine import cheaper
from kitaru_nb.errors import UnstorableError
from tests.unit.engine.kernel import RESTORED, Kernel, Start

pytest.importorskip("numpy")


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of 1 kB is large, and the disk a slow one."""
    monkeypatch.setattr(cheaper, "LARGE", 1000)
    monkeypatch.setattr(cheaper, "TOLD", 100_000)
    monkeypatch.setattr(cheaper, "disk_speed", lambda _home: 1.0)


CELLS = ["import numpy as np\nsize = 500", "big = np.arange(size) * 2.0\nnote = 'x'", "total = big.sum()"]


def is_recipe(kernel: Kernel, name: str) -> bool:
    return kernel.session._line.recorded.groups[name].recipe is not None


@pytest.mark.parametrize("way", ["resumed", "restored"])
def test_a_cheap_large_value_is_made_again(start: Start, way: str) -> None:
    first = start()
    first.cells(*CELLS, "size = 3")
    kernel = start()

    if way == "resumed":
        restored = kernel.session.resume().restored
        assert "by running the cell of `big`" in restored.made["big"]
    else:
        assert kernel.cells(*CELLS) == [RESTORED] * 3

    assert is_recipe(first, "big")
    assert not is_recipe(first, "note")
    assert (kernel["big"] == first["big"]).all()
    assert kernel["total"] == first["total"]


def test_what_was_made_again_goes_on_counting_as_it_was(start: Start) -> None:
    start().cells(*CELLS)
    kernel = start()
    kernel.session.resume()

    assert kernel.cells(*CELLS) == [RESTORED] * 3
    assert is_recipe(kernel, "big")


def test_all_stores_it(start: Start) -> None:
    kernel = start()

    kernel.cells(CELLS[0], "%%checkpoint --all\n" + CELLS[1])

    assert not is_recipe(kernel, "big")


@pytest.mark.parametrize(
    "cell",
    [
        "big = np.random.rand(500)",
        "big = np.random.default_rng().random(500)",
        "import time\nbig = np.arange(500.) + time.time_ns()",
        "big = np.arange(500.)\nopen('log.txt', 'w').close()",
        "import os\nbig = np.arange(500.) + len(os.environ.get('HOME', ''))",
        "class C: pass\nbig = np.arange(500.)\nC.big = big",
        "exec('big = np.arange(500.)')",
        "import socket\nwith socket.socket() as s: s.connect_ex(('127.0.0.1', 9))\nbig = np.arange(500.)",
    ],
)
def test_what_did_more_than_compute_is_stored(start: Start, cell: str) -> None:
    kernel = start()

    kernel.cells("import numpy as np", cell)

    assert not is_recipe(kernel, "big")


def test_what_changes_a_value_is_stored(start: Start) -> None:
    kernel = start()

    kernel.cells(*CELLS[:2], "big[0] = 7")

    assert not is_recipe(kernel, "big")


def test_a_slow_cell_is_stored(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cheaper, "disk_speed", lambda _home: 1e12)
    kernel = start()

    kernel.cells(*CELLS[:2])

    assert not is_recipe(kernel, "big")


def test_a_changed_file_makes_a_marker_and_the_rest_is_back(start: Start, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("3")
    start().cells(
        "import numpy as np\nfrom pathlib import Path\nx = [1]",
        "big = np.arange(500.) + int(Path('in.txt').read_text())",
    )
    (tmp_path / "in.txt").write_text("4")
    kernel = start()

    restored = kernel.session.resume().restored

    assert "in.txt` has changed since" in restored.lost["big"]
    assert is_marker(kernel["big"])
    assert kernel["x"] == [1]
    with pytest.raises(UnstorableError, match="reads `big`"):
        kernel.cell("t = big.sum()")


def test_a_result_that_differs_does_not_count(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtins, "unseen", 1, raising=False)
    start().cells("import numpy as np", "big = np.arange(500.) + unseen")
    kernel = start()
    monkeypatch.setattr(builtins, "unseen", 2)

    restored = kernel.session.resume().restored

    assert "gives something else now" in restored.lost["big"]
    assert is_marker(kernel["big"])


def test_much_is_said_before_it_is_written(start: Start) -> None:
    kernel = start()
    said: list[str] = []
    kernel.session._line.tell = said.append

    kernel.cells("import numpy as np", "%%checkpoint --all\nbig = np.zeros(100_000)")

    (line,) = said
    assert line.startswith("kitaru: writing 0.0 GB (`big`), about ")


def test_a_frame_read_from_a_file_is_read_again(start: Start, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pd.DataFrame({"a": range(500), "b": 1.5}).to_csv(tmp_path / "in.csv", index=False)
    first = start()
    first.cells("import pandas as pd", "frame = pd.read_csv('in.csv')")
    kernel = start()

    restored = kernel.session.resume().restored

    assert is_recipe(first, "frame")
    assert "frame" in restored.made
    pd.testing.assert_frame_equal(kernel["frame"], first["frame"])


def test_the_speed_of_a_disk_is_measured_and_leaves_nothing(tmp_path: Path) -> None:
    speed = cheaper.disk_speed(tmp_path)

    assert speed is not None
    assert speed > 0
    assert list(tmp_path.iterdir()) == []
