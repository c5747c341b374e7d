"""What goes wrong around a checkpoint: other kernels, bad homes, damaged bytes, the stop button."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.kernel import Kernel, wait_for

ARRAY = "%%checkpoint a\nimport numpy as np\nbig = np.arange(500_000, dtype='f8')\nn = 1"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path


def start(place: Path, home: str = "home") -> Kernel:
    return Kernel(place / home, notebook=place / "work" / "nb.ipynb", cwd=place / "work")


def test_a_second_kernel_on_the_same_notebook_is_told_who_holds_it(place: Path) -> None:
    with start(place) as first, start(place) as second:
        first.run("%%checkpoint a\nx = 1", cell="a")

        refused = second.run("%%checkpoint a\nran = True", cell="a")
        told = re.search("%resume ex_[a-z0-9]+ --take-over", "\n".join(refused.traceback))
        assert told is not None, refused.traceback
        taken = second.run(told[0])
        late = first.run("%%checkpoint b\ny = 2", cell="b")

    assert refused.ename == "ConflictError"
    assert str(first.pid) in refused.evalue
    assert taken.ok, taken
    assert late.status == "error"
    assert late.ename == "ConflictError"


@pytest.mark.further
def test_a_kernel_whose_execution_was_taken_over_takes_it_back_as_it_is_told(place: Path) -> None:
    with start(place) as first, start(place) as second:
        first.run("%%checkpoint a\nx = [1]", cell="a")
        second.run("%resume --take-over")
        second.run("%%checkpoint b\nx.append(2)", cell="b")
        lost = first.run("%%checkpoint c\nx.append(3)", cell="c")

        (typed,) = re.findall("`(%resume .*?)` here", "\n".join(lost.traceback))
        back = first.run(typed)
        done = first.run("%%checkpoint c\nx.append(3)\nx", cell="c")
        late = second.run("%%checkpoint d\ny = 2", cell="d")

    assert lost.ename == "ConflictError"
    assert back.ok, back
    assert done.result == "[1, 2, 3]"
    assert late.ename == "ConflictError"


@pytest.mark.further
def test_a_kernel_that_ended_well_leaves_no_notice(place: Path) -> None:
    with start(place) as first:
        first.run("%%checkpoint a\nx = 1", cell="a")
    with start(place) as second:
        said = second.loaded.said

    assert said == ""


@pytest.mark.further
def test_a_kernel_that_ended_after_a_failed_step_is_interrupted(place: Path) -> None:
    with start(place) as first:
        first.run("%%checkpoint a\nx = 1", cell="a")
        first.run("%%checkpoint b\n1 / 0", cell="b")
    with start(place) as second:
        said = second.loaded.said

    assert "`b` had failed" in said


@pytest.mark.further
def test_resume_at_an_earlier_checkpoint_gives_the_names_as_they_were_then(place: Path) -> None:
    with start(place) as first:
        first.run("%%checkpoint one\nrows = [1]", cell="a")
        first.run("%%checkpoint two\nrows.append(2)\nmore = 1", cell="b")
        first.kill()
    with start(place) as second:
        report = second.run("%resume --at one")
        seen = second.run("rows, 'more' in dir()")

    assert "as of `one`" in report.said
    assert seen.result == "([1], False)"


@pytest.mark.further
def test_resuming_what_is_not_there_names_what_is(place: Path) -> None:
    with start(place) as kernel:
        nothing = kernel.run("%resume")
        kernel.run("%%checkpoint one\nx = 1", cell="a")
        unknown = kernel.run("%resume --at two")

    assert nothing.ename == "NotFoundError"
    assert "`one`" in unknown.evalue


@pytest.mark.parametrize("how", ["file", "read-only"])
def test_a_home_that_cannot_be_used_refuses_the_cell_before_it_runs(place: Path, how: str) -> None:
    if how == "file":
        (place / "home").write_text("not a folder")
    with start(place, "/proc/nowhere" if how == "read-only" else "home") as kernel:
        refused = kernel.run("%%checkpoint a\nran = True", cell="a")
        ran = kernel.run("'ran' in dir()")

    assert refused.ename == "StoreError"
    assert "KITARU_NB_HOME" in "\n".join(refused.traceback)
    assert ran.result == "False"


def test_a_damaged_artifact_is_an_error_that_names_the_checkpoint_and_the_rest_is_back(place: Path) -> None:
    with start(place) as first:
        assert first.run(ARRAY, cell="a").ok
        first.kill()
    pack = next((place / "home").rglob("*.pack"))
    with pack.open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 1]))

    with start(place) as second:
        restored = second.run(ARRAY, cell="a")
        resumed = second.run("%resume")
        n = second.run("n")
        used = second.run("big.sum()")
        fresh = second.run(ARRAY.replace("checkpoint a", "checkpoint a --fresh"), cell="a")
        big = second.run("float(big.sum())")

    assert restored.ename == "CorruptError"
    assert "`a`" in restored.evalue
    assert "--fresh" in "\n".join(restored.traceback)
    assert resumed.ename == "CorruptError"
    assert n.result == "1"
    assert used.ename == "UnstorableError"
    assert fresh.ok
    assert big.result == "124999750000.0"


def test_a_database_that_is_none_is_refused_and_left_alone(place: Path) -> None:
    (place / "home").mkdir()
    (place / "home" / "journal.db").write_bytes(b"this is no database" * 1000)
    with start(place) as kernel:
        refused = kernel.run("%%checkpoint a\nran = True", cell="a")

    assert refused.ename in ("CorruptError", "StoreError")
    assert (place / "home" / "journal.db").read_bytes() == b"this is no database" * 1000


def test_the_stop_button_in_a_step_leaves_no_commit(place: Path) -> None:
    with start(place) as kernel:
        request = kernel.send(
            "%%checkpoint a\nimport time\nopen('started', 'w').close()\nwhile True:\n    time.sleep(.01)",
            cell="a",
        )
        wait_for(place / "work" / "started")
        kernel.interrupt()
        stopped = kernel.wait(request)
        again = kernel.run("%%checkpoint b\ny = 2", cell="b")

    assert stopped.ename == "KeyboardInterrupt"
    assert again.ok
    assert names(place) == ["b"]


def test_a_save_that_finds_no_room_is_an_error_reply_and_the_next_one_works(place: Path) -> None:
    with start(place) as kernel:
        kernel.run("%%checkpoint a\nlog = []", cell="a")
        kernel.run(
            "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, resource.RLIM_INFINITY))"
        )
        full = kernel.run(
            "%%checkpoint b\nimport numpy as np\nlog.append(1)\nbig = np.ones(1_000_000)", cell="b"
        )
        kept = kernel.run("float(big.sum())")
        kernel.run(
            "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))"
        )
        again = kernel.run(
            "%%checkpoint b\nimport numpy as np\nlog.append(1)\nbig = np.ones(1_000_000)", cell="b"
        )
        log = kernel.run("log")

    assert full.ename == "StoreError", full
    assert kept.result == "1000000.0"
    assert again.ok, again
    assert log.result == "[1]"
    assert names(place) == ["a", "b"]


def test_every_file_is_private_whatever_the_umask(place: Path) -> None:
    before = os.umask(0)
    try:
        with start(place) as kernel:
            assert kernel.run(ARRAY, cell="a").ok
            open_to_others = [
                path for path in [place / "home", *(place / "home").rglob("*")] if path.stat().st_mode & 0o077
            ]
    finally:
        os.umask(before)

    assert open_to_others == []


@pytest.mark.further
def test_a_committed_array_opens_with_zarr_in_a_plain_process(place: Path) -> None:
    with start(place) as kernel:
        assert kernel.run(
            "%%checkpoint a\nimport numpy as np\nbig = np.arange(300_000.).reshape(3000, 100)", cell="a"
        ).ok
    code = (
        "import zarr, kitaru_nb as kt\n"
        "z = zarr.open(store=kt.ZarrStore('latest/a/big'))\n"
        "print(z.shape, z[2999, 99], float(z[10:20, ::3].sum()))"
    )

    shown = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KITARU_NB_HOME": str(place / "home")},
        capture_output=True,
        text=True,
        check=True,
    )

    expected = sum(float(row * 100 + column) for row in range(10, 20) for column in range(0, 100, 3))
    assert shown.stdout == f"(3000, 100) 299999.0 {expected}\n"


def names(place: Path) -> list[str]:
    """Names of the committed checkpoints."""
    with sqlite3.connect(place / "home" / "journal.db") as connection:
        rows = connection.execute(
            "SELECT body FROM checkpoints WHERE status = 'completed' ORDER BY seq"
        ).fetchall()

    return [json.loads(body)["name"] for (body,) in rows]


@pytest.mark.further
def test_taking_over_an_execution_without_a_commit_lets_the_cells_run_here(place: Path) -> None:
    with start(place) as first, start(place) as second:
        first.run("%%checkpoint a\n1 / 0", cell="a")
        refused = second.run("%%checkpoint a\nx = 1", cell="a")
        told = second.run("%resume --take-over")
        ran = second.run("%%checkpoint a\nx = 1", cell="a")

    assert refused.ename == "ConflictError"
    assert told.ename == "NotFoundError"
    assert ran.ok, ran


@pytest.mark.further
def test_a_commit_over_a_failed_cell_says_so(place: Path) -> None:
    with start(place) as kernel:
        kernel.run("log = []")
        kernel.run("%%checkpoint a\nlog.append(1)\n1 / 0", cell="a")
        other = kernel.run("%%checkpoint b\nx = 1", cell="b")

    assert "includes interrupted cell [3]" in other.said


@pytest.mark.skipif(
    sys.platform != "linux", reason="a small file system is made with tmpfs, which is Linux only"
)
def test_a_disk_that_filled_up_refuses_the_next_cell_before_it_runs(place: Path) -> None:
    home = place / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(home)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        with start(place) as kernel:
            first = kernel.run("%%checkpoint a\nx = 1", cell="a")
            (home / "filler").write_bytes(b"\0" * (5 << 20))
            refused = kernel.run("%%checkpoint b\nran = True", cell="b")
            ran = kernel.run("'ran' in dir()")
            (home / "filler").unlink()
            again = kernel.run("%%checkpoint b\nran = True", cell="b")
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)

    assert first.ok, first
    assert refused.ename == "StoreError"
    assert ran.result == "False"
    assert again.ok, again
