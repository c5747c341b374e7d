"""Those who keep a notebook's state in a kernel: how each is set up, and how it wants a cell.

`plain` keeps nothing. `cloudpickle` and `dill` write the whole namespace after each cell, one
file per cell, and sync nothing. `joblib` needs each cell shaped as a function of what it reads
that returns what it changes; that function is cached. `kishu` follows the namespace by itself.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kernel import Kernel, started
from benchmarks.workload import Absent

__all__ = ["KEEPERS", "Cell", "entered", "shaped"]

KEEPERS = ("plain", "kitaru", "cloudpickle", "dill", "joblib", "kishu")
KISHU_PYTHON = Path(__file__).parent / ".venv" / "bin" / "python"


@dataclass(frozen=True)
class Cell:
    """A cell, with what joblib has to be told about it.

    Attributes:
        code: The source.
        reads: Names it reads.
        gives: Names it binds or changes.
    """

    code: str
    reads: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()


def shaped(contestant: str, cell: Cell, number: int) -> str:
    """The source of `cell` as `contestant` wants it."""
    if contestant == "kitaru":
        return f"%%checkpoint\n{cell.code}"
    if contestant == "joblib" and cell.gives:
        gives = ", ".join(cell.gives)
        body = "\n".join(f"    {line}" for line in cell.code.splitlines())
        return (
            f"@_memory.cache\ndef _cell_{number}({', '.join(cell.reads)}):\n{body}\n"
            f"    return {gives}\n{gives} = _cell_{number}({', '.join(cell.reads)})"
        )
    return cell.code


@contextmanager
def entered(contestant: str, folder: Path) -> Iterator[Kernel]:
    """A kernel in which `contestant` keeps the state below `folder`, ready for the first cell.

    Raises:
        Absent: it is not installed, or does not work here.
    """
    if contestant == "kishu" and not KISHU_PYTHON.exists():
        raise Absent("not installed: `make bench` tries to")
    if contestant in ("dill", "joblib") and importlib.util.find_spec(contestant) is None:
        raise Absent("not installed: `make bench` does")
    python = str(KISHU_PYTHON) if contestant == "kishu" else sys.executable
    with started(folder, python=python) as kernel:
        for code in SETUP[contestant]:
            try:
                kernel.run(code)
            except RuntimeError as error:
                if contestant == "kishu":
                    raise Absent(f"does not work here: {str(error).splitlines()[-1]}") from error
                raise
        yield kernel


_AFTER_EACH_CELL = """
def _keep():
    import itertools, types
    import {module} as module
    shell, numbers = get_ipython(), itertools.count()
    def save(_result):
        {save}
    shell.events.register('post_run_cell', save)
_keep()
"""
_CLOUDPICKLE = """
        state = {
            name: value for name, value in shell.user_ns.items()
            if name not in shell.user_ns_hidden and name[0] != '_' and not isinstance(value, types.ModuleType)
        }
        with open(f'kept-{next(numbers)}.pkl', 'wb') as file:
            module.dump(state, file, protocol=5)
"""

SETUP: dict[str, tuple[str, ...]] = {
    "plain": (),
    "kitaru": ("%load_ext kitaru_nb", "%%checkpoint\npass"),
    "cloudpickle": (_AFTER_EACH_CELL.format(module="cloudpickle", save=_CLOUDPICKLE.strip()), "pass"),
    "dill": (
        _AFTER_EACH_CELL.format(module="dill", save="module.dump_session(f'kept-{next(numbers)}.pkl')"),
        "pass",
    ),
    "joblib": ("import joblib\n_memory = joblib.Memory('cache', verbose=0)",),
    "kishu": ("from kishu import init_kishu\ninit_kishu()", "pass"),
}
"""Cells that make a kernel ready; the last one also pays what only the first save costs."""
