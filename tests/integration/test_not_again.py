"""Settings, libraries and last words count besides names; no acknowledged step runs again for them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.integration.kernel import Kernel

PLAIN = """
import decimal, string
from decimal import Decimal
from unittest import mock
import numpy as np, pandas as pd
mark = '!'
def tick(name):
    with open(RAN, 'a') as file: file.write(name)
---
np.seterr(over='raise')
decimal.getcontext().prec = 4
pd.set_option('mode.string_storage', 'python')
string.capwords = lambda text: text + mark
mock.patch('string.whitespace', '_').start()
"""
STEPS = """
tick('a')
log = []
__version__ = '1'
class D:
    def __init__(s, n): s.n = n
    def __del__(s): log.append(s.n)
d, third = D(1), Decimal(1)
---
tick('b')
d, x = [D(2)], np.ones(3)
---
tick('c')
d.clear()
y = string.capwords('y')
third /= 3
---
tick('d')
string.digits = 'none'
np.seterr(under='raise')
frame = pd.DataFrame({'x': x})
---
tick('e')
r = log, y, str(third), string.digits, np.geterr()['under'], int(frame.x.sum()), __version__
"""
END = "([1, 2], 'y!', '0.3333', 'none', 'raise', 3, '1')"


def test_no_acknowledged_step_runs_again_in_the_kernel_after_a_kill(tmp_path: Path) -> None:
    notebook, ran = tmp_path / "w" / "a.ipynb", tmp_path / "ran"
    notebook.parent.mkdir()
    plain, steps = [f"RAN = {str(ran)!r}", *PLAIN.split("---\n")], STEPS.split("---\n")

    def turn(count: int) -> str | None:
        with Kernel(tmp_path / "home", notebook=notebook, cwd=notebook.parent) as kernel:
            for number, cell in enumerate(plain):
                assert kernel.run(cell, cell=f"plain {number}").ok
            for number, cell in enumerate(steps[:count]):
                done = kernel.run(f"%%checkpoint\n{cell}", cell=f"step {number}")
                assert done.ok, done.traceback
            shown = kernel.run("r").result if count == len(steps) else None
            os.kill(kernel.pid, signal.SIGKILL)
            return shown

    shown = [turn(count) for count in (2, 3, 5, 5)]

    assert ran.read_text() == "abcde"
    assert shown == [None, None, END, END]
