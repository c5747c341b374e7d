"""Two kernels at one execution never mix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from kitaru_nb.errors import ConflictError
from tests.chaos import scenario
from tests.chaos.seeded import seed

__all__ = ["violations"]

_OTHER = (
    "import sys; from pathlib import Path; from tests.chaos import scenario, seeded\n"
    "home, take_over, bug = sys.argv[1:]\n"
    "seeded.seed(bug) if bug else None\n"
    "kernel = scenario.a_kernel(Path(home)); kernel.session.open(take_over=bool(take_over))\n"
    "kernel.session.resume(); kernel.cell('other = 1', step='o'); print(kernel.last.seq)"
)


def violations(home: Path, bug: str = "") -> list[str]:
    """What is wrong when a second process wants the execution, and when it takes it."""
    if bug:
        seed(bug)
    wrong = []
    kernel = scenario.start(home)
    for number, cell in enumerate(scenario.CELLS[:2]):
        kernel.cell(cell, step=str(number))
    if _other(home, "", bug).returncode == 0:
        wrong.append("a second process worked in an execution that is held")
    took = _other(home, "take-over", bug)
    if took.returncode:
        return [*wrong, f"it could not be taken over: {took.stderr[-200:]}"]
    try:
        kernel.cell(scenario.CELLS[2], step="2")
    except ConflictError:
        pass
    else:
        wrong.append("the process before recorded a step after it was superseded")
    kernel.engine.close()
    return wrong


def _other(home: Path, take_over: str, bug: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _OTHER, str(home), take_over, bug]
    return subprocess.run(command, capture_output=True, text=True, check=False)
