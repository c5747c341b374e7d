"""A notebook of a few steps that is run, broken, and gone on with: the work of the chaos tests.

Run as a program it takes a home and a file to acknowledge in: ``python -m tests.chaos.scenario
HOME ACKS [BUG]``. After each step that is on record it appends one byte to the file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kitaru_nb.engine.state import State
from kitaru_nb.errors import KitaruError
from tests.chaos.seeded import seed
from tests.unit.engine.kernel import RESTORED, Kernel

__all__ = ["CELLS", "GONE_WRONG", "a_kernel", "end_state", "expected", "finish", "start"]

CELLS = (
    "import numpy as np\nx = np.arange(40_000.0)\nlog = ['begun']",
    "log.append(float(x.sum()))\nalias = log",
    "x[100:200] = -1.0\nview = x[50:60]",
    "big = np.arange(300_000)\ndel alias",
    "def f(n):\n    return n + len(log)\ny = f(3)",
    "log.append(y)\nview[0] = 7.0",
)

GONE_WRONG = 3
"""Exit status of a run in which something was raised that is no error of ours."""

_TRIES = 3


def a_kernel(home: Path) -> Kernel:
    """A new kernel at the notebook."""
    return Kernel(home, settings={"paranoid": False})


def start(home: Path) -> Kernel:
    """A new kernel that runs the notebook, the one before being dead."""
    return a_kernel(home).take_over()


def end_state(kernel: Kernel) -> dict[str, str]:
    """What the notebook's names hold, by groups."""
    state: State = kernel.session.namespace.observe()
    return {",".join(names): digest for names, digest in sorted(state.groups.items())}


def expected(home: Path) -> list[dict[str, str]]:
    """The state after each step of a run that nothing disturbs; first the empty one."""
    kernel = start(home)
    states = [end_state(kernel)]
    for number, cell in enumerate(CELLS):
        kernel.cell(cell, step=str(number))
        states.append(end_state(kernel))
    kernel.stop()
    return states


def finish(kernel: Kernel) -> tuple[int, dict[str, str]]:
    """Run all: how many steps were restored, and the state at the end."""
    done = [kernel.cell(cell, step=str(number)) for number, cell in enumerate(CELLS)]
    return done.count(RESTORED), end_state(kernel)


def main(home: Path, acks: Path) -> int:
    """Run the notebook; a step that fails with an error of ours is tried again a few times."""
    with acks.open("ab", buffering=0) as acknowledged:
        kernel: Kernel | None = None
        for number, cell in enumerate(CELLS):
            for left in reversed(range(_TRIES)):
                try:
                    kernel = kernel or start(home)
                    kernel.cell(cell, step=str(number))
                    break
                except KitaruError as error:
                    print(f"{type(error).__name__}: {error}", file=sys.stderr)
                    if not left:
                        return 0
            acknowledged.write(b".")
        assert kernel is not None
        kernel.stop()
    return 0


if __name__ == "__main__":
    if len(sys.argv) > 3:
        seed(sys.argv[3])
    try:
        code = main(Path(sys.argv[1]), Path(sys.argv[2]))
    except KitaruError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 0
    except Exception as error:  # noqa: BLE001 - what is no error of ours is what we look for
        print(f"UNCLEAR {type(error).__name__}: {error}", file=sys.stderr)
        code = GONE_WRONG
    sys.stderr.flush()
    os._exit(code)
