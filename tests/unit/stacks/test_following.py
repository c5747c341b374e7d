"""Following a submitted run whose scheduler is asked at awkward moments."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import nbformat
import pytest

from kitaru_nb.engine.engine import Engine
from kitaru_nb.errors import ConflictError, StackError, UsageError
from kitaru_nb.model.checkpoint import StepKind
from kitaru_nb.model.execution import ExecutionId, ExecutionStatus, current_owner, queue_owner
from kitaru_nb.model.settings import Settings
from kitaru_nb.model.stack import Stack
from kitaru_nb.stacks import following, reconcile, submitting
from kitaru_nb.stacks.config import user_file
from kitaru_nb.stacks.following import follow, stop
from kitaru_nb.stacks.keys import NoKeys
from kitaru_nb.stacks.launcher import Capabilities, Handle, JobState, JobStatus, Launcher, Launchers, RunSpec
from kitaru_nb.stacks.local import job_of
from kitaru_nb.stacks.open import open_engine
from kitaru_nb.stacks.outcome import Exit, Outcome
from kitaru_nb.stacks.reconcile import Action, reconcile_one
from kitaru_nb.stacks.settings import resolve
from kitaru_nb.stacks.submissions import note_exit, submission_of
from kitaru_nb.stacks.submitting import PLACE, submit, submit_again, submitted_before
from kitaru_nb.stacks.watch import Signals
from kitaru_nb.testing.examples import a_draft

Answer = JobState | StackError | Callable[[], JobState]

RUNNING, LOST = JobState(JobStatus.RUNNING), JobState(JobStatus.LOST)
AWAY = StackError("no answer", kind="stack-unreachable")


class Scheduler(Launchers):
    """A launcher, and the only one there is, whose first job says these things one after the other.

    One that is a function happens when it is asked. The workers of later jobs complete their runs when
    they are first asked for.
    """

    capabilities = Capabilities(same_files=True)

    def __init__(self, settings: Settings, engine: Engine, *said: Answer) -> None:
        super().__init__(settings)
        self._engine = engine
        self._said = list(said)
        self.jobs: list[RunSpec] = []

    def __call__(self, _stack: str) -> Scheduler:
        return self

    def submit(self, spec: RunSpec) -> Handle:
        self.jobs.append(spec)
        return Handle(str(len(self.jobs)))

    def poll(self, handle: Handle) -> JobState:
        if handle == "1":
            said = self._said.pop(0) if len(self._said) > 1 else self._said[0]
            if isinstance(said, StackError):
                raise said
            return said if isinstance(said, JobState) else said()
        attempt = self._engine.journal.attempts(self.jobs[-1].execution)[-1]
        if attempt.owner.is_queue:
            worker = self._engine.journal.adopt(attempt, owner=current_owner())
            self._engine.journal.finish(worker, ExecutionStatus.COMPLETED)
        return JobState(JobStatus.EXITED, 0)

    def cancel(self, handle: Handle) -> None:
        """Nothing runs."""

    def logs(self, handle: Handle, *, offset: int = 0) -> bytes:
        return b""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_POLL", 0.01)
    monkeypatch.setattr(following, "_LOOK", 0.01)


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "work.ipynb"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell("1", id="a")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def interrupt(engine: Engine, execution: ExecutionId) -> None:
    """Its worker begins, and dies."""
    worker = engine.journal.adopt(engine.journal.attempts(execution)[-1], owner=current_owner())
    engine.journal.finish(worker, ExecutionStatus.INTERRUPTED, reason="its process died")


@pytest.mark.parametrize(
    "said",
    [
        (LOST,),
        (RUNNING, LOST),
        (RUNNING, RUNNING, LOST),
        (RUNNING, RUNNING, RUNNING, LOST),
        (RUNNING, AWAY, LOST),
    ],
    ids=lambda said: ", ".join(each.status if isinstance(each, JobState) else "away" for each in said),
)
def test_a_job_whose_end_its_scheduler_learns_late_is_submitted_again(
    notebook: Path, said: tuple[Answer, ...]
) -> None:
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, *said)
        submitted = submit(engine, job_of(str(notebook)), scheduler)
        interrupt(engine, submitted.execution)

        outcome = follow(engine, submitted.execution, scheduler, signals=Signals())

        assert outcome.status is ExecutionStatus.COMPLETED
        assert len(scheduler.jobs) == 2


def fail(engine: Engine, execution: ExecutionId, *, tries_again: bool | None) -> None:
    """Its worker begins, and fails; whether it says that it tries again, or (None) nothing at all."""
    worker = engine.journal.adopt(engine.journal.attempts(execution)[-1], owner=current_owner())
    engine.journal.finish(worker, ExecutionStatus.FAILED, reason="no luck")
    if tries_again is not None:
        outcome = Outcome(ExecutionStatus.FAILED, Exit.FAILED, execution, reason="no luck")
        note_exit(engine, worker.epoch, outcome, unpacked=False, tries_again=tries_again)


@pytest.mark.parametrize("tries_again", [True, None], ids=["it said so", "it said nothing"])
def test_a_failed_run_that_is_tried_again_while_the_scheduler_is_away_is_followed_to_its_end(
    notebook: Path, tries_again: bool | None
) -> None:
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:

        def again() -> JobState:
            worker = engine.journal.resume(submitted.execution, owner=current_owner())
            engine.journal.finish(worker, ExecutionStatus.COMPLETED)
            return LOST

        scheduler = Scheduler(settings, engine, AWAY, AWAY, AWAY, again, LOST)
        submitted = submit(engine, job_of(str(notebook)), scheduler)
        fail(engine, submitted.execution, tries_again=tries_again)
        told: list[str] = []

        outcome = follow(engine, submitted.execution, scheduler, signals=Signals(), tell=told.append)

        assert outcome.status is ExecutionStatus.COMPLETED
        assert "no answer" in told


def test_the_last_word_of_a_worker_needs_no_scheduler(notebook: Path) -> None:
    settings = resolve(place=Stack("cluster"), patience=1000)
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, AWAY)
        submitted = submit(engine, job_of(str(notebook)), scheduler)
        fail(engine, submitted.execution, tries_again=False)

        outcome = follow(engine, submitted.execution, scheduler, signals=Signals())

        assert (outcome.status, outcome.reason) == (ExecutionStatus.FAILED, "no luck")


def test_a_worker_that_died_before_it_tried_again_is_replaced(notebook: Path) -> None:
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, LOST)
        submitted = submit(engine, job_of(str(notebook)), scheduler)
        interrupt(engine, submitted.execution)
        died = Outcome(ExecutionStatus.INTERRUPTED, Exit.KERNEL_DIED, submitted.execution)
        note_exit(engine, submitted.epoch, died, unpacked=False, tries_again=True)

        assert follow(engine, submitted.execution, scheduler, signals=Signals()).exit is Exit.COMPLETED
        assert len(scheduler.jobs) == 2


def test_where_the_scheduler_stays_away_the_follower_says_how_it_stands(notebook: Path) -> None:
    settings = resolve(place=Stack("cluster"), patience=0.1)
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, AWAY)
        submitted = submit(engine, job_of(str(notebook)), scheduler)
        interrupt(engine, submitted.execution)

        outcome = follow(engine, submitted.execution, scheduler, signals=Signals())

        assert outcome.status is ExecutionStatus.INTERRUPTED
        assert len(scheduler.jobs) == 1


def test_that_anybody_is_trusted_holds_for_one_job(notebook: Path) -> None:
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, LOST)
        submitted = submit(engine, job_of(str(notebook), trust=True), scheduler)
        interrupt(engine, submitted.execution)
        follow(engine, submitted.execution, scheduler, signals=Signals())

        assert ["--trust" in each.words for each in scheduler.jobs] == [True, False]
        queued = [e for e in engine.journal.events(submitted.execution) if e.kind == "attempt.queued"]
        assert len(queued) == 2
        assert not any("trust" in json.dumps(dict(event.data)) for event in queued)


def test_a_queue_whose_job_was_never_put_on_record_is_emptied(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was to submit it died between taking the lease and saying so: nothing will ever begin it."""
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, LOST)
        first = queued_by_the_dead(engine, notebook, scheduler)
        submitted = submit(engine, job_of(str(notebook)), scheduler)
        interrupt(engine, submitted.execution)
        engine.journal.resume(submitted.execution, owner=queue_owner("cluster"))
        execution = engine.journal.execution(submitted.execution)

        early = reconcile_one(engine, execution, scheduler)
        monkeypatch.setattr(reconcile, "_LOST_AFTER", timedelta(0))
        late = reconcile_one(engine, execution, scheduler)

        assert first is ExecutionStatus.INTERRUPTED
        assert (early and early.action, late and late.action) == (Action.LEFT, Action.SUBMITTED)
        assert len(scheduler.jobs) == 2


