from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import CorruptError, KernelError, StoreError
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.stacks.attempt import AttemptRun, _boot_error, _End
from kitaru_nb.stacks.notebooks import steps_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.taken import Taken
from kitaru_nb.stacks.watch import Signals
from kitaru_nb.testing import a_draft

KERNEL: Any = SimpleNamespace(
    name="py", manager=SimpleNamespace(kernel_spec=SimpleNamespace(argv=["/env/bin/python", "-m"]))
)


def test_an_error_raised_in_the_kernel_keeps_its_class_and_hint() -> None:
    error = _boot_error({"ename": "StoreError", "evalue": "the disk is full\n  Try: make room"}, KERNEL)

    assert type(error) is StoreError
    assert (error.message, error.hint) == ("the disk is full", "make room")


def test_damage_found_at_the_start_names_a_way_on_that_can_be_typed_headless() -> None:
    error = _boot_error({"ename": "CorruptError", "evalue": "`x` is damaged\n  Try: run its cell"}, KERNEL)

    assert type(error) is CorruptError
    assert (error.message, error.kind) == ("`x` is damaged", "corrupt-artifact")
    assert "--new" in error.hint


@pytest.mark.parametrize("ename", ["ModuleNotFoundError", "ImportError"])
def test_a_kernel_without_kitaru_nb_gets_the_command_for_its_own_python(ename: str) -> None:
    error = _boot_error({"ename": ename, "evalue": "No module named 'kitaru_nb'"}, KERNEL)

    assert error.kind == "kernel-without-kitaru"
    assert error.hint.startswith("/env/bin/python -m pip install kitaru-nb")


@pytest.mark.parametrize("ename", ["ZeroDivisionError", "Suspended", "KitaruErrors"])
def test_any_other_refusal_is_a_kernel_error_with_its_name(ename: str) -> None:
    error = _boot_error({"ename": ename, "evalue": "why"}, KERNEL)

    assert type(error) is KernelError
    assert f"{ename}: why" in error.message


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = open_engine(resolve())
    yield engine
    engine.close()


@pytest.mark.parametrize(("committed", "status"), [(True, "completed"), (False, "pending")])
def test_a_cell_that_was_committed_before_the_run_was_stopped_is_shown_as_done(
    engine: Engine, committed: bool, status: str
) -> None:
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a = 1", id="c0")])
    nb.metadata["papermill"] = {}
    nb.cells[0].metadata["papermill"] = {"status": "running"}
    identity = Identity(notebook="/a.ipynb", output="/a.out.ipynb")
    attempt, _ = engine.journal.start(identity, owner=current_owner())
    run = AttemptRun(
        nb,
        engine,
        attempt,
        identity=identity,
        taken=Taken(),
        kernel_name="python3",
        output=None,
        signals=Signals(),
        timeout=None,
        options={"progress_bar": False},
    )
    (run._step_now,) = steps_of(nb)
    if committed:
        engine.journal.commit(attempt, a_draft("a", step="cell:c0"))

    run._cut_short(_End(ExecutionStatus.INTERRUPTED, Exit.SIGTERM))

    assert nb.cells[0].metadata.papermill.status == status
