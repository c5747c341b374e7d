"""A new kernel has large values back at once, and no cell of it ever uses a wrong byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kitaru_nb.artifacts.memory import SMALLEST_MAPPED, Memory
from tests.further import further
from tests.integration.kernel import Kernel

pytestmark = pytest.mark.skipif(
    Memory.to_map(SMALLEST_MAPPED) is None, reason="files are not mapped on this platform"
)

MAKE = "%%checkpoint make\nimport numpy as np\nx = np.arange(4_000_000.0)\nn = 1"


def damaged(home: Path) -> None:
    pack = max(home.rglob("*.pack"), key=lambda path: path.stat().st_size)
    with pack.open("r+b") as file:
        file.seek(20_000_000)
        byte = file.read(1)
        file.seek(20_000_000)
        file.write(bytes([byte[0] ^ 1]))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one commit, whose kernel was killed."""
    with Kernel(tmp_path / "home", notebook=tmp_path / "n.ipynb") as kernel:
        assert kernel.run(MAKE, cell="a").ok
        kernel.kill()
    return tmp_path / "home"


def start(home: Path) -> Kernel:
    return Kernel(home, notebook=home.parent / "n.ipynb")


@pytest.mark.parametrize(
    "how",
    [
        "%resume",
        further("%resume\nprint(x.sum())"),
        further("get_ipython().run_line_magic('resume', ''); print(x.sum())"),
    ],
)
def test_damage_is_an_error_before_any_cell_can_use_it(home: Path, how: str) -> None:
    damaged(home)
    with start(home) as kernel:
        resumed = kernel.run(how)
        used = kernel.run("print(x.sum())")
        fine = kernel.run("print(n)")

    assert resumed.ok is (how == "%resume")
    assert not resumed.stdout
    assert used.ename in ("CorruptError", "UnstorableError")
    assert "`x`" in used.evalue
    assert not used.stdout
    assert fine.stdout == "1\n"


def test_run_all_restores_without_reading_and_goes_on_with_the_right_values(home: Path) -> None:
    with start(home) as kernel:
        assert "restored" in kernel.run(MAKE, cell="a").said
        used = kernel.run("%%checkpoint use\ny = float(x.sum()); print(y)", cell="b")
        changed = kernel.run("x[0] = 5; x.resize(4_000_001); print(x[0], x.flags.owndata)")
        stored = kernel.run("%%checkpoint after\nz = 1", cell="c")
        kernel.kill()
    with start(home) as kernel:
        kernel.run("%resume")
        again = kernel.run("print(x[0], x.size)")

    assert used.stdout == "7999998000000.0\n"
    assert changed.stdout == "5.0 True\n"
    assert stored.ok
    assert again.stdout == "5.0 4000001\n"


def test_silent_code_of_a_front_end_waits_too(home: Path) -> None:
    damaged(home)
    with start(home) as kernel:
        assert kernel.run("%resume").ok
        request = kernel.client.execute("open('used', 'w').write(str(x.sum()))", silent=True)
        kernel.wait(request)
        shown = kernel.run("import os; print(os.path.exists('used'))")

    assert shown.stdout == "False\n"


@pytest.mark.skipif(sys.platform != "linux", reason="read-only media are made with a bind mount")
def test_a_store_on_read_only_media_is_resumed_from(home: Path) -> None:
    for options in (["--bind", str(home)], ["-o", "remount,bind,ro"]):
        if subprocess.run(["mount", *options, str(home)], check=False, capture_output=True).returncode:
            pytest.skip("mounting a folder read-only needs root")
    try:
        with start(home) as kernel:
            resumed = kernel.run("%resume")
            used = kernel.run("print(x.sum(), n)")
            refused = kernel.run("%%checkpoint more\nopen('ran', 'w').close()", cell="b")
            ran = kernel.run("import os; print(os.path.exists('ran'))")
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)

    assert resumed.ok
    assert "cannot be recorded here" in resumed.said
    assert used.stdout == "7999998000000.0 1\n"
    assert "Read-only file system" in refused.evalue
    assert ran.stdout == "False\n"
