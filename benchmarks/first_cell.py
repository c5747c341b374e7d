"""From the submission to the first cell, on each stack that can be had here, beside the launcher's own no-op.

All three things are started by the same launcher, so they differ in what is started: a Python that only
notes the time, papermill with a notebook of one cell that notes it (no record, no lease, nothing that
resumes), and our worker with the same notebook. The clock starts when the launcher is asked, for ours
when it is asked to submit: what goes on record before that is in it. The process that submits is up
already, with its packages loaded and its journal open. They take turns, and each has ended before the
next begins.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat

from benchmarks.measure import environment
from benchmarks.workload import Absent, Options, Round, Turn, Workload
from kitaru_nb.engine.engine import Engine
from kitaru_nb.model.execution import new_execution_id
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks.launcher import Handle, Launcher, RunSpec, launcher_of
from kitaru_nb.stacks.local import job_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submitting import submit

__all__ = ["FIRST_CELL"]

_PATIENCE = 120.0  # seconds; a guard against hanging
_NOTE = """import os, time
now = time.time()
with open({spare!r}, "w") as file:
    file.write(repr(now))
os.replace({spare!r}, {mark!r})"""


def _turn(contestant: str, options: Options, folder: Path) -> Turn:
    own = {
        "KITARU_NB_HOME": str(folder / "home"),
        "KITARU_NB_CONFIG": str(folder / "config"),
        "IPYTHONDIR": str(folder / "ipython"),
        "TEAM_SIGNING_KEY": secrets.token_hex(32),
    }
    with (
        mock.patch.dict(os.environ, environment() | own, clear=True),
        _PLACES[contestant](folder, own) as told,
    ):
        key = "secret:env:TEAM_SIGNING_KEY"  # the workers of a Dask cluster have a configuration of their own
        stack = Stack(contestant, launcher=contestant, launcher_options=told, signing_key=key)
        settings = resolve(place=stack)
        launcher = launcher_of(stack, settings)
        took: dict[str, list[float]] = {way: [] for way in ("python", "papermill", "kitaru")}
        with closing(open_engine(settings)) as engine:
            for number in range(options.submissions + 1):
                for way, times in took.items():
                    place = folder / f"{way}{number}"
                    place.mkdir()
                    times.append(
                        _to_first_cell(launcher, partial(_begun, way, launcher, engine, place), place)
                    )
    # the first of each may have to compile modules
    return {way: statistics.median(times[1:]) for way, times in took.items()}


def _begun(way: str, launcher: Launcher, engine: Engine, place: Path) -> Handle:
    if way == "kitaru":
        return submit(engine, job_of(str(place / "work.ipynb")), launcher).handle
    words = ["-m", "papermill", "--no-progress-bar", str(place / "work.ipynb"), str(place / "work.out.ipynb")]
    if way == "python":
        words = ["-c", _note_in(place)]
    return launcher.submit(RunSpec(new_execution_id(), words, folder=str(place)))


def _to_first_cell(launcher: Launcher, begin: Callable[[], Handle], place: Path) -> float:
    """Seconds until the time was noted; when this returns, the job is over."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_note_in(place))])
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, place / "work.ipynb")
    asked = time.time()  # the clock that other processes have as well
    handle = begin()
    limit = time.monotonic() + _PATIENCE
    while not launcher.poll(handle).over:
        if time.monotonic() > limit:
            raise RuntimeError(f"it did not end: {launcher.logs(handle)[-2000:].decode(errors='replace')}")
        time.sleep(0.1)
    mark = place / "mark"
    if not mark.exists():
        raise RuntimeError(f"no cell ran: {launcher.logs(handle)[-2000:].decode(errors='replace')}")
    return float(mark.read_text()) - asked


def _note_in(place: Path) -> str:
    return _NOTE.format(spare=str(place / "spare"), mark=str(place / "mark"))


# --- the places ---------------------------------------------------------------------------


@contextmanager
def _local(_folder: Path, _own: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    yield {}


@contextmanager
def _dask(folder: Path, _own: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    from tests import dask_cluster  # noqa: PLC0415 - only this workload needs it

    (folder / "dask").mkdir()
    os.environ |= dask_cluster.SIGNING
    with _had(dask_cluster.started(folder / "dask")) as cluster:
        yield {"scheduler": cluster.address}


@contextmanager
def _ssh(folder: Path, own: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    from tests import ssh_server  # noqa: PLC0415 - as above

    with _had(ssh_server.started()) as server:
        yield {
            "host": f"{getpass.getuser()}@127.0.0.1:{server.port}",
            "identity_file": str(server.identity),
            "known_hosts": str(server.known_hosts),
            "folder": str(folder / "jobs"),
            "python": sys.executable,
            "setup": [f"export {name}={shlex.quote(value)}" for name, value in own.items()],
        }


@contextmanager
def _slurm(_folder: Path, _own: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    from tests import slurm_cluster  # noqa: PLC0415 - as above

    with _had(slurm_cluster.started()) as cluster:
        os.environ["SLURM_CONF"] = str(cluster.conf)
        yield {}


@contextmanager
def _had(place: AbstractContextManager[Any]) -> Iterator[Any]:
    """What a test would use; where that skips itself, this is left out."""
    import pytest  # noqa: PLC0415 - as above

    try:
        with place as opened:
            yield opened
    except pytest.skip.Exception as why:
        raise Absent(str(why)) from why


_PLACES: Mapping[str, Callable[[Path, Mapping[str, str]], AbstractContextManager[dict[str, Any]]]] = {
    "local": _local,
    "dask": _dask,
    "ssh": _ssh,
    "slurm": _slurm,
}


def _judge(found: Round) -> Round:
    return {
        contestant: {
            "Python s": turn["python"],
            "papermill s": turn["papermill"],
            "kitaru s": turn["kitaru"],
            "over papermill %": 100 * (turn["kitaru"] / turn["papermill"] - 1),
        }
        for contestant, turn in found.items()
    }


FIRST_CELL = Workload(
    name="first-cell",
    title="from the submission to the first cell, by the same launcher: nothing, papermill, our worker",
    aim="within 10 % of papermill started by the same launcher",
    contestants=("local", "dask", "ssh", "slurm"),
    turn=_turn,
    judge=_judge,
)