def queued_by_the_dead(engine: Engine, notebook: Path, scheduler: Scheduler) -> ExecutionStatus:
    """What becomes of a first submission that was cut off before anything but the lease was on record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submitting, "_hand_over", die)
        with pytest.raises(Dead):
            submit(engine, job_of(str(notebook)), scheduler)
    found = engine.journal.executions(status=ExecutionStatus.RUNNING)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "_LOST_AFTER", timedelta(0))
        done = reconcile_one(engine, found, scheduler)
    assert done is not None
    return done.execution.status


class Dead(BaseException):
    """The process ends here."""


def die(*_: object, **__: object) -> None:
    raise Dead


def test_calls_and_loops_of_one_long_cell_count_as_progress(notebook: Path) -> None:
    """Such a cell may be cut short more often than an attempt that records nothing is tried again."""
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, LOST)
        execution = submit(engine, job_of(str(notebook)), scheduler).execution
        for ordinal in range(reconcile.LIMIT + 1):
            worker = engine.journal.adopt(engine.journal.attempts(execution)[-1], owner=current_owner())
            engine.journal.commit(worker, a_draft(f"call{ordinal}", kind=StepKind.CALL, scope="train"))
            engine.journal.finish(worker, ExecutionStatus.INTERRUPTED, reason="preempted")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(scheduler, "poll", lambda _handle: LOST)
                done = reconcile_one(engine, engine.journal.execution(execution), scheduler)
            assert done is not None
            assert done.action is Action.SUBMITTED, (ordinal, done.reason)


def test_a_run_that_came_to_a_question_each_time_is_not_given_up(notebook: Path) -> None:
    """One cell may ask several things, and records nothing before the last answer."""
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, LOST)
        execution = submit(engine, job_of(str(notebook)), scheduler).execution
        for _ in range(reconcile.LIMIT):
            worker = engine.journal.adopt(engine.journal.attempts(execution)[-1], owner=current_owner())
            engine.journal.finish(worker, ExecutionStatus.WAITING)
            before = submission_of(engine, engine.journal.execution(execution))
            assert before is not None
            submit_again(engine, execution, scheduler, before)
        interrupt(engine, execution)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scheduler, "poll", lambda _handle: LOST)
            done = reconcile_one(engine, engine.journal.execution(execution), scheduler)

        assert done is not None
        assert done.action is Action.SUBMITTED, done.reason


def test_a_submission_that_seems_to_fail_does_not_end_what_has_begun(notebook: Path) -> None:
    """The connection broke after the worker had taken the attempt: the worker goes on, and is followed."""
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, LOST)

        def begun_and_cut_off(spec: RunSpec) -> Handle:
            engine.journal.adopt(engine.journal.attempts(spec.execution)[-1], owner=current_owner())
            raise AWAY

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scheduler, "submit", begun_and_cut_off)
            with pytest.raises(StackError):
                submit(engine, job_of(str(notebook)), scheduler)

        found = engine.journal.executions(limit=1)[0]
        assert found.status is ExecutionStatus.RUNNING
        assert submitted_before(engine, job_of(str(notebook))) == found.id


def test_what_a_stack_lacks_here_is_said_and_the_pass_goes_on(notebook: Path) -> None:
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        submitted = submit(engine, job_of(str(notebook)), Scheduler(settings, engine, LOST))

        def missing(_stack: str) -> Launcher | None:
            raise UsageError("it needs `kubernetes`", kind="missing-extra")

        found = list(reconcile.reconcile(engine, missing))

        assert [(each.execution.id, each.action) for each in found] == [
            (submitted.execution, Action.UNREACHABLE)
        ]


def test_a_command_that_is_stopped_says_so_though_its_worker_does_not_end(
    notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PATIENCE", 0.0)
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, RUNNING)
        execution = submit(engine, job_of(str(notebook)), scheduler).execution
        engine.journal.adopt(engine.journal.attempts(execution)[-1], owner=current_owner())

        outcome = stop(engine, execution, scheduler, signal.SIGINT)

    assert outcome.exit is Exit.SIGINT


def test_it_goes_on_on_its_own_stack_whichever_is_chosen_now(notebook: Path) -> None:
    with closing(open_engine(resolve(place=Stack("cluster")))) as engine:
        scheduler = Scheduler(engine.settings, engine, LOST)
        submitted = submit(engine, job_of(str(notebook)), scheduler)
        interrupt(engine, submitted.execution)
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text('[stacks.cluster]\nlauncher = "slurm"\n')
    with closing(open_engine(resolve())) as engine:
        scheduler = Scheduler(engine.settings, engine, LOST)
        done = reconcile_one(engine, engine.journal.execution(submitted.execution), lambda _: scheduler)

        assert done is not None
        assert done.action is Action.SUBMITTED
        again = submission_of(engine, done.execution)
        assert again is not None
        assert again.stack == "cluster"
        assert json.loads(scheduler.jobs[-1].env[PLACE])["launcher"] == "slurm"
        assert engine.journal.attempts(submitted.execution)[-1].owner == queue_owner("cluster")


def test_what_a_stranger_has_put_into_a_queue_is_not_followed(notebook: Path) -> None:
    settings = resolve(place=Stack("cluster"))
    with closing(open_engine(settings)) as engine:
        job, scheduler = job_of(str(notebook)), Scheduler(settings, engine, RUNNING)
        submitted = submit(engine, job, scheduler)
        assert submitted_before(engine, job) == submitted.execution

        engine.trust.keys = NoKeys()

        assert submitted_before(engine, job) is None
        with pytest.raises(ConflictError, match="was submitted to stack `cluster`") as held:
            submit(engine, job, scheduler)
        assert "kitaru-nb reconcile" in held.value.hint


def test_a_webhook_that_a_stack_writes_out_is_in_no_job(notebook: Path) -> None:
    told = {"notify": "https://hooks.example/a-token"}
    settings = resolve(place=Stack("cluster", settings=told))
    with closing(open_engine(settings)) as engine:
        scheduler = Scheduler(settings, engine, RUNNING)

        with pytest.raises(UsageError, match="writes a webhook out") as refused:
            submit(engine, job_of(str(notebook)), scheduler)

        assert refused.value.kind == "secret-in-settings"
        assert scheduler.jobs == []
        assert "a-token" not in str(settings.notify)
