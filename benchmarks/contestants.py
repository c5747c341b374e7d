"""Those who keep a notebook's state in a kernel: how each is set up, and how it wants a cell.

`plain` keeps nothing. `cloudpickle` and `dill` write the whole namespace after each cell, one
file per cell, and sync nothing. `joblib` needs each cell shaped as a function of what it reads
that returns what it changes; that function is cached. `kishu` follows the namespace by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kernel import Kernel, started
from benchmarks.measure import installed
from benchmarks.workload import Absent

__all__ = ["KEEPERS", "SETUP", "Cell", "brought_back", "entered", "shaped"]

KEEPERS = ("plain", "kitaru", "cloudpickle", "dill", "joblib", "kishu")
KISHU_HOME = Path(__file__).parent / ".venv"


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


def brought_back(
    contestant: str, cells: Sequence[Cell], folder: Path
) -> tuple[Sequence[str], Sequence[str]] | None:
    """What to run in a new kernel so that what was kept in `folder` is back.

    Returns:
        Cells that make ready, and the cells that bring everything back; None where there is
        nothing to bring back, or no way that works without a Jupyter server.
    """
    if contestant == "kitaru":
        return ("%load_ext kitaru_nb",), ("%resume",)
    if contestant == "joblib":
        return SETUP["joblib"], [shaped("joblib", cell, number) for number, cell in enumerate(cells)]
    kept = sorted(folder.glob("kept-*.pkl"), key=lambda path: int(path.stem.partition("-")[2]))
    if contestant == "cloudpickle":
        return ("import pickle",), (f"globals().update(pickle.load(open({kept[-1].name!r}, 'rb')))",)
    if contestant == "dill":
        return ("import dill",), (f"dill.load_session({kept[-1].name!r})",)
    return None


@contextmanager
def entered(
    contestant: str,
    folder: Path,
    *,
    ready: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Kernel]:
    """A kernel in which `contestant` keeps the state below `folder`, ready for the first cell.

    Args:
        contestant: Who keeps it.
        folder: Where the kernel works; everything is written below it.
        ready: Cells that make the kernel ready, other than the contestant's own.
        env: More environment variables for the kernel.

    Raises:
        Absent: it is not installed, or does not work here.
    """
    if contestant == "kishu":
        _look_for_kishu()
    if contestant in ("dill", "joblib") and not installed(contestant):
        raise Absent("not installed: `make bench` does")
    python = str(KISHU_HOME / "bin" / "python") if contestant == "kishu" else sys.executable
    own = _KISHU if contestant == "kishu" else {}
    with started(folder, python=python, env={**own, **(env or {})}) as kernel:
        for code in SETUP[contestant] if ready is None else ready:
            try:
                kernel.run(code)
            except RuntimeError as error:
                if contestant == "kishu":
                    raise Absent(f"does not work here: {str(error).splitlines()[0]}") from error
                raise
        yield kernel


def _look_for_kishu() -> None:
    if next(KISHU_HOME.glob("lib/python*/site-packages/kishu"), None) is not None:
        return
    try:
        said = (KISHU_HOME / "said").read_text(encoding="utf-8").strip().splitlines()
    except OSError:
        raise Absent("not installed: `make bench` tries to") from None
    raise Absent(f"does not install here: {said[-1] if said else 'pip said nothing'}")


# Kishu finds its notebook through a running Jupyter server; where there is none, only through what
# its own tests use. It then leaves out saving the notebook, which flatters it.
_KISHU = {"TEST_NOTEBOOK_PATH": "kishu.ipynb", "ENV_KISHU_TEST_MODE": "1", "KISHU_PATH_ROOT": "."}
_KISHU_STARTS = """
import nbformat
nbformat.write(nbformat.v4.new_notebook(), 'kishu.ipynb')
from kishu import init_kishu
init_kishu()
"""
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
    "kishu": (_KISHU_STARTS, "pass"),
}
"""Cells that make a kernel ready; the last one also pays what only the first save costs."""
