"""What a checkpoint may cost the disk: its flushes, and the room that it takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKPOINTS = 100
FLUSHES = 4  # for each checkpoint, on average, the folding of the log included

SCRIPT = """
import sys
from pathlib import Path
from tests.unit.engine.kernel import Kernel

kernel = Kernel(Path(sys.argv[1]), settings={"paranoid": False})
for n in range(int(sys.argv[2])):
    kernel.cell(sys.argv[3].replace("NUMBER", str(n)))
kernel.stop()
"""
SMALL = "%%checkpoint c-NUMBER\nx = [NUMBER, 'text']"
LARGE = "%%checkpoint c-NUMBER\nimport random\ny = random.Random(NUMBER).randbytes(100_000)"


@pytest.mark.chaos
@pytest.mark.skipif(shutil.which("strace") is None, reason="flushes are counted with strace")
@pytest.mark.parametrize("cell", [SMALL, LARGE], ids=["small", "large"])
def test_a_checkpoint_flushes_at_most_four_times_on_average(tmp_path: Path, cell: str) -> None:
    log = tmp_path / "calls"
    traced = ["strace", "-f", "-o", str(log), "-e", "trace=fsync,fdatasync", sys.executable, "-c", SCRIPT]

    subprocess.run([*traced, str(tmp_path / "home"), str(CHECKPOINTS), cell], check=True)

    calls = sum("sync(" in line for line in log.read_text().splitlines())
    assert CHECKPOINTS <= calls <= FLUSHES * CHECKPOINTS


@pytest.mark.chaos
@pytest.mark.slow
def test_a_thousand_checkpoints_take_little_more_than_what_they_hold(tmp_path: Path) -> None:
    home = tmp_path / "home"

    subprocess.run([sys.executable, "-c", SCRIPT, str(home), "1000", SMALL], check=True)

    files = {path.name: path.stat().st_size for path in home.rglob("*") if path.is_file()}
    files.pop("journal.db-reserve", None)  # room, and nothing in it; on a disk with little left
    assert sum(files.values()) < 1000 * 6_000
    assert len(files) < 10
