"""What every journal must do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kitaru_nb.errors import ConflictError, NotFoundError
from kitaru_nb.journal.journal import Journal
from kitaru_nb.model.artifact import LEFT_OUT, Extent, Location, Tombstone
from kitaru_nb.model.checkpoint import Checkpoint, CheckpointKey, CheckpointStatus, Group, StepKind
from kitaru_nb.model.event import Event
from kitaru_nb.model.execution import (
    Attempt,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Identity,
    current_owner,
    new_execution_id,
    queue_owner,
)
from kitaru_nb.model.file_mark import FileMark
from kitaru_nb.model.removal import Removal
from kitaru_nb.model.transcript import Run, Transcript
from kitaru_nb.testing.claim_suite import ClaimPromises
from kitaru_nb.testing.examples import STARTED, a_draft, a_stored_value, dead_owner, digest_of, unseen_owner
from kitaru_nb.testing.wait_suite import WaitPromises

__all__ = ["GUEST", "JournalSuite"]

GUEST = ExecutionId("ex_01hqzzzzzzzzzzzzzzzzzzzzzz")
"""The id of an execution that another journal recorded."""


class JournalSuite(WaitPromises, ClaimPromises):
    """The promises of `kitaru_nb.journal.journal.Journal`, each a test."""

    notebook = Identity(notebook="/home/ana/train.ipynb", parameters={"lr": 0.1, "tags": ["a", None]})

    def open_journal(self, home: Path) -> Journal:
        """A journal kept in `home`; called again with the same folder it opens the same one."""
        raise NotImplementedError

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        """An empty journal."""
        journal = self.open_journal(tmp_path / "home")
        yield journal
        journal.close()

    @pytest.fixture
    def other(self, tmp_path: Path, journal: Journal) -> Iterator[Journal]:
        """The same journal as another process would open it."""
        del journal  # opened first
        other = self.open_journal(tmp_path / "home")
        yield other
        other.close()

    def test_its_clock_is_the_one_that_the_records_are_timed_by(
        self, journal: Journal, other: Journal
    ) -> None:
        before = journal.now()
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        after = other.now()  # the first thing that it is asked

        assert before <= journal.execution(attempt.execution).started_at <= after
        assert after - before < timedelta(days=1)

    # Executions and leases

    def test_a_new_identity_begins_an_execution(self, journal: Journal) -> None:
        attempt, before = journal.start(self.notebook, owner=current_owner(), tags=["nightly"])

        execution = journal.execution(attempt.execution)

        assert before is None
        assert (attempt.epoch, attempt.owner) == (1, current_owner())
        assert (execution.identity, execution.tags) == (self.notebook, ("nightly",))
        assert (execution.status, execution.attempts) == (ExecutionStatus.RUNNING, 1)
        assert (execution.cost, execution.tokens, execution.saved_cost) == (None, None, None)

    @pytest.mark.parametrize(
        "status", [ExecutionStatus.INTERRUPTED, ExecutionStatus.FAILED, ExecutionStatus.WAITING]
    )
    def test_an_unfinished_execution_goes_on(self, journal: Journal, status: ExecutionStatus) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())
        journal.finish(first, status, reason="because")

        second, before = journal.start(self.notebook, owner=current_owner())

        assert (second.execution, second.epoch) == (first.execution, 2)
        assert before is not None
        assert (before.status, before.reason) == (status, "because")
        assert journal.execution(first.execution).status is ExecutionStatus.RUNNING

    @pytest.mark.parametrize("status", [ExecutionStatus.COMPLETED, ExecutionStatus.CANCELLED])
    def test_a_finished_execution_is_followed_by_a_new_one(
        self, journal: Journal, status: ExecutionStatus
    ) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())
        journal.finish(first, status)

        second, before = journal.start(self.notebook, owner=current_owner())

        assert before is None
        assert second.execution != first.execution
        assert journal.execution("latest").id == second.execution

    def test_new_begins_a_new_execution_though_the_last_is_unfinished(self, journal: Journal) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())
        journal.finish(first, ExecutionStatus.FAILED)

        second, before = journal.start(self.notebook, owner=current_owner(), new=True)

        assert before is None
        assert second.execution != first.execution

    @pytest.mark.parametrize(
        "other_identity",
        [
            {"notebook": "/home/ana/other.ipynb"},
            {"output": "/tmp/out.ipynb"},
            {"parameters": {"lr": 0.2}},
            {"stack": "prod"},
        ],
    )
    def test_another_identity_is_another_execution(
        self, journal: Journal, other_identity: dict[str, Any]
    ) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())
        journal.finish(first, ExecutionStatus.FAILED)

        second, before = journal.start(replace(self.notebook, **other_identity), owner=current_owner())

        assert before is None
        assert second.execution != first.execution

    def test_parameters_in_another_order_are_the_same_run_and_keep_the_first_one_s(
        self, journal: Journal
    ) -> None:
        """It is that of the lines of the cell that sets them: in another one that cell would run again."""
        given = replace(self.notebook, parameters={"lr": 0.1, "depth": {"b": 1, "a": 2}})
        turned = replace(self.notebook, parameters={"depth": {"a": 2, "b": 1}, "lr": 0.1})
        first, _ = journal.start(given, owner=current_owner())
        journal.finish(first, ExecutionStatus.FAILED)

        second, before = journal.start(turned, owner=current_owner())

        kept = journal.execution(second.execution).identity.parameters
        assert before is not None
        assert second.execution == first.execution
        assert (list(kept), list(kept["depth"])) == (["lr", "depth"], ["b", "a"])

    # Notebooks under another name

    def test_a_renamed_notebook_goes_on_under_its_new_name(self, journal: Journal, other: Journal) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner(), file=FileMark(7, 100))
        journal.finish(first, ExecutionStatus.FAILED)
        old, new = str(self.notebook.notebook), "/home/ana/fit.ipynb"

        assert other.name_of_file(FileMark(7, 100)) == old
        assert journal.rename(old, new, lambda each: replace(each, notebook=new)) is True
        second, before = other.start(replace(self.notebook, notebook=new), owner=current_owner())

        assert before is not None
        assert (second.execution, second.epoch) == (first.execution, 2)
        assert other.name_of_file(FileMark(7, 100)) == other.notebook_of(first.execution) == new
        assert (other.name_now(old), other.names_before(new)) == (new, [old])
        assert (other.number_of_file(new), other.number_of_file(old)) == (7, None)
        assert [each.id for each in other.executions(notebook=new)] == [first.execution]
        assert other.executions(notebook=old) == other.executions(identity=self.notebook) == []
        renamed = [e.data for e in other.events(first.execution) if e.kind == "notebook.renamed"]
        assert renamed == [{"from": old, "to": new}]

    def test_who_has_asked_for_a_name_hears_of_another_one_at_once(
        self, journal: Journal, other: Journal
    ) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())
        old, new = str(self.notebook.notebook), "/home/ana/fit.ipynb"
        asked = [each.notebook_of(first.execution) for each in (journal, other, journal, other)]

        other.rename(old, new, lambda each: replace(each, notebook=new))

        assert asked == [old] * 4
        assert [each.notebook_of(first.execution) for each in (other, journal, other)] == [new] * 3

    def test_the_old_name_is_free_for_another_notebook(self, journal: Journal) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())
        journal.finish(first, ExecutionStatus.FAILED)
        old, new = str(self.notebook.notebook), "/home/ana/fit.ipynb"
        journal.rename(old, new, lambda each: replace(each, notebook=new))

        second, before = journal.start(self.notebook, owner=current_owner())

        assert before is None
        assert [each.id for each in journal.executions(notebook=old)] == [second.execution]
        assert [each.id for each in journal.executions(identity=self.notebook)] == [second.execution]
        assert journal.find(CheckpointKey("0" * 64), notebook=new) == []

    def test_a_notebook_is_not_renamed_over_another(self, journal: Journal) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())
        there, _ = journal.start(Identity(notebook="/home/ana/fit.ipynb"), owner=current_owner())
        old, new = str(self.notebook.notebook), "/home/ana/fit.ipynb"

        assert journal.rename(old, new, lambda each: replace(each, notebook=new)) is False
        assert journal.rename("/unknown.ipynb", "/n.ipynb", lambda each: each) is False
        assert journal.notebook_of(first.execution) == old
        assert [each.id for each in journal.executions(notebook=new)] == [there.execution]

    def test_several_executions_of_a_renamed_notebook_keep_their_order(self, journal: Journal) -> None:
        old, new = str(self.notebook.notebook), "/home/ana/fit.ipynb"
        begun = []
        for parameters in ({"lr": 1}, {"lr": 2}, {"lr": 1}):
            attempt, _ = journal.start(replace(self.notebook, parameters=parameters), owner=current_owner())
            journal.finish(attempt, ExecutionStatus.COMPLETED)
            begun.append(attempt.execution)

        journal.rename(old, new, lambda each: replace(each, notebook=new))
        same = replace(self.notebook, notebook=new, parameters={"lr": 1})

        assert [each.id for each in journal.executions(notebook=new)] == begun[::-1]
        assert [each.id for each in journal.executions(identity=same)] == [begun[2], begun[0]]

    def test_a_live_owner_keeps_its_execution(self, journal: Journal, other: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())

        with pytest.raises(ConflictError, match=str(current_owner().pid)) as refused:
            other.start(self.notebook, owner=current_owner())

        assert refused.value.kind == "execution-held"
        assert attempt.execution in refused.value.message
        assert f"%resume {attempt.execution} --take-over" in refused.value.hint
        journal.heartbeat(attempt)

    def test_a_named_execution_that_is_held_is_refused_too(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())

        with pytest.raises(ConflictError) as refused:
            journal.resume(attempt.execution, owner=current_owner())

        assert refused.value.kind == "execution-held"

    def test_a_dead_owner_reads_as_interrupted_before_anyone_takes_over(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=dead_owner())

        execution = journal.execution(attempt.execution)

        assert execution.status is ExecutionStatus.INTERRUPTED
        assert execution.reason == "ended without warning"
        assert execution.ended_at == attempt.heartbeat_at
        assert journal.executions(status=ExecutionStatus.INTERRUPTED) == [execution]
        assert journal.executions(status=ExecutionStatus.RUNNING) == []
        assert [turn.status for turn in journal.attempts(attempt.execution)] == [ExecutionStatus.INTERRUPTED]

    def test_a_dead_owners_execution_goes_on(self, journal: Journal) -> None:
        dead, _ = journal.start(self.notebook, owner=dead_owner())

        attempt, before = journal.start(self.notebook, owner=current_owner())

        assert before is not None
        assert (before.status, before.reason) == (ExecutionStatus.INTERRUPTED, "ended without warning")
        assert [turn.epoch for turn in journal.attempts(attempt.execution)] == [1, 2]
        assert journal.attempts(attempt.execution)[0].ended_at == dead.heartbeat_at
        assert "execution.interrupted" in [event.kind for event in journal.events(attempt.execution)]

    def test_an_owner_elsewhere_is_alive_while_its_lease_runs(self, journal: Journal) -> None:
        journal.start(self.notebook, owner=unseen_owner())

        with pytest.raises(ConflictError, match=r"elsewhere\.example"):
            journal.start(self.notebook, owner=current_owner())

    def test_a_queue_holds_an_attempt_until_one_process_begins_it(
        self, journal: Journal, other: Journal
    ) -> None:
        queued, _ = journal.start(self.notebook, owner=queue_owner("cluster"))

        with pytest.raises(ConflictError, match=r"submitted to stack `cluster`") as held:
            other.start(self.notebook, owner=current_owner())
        assert held.value.kind == "execution-held"
        assert other.execution(queued.execution).status is ExecutionStatus.RUNNING
        assert other.attempts(queued.execution)[-1].owner.is_queue

        begun = other.adopt(queued, owner=current_owner())

        assert (begun.execution, begun.epoch, begun.owner) == (queued.execution, 1, current_owner())
        assert journal.attempts(queued.execution) == [begun]
        other.commit(begun, a_draft())
        with pytest.raises(ConflictError) as refused:
            journal.adopt(queued, owner=unseen_owner())
        assert refused.value.kind == "superseded"
        assert "was begun by process" in refused.value.message
        other.finish(begun, ExecutionStatus.COMPLETED)
        assert [event.kind for event in journal.events(queued.execution)][:3] == [
            "execution.started",
            "attempt.started",
            "attempt.begun",
        ]

    def test_what_was_taken_out_of_a_queue_is_not_begun(self, journal: Journal) -> None:
        queued, _ = journal.start(self.notebook, owner=queue_owner("cluster"))
        journal.finish(queued, ExecutionStatus.CANCELLED, reason="cancelled by ana")

        with pytest.raises(ConflictError) as refused:
            journal.adopt(queued, owner=current_owner())

        assert refused.value.kind == "superseded"
        assert journal.execution(queued.execution).status is ExecutionStatus.CANCELLED

    def test_take_over_fences_the_owner_before(self, journal: Journal, other: Journal) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())

        second, before = other.start(self.notebook, owner=current_owner(), take_over=True)

        assert (second.execution, second.epoch) == (first.execution, 2)
        assert before is not None
        for refused_call in (
            lambda: journal.commit(first, a_draft()),
            lambda: journal.commit_restored(first, [a_draft(status=CheckpointStatus.RESTORED)]),
            lambda: journal.heartbeat(first),
        ):
            with pytest.raises(ConflictError) as refused:
                refused_call()
            assert refused.value.kind == "superseded"
        journal.finish(first, ExecutionStatus.COMPLETED)
        assert journal.execution(first.execution).status is ExecutionStatus.RUNNING
        assert journal.checkpoints(first.execution) == []

    def test_an_attempt_that_has_ended_records_nothing_more(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        journal.finish(attempt, ExecutionStatus.COMPLETED)

        with pytest.raises(ConflictError) as refused:
            journal.commit(attempt, a_draft())

        assert refused.value.kind == "superseded"
        journal.finish(attempt, ExecutionStatus.FAILED)
        assert journal.execution(attempt.execution).status is ExecutionStatus.COMPLETED

    def test_resume_takes_an_execution_of_any_status(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        journal.finish(attempt, ExecutionStatus.COMPLETED)

        again = journal.resume(attempt.execution, owner=current_owner())

        assert (again.execution, again.epoch) == (attempt.execution, 2)
        execution = journal.execution(attempt.execution)
        assert (execution.status, execution.ended_at) == (ExecutionStatus.RUNNING, None)

    def test_executions_are_filtered_and_newest_first(self, journal: Journal) -> None:
        ids: list[ExecutionId] = []
        for number in range(4):
            identity = Identity(notebook=f"/n{number % 2}.ipynb", output=f"/out{number}")
            attempt, _ = journal.start(identity, owner=current_owner(), tags=[f"t{number}"])
            journal.finish(attempt, ExecutionStatus.FAILED if number == 3 else ExecutionStatus.COMPLETED)
            ids.append(attempt.execution)

        def found(**filters: Any) -> list[ExecutionId]:
            return [execution.id for execution in journal.executions(**filters)]

        assert found() == ids[::-1]
        assert found(limit=2) == ids[:1:-1]
        assert found(notebook="/n1.ipynb") == [ids[3], ids[1]]
        assert found(notebook="/n1.ipynb", status=ExecutionStatus.COMPLETED) == [ids[1]]
        assert found(tag="t2") == [ids[2]]
        assert found(identity=Identity(notebook="/n0.ipynb", output="/out0")) == [ids[0]]
        assert found(since=datetime.now(UTC) + timedelta(hours=1)) == []
        assert found(since=datetime.now(UTC) - timedelta(hours=1)) == ids[::-1]
        assert found(notebook="/nowhere.ipynb") == []
        assert found(before=ids[2]) == [ids[1], ids[0]]
        assert found(before=ids[2], limit=1) == [ids[1]]
        assert found(before=ids[3], notebook="/n1.ipynb") == [ids[1]]
        assert found(before=ids[0]) == []
        with pytest.raises(NotFoundError):
            found(before=ExecutionId("ex_nothing"))

    def test_what_a_person_runs_is_found_behind_any_number_of_headless_runs(self, journal: Journal) -> None:
        def ran(identity: Identity) -> ExecutionId:
            attempt, _ = journal.start(identity, owner=current_owner(), new=True)
            journal.finish(attempt, ExecutionStatus.COMPLETED)
            return attempt.execution

        by_hand = [ran(Identity(notebook="/n.ipynb")) for _ in range(2)]
        headless = [ran(Identity(notebook="/n.ipynb", output=f"/out{number}")) for number in range(3)]
        flow = ran(Identity(flow="module:flow"))

        def found(**filters: Any) -> list[ExecutionId]:
            return [execution.id for execution in journal.executions(**filters)]

        assert found(notebook="/n.ipynb", interactive=True, limit=1) == [by_hand[1]]
        assert found(notebook="/n.ipynb", interactive=True) == by_hand[::-1]
        assert found(notebook="/n.ipynb", interactive=False, limit=2) == headless[:0:-1]
        assert found(interactive=False) == [flow, *headless[::-1]], "nobody runs a flow cell by cell"
        assert found(interactive=True, before=by_hand[1]) == [by_hand[0]]

    def test_an_unknown_execution_is_named(self, journal: Journal) -> None:
        for wanted in ("ex_nothing", "latest"):
            with pytest.raises(NotFoundError) as refused:
                journal.execution(wanted)
            assert refused.value.kind == "unknown-execution"

    # Checkpoints

    def test_a_commit_comes_back_whole(self, journal: Journal, other: Journal) -> None:
        artifact, location = a_stored_value()
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        draft = a_draft(
            "träin / ☃ \x00 \ud800 '; DROP TABLE",
            step="cell:abc",
            reads={"rows": digest_of("rows")},
            groups=(
                Group(("a", "b"), artifact.digest, digest_of("ab")),
                Group(("c",), artifact.digest, digest_of("c"), written=False, unstorable={"c": "a lock"}),
            ),
            deleted=("x", "y"),
            deleted_by_step=("y",),
            process=artifact.digest,
            files=({"path": "out.csv", "mode": "w", "digest": digest_of("f")},),
            outputs=({"output_type": "stream", "name": "stdout", "text": "1\n"},),
            cost=0.25,
            tokens=7,
        )

        step = journal.commit(attempt, draft, artifacts=[artifact], locations=[location])

        assert (step.draft, step.execution, step.epoch, step.ordinal) == (draft, attempt.execution, 1, 1)
        assert other.checkpoint(step.seq) == step
        assert other.checkpoints(attempt.execution) == [step]
        assert other.artifacts([artifact.digest, digest_of("no")]) == {artifact.digest: artifact}
        assert other.locate([location.extent.digest, digest_of("no")]) == {location.extent.digest: location}

    def test_an_extent_in_a_pack_is_found_again(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        extent = Extent(digest_of("big"), 1 << 20)
        location = Location(extent, pack="ab/0123.pack", offset=8192)

        journal.commit(attempt, a_draft(), locations=[location])

        assert journal.locate([extent.digest]) == {extent.digest: location}

    @pytest.mark.parametrize("content", [b"A history. " * 500, bytes(60_000), bytes(range(256)) * 9])
    def test_bytes_come_back_as_they_were_however_few_they_are_kept_in(
        self, journal: Journal, content: bytes
    ) -> None:
        artifact, location = a_stored_value(content)
        attempt, _ = journal.start(self.notebook, owner=current_owner())

        journal.commit(attempt, a_draft(), artifacts=[artifact], locations=[location])

        assert journal.locate([location.extent.digest]) == {location.extent.digest: location}

    def test_content_written_anew_is_found_at_its_new_place(self, journal: Journal) -> None:
        """A store that found an extent damaged writes it again; the old place must not come back."""
        attempt, _ = journal.start(Identity(notebook="/n.ipynb"), owner=current_owner())
        artifact, inline = a_stored_value()
        journal.commit(attempt, a_draft("one"), artifacts=[artifact], locations=[inline])
        moved = Location(inline.extent, pack="aa/new.pack", offset=4096)

        journal.commit(attempt, a_draft("two"), artifacts=[artifact], locations=[moved])

        assert journal.locate([inline.extent.digest]) == {inline.extent.digest: moved}

    def test_a_step_never_points_at_a_value_that_is_not_on_record(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        draft = a_draft(groups=(Group(("rows",), digest_of("gone"), digest_of("v")),))

        with pytest.raises(NotFoundError, match="`rows`") as refused:
            journal.commit(attempt, draft)

        assert refused.value.kind == "unknown-artifact"
        assert journal.checkpoints(attempt.execution) == []

    def test_only_completed_steps_are_found_by_key(self, journal: Journal) -> None:
        first, _ = journal.start(self.notebook, owner=current_owner())
        done = journal.commit(first, a_draft())
        journal.commit(first, a_draft(status=CheckpointStatus.FAILED, error={"ename": "E", "evalue": "v"}))
        restored = a_draft(status=CheckpointStatus.RESTORED, parent=done.seq, origin=done.seq)
        journal.commit_restored(first, [restored])
        journal.finish(first, ExecutionStatus.COMPLETED)
        second, _ = journal.start(self.notebook, owner=current_owner())
        again = journal.commit(second, a_draft())
        elsewhere, _ = journal.start(Identity(notebook="/other.ipynb"), owner=current_owner())
        journal.commit(elsewhere, a_draft())
        key = done.draft.key

        assert journal.find(key, notebook=self.notebook.notebook) == [again, done]
        assert journal.find(key, executions=[first.execution]) == [done]
        assert journal.find(key, executions=[]) == []
        assert journal.find(CheckpointKey(digest_of("unknown")), notebook=self.notebook.notebook) == []

    def test_the_line_follows_parents_across_attempts_and_executions(self, journal: Journal) -> None:
        first, _ = journal.start(self.notebook, owner=dead_owner())
        one = journal.commit(first, a_draft("one"))
        journal.commit(first, a_draft("aside", parent=one.seq))
        second, _ = journal.start(self.notebook, owner=current_owner())
        two = journal.commit(second, a_draft("two", parent=one.seq))
        replay, _ = journal.start(Identity(flow="m:f"), owner=current_owner(), parent=first.execution)
        three = journal.commit(replay, a_draft("three", parent=two.seq))

        assert journal.line(three.seq) == [one, two, three]
        assert [step.ordinal for step in journal.line(three.seq)] == [1, 2, 3]
        assert journal.execution(replay.execution).parent == first.execution
        assert [step.draft.name for step in journal.checkpoints(first.execution)] == ["one", "aside", "two"]

    def test_steps_restored_together_follow_each_other(self, journal: Journal) -> None:
        first, _ = journal.start(self.notebook, owner=dead_owner())
        one = journal.commit(first, a_draft("one", cost=0.5, duration=2.0))
        two = journal.commit(first, a_draft("two", parent=one.seq, duration=3.0))
        second, _ = journal.start(self.notebook, owner=current_owner())
        drafts = [
            replace(step.draft, status=CheckpointStatus.RESTORED, origin=step.seq, parent=None)
            for step in (one, two)
        ]

        steps = journal.commit_restored(second, drafts)

        assert [step.draft.parent for step in steps] == [None, steps[0].seq]
        assert [step.ordinal for step in steps] == [1, 2]
        assert [step.draft.origin for step in steps] == [one.seq, two.seq]
        execution = journal.execution(first.execution)
        assert (execution.cost, execution.saved_cost, execution.saved_duration) == (None, 0.5, 5.0)
        assert journal.commit_restored(second, []) == []

    def test_cost_and_tokens_add_up(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        journal.commit(attempt, a_draft("one"))
        journal.commit(attempt, a_draft("two", cost=0.25, tokens=10, kind=StepKind.MODEL))
        journal.commit(
            attempt, a_draft("three", cost=0.5, tokens=5, kind=StepKind.MODEL, status=CheckpointStatus.FAILED)
        )
        journal.commit(attempt, a_draft("the cell around them", cost=0.75, tokens=15))

        execution = journal.execution(attempt.execution)

        assert (execution.cost, execution.tokens) == (0.75, 15)
        assert (execution.saved_cost, execution.saved_duration) == (None, 0.0)

    def test_an_unknown_checkpoint_is_named(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())

        for call in (
            lambda: journal.checkpoint(99),
            lambda: journal.line(99),
            lambda: journal.commit(attempt, a_draft(parent=99)),
        ):
            with pytest.raises(NotFoundError) as refused:
                call()
            assert refused.value.kind == "unknown-checkpoint"

    # Removing

    def test_a_pin_holds_until_it_is_taken_back(self, journal: Journal, other: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())

        assert journal.pinned() == frozenset()
        assert (journal.pin(attempt.execution), journal.pin(attempt.execution)) == (True, False)
        assert other.pinned() == {attempt.execution}
        assert (journal.unpin(attempt.execution), journal.unpin(attempt.execution)) == (True, False)
        assert other.pinned() == frozenset()
        kinds = [event.kind for event in journal.events(attempt.execution)]
        assert kinds[-2:] == ["execution.pinned", "execution.unpinned"]

    def test_a_removed_value_leaves_what_it_was_and_why_it_went(
        self, journal: Journal, other: Journal
    ) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        artifact, location = a_stored_value()
        kept, kept_at = a_stored_value(b"other")
        groups = (
            Group(("a",), artifact.digest, digest_of("a")),
            Group(("b",), kept.digest, digest_of("b")),
        )
        step = journal.commit(
            attempt, a_draft(groups=groups), artifacts=[artifact, kept], locations=[location, kept_at]
        )
        assert journal.removed([artifact.digest]) == {}

        journal.sweep(
            Removal(
                "keep_days=30",
                artifacts=frozenset([artifact.digest]),
                extents=frozenset([location.extent.digest]),
                executions={attempt.execution: {"artifacts": 1, "bytes": artifact.bytes}},
            )
        )

        stone = other.removed([artifact.digest, kept.digest])[artifact.digest]
        assert (stone.codec, stone.bytes, stone.policy) == ("pickle5", artifact.bytes, "keep_days=30")
        assert other.every_tombstone() == [stone]
        assert other.artifacts([artifact.digest, kept.digest]) == {kept.digest: kept}
        assert other.locate([location.extent.digest, kept_at.extent.digest]).keys() == {kept_at.extent.digest}
        assert [place.extent for place in other.every_extent()] == [kept_at.extent]
        assert other.checkpoint(step.seq) == step, "the record itself stays"
        event = other.events(attempt.execution)[-1]
        assert event.kind == "values.removed"
        assert event.data == {"policy": "keep_days=30", "artifacts": 1, "bytes": artifact.bytes}

    def test_a_removed_value_that_is_stored_anew_is_there_again(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        artifact, location = a_stored_value()
        journal.commit(attempt, a_draft(), artifacts=[artifact], locations=[location])
        journal.sweep(Removal("p", frozenset([artifact.digest]), frozenset([location.extent.digest])))

        journal.commit(attempt, a_draft("again"), artifacts=[artifact], locations=[location])

        assert journal.removed([artifact.digest]) == {}
        assert journal.artifacts([artifact.digest]) == {artifact.digest: artifact}
        assert journal.locate([location.extent.digest]) == {location.extent.digest: location}

    def test_a_pack_is_given_up_only_when_no_extent_is_in_it(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        one, two = (Location(Extent(digest_of(text), 9), pack=f"{text}.pack") for text in ("one", "two"))
        journal.commit(attempt, a_draft(), locations=[one, two])

        free = journal.sweep(
            Removal("p", extents=frozenset([one.extent.digest]), packs=frozenset(["one.pack", "two.pack"]))
        )

        assert free == {"one.pack"}

    def test_a_commit_that_leans_on_a_pack_that_was_given_up_is_refused(
        self, journal: Journal, other: Journal
    ) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        place = Location(Extent(digest_of("big"), 9), pack="one.pack")
        journal.commit(attempt, a_draft("one"), locations=[place])
        other.sweep(Removal("p", extents=frozenset([place.extent.digest]), packs=frozenset(["one.pack"])))
        journal.commit(attempt, a_draft("small"))

        for _ in range(2):
            with pytest.raises(ConflictError) as refused:
                journal.commit(attempt, a_draft("two"), locations=[place])
            assert refused.value.kind == "values-removed"

        assert journal.locate([place.extent.digest]) == {}
        assert [step.draft.name for step in journal.checkpoints(attempt.execution)] == ["one", "small"]
        moved = replace(place, pack="new.pack")
        journal.commit(attempt, a_draft("two"), locations=[moved])
        assert journal.locate([place.extent.digest]) == {place.extent.digest: moved}

    def test_a_commit_that_needs_a_value_that_was_removed_is_refused(
        self, journal: Journal, other: Journal
    ) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        artifact, location = a_stored_value()
        journal.commit(attempt, a_draft("one"), artifacts=[artifact], locations=[location])
        journal.commit(attempt, a_draft("two"), needs=[artifact.digest])
        other.sweep(Removal("p", frozenset([artifact.digest]), frozenset([location.extent.digest])))
        journal.commit(attempt, a_draft("small"))

        with pytest.raises(ConflictError) as refused:
            journal.commit(attempt, a_draft("three"), needs=[artifact.digest])

        assert refused.value.kind == "values-removed"

    def test_an_extent_moves_only_from_where_it_is_on_record(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        old = [Location(Extent(digest_of(text), 9), pack="old.pack") for text in ("a", "b")]
        new = [replace(place, pack="new.pack") for place in old]
        elsewhere = replace(old[1], pack="elsewhere.pack")
        journal.commit(attempt, a_draft("one"), locations=old)
        journal.commit(attempt, a_draft("two"), locations=[elsewhere])

        free = journal.sweep(
            Removal("p", packs=frozenset(["old.pack"]), moved=list(zip(old, new, strict=True)))
        )

        found = journal.locate([place.extent.digest for place in old])
        assert set(found.values()) == {new[0], elsewhere}
        assert free == {"old.pack"}

    def test_what_is_done_while_holding_is_done_together_or_not_at_all(
        self, journal: Journal, other: Journal
    ) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())

        def half() -> None:
            with journal.holding():
                journal.commit(attempt, a_draft("one"))
                assert [step.draft.name for step in journal.every_checkpoint()] == ["one"]
                journal.pin(attempt.execution)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            half()
        with journal.holding():
            journal.commit(attempt, a_draft("two"))
            assert list(other.every_checkpoint()) == []

        assert [step.draft.name for step in other.every_checkpoint()] == ["two"]

    @staticmethod
    def _undone(journal: Journal, act: Callable[[], object]) -> None:
        def half() -> None:
            with journal.holding():
                act()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            half()

    def test_nothing_leans_on_an_artifact_whose_commit_was_undone(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        artifact, location = a_stored_value()

        self._undone(
            journal,
            lambda: journal.commit(attempt, a_draft("one"), artifacts=[artifact], locations=[location]),
        )

        with pytest.raises(ConflictError) as refused:
            journal.commit(attempt, a_draft("two"), needs=[artifact.digest])
        assert refused.value.kind == "values-removed"

    def test_a_step_whose_number_an_undone_one_had_has_its_own_place(
        self, journal: Journal, other: Journal
    ) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        first = journal.commit(attempt, a_draft("first"))
        self._undone(journal, lambda: journal.commit(attempt, a_draft("second", parent=first.seq)))
        again = other.commit(attempt, a_draft("alone"))

        next_one = journal.commit(attempt, a_draft("next", parent=again.seq))

        assert (again.seq, again.ordinal, next_one.ordinal) == (first.seq + 1, 1, 2)

    def test_an_execution_whose_beginning_was_undone_begins_as_itself(
        self, journal: Journal, other: Journal
    ) -> None:
        owner, wanted = current_owner(), new_execution_id()
        mine = Identity(notebook="/mine.ipynb")
        self._undone(
            journal,
            lambda: journal.heartbeat(journal.start(mine, owner=owner, execution=wanted)[0]),
        )
        taken, _ = other.start(self.notebook, owner=owner)

        attempt, _ = journal.start(mine, owner=owner, execution=wanted)
        journal.commit(attempt, a_draft("mine"))

        assert [step.draft.name for step in other.checkpoints(wanted)] == ["mine"]
        assert other.checkpoints(taken.execution) == []
        assert other.pinned() == frozenset()
        assert list(other.every_checkpoint(after=1)) == []

    # Events

    def test_what_a_running_step_shows_is_noted_by_its_owner_alone(
        self, journal: Journal, other: Journal
    ) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        data = {"checkpoint": "train", "outputs": [{"output_type": "stream", "text": "1"}]}

        noted = journal.note_shown(attempt, data)

        assert (noted.kind, dict(noted.data)) == ("shown", data)
        assert other.events(attempt.execution)[-1] == noted
        with pytest.raises(ConflictError) as refused:
            journal.note_shown(replace(attempt, epoch=attempt.epoch + 1), data)
        assert refused.value.kind == "superseded"

    def test_events_tell_what_happened_in_order(self, journal: Journal, other: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        aside, _ = journal.start(Identity(flow="m:f"), owner=current_owner())
        journal.commit(attempt, a_draft("one"))
        noted = journal.record_event(attempt.execution, "resume.report", {"names": ["a"], "n": 1})
        journal.finish(attempt, ExecutionStatus.COMPLETED)

        events = other.events(attempt.execution)

        assert [event.kind for event in events] == [
            "execution.started",
            "attempt.started",
            "checkpoint.completed",
            "resume.report",
            "execution.completed",
        ]
        assert noted in events
        assert other.events(attempt.execution, after=noted.seq) == events[-1:]
        assert [event.seq for event in other.events()] == [1, 2, 3, 4, 5, 6, 7]
        assert {event.execution for event in other.events()} == {attempt.execution, aside.execution}
        assert other.events(after=7) == []

    def test_everything_is_there_when_opened_again(self, journal: Journal, tmp_path: Path) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        step = journal.commit(attempt, a_draft())
        journal.close()

        again = self.open_journal(tmp_path / "home")

        assert again.checkpoints(attempt.execution) == [step]
        assert again.events() == journal.events()
        again.close()

    # What comes from elsewhere

    def a_transcript(self, *, id_: ExecutionId = GUEST, **changes: Any) -> Transcript:
        """An execution of two steps that another journal recorded; `changes` replace its parts."""
        execution = Execution(
            id_,
            self.notebook,
            ExecutionStatus.FAILED,
            STARTED,
            STARTED + timedelta(seconds=9),
            "a cell raised",
            tags=("night",),
            duration=9.0,
            cost=0.25,
            tokens=7,
        )
        attempt = Attempt(
            id_,
            1,
            unseen_owner(),
            STARTED,
            STARTED,
            execution.ended_at,
            execution.status,
            execution.reason,
        )
        artifact, location = a_stored_value(b"theirs")
        groups = (Group(("a",), artifact.digest, digest_of("a")),)
        steps = [
            Checkpoint(1, id_, 1, 1, a_draft("load", groups=groups)),
            Checkpoint(2, id_, 1, 2, a_draft(parent=1)),
        ]
        parts: dict[str, Any] = {
            "runs": [Run(execution, [attempt])],
            "checkpoints": steps,
            "events": [
                Event(1, STARTED, id_, "execution.started", {}),
                Event(2, STARTED, id_, "resumed", {"seq": 2, "left": 1, "n": 5}),
                Event(3, STARTED, id_, "resumed", {"seq": 9}),
            ],
            "artifacts": [artifact],
            "locations": [location],
        }
        return Transcript(**(parts | changes))

    def test_what_another_journal_recorded_is_taken_in_whole(self, journal: Journal, other: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        first = journal.commit(attempt, a_draft("own"))
        theirs = self.a_transcript()

        journal.take_in(theirs, told={"key": "k"})

        assert other.execution(GUEST) == theirs.runs[0].execution
        assert other.attempts(GUEST) == theirs.runs[0].attempts
        load, train = other.checkpoints(GUEST)
        assert (load.seq, train.seq) == (first.seq + 1, first.seq + 2)
        assert train.draft == a_draft(parent=load.seq)
        assert [step.seq for step in other.line(train.seq)] == [load.seq, train.seq]
        assert (load.ordinal, train.ordinal) == (1, 2)
        artifact, location = a_stored_value(b"theirs")
        assert other.artifacts([artifact.digest]) == {artifact.digest: artifact}
        assert other.locate([location.extent.digest]) == {location.extent.digest: location}
        told = other.events(GUEST)
        assert [event.kind for event in told] == [
            "execution.started",
            "resumed",
            "resumed",
            "execution.imported",
        ]
        assert told[1].data == {"seq": train.seq, "left": load.seq, "n": 5}, "steps have other numbers here"
        assert told[2].data == {}
        assert told[3].data == {"key": "k"}
        assert told[0].at == STARTED < told[3].at
        assert len(other.events()) == len(told) + len(other.events(attempt.execution))

    def test_what_was_taken_in_meets_nobody_who_did_not_name_it(self, journal: Journal) -> None:
        own, _ = journal.start(self.notebook, owner=current_owner())
        step = journal.commit(own, a_draft())
        journal.finish(own, ExecutionStatus.COMPLETED)

        journal.take_in(self.a_transcript(), told={})

        assert journal.execution("latest").id == own.execution
        assert [each.id for each in journal.executions(identity=self.notebook)] == [own.execution]
        assert [each.id for each in journal.executions(notebook=self.notebook.notebook)] == [own.execution]
        assert journal.find(step.draft.key, notebook=self.notebook.notebook) == [step]
        assert [each.id for each in journal.executions()] == [own.execution, GUEST], "each at its time"
        assert [each.id for each in journal.executions(before=own.execution)] == [GUEST]
        assert journal.executions(before=GUEST) == []
        assert journal.guests().keys() == {GUEST}
        begun, before = journal.start(self.notebook, owner=current_owner())
        assert (begun.execution != GUEST, before) == (True, None), "it failed, and is not gone on with"

    def test_whoever_names_what_was_taken_in_goes_on_with_it(self, journal: Journal) -> None:
        journal.take_in(self.a_transcript(), told={})
        assert len(journal.find(a_draft().key, executions=[GUEST])) == 1
        with pytest.raises(NotFoundError):
            journal.execution("latest")

        attempt = journal.resume(GUEST, owner=current_owner())

        assert (attempt.epoch, attempt.execution) == (2, GUEST)
        assert journal.guests() == {}
        assert journal.execution("latest").id == GUEST
        assert [each.id for each in journal.executions(identity=self.notebook)] == [GUEST]
        assert len(journal.find(a_draft().key, notebook=self.notebook.notebook)) == 1
        assert journal.commit(attempt, a_draft("more", parent=2)).ordinal == 3

    def test_nothing_that_is_on_record_is_changed_by_what_is_taken_in(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        artifact, location = a_stored_value(b"theirs")
        journal.commit(attempt, a_draft(), artifacts=[artifact], locations=[location])
        moved = Location(location.extent, pack="stranger.pack", offset=4096)
        other_codec = replace(artifact, codec="zarr")

        journal.take_in(self.a_transcript(artifacts=[other_codec], locations=[moved]), told={})

        assert journal.artifacts([artifact.digest]) == {artifact.digest: artifact}
        assert journal.locate([location.extent.digest]) == {location.extent.digest: location}

    def test_what_is_taken_in_may_build_on_what_is_here(self, journal: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        here = [journal.commit(attempt, a_draft("own"))]
        here.append(journal.commit(attempt, a_draft("own", parent=here[0].seq)))
        steps = [Checkpoint(8, GUEST, 1, 1, a_draft(parent=7, origin=3))]

        journal.take_in(self.a_transcript(checkpoints=steps, known={7: here[1].seq}), told={})

        (step,) = journal.checkpoints(GUEST)
        assert (step.ordinal, step.draft.parent, step.draft.origin) == (3, here[1].seq, None)

    def test_calls_and_children_are_taken_in_with_their_cells(self, journal: Journal, other: Journal) -> None:
        attempt, _ = journal.start(self.notebook, owner=current_owner())
        journal.commit(attempt, a_draft("own"))
        journal.finish(attempt, ExecutionStatus.COMPLETED)
        theirs = self.a_transcript().runs[0]
        child = ExecutionId(GUEST[:-1] + "0")
        call = a_draft("call", kind=StepKind.CALL, scope="cell:c1", data={"path": "p"})
        steps = [
            Checkpoint(1, GUEST, 1, 1, call),
            Checkpoint(2, GUEST, 1, 1, a_draft()),
            Checkpoint(3, child, 1, 1, replace(call, kind=StepKind.MODEL, cost=0.5)),
            Checkpoint(4, GUEST, 1, 2, replace(call, number=1)),
        ]
        inner = replace(theirs.execution, id=child, parent=GUEST, cost=0.5, tokens=3)
        rolled = {"child": child, "cost": 0.5, "tokens": 3}
        events = [
            Event(1, STARTED, GUEST, "served", {"steps": [[1, 2], [4, 9]], "epoch": 1}),
            Event(2, STARTED, GUEST, "child.cost", rolled),
        ]
        runs = [theirs, Run(inner, [replace(theirs.attempts[0], execution=child)])]

        journal.take_in(self.a_transcript(runs=runs, checkpoints=steps, events=events), told={})

        assert [step.draft.name for step in other.checkpoints(GUEST)] == ["train"]
        calls = other.steps_within(GUEST)
        assert [(step.seq, step.ordinal, step.draft.number) for step in calls] == [(2, 1, 0), (5, 2, 1)]
        assert [step.seq for step in other.steps_within(child)] == [4]
        assert other.events(GUEST)[0].data["steps"] == [[2, 3], [5, 5]]
        assert list(other.find_anywhere(call.key)) == []
        resumed = journal.resume(GUEST, owner=current_owner())
        assert journal.guests() == {}, "a child goes with its parent"
        assert [step.seq for step in other.find_anywhere(call.key)] == [5, 4, 2]
        journal.roll_up(resumed, child)
        assert other.execution(GUEST).cost == theirs.execution.cost, "it was counted there already"

    def test_values_that_did_not_come_along_are_told_of(self, journal: Journal) -> None:
        artifact, _ = a_stored_value(b"theirs")
        stone = Tombstone(artifact.digest, artifact.codec, artifact.bytes, STARTED, LEFT_OUT)

        journal.take_in(self.a_transcript(artifacts=[], locations=[], removed=[stone]), told={})

        left = journal.removed([artifact.digest])[artifact.digest]
        assert (left.codec, left.bytes, left.policy) == (artifact.codec, artifact.bytes, LEFT_OUT)
        assert "not in the file" in str(left)

    def test_a_step_without_its_values_is_not_taken_in_nor_anything_with_it(self, journal: Journal) -> None:
        before = journal.events()

        with pytest.raises(NotFoundError) as refused:
            journal.take_in(self.a_transcript(artifacts=[]), told={})

        assert refused.value.kind == "unknown-artifact"
        assert (journal.executions(), journal.events(), journal.every_extent()) == ([], before, [])
        with pytest.raises(NotFoundError):
            journal.execution(GUEST)

    def test_what_lies_in_a_pack_that_was_given_up_is_not_taken_in(self, journal: Journal) -> None:
        artifact, location = a_stored_value(b"theirs")
        packed = Location(location.extent, pack="gone.pack")
        journal.sweep(Removal("p", packs=frozenset(["gone.pack"])))

        with pytest.raises(ConflictError) as refused:
            journal.take_in(self.a_transcript(locations=[packed]), told={})

        assert refused.value.kind == "values-removed"
        assert journal.artifacts([artifact.digest]) == {}
