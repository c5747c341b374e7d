"""A large value is made durable without a second copy of it in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kinds import KINDS
from tests.further import further

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")

MOST = 0.25  # of the value, beyond the value itself
# The first save, of a small value, pays what is loaded only then.
SAVE = """
import sys
from pathlib import Path
from benchmarks import inside

def told(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))

kind, size = sys.argv[1], int(sys.argv[2])
inside.open_store()
inside.hold(kind, max(1, size // 1000))
inside.put()
before = told("VmRSS:")
inside.hold(kind, size)
inside.forget_peak()
held = told("VmRSS:")
inside.put()
print(told("VmHWM:") - held, held - before)
"""


@pytest.mark.parametrize(
    ("kind", "rows"), [("pandas", 2_000_000), further("arrow", 2_000_000), further("state-dict", 600)]
)
def test_a_save_takes_a_quarter_of_the_value_at_most(kind: str, rows: int, tmp_path: Path) -> None:
    assert kind in KINDS

    done = subprocess.run(
        [sys.executable, "-c", SAVE, kind, str(rows)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    more, value = map(int, done.stdout.split())
    assert value > 100e6
    assert more < MOST * value
