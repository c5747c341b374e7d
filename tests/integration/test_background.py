"""A process that runs something for somebody who does not wait for it, and dies before it could."""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.cli.resume import resume_executions
from kitaru_nb.errors import KernelError
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner
from kitaru_nb.stacks.background import Background
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.resuming import go_on, start_command
from kitaru_nb.stacks.settings import resolve
from tests.integration.headless import Notebook
from tests.patience import until


@pytest.mark.parametrize("text", ["", "x" * (1 << 20)], ids=["short", "more than a pipe holds"])
def test_a_process_that_died_before_it_was_told_is_an_error_with_a_way_on(tmp_path: Path, text: str) -> None:
    settings = resolve()
    process = Background()
    with closing(open_engine(settings)) as engine:
        identity = Identity(notebook=str(tmp_path / "n.ipynb"), output=str(tmp_path / "o.ipynb"))
        attempt, _ = engine.journal.start(identity, owner=process.owner)
        os.kill(process.owner.pid, signal.SIGKILL)
        while process.is_alive():
            pass  # it ends at once

        with pytest.raises(KernelError) as told:
            process.run(Job("n.ipynb", "o.ipynb", attempt=attempt, parameters={"text": text}), settings)

        assert (told.value.kind, told.value.hint) == ("no-process", f"kitaru-nb resume {attempt.execution}")
        assert engine.journal.execution(attempt.execution).status is ExecutionStatus.INTERRUPTED


def test_a_process_that_died_is_given_up_in_silence() -> None:
    process = Background()
    os.kill(process.owner.pid, signal.SIGKILL)

    process.give_up()

    assert not process.is_alive()


def test_where_its_log_cannot_be_written_that_is_said(tmp_path: Path) -> None:
    settings = resolve()
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "logs").write_text("a file, not a folder")

    with pytest.raises(KernelError) as told:
        start_command(settings, ["resume", "ex_1"], execution="ex_1", folder=tmp_path)  # type: ignore[arg-type] # an id

    assert (told.value.kind, told.value.hint) == ("no-process", "kitaru-nb resume ex_1, which runs it here")


def test_what_was_gone_on_with_in_the_background_and_died_in_its_first_cell_is_one_s_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever resumes it by name vouches for it, in the panel too: no step says whose it is."""
    notebook = Notebook(tmp_path, [])
    notebook.nb.cells = [nbformat.v4.new_code_cell(_HANGS.format(folder=str(tmp_path)), id="c0")]
    notebook.save()
    with closing(open_engine(resolve())) as engine:
        identity = Identity(notebook=str(notebook.path), output=str(notebook.output), stack="local")
        theirs, _ = engine.journal.start(identity, owner=current_owner())
        engine.journal.finish(theirs, ExecutionStatus.INTERRUPTED)

        go_on(engine, theirs.execution, folder=tmp_path)
        until((tmp_path / "began").exists, "the first cell")
        os.kill(engine.journal.attempts(theirs.execution)[-1].owner.pid, signal.SIGKILL)
        until(lambda: engine.journal.execution(theirs.execution).status is ExecutionStatus.INTERRUPTED)

    assert resume_executions(dry_run=True, json=True) == 0
    assert json.loads(capsys.readouterr().out)["execution"] == theirs.execution


_HANGS = """import pathlib, time
folder = pathlib.Path({folder!r})
(folder / 'began').touch()
while not (folder / 'go').exists(): time.sleep(0.05)"""
