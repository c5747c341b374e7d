"""The pool, with workers that are told what to do in a few lines of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from kitaru_nb.errors import ConflictError, KernelError, KitaruError
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus
from kitaru_nb.model.wait import OnWait
from kitaru_nb.stacks import batch
from kitaru_nb.stacks.batch import Began, Ended, Event, Lost, Pool, Said
from kitaru_nb.stacks.batch_protocol import Again, Replayed, answer_heard, answer_told, task_told, work_heard
from kitaru_nb.stacks.local import Job
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.settings import resolve

# A worker that does what the notebook of its job says.
WORKER = """
import json, os, sys
for line in sys.stdin:
    job = json.loads(line)["work"]
    what = job["notebook"]
    print(json.dumps({"said": "begins " + what}), flush=True)
    if what == "die":
        os._exit(3)
    if what == "garble":
        print('{"outcome": {"stat', flush=True)
        os._exit(3)
    error = {"class": "KernelError", "message": what, "kind": str(os.getpid()), "hint": ""}
    print(json.dumps({"error": error}), flush=True)
"""


@pytest.fixture(autouse=True)
def _worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "worker.py"
    program.write_text(WORKER)
    started = batch.subprocess.Popen

    def start(_words: list[str], **options: object) -> object:
        return started([sys.executable, str(program)], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(batch.subprocess, "Popen", start)


def did(*notebooks: str, size: int = 1) -> list[Event]:
    with Pool(resolve(), size=size) as pool:
        for key, notebook in enumerate(notebooks):
            pool.add(key, Job(notebook, ""))
        return list(iter(pool.next, None))


def answers(events: list[Event]) -> dict[int, Event]:
    return {event.key: event for event in events if isinstance(event, Ended | Lost)}


def test_one_worker_does_one_task_after_another_and_each_event_has_its_key() -> None:
    events = did("a", "b")

    kinds = [(type(event), event.key) for event in events]
    assert kinds == [(Began, 0), (Said, 0), (Ended, 0), (Began, 1), (Said, 1), (Ended, 1)]
    found = [event.answer for event in events if isinstance(event, Ended)]
    assert [type(each) for each in found] == [KernelError] * 2
    processes = {each.kind for each in found if isinstance(each, KitaruError)}
    assert len(processes) == 1


def test_there_are_as_many_workers_as_asked_for_and_never_more_than_tasks() -> None:
    events = did("a", "b", "c", size=2)

    assert [event.key for event in events[:2]] == [0, 1]
    assert all(isinstance(event, Began) for event in events[:2])
    assert set(answers(events)) == {0, 1, 2}


@pytest.mark.parametrize("end", ["die", "garble"])
def test_a_worker_that_dies_loses_its_task_alone(end: str) -> None:
    found = answers(did(end, "b", end))

    assert isinstance(found[0], Lost)
    assert "exit code 3" in found[0].reason
    assert isinstance(found[1], Ended)
    assert isinstance(found[2], Lost)


def test_a_task_may_be_added_while_others_run() -> None:
    with Pool(resolve(), size=1) as pool:
        pool.add(0, Job("a", ""))
        again = True
        seen = []
        while (event := pool.next()) is not None:
            if isinstance(event, Ended):
                seen.append(event.key)
                if again:
                    again = False
                    pool.add(7, Job("a", ""))

    assert seen == [0, 7]


def test_an_outcome_and_an_error_come_back_as_they_were() -> None:
    outcome = Outcome(
        ExecutionStatus.WAITING,
        Exit.WAITING,
        ExecutionId("ex_1"),
        checkpoint="c",
        saved=1.5,
        error=ConflictError("no", kind="held", hint="wait"),
        wait="ex_1/ok",
    )

    heard = answer_heard(json.loads(json.dumps(answer_told(outcome))))

    assert isinstance(heard, Outcome)
    assert (heard.exit, heard.status, heard.wait, heard.saved) == (Exit.WAITING, "waiting", "ex_1/ok", 1.5)
    assert isinstance(heard.error, ConflictError)
    assert (heard.error.message, heard.error.kind, heard.error.hint) == ("no", "held", "wait")


@pytest.mark.parametrize(
    "work",
    [
        Job("nb", "out", parameters={"a": [1, "x"]}, tags=("t",), on_wait=OnWait(hold=3.0), budget=1.5),
        Replayed(ExecutionId("ex_1"), "fit", {"a": 1}, tags=("t",)),
        Again(ExecutionId("ex_1"), 2.0),
    ],
)
def test_work_is_told_whole(work: Job | Replayed | Again) -> None:
    told = json.loads(task_told(work, resolve(), html=True, more=False))

    assert work_heard(told) == work
    assert told["html"] is True
