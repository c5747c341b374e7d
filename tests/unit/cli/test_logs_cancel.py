"""`logs` and `cancel`, run in this process on a real store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import closing
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.cli.main import main
from kitaru_nb.engine.engine import Engine
from kitaru_nb.engine.refs import FLOW
from kitaru_nb.errors import ConflictError
from kitaru_nb.model.checkpoint import StepKind
from kitaru_nb.model.execution import ExecutionStatus, Identity, current_owner, owner_of, queue_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.wait import Question, WaitStatus, binding_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.submissions import note_exit, note_queued
from kitaru_nb.testing import a_draft

RUN = Identity(notebook="/n.ipynb", output="/n.out.ipynb")


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(open_engine(Settings(home=Path(os.environ["KITARU_NB_HOME"])))) as opened:
        yield opened


def test_the_log_says_what_happened_and_what_cells_showed(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt, _ = engine.journal.start(RUN, owner=current_owner())
    said = {"output_type": "stream", "name": "stdout", "text": "loss \x1b[31m0.3\nloss 0.2\n"}
    picture = {"output_type": "display_data", "data": {"image/png": "…"}}
    engine.journal.commit(attempt, a_draft(name="train", outputs=(said, picture)))
    engine.journal.finish(attempt, ExecutionStatus.FAILED, reason="stopped")

    assert main(["logs", "latest"]) == 0
    out = capsys.readouterr().out
    assert main(["logs", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)

    assert "| loss \\x1b[31m0.3\n          | loss 0.2\n          | <image/png>" in out
    assert out.splitlines()[-1].endswith("execution failed: stopped")
    assert [line["stream"] for line in lines] == [None, None, None, "stdout", "display", None]
    assert {line["checkpoint"] for line in lines} == {None, "train"}


def test_who_follows_waits_for_what_the_worker_says_at_its_own_end(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes after the end of the run, and only it says that the output lies elsewhere."""
    notebook, output = tmp_path / "n.ipynb", tmp_path / "n.out.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(metadata={"kernelspec": kernel}), notebook)
    attempt, _ = engine.journal.start(
        Identity(notebook=str(notebook), output=str(output)), owner=queue_owner("gpu")
    )
    note_queued(engine, attempt, "gpu", {})
    engine.journal.finish(attempt, ExecutionStatus.COMPLETED)
    following = ThreadPoolExecutor(1).submit(main, ["logs", attempt.execution, "-f"])
    with pytest.raises(FutureTimeoutError):
        following.result(timeout=1)

    ended = Outcome(ExecutionStatus.COMPLETED, Exit.COMPLETED, attempt.execution)
    note_exit(engine, attempt.epoch, ended, unpacked=True, tries_again=False)

    assert following.result(timeout=60) == 0
    assert output.is_file()
    assert f"output: {output}" in capsys.readouterr().err


def test_what_is_noted_on_a_plain_cell_is_no_line_and_the_result_of_a_flow_is_one(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    attempt, _ = engine.journal.start(RUN, owner=current_owner())
    for name, scope in (("code:7b25", "code:7b25"), ("cell:a1", "cell:a1"), ("agent", FLOW), (FLOW, FLOW)):
        engine.journal.commit(attempt, a_draft(name=name, scope=scope, kind=StepKind.RESULT))

    assert main(["logs", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)

    assert [line["checkpoint"] for line in lines if line["checkpoint"]] == ["agent", FLOW]


@pytest.mark.parametrize(
    ("kind", "data"), [("wait.asked", {}), ("checkpoint.completed", {"ordinal": 1}), ("x", {"ordinal": []})]
)
def test_events_that_anybody_wrote_can_be_read(
    engine: Engine, capsys: pytest.CaptureFixture[str], kind: str, data: dict[str, object]
) -> None:
    attempt, _ = engine.journal.start(RUN, owner=current_owner())
    engine.journal.record_event(attempt.execution, kind, data)

    assert main(["logs", "latest"]) == 0
    assert kind.replace(".", " ") in capsys.readouterr().out


def test_following_ends_with_the_execution(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    attempt, _ = engine.journal.start(RUN, owner=owner_of(process.pid))
    following = subprocess.Popen(
        [sys.executable, "-m", "kitaru_nb", "logs", attempt.execution, "-f"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    assert "execution started" in following.stdout.readline()

    engine.journal.commit(attempt, a_draft(name="late"))
    engine.journal.finish(attempt, ExecutionStatus.COMPLETED)
    process.kill()
    process.communicate()
    rest, _ = following.communicate(timeout=100)

    assert following.returncode == 0
    assert "late completed" in rest
    assert rest.splitlines()[-1].endswith("execution completed")


@pytest.mark.parametrize("status", ["waiting", "failed", "interrupted"])
def test_what_has_stopped_is_cancelled_and_does_not_go_on(
    engine: Engine, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    attempt, _ = engine.journal.start(RUN, owner=current_owner())
    question = Question(
        "publish", "cell:a", 0, "Publish?", {"type": "boolean"}, binding_of("Publish?", {}, None)
    )
    wait, _ = engine.journal.ask(attempt, question)
    engine.journal.finish(attempt, ExecutionStatus(status))

    assert main(["cancel", attempt.execution, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(["cancel", attempt.execution]) == 0, "twice is harmless"

    assert found["status"] == "cancelled"
    assert "cancelled by" in capsys.readouterr().out
    assert engine.journal.wait(wait.address).status is WaitStatus.EXPIRED
    next_run, before = engine.journal.start(RUN, owner=current_owner())
    assert (before, next_run.execution != attempt.execution) == (None, True)


def test_a_run_that_is_cancelled_commits_nothing_more(engine: Engine) -> None:
    attempt, _ = engine.journal.start(RUN, owner=current_owner())

    assert main(["cancel", attempt.execution]) == 0

    with pytest.raises(ConflictError, match="cancelled by") as refused:
        engine.journal.commit(attempt, a_draft())
    assert refused.value.kind == "superseded"


def test_what_has_completed_or_a_person_runs_is_not_cancelled(
    engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    done, _ = engine.journal.start(RUN, owner=current_owner())
    engine.journal.finish(done, ExecutionStatus.COMPLETED)
    by_hand, _ = engine.journal.start(Identity(notebook="/hand.ipynb"), owner=current_owner())

    assert main(["cancel", done.execution]) == 2
    assert "has completed" in capsys.readouterr().err
    assert main(["cancel", by_hand.execution]) == 2
    assert "run by hand" in capsys.readouterr().err
    assert engine.journal.execution(by_hand.execution).status is ExecutionStatus.RUNNING
    engine.journal.finish(by_hand, ExecutionStatus.INTERRUPTED)
    assert main(["cancel", by_hand.execution]) == 0, "its kernel is gone"
